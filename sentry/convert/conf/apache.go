package conf

import (
	"bytes"
	"strings"
)

// ApacheLine is one logical line of Apache's configuration: a directive, the start or end of a section, a comment, or nothing. A backslash
// at its end takes the next line in, in comments too.
type ApacheLine struct {
	Raw   string   // as it stands, with its end; what Bytes gives
	At    int      // the first of its lines in the file, from 1
	Name  string   // "Order"; of a section "Directory"; "" of comments and empty lines
	Args  []string // without quotes
	Open  bool     // <Name args>
	Close bool     // </Name>
}

// Is tells whether the line is this directive, whose name is not sensitive to case.
func (l ApacheLine) Is(directive string) bool {
	return !l.Open && !l.Close && strings.EqualFold(l.Name, directive)
}

// Indent is the white space that the line starts with.
func (l ApacheLine) Indent() string { return indent(l.Raw) }

// Apache is a file of Apache's configuration, or an .htaccess.
type Apache struct{ Lines []ApacheLine }

// ParseApache reads any bytes; what Apache itself would refuse is kept as it stands.
func ParseApache(text []byte) Apache {
	var a Apache
	at := 1
	for len(text) > 0 {
		n, lines := logical(text, func(line, _ []byte) bool { return bytes.HasSuffix(line, []byte(`\`)) })
		l := ApacheLine{Raw: string(text[:n]), At: at}
		l.read()
		a.Lines = append(a.Lines, l)
		text, at = text[n:], at+lines
	}
	return a
}

// Bytes gives the file's text.
func (a Apache) Bytes() []byte {
	var b bytes.Buffer
	for _, l := range a.Lines {
		b.WriteString(l.Raw)
	}
	return b.Bytes()
}

// End finds the line that ends the section that starts at line i; the number of lines if nothing does.
func (a Apache) End(i int) int {
	depth := 0
	for j := i; j < len(a.Lines); j++ {
		switch l := a.Lines[j]; {
		case l.Open:
			depth++
		case l.Close:
			if depth--; depth == 0 {
				return j
			}
		}
	}
	return len(a.Lines)
}

func (l *ApacheLine) read() {
	s := strings.NewReplacer("\\\r\n", "", "\\\n", "").Replace(l.Raw)
	s = strings.TrimSpace(s)
	if s == "" || s[0] == '#' {
		return
	}
	if s[0] == '<' {
		s = strings.TrimSuffix(s[1:], ">")
		if l.Close = strings.HasPrefix(s, "/"); l.Close {
			s = s[1:]
		}
		l.Open = !l.Close
	}
	n := strings.IndexAny(s, " \t")
	if n < 0 {
		l.Name = s
		return
	}
	l.Name = s[:n]
	for s = strings.TrimLeft(s[n:], " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		var arg string
		arg, s = apacheWord(s)
		l.Args = append(l.Args, arg)
	}
}

// apacheWord takes one word off, as ap_getword_conf does: in quotes of either kind, a backslash before a quote or a backslash gives it.
func apacheWord(s string) (word, rest string) {
	quote := s[0]
	if quote != '"' && quote != '\'' {
		n := strings.IndexAny(s, " \t")
		if n < 0 {
			n = len(s)
		}
		return s[:n], s[n:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '\\' || s[i+1] == quote):
			i++
			b.WriteByte(s[i])
		case s[i] == quote:
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// logical measures the logical line at the start of text: in bytes, and in lines. more tells from a line without its end, and what comes
// after it, whether the next one belongs to it.
func logical(text []byte, more func(line, rest []byte) bool) (n, lines int) {
	for n < len(text) {
		end := bytes.IndexByte(text[n:], '\n')
		lines++
		if end < 0 {
			return len(text), lines
		}
		line := bytes.TrimSuffix(text[n:n+end], []byte("\r"))
		n += end + 1
		if !more(line, text[n:]) {
			break
		}
	}
	return n, lines
}

func indent(raw string) string { return raw[:len(raw)-len(strings.TrimLeft(raw, " \t"))] }
