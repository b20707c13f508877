package state

import (
	"fmt"
	"strings"
)

// Event is a commit with what it changed, as lists show it.
type Event struct {
	Commit
	Files []Touched `json:"files"`
	More  int       `json:"more,omitempty"`  // files that are not listed
	Below Path      `json:"below,omitempty"` // the deepest directory that all of them lie in
}

// Touched is one changed path of an event.
type Touched struct {
	Path Path   `json:"path"`
	Verb string `json:"verb"` // see Change.Verb
}

// What words an event in one line: "changed /etc/hosts", "added 12 files below /etc/web". It is fit for a terminal.
func (e Event) What() string {
	if e.Rollback != "" || len(e.Files) == 0 {
		return Printable(e.Title)
	}
	verb := e.Files[0].Verb
	for _, f := range e.Files {
		if f.Verb != verb {
			verb = "changed"
		}
	}
	if verb == "attributes changed" {
		verb = "changed attributes of"
	}
	if n := len(e.Files) + e.More; n > 3 {
		s := fmt.Sprintf("%s %d files", verb, n)
		if e.Below != "" {
			s += " below " + e.Below.Word()
		}
		return s
	}
	var names []string
	for _, f := range e.Files {
		names = append(names, f.Path.Word())
	}
	return verb + " " + strings.Join(names, ", ")
}

// By words who made an event, or how it was found where that is not known. It is fit for a terminal.
func (c Commit) By() string {
	note, _, _ := strings.Cut(c.Note, "\n")
	if c.Who == (Who{}) && note != "" {
		return Printable(note)
	}
	return Printable(c.Who.String())
}

// Short is the beginning of a commit's name, as people type it.
func (c Commit) Short() string { return c.ID[:min(8, len(c.ID))] }

// Query chooses events.
type Query struct {
	Path   Path
	Limit  int    // 0: 50
	Before string // commit: only older ones
	Local  bool   // on a secondary: what was made of it here, and changed here
	Line   Branch // on a secondary: a history that was kept when another took its place; "" = not that
}

// Shown is an event with its text.
type Shown struct {
	Event
	Patch Text `json:"patch"` // unified, secrets left out; "" below the path asked for if nothing of it changed
}

// Blame tells who brought each line of a file.
type Blame struct {
	Lines   []Line            `json:"lines"`
	Commits map[string]Commit `json:"commits"` // those that Lines name
}

// Line is a line of a file as it may be shown, and the commit that it is from.
type Line struct {
	Text   Text   `json:"text"`
	Commit string `json:"commit"`
}

// Rollback says what to go back to. Exactly one of Path, Service and All chooses the files, or Held alone: all that is held back.
type Rollback struct {
	Path    Path   `json:"path,omitempty"`    // a file or directory
	Service string `json:"service,omitempty"` // all configuration of a service
	All     bool   `json:"all,omitempty"`
	// To is a commit, "HEAD~2" or a time. "" = the state before the newest commit that changed the chosen files.
	To   string `json:"to,omitempty"`
	Held bool   `json:"held,omitempty"` // to the newest state that was not held back
	Try  bool   `json:"try,omitempty"`  // only tell what would be done
	// Plan is RolledBack.Plan of an earlier try: what would be done now must be the same as what was shown then. "" = whatever it is.
	Plan string `json:"plan,omitempty"`
}

// Check tells what is wrong with a rollback that came from outside.
func (r Rollback) Check() error {
	n := 0
	for _, given := range []bool{r.Path != "", r.Service != "", r.All} {
		if given {
			n++
		}
	}
	switch {
	case r.Path != "":
		if err := r.Path.Check(); err != nil {
			return err
		}
	case n == 0 && !r.Held:
		return fmt.Errorf("what is to go back: a file, a service, or everything?")
	}
	switch {
	case n > 1:
		return fmt.Errorf("only one of a file, a service and everything can go back at a time")
	case r.Held && r.To != "":
		return fmt.Errorf("what is held back goes to the last good state; another one cannot be named with it")
	}
	return nil
}

// What words the files that a rollback is about.
func (r Rollback) What() string {
	switch {
	case r.Path != "":
		return r.Path.Word()
	case r.Service != "":
		return Printable(r.Service)
	case r.Held:
		return "what was held back"
	}
	return "everything"
}

// RolledBack tells what was done, or would be.
type RolledBack struct {
	To       Commit    `json:"to"`
	Commit   *Commit   `json:"commit,omitempty"` // the new one; nil if only tried
	Files    []Touched `json:"files"`
	Patch    Text      `json:"patch,omitempty"` // of a try: unified, secrets left out
	Plan     string    `json:"plan"`            // see Rollback.Plan
	Verdicts []Verdict `json:"verdicts,omitempty"`
	Services []string  `json:"services,omitempty"` // told to take their files anew
	Trouble  []string  `json:"trouble,omitempty"`  // services that could not
}

// Verdict is a checker's answer.
type Verdict struct {
	Service string `json:"service"`
	Title   string `json:"title"`
	Result  string `json:"result"` // "pass", "fail", "unknown"
	Words   string `json:"words,omitempty"`
}
