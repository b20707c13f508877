package effective

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Value is a setting's.
type Value struct {
	Text    string
	Default bool // nobody has set it: it is what the daemon assumes
}

// Settings are what a service works with, by name.
type Settings map[string]Value

// Record is what one server tells the others of a service.
type Record struct {
	Release int    // of Debian
	Server  string // its name
	Files   string // which files it was asked with: two servers of one release with the same files have the same here
	Settings
}

const (
	recordHead   = "effective 1"
	mostSettings = 20_000
	mostText     = 4 << 20
)

// ParseSettings reads what the program of a pack prints: a line for each setting, NAME = VALUE, with a tilde before the name where nobody has
// set it. The order means nothing. A name that stands twice is a mistake of the program.
func ParseSettings(text []byte) (Settings, error) {
	if len(text) > mostText {
		return nil, fmt.Errorf("the settings in effect: more than %d MiB", mostText>>20)
	}
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("?"))
	}
	out := Settings{}
	no := 0
	for l := range strings.Lines(string(text)) {
		no++
		l = strings.TrimSuffix(l, "\n")
		if strings.TrimSpace(l) == "" {
			continue
		}
		name, value, ok := strings.Cut(l, " =")
		name, plain := strings.CutPrefix(name, "~")
		switch {
		case !ok || name == "" || name != strings.TrimSpace(name):
			return nil, fmt.Errorf("the settings in effect: line %d, %.60q, is not NAME = VALUE", no, l)
		case len(out) == mostSettings:
			return nil, fmt.Errorf("the settings in effect: more than %d", mostSettings)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the settings in effect: line %d: %.60q stands there twice", no, name)
		}
		out[name] = Value{Text: strings.TrimSpace(value), Default: plain}
	}
	return out, nil
}

// Encode writes settings in order, as ParseSettings reads them.
func (s Settings) Encode() []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if s[name].Default {
			b.WriteByte('~')
		}
		b.WriteString(strings.TrimRight(name+" = "+s[name].Text, " "))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Encode writes a record as text: four lines of head, an empty one, the settings.
func (r Record) Encode() []byte {
	return append(fmt.Appendf(nil, "%s\nrelease %d\nserver %s\nfiles %s\n\n", recordHead, r.Release, r.Server, r.Files), r.Settings.Encode()...)
}

// ParseRecord reads what Encode wrote.
func ParseRecord(text []byte) (Record, error) {
	var r Record
	head, body, ok := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) != 4 || lines[0] != recordHead {
		return r, fmt.Errorf("the settings in effect are told in a form that is not known here, %.40q", lines[0])
	}
	var err error
	for i, to := range []func(string){
		func(v string) { r.Release, err = strconv.Atoi(v) }, func(v string) { r.Server = v }, func(v string) { r.Files = v },
	} {
		key, value, _ := strings.Cut(lines[i+1], " ")
		if want := []string{"release", "server", "files"}[i]; key != want {
			return r, fmt.Errorf("the settings in effect: line %d says %.40q; %s is expected", i+2, key, want)
		}
		if to(value); err != nil {
			return r, fmt.Errorf("the settings in effect: line %d: %w", i+2, err)
		}
	}
	r.Settings, err = ParseSettings(body)
	return r, err
}
