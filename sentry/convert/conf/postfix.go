package conf

import (
	"bytes"
	"slices"
	"strings"
)

// PostfixLine is one logical line of main.cf or master.cf: lines that start with white space belong to the one before them, also past
// comments and empty lines between (postconf(5)).
type PostfixLine struct {
	Raw string // as it stands, with what continues it; what Bytes gives
	At  int    // the first of its lines in the file, from 1
	// Text is the line without comments and with its parts joined by a space; "" of comments and empty lines.
	Text string
}

// Setting gives the name and value of a line of main.cf; the name is "" if it is none.
func (l PostfixLine) Setting() (name, value string) {
	name, value, ok := strings.Cut(l.Text, "=")
	if !ok {
		return "", ""
	}
	return strings.TrimSpace(name), strings.TrimSpace(value)
}

// Service gives the eight fields of a line of master.cf, of which the last is the command with its options; nil if it is none.
func (l PostfixLine) Service() []string {
	f := strings.Fields(l.Text)
	if len(f) < 8 {
		return nil
	}
	return append(f[:7:7], strings.Join(f[7:], " "))
}

// PostfixOption is one -o of a service.
type PostfixOption struct{ Name, Value string }

// Options lists what a service of master.cf sets by -o name=value.
func (l PostfixLine) Options() []PostfixOption {
	var out []PostfixOption
	f := strings.Fields(l.Text)
	for i := 0; i+1 < len(f); i++ {
		if f[i] != "-o" {
			continue
		}
		if name, value, ok := strings.Cut(f[i+1], "="); ok {
			out = append(out, PostfixOption{name, value})
		} else if strings.HasPrefix(f[i+1], "{") { // { name = value }
			rest := strings.Join(f[i+1:], " ")
			rest, _, _ = strings.Cut(rest[1:], "}")
			name, value, _ := strings.Cut(rest, "=")
			out = append(out, PostfixOption{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	return out
}

// Postfix is main.cf or master.cf.
type Postfix struct{ Lines []PostfixLine }

// ParsePostfix reads any bytes.
func ParsePostfix(text []byte) Postfix {
	var p Postfix
	at := 1
	for len(text) > 0 {
		first := text[0] != '#' && !bytes.HasPrefix(bytes.TrimLeft(text, " \t"), []byte("#"))
		n, lines := logical(text, func(_, rest []byte) bool { return first && continues(rest) })
		l := PostfixLine{Raw: string(text[:n]), At: at}
		var parts []string
		for s := range strings.Lines(l.Raw) {
			if s = strings.TrimSpace(s); s != "" && s[0] != '#' {
				parts = append(parts, s)
			}
		}
		l.Text = strings.Join(parts, " ")
		p.Lines = append(p.Lines, l)
		text, at = text[n:], at+lines
	}
	return p
}

// continues tells whether what follows still belongs to the line before: after comments and empty lines comes one that is indented.
func continues(rest []byte) bool {
	for len(rest) > 0 {
		line, more, _ := bytes.Cut(rest, []byte("\n"))
		word := bytes.TrimSpace(line)
		if len(word) > 0 && word[0] != '#' {
			return line[0] == ' ' || line[0] == '\t'
		}
		rest = more
	}
	return false
}

// Bytes gives the file's text.
func (p Postfix) Bytes() []byte {
	var b bytes.Buffer
	for _, l := range p.Lines {
		b.WriteString(l.Raw)
	}
	return b.Bytes()
}

// Get gives the value of a setting of main.cf, of which the last wins, and its line in Lines; -1 if it is not set.
func (p Postfix) Get(name string) (value string, line int) {
	for i, v := range slices.Backward(p.Lines) {
		if n, v := v.Setting(); n == name {
			return v, i
		}
	}
	return "", -1
}
