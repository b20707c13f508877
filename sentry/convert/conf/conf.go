// Package conf reads files with one setting a line, as most daemons have them, so that single settings can be changed and every other byte
// stays: what is printed of a document that nobody changed is what was read.
//
// Parse cuts a text into lines by a Format (formats.go) and finds name and value in each. What it does not understand is a line of kind Other,
// kept as it is. Values are raw: quotes, escapes and continued lines stand in them as in the file. The package knows no setting by name, follows no
// includes, and judges nothing: that is for the daemons.
package conf

import (
	"strings"
)

// Kind of a line.
type Kind int

// Kinds of lines.
const (
	Other   Kind = iota // not understood
	Blank               // nothing in it
	Comment             // a remark
	Section             // "[name]", or "Match …" of sshd
	Setting             // name and value
	Order               // "!includedir DIR" of my.cnf and the like
)

// Line is one logical line: with continuation lines it covers several of the file.
type Line struct {
	Kind    Kind
	No      int    // its first line in the text that was parsed, from 1; 0 for one that was inserted
	Section string // that it stands in, as written: "global"; of sshd "Match User backup"; "" before the first
	Name    string // as written
	Value   string // as written, without a remark behind it; of a name alone ""

	raw                string
	name, value, after int // where they start in raw, and what follows the value
}

// Raw is the line as it stands, with its end.
func (l *Line) Raw() string { return l.raw }

// Doc is a document.
type Doc struct {
	format Format
	lines  []*Line
	eol    string
}

// Parse reads a text; every text is some document.
func Parse(f Format, text []byte) *Doc {
	d := &Doc{format: f, eol: "\n"}
	var section string
	no := 1
	rest := string(text)
	if i := strings.IndexByte(rest, '\n'); i > 0 && rest[i-1] == '\r' {
		d.eol = "\r\n"
	}
	for rest != "" {
		raw := f.cut(rest)
		rest = rest[len(raw):]
		l := &Line{raw: raw, No: no}
		f.understand(l)
		if l.Kind == Section {
			section = l.Name
		}
		l.Section = section
		d.lines = append(d.lines, l)
		no += strings.Count(raw, "\n")
	}
	return d
}

// Bytes prints the document.
func (d *Doc) Bytes() []byte {
	var b strings.Builder
	for _, l := range d.lines {
		b.WriteString(l.raw)
	}
	return []byte(b.String())
}

// Settings lists the settings in order.
func (d *Doc) Settings() []*Line { return d.kind(Setting) }

// Sections lists the lines that begin a section.
func (d *Doc) Sections() []*Line { return d.kind(Section) }

// Orders lists the lines that order the reader to do something.
func (d *Doc) Orders() []*Line { return d.kind(Order) }

func (d *Doc) kind(k Kind) []*Line {
	var out []*Line
	for _, l := range d.lines {
		if l.Kind == k {
			out = append(out, l)
		}
	}
	return out
}

// Find lists the settings of a name, wherever they stand.
func (d *Doc) Find(name string) []*Line {
	var out []*Line
	for _, l := range d.lines {
		if l.Kind == Setting && d.format.Fold(l.Name) == d.format.Fold(name) {
			out = append(out, l)
		}
	}
	return out
}

// FindIn lists the settings of a name in one section.
func (d *Doc) FindIn(section, name string) []*Line {
	var out []*Line
	for _, l := range d.Find(name) {
		if d.format.Fold(l.Section) == d.format.Fold(section) {
			out = append(out, l)
		}
	}
	return out
}

// Rename gives a setting another name.
func (d *Doc) Rename(l *Line, name string) {
	d.redo(l, l.raw[:l.name]+name+l.raw[l.name+len(l.Name):])
}

// Set gives a setting another value, which is written as it is given. A remark behind it stays.
func (d *Doc) Set(l *Line, value string) {
	if value == l.Value {
		return
	}
	before := l.raw[:l.value]
	if l.Value == "" && before != "" && !strings.ContainsAny(before[len(before)-1:], " \t=") {
		if d.format.Equals {
			before += "="
		} else {
			before += " "
		}
	}
	d.redo(l, before+value+l.raw[l.after:])
}

func (d *Doc) redo(l *Line, raw string) {
	*l = Line{No: l.No, Section: l.Section, raw: raw}
	d.format.understand(l)
}

// CommentOut makes remarks of a line, the reason before it, so that the document keeps its number of lines.
func (d *Doc) CommentOut(l *Line, reason string) {
	sign := d.format.Comments[:1]
	var b strings.Builder
	for part := range strings.Lines(l.raw) {
		b.WriteString(sign)
		b.WriteByte(' ')
		if reason != "" {
			b.WriteString("[" + reason + "] ")
			reason = ""
		}
		b.WriteString(strings.TrimLeft(part, " \t"))
	}
	raw := b.String()
	if d.format.Backslash { // a remark that goes on would swallow the next line
		raw = strings.ReplaceAll(raw, "\\\n", "\n")
		raw = strings.ReplaceAll(raw, "\\\r\n", "\r\n")
	}
	*l = Line{Kind: Comment, No: l.No, Section: l.Section, raw: raw}
}

// Remove takes a line out.
func (d *Doc) Remove(l *Line) {
	if i := d.index(l); i >= 0 {
		d.lines = append(d.lines[:i:i], d.lines[i+1:]...)
	}
}

// After puts lines, without their ends, behind one.
func (d *Doc) After(l *Line, lines ...string) { d.insert(d.index(l)+1, lines) }

// Before puts lines, without their ends, before one.
func (d *Doc) Before(l *Line, lines ...string) { d.insert(max(d.index(l), 0), lines) }

// Append puts lines at the end of a section, behind its last setting; the section is made if there is none. "" is what stands before the first
// section.
func (d *Doc) Append(section string, lines ...string) {
	at := -1
	for i, l := range d.lines {
		if d.format.Fold(l.Section) == d.format.Fold(section) && (l.Kind == Setting || l.Kind == Section || l.Kind == Order || l.Kind == Other) {
			at = i
		}
	}
	switch {
	case at >= 0:
	case section != "":
		if len(d.lines) > 0 {
			lines = append([]string{"", "[" + section + "]"}, lines...)
		} else {
			lines = append([]string{"[" + section + "]"}, lines...)
		}
		at = len(d.lines) - 1
	default: // behind the remarks that the file begins with
		for at+1 < len(d.lines) && d.lines[at+1].Kind != Section {
			at++
		}
	}
	d.insert(at+1, lines)
}

func (d *Doc) insert(at int, lines []string) {
	if at > 0 && !strings.HasSuffix(d.lines[at-1].raw, "\n") {
		d.lines[at-1].raw += d.eol
	}
	var section string
	if at > 0 {
		section = d.lines[at-1].Section
	}
	add := make([]*Line, 0, len(lines))
	for _, text := range lines {
		l := &Line{raw: text + d.eol}
		d.format.understand(l)
		if l.Kind == Section {
			section = l.Name
		}
		l.Section = section
		add = append(add, l)
	}
	d.lines = append(d.lines[:at:at], append(add, d.lines[at:]...)...)
}

func (d *Doc) index(l *Line) int {
	for i := range d.lines {
		if d.lines[i] == l {
			return i
		}
	}
	return -1
}
