package pack

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Conversion is a vendor's own step between two adjacent releases of Debian, for configuration that this pack names. It has exactly one of Move,
// RenameKey, Replace, PinDefault and Program. Only files that people have changed are converted; what the image ships follows the image. What says its own
// way back is converted on it too; of the others the text from before is kept for it.
type Conversion struct {
	ID         string      `yaml:"id" json:"id"`           // within the pack: "resources"
	Between    []int       `yaml:"between" json:"between"` // releases, the older first: [12, 13]
	Title      string      `yaml:"title" json:"title"`     // for people, as findings say it: "The pages' resources lie in another folder."
	Source     string      `yaml:"source,omitempty" json:"source,omitempty"`
	Next       string      `yaml:"next,omitempty" json:"next,omitempty"` // what a person is to do, if anything
	Move       *ConvMove   `yaml:"move,omitempty" json:"move,omitempty"`
	RenameKey  *ConvRename `yaml:"rename_key,omitempty" json:"rename_key,omitempty"`
	Replace    *ConvText   `yaml:"replace,omitempty" json:"replace,omitempty"`
	PinDefault *ConvPin    `yaml:"pin_default,omitempty" json:"pin_default,omitempty"`
	Program    *ConvRun    `yaml:"program,omitempty" json:"program,omitempty"`
}

// ConvMove moves a file or a folder, and back.
type ConvMove struct {
	From string `yaml:"from" json:"from"`
	To   string `yaml:"to" json:"to"`
}

// ConvRename gives a key another name, and back. * and ? in the last part of File stand for parts of a name, here and below.
type ConvRename struct {
	File    string `yaml:"file" json:"file"`
	Format  string `yaml:"format" json:"format"`                       // one of ConversionFormats
	Section string `yaml:"section,omitempty" json:"section,omitempty"` // of an ini; empty: any
	From    string `yaml:"from" json:"from"`
	To      string `yaml:"to" json:"to"`
}

// ConvText replaces a whole line, or what a regular expression (RE2) finds in each line; With may use $1. A whole line has its own way back.
type ConvText struct {
	File   string    `yaml:"file" json:"file"`
	Line   string    `yaml:"line,omitempty" json:"line,omitempty"`
	Regexp string    `yaml:"regexp,omitempty" json:"regexp,omitempty"`
	With   string    `yaml:"with" json:"with"`
	Back   *ConvBack `yaml:"back,omitempty" json:"back,omitempty"`
}

// ConvBack is the way back of a regular expression.
type ConvBack struct {
	Regexp string `yaml:"regexp" json:"regexp"`
	With   string `yaml:"with" json:"with"`
}

// ConvPin writes a default out where the other release has another one and a changed file says nothing.
type ConvPin struct {
	File    string `yaml:"file" json:"file"`
	Format  string `yaml:"format" json:"format"`
	Section string `yaml:"section,omitempty" json:"section,omitempty"` // of an ini; empty: before the first
	Key     string `yaml:"key" json:"key"`
	Old     string `yaml:"old" json:"old"`                     // what the older release assumes: written on the way to the newer
	New     string `yaml:"new,omitempty" json:"new,omitempty"` // what the newer assumes: written on the way to the older; empty: nothing is
}

// ConvRun gives each file to a program: COMMAND FROM TO PATH, the text on standard input, the new text on standard output. What it says on standard error
// becomes findings, a line each; with an exit status other than 0 the file cannot be converted, and that blocks. It runs as nobody, without network.
type ConvRun struct {
	Files   []string `yaml:"files" json:"files"`
	Command []string `yaml:"command" json:"command"`
	Timeout string   `yaml:"timeout,omitempty" json:"timeout,omitempty"` // "10s" if empty
}

// ConversionFormats are how files with keys may be written: "[section]" and "key = value"; "key = value"; "key value"; KEY="value".
func ConversionFormats() []string { return []string{"ini", "equals", "space", "shell"} }

