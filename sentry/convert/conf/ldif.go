package conf

import (
	"bytes"
	"slices"
	"strings"
)

// LDIFLine is one value of an entry, a remark, or an empty line, with what is folded behind it.
type LDIFLine struct {
	Raw   string // as it stands, with its ends; what Bytes gives
	At    int    // its first line, from 1; 0 for one that was put in
	Entry int    // which entry it belongs to, from 0
	Name  string // of the attribute, as written; "" of remarks and empty lines
	Value string // unfolded; of a value in base64 or in a file, with the second colon or the < before it
}

// Set gives it another value, on one line.
func (l *LDIFLine) Set(value string) {
	end := l.Raw[len(strings.TrimRight(l.Raw, "\r\n")):]
	l.Value, l.Raw = value, l.Name+": "+value+end
}

// LDIF is a text of entries as in RFC 2849.
type LDIF struct{ Lines []*LDIFLine }

// ParseLDIF reads any bytes.
func ParseLDIF(text []byte) *LDIF {
	d := &LDIF{}
	entry, no := 0, 1
	var last *LDIFLine
	for raw := range strings.Lines(string(text)) {
		body := strings.TrimRight(raw, "\r\n")
		if last != nil && last.Raw != "" && strings.TrimRight(last.Raw, "\r\n") != "" && strings.HasPrefix(raw, " ") {
			last.Raw += raw
			if last.Name != "" {
				last.Value += body[1:]
			}
			no++
			continue
		}
		l := &LDIFLine{Raw: raw, At: no, Entry: entry}
		no++
		if name, value, ok := strings.Cut(body, ":"); ok && !strings.HasPrefix(body, "#") {
			l.Name, l.Value = name, strings.TrimPrefix(value, " ")
		} else if body == "" {
			entry++
		}
		d.Lines = append(d.Lines, l)
		last = l
	}
	return d
}

// Bytes gives the text.
func (d *LDIF) Bytes() []byte {
	var b bytes.Buffer
	for _, l := range d.Lines {
		b.WriteString(l.Raw)
	}
	return b.Bytes()
}

// Remove takes lines out.
func (d *LDIF) Remove(out func(*LDIFLine) bool) { d.Lines = slices.DeleteFunc(d.Lines, out) }

// Insert puts a value into an entry, where it stands if the attributes of the entry are sorted.
func (d *LDIF) Insert(entry int, name, value string) {
	at := len(d.Lines)
	for i, l := range d.Lines {
		if l.Entry == entry && l.Name != "" && !strings.EqualFold(l.Name, "dn") && !strings.EqualFold(l.Name, "objectClass") && l.Name > name || l.Entry > entry {
			at = i
			break
		}
	}
	for at > 0 && d.Lines[at-1].Name == "" && d.Lines[at-1].Entry >= entry { // not behind the empty line
		at--
	}
	if at > 0 && !strings.HasSuffix(d.Lines[at-1].Raw, "\n") {
		d.Lines[at-1].Raw += "\n"
	}
	d.Lines = slices.Insert(d.Lines, at, &LDIFLine{Raw: name + ": " + value + "\n", Entry: entry, Name: name, Value: value})
}
