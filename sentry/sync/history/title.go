package history

import (
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// title words what changed from the commit parent to tree: "changed etc/hosts", "added 3 files below etc/apache2".
func (r *Repo) title(load loader, parent string, tree plumbing.Hash) (string, error) {
	var before plumbing.Hash
	if parent != "" {
		c, err := r.commit(plumbing.NewHash(parent))
		if err != nil {
			return "", err
		}
		before = c.tree
	}
	var t titler
	err := r.diffTrees(load, before, tree, "", func(p state.Path, a, b *item) error { t.add(p, a, b); return nil })
	return t.String(), err
}

// titler counts changes. Directories that were added or removed with what is in them are not counted.
type titler struct {
	files, dirs tally
}

type tally struct {
	n     int
	verb  string
	first state.Path
	below state.Path
}

func (t *titler) add(p state.Path, a, b *item) {
	c := state.Change{Path: p}
	kind := state.File
	for _, side := range []struct {
		it *item
		to **state.Entry
	}{{a, &c.Before}, {b, &c.After}} {
		if side.it != nil {
			e := side.it.entry()
			*side.to, kind = &e, e.Kind
		}
	}
	to := &t.files
	if kind == state.Dir {
		to = &t.dirs
	}
	to.add(p, c.Verb())
}

func (t *tally) add(p state.Path, verb string) {
	if t.n++; t.n == 1 {
		t.verb, t.first, t.below = verb, p, p.Dir()
		return
	}
	if t.verb != verb {
		t.verb = "changed"
	}
	for t.below != "" && !p.Under(t.below) {
		t.below = t.below.Dir()
	}
}

func (t *titler) String() string {
	c, what := t.files, "files"
	if c.n == 0 {
		c, what = t.dirs, "directories"
	}
	switch {
	case c.n == 0:
		return "changed and changed back"
	case c.n == 1 && c.verb == "attributes changed":
		return "changed attributes of " + pathWord(c.first)
	case c.n == 1:
		return c.verb + " " + pathWord(c.first)
	}
	verb := c.verb
	if verb == "attributes changed" {
		verb = "changed attributes of"
	}
	if c.below == "" {
		return fmt.Sprintf("%s %d %s", verb, c.n, what)
	}
	return fmt.Sprintf("%s %d %s below %s", verb, c.n, what, pathWord(c.below))
}

// pathWord writes a path for people: as it is, or quoted if it holds anything unusual.
func pathWord(p state.Path) string {
	s := string(appendWord(nil, string(p)))
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
