// Package class tells for a path of the disk set whether it travels: shared between the servers of a site, a server's own, made anew on each,
// or no configuration at all; and what of its content must never be shown.
//
// Data flow: base.yaml (embedded, for what belongs to no service) + the packs' own, derived and templates → Rules → Classify, Secret, Redact.
//
// It reads no files but the table, and does not decide what is looked at: that is /etc and the paths that packs name under config.
package class

import (
	_ "embed"
	"fmt"
	"path"
	"strings"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/settings"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Class of a path.
type Class byte

// Classes. Shared is what no rule names.
const (
	Shared  Class = iota // kept in history, carried to the other servers
	Own                  // kept in history here, never carried
	Derived              // made anew on each server from the shared: neither kept nor carried
	Ignored              // no configuration: not looked at
)

func (c Class) String() string { return [...]string{"shared", "own", "derived", "ignored"}[c] }

// Check looks at files that belong to no pack. Paths are those that it is about.
type Check struct {
	Name    string   `yaml:"name"`
	Title   string   `yaml:"title"`
	Paths   []string `yaml:"paths"`
	Command []string `yaml:"command"`
}

// rule stands for a path and all below it, or for a name everywhere.
type rule struct {
	Path string `yaml:"path"`
	Why  string `yaml:"why"`
}

type base struct {
	Own     []rule  `yaml:"own"`
	Derived []rule  `yaml:"derived"`
	Ignored []rule  `yaml:"ignored"`
	Secret  []rule  `yaml:"secret"`
	Checks  []Check `yaml:"checks"`
}

//go:embed base.yaml
var baseYAML []byte

// Rules answers for one image's packs. It is not changed after New, and may be used by several goroutines.
type Rules struct {
	exact  map[state.Path]entry // paths without *
	globs  []glob               // paths with *
	names  []glob               // names everywhere
	secret matcher
	checks []Check
	export map[state.Path]bool // exports that hold secrets
}

type entry struct {
	class Class
	why   string
}

type glob struct {
	pattern string
	entry
}

// New reads the table and adds what the packs say. Of several rules for one path the base's ignored wins, then the packs', then the base's.
func New(packs []pack.Pack) (*Rules, error) { return parse("base.yaml", baseYAML, packs) }

func parse(name string, data []byte, packs []pack.Pack) (*Rules, error) {
	var b base
	f, err := settings.Parse(name, data, &b)
	if err != nil {
		return nil, err
	}
	r := &Rules{exact: map[state.Path]entry{}, checks: b.Checks, export: map[state.Path]bool{}}
	for _, list := range []struct {
		key   string
		class Class
		rules []rule
	}{{"own", Own, b.Own}, {"derived", Derived, b.Derived}, {"secret", Shared, b.Secret}, {"ignored", Ignored, b.Ignored}} {
		for i, u := range list.rules {
			if err := u.check(); err != nil {
				return nil, f.Errorf(fmt.Sprintf("%s[%d].path", list.key, i), "%v", err)
			}
			if list.key == "secret" {
				r.secret.add(u.Path)
				continue
			}
			r.add(u.Path, entry{list.class, u.Why})
		}
	}
	for i, c := range b.Checks {
		if c.Name == "" || c.Title == "" || len(c.Paths) == 0 || len(c.Command) == 0 || !path.IsAbs(c.Command[0]) {
			return nil, f.Errorf(fmt.Sprintf("checks[%d]", i), "must have name, title, paths and a command with an absolute path")
		}
	}
	for _, p := range packs {
		r.addPack(p)
	}
	return r, nil
}

func (u rule) check() error {
	if u.Why == "" {
		return fmt.Errorf("%s has no reason; give it under why", u.Path)
	}
	if strings.HasPrefix(u.Path, "/") {
		if err := state.Path(u.Path[1:]).Check(); err != nil {
			return err
		}
	} else if u.Path == "" || strings.Contains(u.Path, "/") {
		return fmt.Errorf("%q must be an absolute path, or a name without slashes", u.Path)
	}
	_, err := path.Match(u.Path, "")
	return err
}

func (r *Rules) addPack(p pack.Pack) {
	for _, f := range p.Files {
		if f.Template {
			r.addUnlessIgnored(f.To, entry{Derived, "written at each start of " + p.Name})
		}
	}
	for _, d := range p.Derived {
		r.addUnlessIgnored(d, entry{Derived, "made anew by " + p.Name})
	}
	for _, o := range p.Own {
		r.addUnlessIgnored(o, entry{Own, "belongs to this server, says " + p.Name})
	}
	for _, e := range p.Exports {
		if e.Secret {
			r.export[ExportPath(p.Name, e.Name)] = true
		}
	}
}

// ExportPath is where the text of a pack's export stands in history.
func ExportPath(packName, export string) state.Path {
	return state.Path(state.Exports + "/" + packName + "/" + export)
}

func (r *Rules) addUnlessIgnored(p string, e entry) {
	if r.exact[state.Path(strings.TrimPrefix(p, "/"))].class != Ignored {
		r.add(p, e)
	}
}

func (r *Rules) add(p string, e entry) {
	full, abs := strings.CutPrefix(p, "/")
	switch {
	case !abs:
		r.names = append(r.names, glob{p, e})
	case strings.ContainsAny(full, "*?["):
		r.globs = append(r.globs, glob{full, e})
	default:
		r.exact[state.Path(full)] = e
	}
}

// Classify tells whether p travels.
func (r *Rules) Classify(p state.Path) Class {
	c, _ := r.Why(p)
	return c
}

// Why is Classify with the reason; "" for what is shared because nothing is said about it.
func (r *Rules) Why(p state.Path) (Class, string) {
	if p.Under(state.Exports) {
		return Shared, ""
	}
	found := entry{}
	// From the path upwards: what stands for a directory stands for all in it, and the nearest counts, but what is ignored stays so.
	for q := p; q != ""; q = q.Dir() {
		e := r.at(q)
		if e.class == Ignored {
			return e.class, e.why
		}
		if found.class == Shared {
			found = e
		}
	}
	return found.class, found.why
}

func (r *Rules) at(p state.Path) entry {
	for _, g := range r.names {
		if ok, _ := path.Match(g.pattern, p.Base()); ok {
			return g.entry
		}
	}
	if e, ok := r.exact[p]; ok {
		return e
	}
	for _, g := range r.globs {
		if ok, _ := path.Match(g.pattern, string(p)); ok {
			return g.entry
		}
	}
	return entry{}
}

// Secret tells whether nothing of p's content may be shown. Exports that hold passwords are not: Redact blots these out.
func (r *Rules) Secret(p state.Path) bool {
	if p.Under(state.Exports) {
		return false
	}
	for q := p; q != ""; q = q.Dir() {
		if r.secret.has(q) {
			return true
		}
	}
	return false
}

// Checks returns how files that belong to no pack are looked at.
func (r *Rules) Checks() []Check { return append([]Check(nil), r.checks...) }

// matcher is a set of paths and names, with *.
type matcher struct{ paths, names []string }

func (m *matcher) add(p string) {
	if full, abs := strings.CutPrefix(p, "/"); abs {
		m.paths = append(m.paths, full)
	} else {
		m.names = append(m.names, p)
	}
}

func (m *matcher) has(p state.Path) bool {
	for _, g := range m.paths {
		if ok, _ := path.Match(g, string(p)); ok {
			return true
		}
	}
	for _, g := range m.names {
		if ok, _ := path.Match(g, p.Base()); ok {
			return true
		}
	}
	return false
}
