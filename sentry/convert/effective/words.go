package effective

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Words says for people what differs, and what to do. server and primary name the servers, title the service.
func (d Difference) Words(title, primary, server string) (what, next string) {
	theirs, ours := shown(d.Theirs, d.Ours)
	switch {
	case d.Ours == nil:
		what = fmt.Sprintf("%s: %s is %s on %s, and is not set on %s", title, d.Name, theirs, primary, server)
	case d.Theirs == nil:
		what = fmt.Sprintf("%s: %s is %s on %s, and is not set on %s", title, d.Name, ours, server, primary)
	default:
		what = fmt.Sprintf("%s: %s is %s on %s and %s on %s", title, d.Name, theirs, primary, ours, server)
	}
	if d.Guard {
		what += ", although both have the same configuration, each in the words of its release: after a failover other people could get in, or some not any more."
		next = fmt.Sprintf("Do not let %s take over before this is cleared up. ", server)
	} else {
		what += ", although both have the same configuration, each in the words of its release: after a failover the service would do this differently."
	}
	return what, next + fmt.Sprintf("Write %s with the value that you want into the service's configuration on %s; it is carried and compared again. "+
		"If it stands there already, send this message to the vendor.", d.Name, primary)
}

// mostShown is how much of a long value is shown, around where the two begin to differ.
const mostShown = 60

func shown(a, b *Value) (string, string) {
	from := 0
	if a != nil && b != nil {
		for from < len(a.Text) && from < len(b.Text) && a.Text[from] == b.Text[from] {
			from++
		}
	}
	return a.shown(from), b.shown(from)
}

func (v *Value) shown(from int) string {
	switch {
	case v == nil:
		return "not set"
	case v.Text == "":
		return "empty"
	}
	text := v.Text
	if len(text) > mostShown {
		start := max(0, min(from-mostShown/3, len(text)-mostShown))
		for start > 0 && !utf8.RuneStart(text[start]) {
			start--
		}
		end := min(len(text), start+mostShown)
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}
		text = strings.Repeat("…", min(start, 1)) + text[start:end] + strings.Repeat("…", min(len(text)-end, 1))
	}
	if v.Default {
		return "“" + text + "” (its default)"
	}
	return "“" + text + "”"
}
