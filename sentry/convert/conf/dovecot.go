package conf

import (
	"bytes"
	"strings"
)

// DovecotLine is one logical line of Dovecot's configuration: a setting, the start or end of a section, an include, a comment, or nothing.
type DovecotLine struct {
	Raw   string // as it stands, with its end; what Bytes gives
	At    int    // the first of its lines in the file, from 1
	Key   string // "mail_location", of a section its kind "passdb", of an include "!include" or "!include_try"
	Value string // of a setting, without quotes; of a section its name; of an include the file
	File  bool   // the value stands in a file: key = <file
	Open  bool
	Close bool
}

// Set tells whether the line is a setting of this name.
func (l DovecotLine) Set(key string) bool { return l.Setting() && l.Key == key }

// Setting tells whether the line is a setting of any name.
func (l DovecotLine) Setting() bool { return !l.Open && !l.Close && l.Key != "" && l.Key[0] != '!' }

// Indent is the white space that the line starts with.
func (l DovecotLine) Indent() string { return indent(l.Raw) }

// Dovecot is a file of Dovecot's configuration.
type Dovecot struct{ Lines []DovecotLine }

// ParseDovecot reads any bytes; what Dovecot itself would refuse is kept as it stands.
func ParseDovecot(text []byte) Dovecot {
	var d Dovecot
	at := 1
	for len(text) > 0 {
		n, lines := logical(text, func(line, _ []byte) bool {
			line = bytes.TrimSpace(line)
			return bytes.HasSuffix(line, []byte(`\`)) && line[0] != '#'
		})
		l := DovecotLine{Raw: string(text[:n]), At: at}
		l.read()
		d.Lines = append(d.Lines, l)
		text, at = text[n:], at+lines
	}
	return d
}

// Bytes gives the file's text.
func (d Dovecot) Bytes() []byte {
	var b bytes.Buffer
	for _, l := range d.Lines {
		b.WriteString(l.Raw)
	}
	return b.Bytes()
}

// End finds the line that ends the section that starts at line i; the number of lines if nothing does.
func (d Dovecot) End(i int) int {
	depth := 0
	for j := i; j < len(d.Lines); j++ {
		switch l := d.Lines[j]; {
		case l.Open:
			depth++
		case l.Close:
			if depth--; depth == 0 {
				return j
			}
		}
	}
	return len(d.Lines)
}

func (l *DovecotLine) read() {
	s := strings.NewReplacer("\\\r\n", " ", "\\\n", " ").Replace(l.Raw)
	s = dovecotComment(strings.TrimSpace(s))
	switch {
	case s == "":
		return
	case s == "}":
		l.Close = true
		return
	case s[0] == '!':
		key, value, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
		l.Key, l.Value = key, strings.TrimSpace(value)
		return
	}
	if eq, brace := strings.IndexByte(s, '='), strings.HasSuffix(s, "{"); eq >= 0 && (!brace || eq < strings.IndexByte(s, '{')) {
		l.Key = strings.TrimSpace(s[:eq])
		v := strings.TrimSpace(s[eq+1:])
		if l.File = strings.HasPrefix(v, "<"); l.File {
			v = strings.TrimSpace(v[1:])
		}
		l.Value = dovecotUnquote(v)
		return
	} else if brace {
		l.Open = true
		s = strings.TrimSpace(strings.TrimSuffix(s, "{"))
		key, name, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
		l.Key, l.Value = key, dovecotUnquote(strings.TrimSpace(name))
		return
	}
	l.Key = s // refused by Dovecot
}

// dovecotComment takes away what follows a # that stands outside quotes, after white space.
func dovecotComment(s string) string {
	if strings.HasPrefix(s, "#") {
		return ""
	}
	var quote byte
	for i := 0; i < len(s); i++ {
		switch {
		case quote != 0 && s[i] == '\\':
			i++
		case quote != 0 && s[i] == quote:
			quote = 0
		case quote == 0 && (s[i] == '"' || s[i] == '\''):
			quote = s[i]
		case quote == 0 && s[i] == '#' && (s[i-1] == ' ' || s[i-1] == '\t'):
			return strings.TrimSpace(s[:i])
		}
	}
	if quote != 0 { // an apostrophe in a value quotes nothing
		if before, _, ok := strings.Cut(s, " #"); ok {
			return strings.TrimSpace(before)
		}
	}
	return s
}

func dovecotUnquote(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] || s[0] != '"' && s[0] != '\'' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
