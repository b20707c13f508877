package pack

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Check is the service's own checker of its configuration. It exits with 0 when all is good; else what it prints is shown to the
// administrator as it stands. It is run before a change is applied, with a candidate at /etc and at the other configuration paths, and on
// the primary with the live files right after a change, while the service runs. Each time it has namespaces of its own: everything is
// read-only but /tmp and /run, which are empty, there is no network but a loopback, and root has few powers. So it makes what it must
// write below a directory of its own (mktemp -d). It is run often: it should take well below a second. It should be as strict as the
// daemon, and where the daemon passes over mistakes, stricter.
type Check struct {
	Command []string `yaml:"command" json:"command"`
	User    string   `yaml:"user,omitempty" json:"user,omitempty"`       // root if empty
	Timeout string   `yaml:"timeout,omitempty" json:"timeout,omitempty"` // Go duration, "30s" if empty
	Show    []string `yaml:"show,omitempty" json:"show,omitempty"`       // paths below /run that it has to see
	Fresh   []string `yaml:"fresh,omitempty" json:"fresh,omitempty"`     // directories that it must write to: empty ones of its own; what is in them it finds below /run/was
}

// Export is a part of the configuration that lives in a database, as text. It is kept in history and carried to other servers like a file,
// as @db/PACK/NAME. What belongs to the office's people (rows, mails, entries of persons) is data, moves with the primary's disk set, and
// is no export.
type Export struct {
	Name  string `yaml:"name" json:"name"`   // of the file, with a suffix that tells what it is: "roles.sql"
	Title string `yaml:"title" json:"title"` // for people: "Roles of the database"
	// Watch names files and directories (with all below them; those missing are nothing) that are written when the export changes: when the
	// time or size of one is another, Changed is run, or Dump if there is none. Without Watch that happens every Every.
	Watch []string `yaml:"watch,omitempty" json:"watch,omitempty"`
	Every string   `yaml:"every,omitempty" json:"every,omitempty"` // the least time between two looks, "1s" if empty
	// Changed prints something short that is other than before when the export is other than before. It may differ without need, never the
	// other way round.
	Changed []string `yaml:"changed,omitempty" json:"changed,omitempty"`
	// Dump prints the text: the same state gives the same bytes, so it is sorted, and has no times of logins, counters or random salts.
	Dump []string `yaml:"dump" json:"dump"`
	// Load makes the database equal to the text on standard input, deletions included, so that Dump then prints the same text. It is
	// idempotent, does nothing if they are equal already, and refuses a text that is not whole. It must not destroy data: where it would
	// have to, it fails and says what to do.
	Load    []string `yaml:"load" json:"load"`
	User    string   `yaml:"user,omitempty" json:"user,omitempty"`       // of all three commands; root if empty
	Timeout string   `yaml:"timeout,omitempty" json:"timeout,omitempty"` // of each of them; "1m" if empty
	Secret  bool     `yaml:"secret,omitempty" json:"secret,omitempty"`   // it holds passwords or their hashes: shown with those blotted out
	// Clients are the programs, by absolute paths and not by links, that people on the server change it with. Who started one of them right
	// before a change was found is told as its author; without one the service is.
	Clients []string `yaml:"clients,omitempty" json:"clients,omitempty"`
}

// Derive is run on a server after paths of the pack have changed there and before the service is told: it makes the Derived paths anew
// from the others. It is idempotent, and cheap when there is nothing to do.
type Derive struct {
	Command []string `yaml:"command" json:"command"`
	Timeout string   `yaml:"timeout,omitempty" json:"timeout,omitempty"` // "1m" if empty
}

var exportPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,39}$`)

// checkSync checks what the synchroniser reads.
func (l *loaded) checkSync() error {
	for key, c := range map[string]*Check{"check": l.Check, "trial": l.Trial} {
		if err := l.checkView(key, c); err != nil {
			return err
		}
	}
	if err := l.checkExports(); err != nil {
		return err
	}
	for _, kind := range []struct {
		key   string
		paths []string
	}{{"own", l.Own}, {"derived", l.Derived}} {
		for i, p := range kind.paths {
			if err := l.checkOwn(fmt.Sprintf("%s[%d]", kind.key, i), p); err != nil {
				return err
			}
		}
	}
	for i, p := range l.Derived {
		if slices.Contains(l.Own, p) {
			return l.f.Errorf(fmt.Sprintf("derived[%d]", i), "%s stands under own too; keep one", p)
		}
	}
	if d := l.Derive; d != nil {
		if len(l.Derived) == 0 {
			return l.f.Errorf("derive", "has nothing to make; name the paths under derived, or leave this out")
		}
		return l.checkRun("derive", d.Command, "", d.Timeout)
	}
	return nil
}

func (l *loaded) checkRun(key string, command []string, user, timeout string) error {
	if err := l.checkCommand(key+".command", command); err != nil {
		return err
	}
	return l.checkUserTimeout(key, user, timeout)
}

func (l *loaded) checkUserTimeout(key, user, timeout string) error {
	if user != "" && !userPattern.MatchString(user) {
		return l.f.Errorf(key+".user", "%q is not an account name", user)
	}
	return checkDuration(l.f, key+".timeout", timeout)
}

func (l *loaded) checkExports() error {
	names := map[string]bool{}
	for i, e := range l.Exports {
		key := fmt.Sprintf("exports[%d]", i)
		switch {
		case !exportPattern.MatchString(e.Name):
			return l.f.Errorf(key+".name", "must be lower-case letters, digits, dots and hyphens, at most 40, such as users.sql")
		case names[e.Name]:
			return l.f.Errorf(key+".name", "%s stands here twice", e.Name)
		case strings.TrimSpace(e.Title) == "":
			return l.f.Errorf(key+".title", "is missing; say for people what it is")
		}
		names[e.Name] = true
		for j, p := range e.Watch {
			w := fmt.Sprintf("%s.watch[%d]", key, j)
			if !absolute(p) {
				return l.f.Errorf(w, "%q must be an absolute path", p)
			}
			if err := checkTemplate(l.f, w, p); err != nil {
				return err
			}
		}
		for j, p := range e.Clients {
			if !absolute(p) {
				return l.f.Errorf(fmt.Sprintf("%s.clients[%d]", key, j), "%q must be the absolute path of a program", p)
			}
		}
		if err := checkDuration(l.f, key+".every", e.Every); err != nil {
			return err
		}
		if len(e.Changed) > 0 {
			if err := l.checkCommand(key+".changed", e.Changed); err != nil {
				return err
			}
		}
		if err := l.checkCommand(key+".dump", e.Dump); err != nil {
			return err
		}
		if err := l.checkCommand(key+".load", e.Load); err != nil {
			return err
		}
		if err := l.checkUserTimeout(key, e.User, e.Timeout); err != nil {
			return err
		}
	}
	return nil
}

// checkOwn checks one path of own and derived: absolute, on the disk set, with * for parts of its last element only.
func (l *loaded) checkOwn(key, p string) error {
	dir, last := path.Split(p)
	switch {
	case !absolute(p):
		return l.f.Errorf(key, "%q must be an absolute path", p)
	case !below(p, "/etc", "/var", "/srv", "/home"):
		return l.f.Errorf(key, "%s must lie below /etc, /var, /srv or /home, which are on the disk set", p)
	case strings.ContainsAny(dir, "*?[\\") || strings.ContainsAny(last, "?[\\"):
		return l.f.Errorf(key, "%q may have * in its last part only, and no ?, [ or \\", p)
	}
	return nil
}