var conversionID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func (l *loaded) checkConversions() error {
	ids := map[string]bool{}
	for i, c := range l.Conversions {
		key := fmt.Sprintf("conversions[%d]", i)
		kinds := 0
		for _, there := range []bool{c.Move != nil, c.RenameKey != nil, c.Replace != nil, c.PinDefault != nil, c.Program != nil} {
			if there {
				kinds++
			}
		}
		switch {
		case !conversionID.MatchString(c.ID):
			return l.f.Errorf(key+".id", "must be lower-case letters, digits and hyphens, at most 40, such as resources")
		case ids[c.ID]:
			return l.f.Errorf(key+".id", "%s stands here twice", c.ID)
		case len(c.Between) != 2 || c.Between[0] < 11 || c.Between[1] != c.Between[0]+1:
			return l.f.Errorf(key+".between", "must be two releases of Debian that follow each other, the older first, such as [12, 13]")
		case strings.TrimSpace(c.Title) == "":
			return l.f.Errorf(key+".title", "is missing; say for people what changes")
		case kinds != 1:
			return l.f.Errorf(key, "must have exactly one of move, rename_key, replace, pin_default and program; it has %d", kinds)
		}
		ids[c.ID] = true
		for _, check := range []func(string, Conversion) error{l.checkMove, l.checkRename, l.checkReplace, l.checkPin, l.checkProgram} {
			if err := check(key, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFile wants a file that the pack names as its configuration: a pack converts nobody else's.
func (l *loaded) checkFile(key, file string) error {
	dir, _ := path.Split(file)
	switch _, err := path.Match(file, ""); {
	case !absolute(file):
		return l.f.Errorf(key, "%q must be an absolute path", file)
	case err != nil || strings.ContainsAny(dir, "*?[\\"):
		return l.f.Errorf(key, "%q may have * and ? in its last part only", file)
	case !slices.Contains(l.Config, file) && !below(file, l.Config...):
		return l.f.Errorf(key, "%s is not this pack's configuration; name it or its folder under config", file)
	}
	return nil
}

func (l *loaded) checkMove(key string, c Conversion) error {
	if c.Move == nil {
		return nil
	}
	for _, at := range [][2]string{{".move.from", c.Move.From}, {".move.to", c.Move.To}} {
		k, p := at[0], at[1]
		if strings.ContainsAny(p, "*?[\\") {
			return l.f.Errorf(key+k, "%q must be one path, without * and ?", p)
		}
		if err := l.checkFile(key+k, p); err != nil {
			return err
		}
	}
	if c.Move.From == c.Move.To || below(c.Move.To, c.Move.From) || below(c.Move.From, c.Move.To) {
		return l.f.Errorf(key+".move.to", "%s and %s must lie apart", c.Move.From, c.Move.To)
	}
	return nil
}

func (l *loaded) checkKey(key, file, format, section string, names map[string]string) error {
	if err := l.checkFile(key+".file", file); err != nil {
		return err
	}
	if !slices.Contains(ConversionFormats(), format) {
		return l.f.Errorf(key+".format", "must be one of %s", strings.Join(ConversionFormats(), ", "))
	}
	if section != "" && format != "ini" {
		return l.f.Errorf(key+".section", "there are sections in an ini only")
	}
	for _, n := range sorted(names) {
		if v := names[n]; v == "" || strings.TrimSpace(v) != v || strings.ContainsAny(v, "\r\n") {
			return l.f.Errorf(key+"."+n, "must be one line, without blanks around it")
		}
	}
	return nil
}

func (l *loaded) checkRename(key string, c Conversion) error {
	if r := c.RenameKey; r != nil {
		return l.checkKey(key+".rename_key", r.File, r.Format, r.Section, map[string]string{"from": r.From, "to": r.To})
	}
	return nil
}

func (l *loaded) checkPin(key string, c Conversion) error {
	p := c.PinDefault
	if p == nil {
		return nil
	}
	names := map[string]string{"key": p.Key, "old": p.Old}
	if p.New != "" {
		names["new"] = p.New
	}
	if err := l.checkKey(key+".pin_default", p.File, p.Format, p.Section, names); err != nil {
		return err
	}
	if p.Old == p.New {
		return l.f.Errorf(key+".pin_default.new", "is the same as old; then nothing is to be written out")
	}
	return nil
}

func (l *loaded) checkReplace(key string, c Conversion) error {
	r := c.Replace
	if r == nil {
		return nil
	}
	key += ".replace"
	if err := l.checkFile(key+".file", r.File); err != nil {
		return err
	}
	switch {
	case (r.Line == "") == (r.Regexp == ""):
		return l.f.Errorf(key, "must have either line or regexp")
	case r.Line != "" && r.Back != nil:
		return l.f.Errorf(key+".back", "a whole line has its own way back; leave this out")
	case r.With == "":
		return l.f.Errorf(key+".with", "is missing; a line cannot be taken out, but it can become a remark")
	case strings.ContainsAny(r.Line+r.With, "\r\n"):
		return l.f.Errorf(key+".with", "must be one line")
	}
	all := map[string]string{".regexp": r.Regexp}
	if r.Back != nil {
		all[".back.regexp"] = r.Back.Regexp
		if r.Back.Regexp == "" || r.Back.With == "" || strings.ContainsAny(r.Back.With, "\r\n") {
			return l.f.Errorf(key+".back", "must have regexp and with, of one line")
		}
	}
	for _, k := range sorted(all) {
		if _, err := regexp.Compile(all[k]); err != nil {
			return l.f.Errorf(key+k, "is no regular expression: %v", err)
		}
	}
	return nil
}

func (l *loaded) checkProgram(key string, c Conversion) error {
	p := c.Program
	if p == nil {
		return nil
	}
	key += ".program"
	if len(p.Files) == 0 {
		return l.f.Errorf(key+".files", "is missing")
	}
	for i, f := range p.Files {
		if err := l.checkFile(fmt.Sprintf("%s.files[%d]", key, i), f); err != nil {
			return err
		}
	}
	for i, a := range p.Command {
		if strings.Contains(a, "{{") {
			return l.f.Errorf(fmt.Sprintf("%s.command[%d]", key, i), "%s: nothing is known of a server here; a conversion gives the same on each", a)
		}
	}
	return l.checkRun(key, p.Command, "", p.Timeout)
}
