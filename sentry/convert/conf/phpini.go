package conf

import (
	"bytes"
	"strings"
)

// PHPLine is one line of a php.ini.
type PHPLine struct {
	Raw     string // as it stands, with its end; what Bytes gives
	At      int    // from 1
	Section string // "[PHP]" above it; "" before the first one
	Key     string // "" of comments, sections and empty lines
	Value   string // as it stands, without a comment behind it
}

// PHPIni is a php.ini or one of the files beside it.
type PHPIni struct{ Lines []PHPLine }

// ParsePHPIni reads any bytes. A value in quotes may go over several lines; they are one PHPLine.
func ParsePHPIni(text []byte) PHPIni {
	var p PHPIni
	at, section := 1, ""
	for len(text) > 0 {
		quoted := false
		n, lines := logical(text, func(line, rest []byte) bool {
			if t := bytes.TrimSpace(line); !quoted && (len(t) == 0 || t[0] == ';' || t[0] == '[') {
				return false
			}
			quoted = openQuote(line, quoted)
			return quoted && bytes.IndexByte(rest, '"') >= 0 // one that nothing closes would take the rest of the file
		})
		l := PHPLine{Raw: string(text[:n]), At: at}
		s := strings.TrimSpace(l.Raw)
		switch {
		case s == "" || s[0] == ';':
		case s[0] == '[':
			section = s
		default:
			key, value, _ := strings.Cut(s, "=")
			l.Key, l.Value = strings.TrimSpace(key), phpValue(strings.TrimSpace(value))
		}
		l.Section = section
		p.Lines = append(p.Lines, l)
		text, at = text[n:], at+lines
	}
	return p
}

// openQuote tells whether a line ends inside double quotes.
func openQuote(line []byte, quoted bool) bool {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return false
		}
	}
	return quoted
}

// phpValue takes a comment off.
func phpValue(s string) string {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return strings.TrimSpace(s[:i])
		}
	}
	return s
}

// Bytes gives the file's text.
func (p PHPIni) Bytes() []byte {
	var b bytes.Buffer
	for _, l := range p.Lines {
		b.WriteString(l.Raw)
	}
	return b.Bytes()
}
