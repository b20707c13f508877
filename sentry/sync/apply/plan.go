package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// planned is a step with what is known of it until the journal is written.
type planned struct {
	step
	change state.Change
	live   ident // as it was when the step was planned
}

// plan finds out what is to be done to come from what is live to the wanted state.
type plan struct {
	a       *Applier
	changes []state.Change
	want    map[state.Path]*state.Entry // nil = to be removed
	mounts  []state.Path
	steps   []planned
	at      map[state.Path]int  // number of a path's step
	fresh   map[state.Path]bool // directories that a step makes: nothing live is below them
	clashes []Clash
	aside   []Aside
	skipped []Skipped
}

func (a *Applier) plan(changes []state.Change) (*plan, error) {
	p := &plan{
		a: a, changes: slices.Clone(changes), want: make(map[state.Path]*state.Entry, len(changes)),
		at: make(map[state.Path]int, len(changes)), fresh: map[state.Path]bool{},
	}
	var err error
	if p.mounts, err = a.mounted(); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	// What comes is put in place before what goes is removed: a moved file is never away from both of its places.
	for _, c := range p.changes {
		if c.After != nil {
			if err := p.put(c); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range p.changes {
		if c.After == nil {
			if err := p.remove(c); err != nil {
				return nil, err
			}
		}
	}
	return p, p.foreign()
}

// check looks at what came from outside, and leaves out what is the image's own.
func (p *plan) check() error {
	state.SortChanges(p.changes)
	keep := p.changes[:0]
	for i, c := range p.changes {
		if err := c.Path.Check(); err != nil {
			return err
		}
		if _, twice := p.want[c.Path]; twice {
			return fmt.Errorf("%s stands twice in one list of changes", c.Path)
		}
		if _, rel, err := p.a.place(c.Path); err != nil {
			return err
		} else if rel == "." && (c.After == nil || c.After.Kind != state.Dir) {
			return fmt.Errorf("%s cannot be removed or become something else than a directory", c.Path)
		}
		if e := c.After; e != nil {
			if err := checkEntry(c.Path, e); err != nil {
				return err
			}
		}
		if why := p.mounted(c); why != "" {
			p.skipped = append(p.skipped, Skipped{c.Path, why})
			continue
		}
		p.want[c.Path] = c.After
		keep = append(keep, p.changes[i])
	}
	p.changes = keep
	return nil
}

func checkEntry(p state.Path, e *state.Entry) error {
	switch {
	case e.Kind != state.File && e.Kind != state.Dir && e.Kind != state.Link:
		return fmt.Errorf("%s is of the unknown kind %q", p, e.Kind)
	case e.Kind == state.Link && (e.Target == "" || len(e.Target) > 4095 || strings.ContainsRune(e.Target, 0)):
		return fmt.Errorf("the link %s has an impossible target", p)
	case e.Mode&^0o7777 != 0 || e.Size < 0:
		return fmt.Errorf("%s has an impossible mode or size", p)
	case e.Hard == "":
		return nil
	case e.Kind == state.Dir || e.Hard >= p:
		return fmt.Errorf("%s cannot be another name of %s", p, e.Hard)
	}
	return e.Hard.Check()
}

// mounted tells whether a change is hindered by what is mounted: at, above or, where a directory would have to go, below the path.
func (p *plan) mounted(c state.Change) string {
	for _, m := range p.mounts {
		switch {
		case c.Path.Under(m):
			return fmt.Sprintf("/%s is mounted from elsewhere (it belongs to the image)", m)
		case m.Under(c.Path) && (c.After == nil || c.After.Kind != state.Dir):
			return fmt.Sprintf("/%s, which lies below it, is mounted from elsewhere (it belongs to the image)", m)
		}
	}
	return ""
}

// above finds the nearest directory above p that a step makes, moves away or replaces; -1 if none does.
func (p *plan) above(q state.Path) int {
	for d := q.Dir(); d != ""; d = d.Dir() {
		if i, ok := p.at[d]; ok && p.steps[i].Do != dress {
			return i
		}
	}
	return -1
}

func (p *plan) add(c state.Change, do verb, live ident) {
	p.at[c.Path] = len(p.steps)
	p.steps = append(p.steps, planned{step: step{Do: do, Path: rawPath(c.Path), Old: live.Ino}, change: c, live: live})
}

func (p *plan) put(c state.Change) error {
	e := c.After
	for d := c.Path.Dir(); d != ""; d = d.Dir() {
		if w, ok := p.want[d]; ok && (w == nil || w.Kind != state.Dir) {
			return fmt.Errorf("%s is to be made below %s, which is not to be a directory", c.Path, d)
		}
	}
	var live ident
	if p.above(c.Path) < 0 {
		var err error
		if live, err = p.a.look(c.Path); err != nil {
			return err
		}
	}
	found, err := p.a.found(c.Path, live)
	if err != nil {
		return err
	}
	if live.Ino != 0 || c.Before != nil && !p.made(c.Path) {
		if !as(found, c.Before) && !as(found, e) {
			p.clashes = append(p.clashes, Clash{c.Path, c.Before, found})
		}
	}
	switch {
	case live.isDir() && e.Kind == state.Dir:
		if !as(found, e) {
			p.add(c, dress, live)
		}
		return nil
	case e.Kind == state.Dir:
		p.fresh[c.Path] = true
	case e.Hard != "":
		same, err := p.sameFile(c, live)
		if err != nil || same {
			return err
		}
	case as(found, e) && live.nlink == 1:
		return nil
	}
	p.add(c, put, live)
	return nil
}

// made tells whether p lies in a directory that is new: there it cannot be missed.
func (p *plan) made(q state.Path) bool {
	i := p.above(q)
	return i >= 0 && p.fresh[state.Path(p.steps[i].Path)]
}

// sameFile tells whether the path is already another name of what it should be. If the first name is not what it should be either, nobody
// has told us to change it, and still it must be: the two are one file.
func (p *plan) sameFile(c state.Change, live ident) (bool, error) {
	if _, ok := p.at[c.After.Hard]; ok {
		return false, nil
	}
	head := *c.After
	head.Hard = ""
	if w, listed := p.want[c.After.Hard]; listed && w != nil && !as(w, &head) {
		return false, fmt.Errorf("%s and %s are to be one file, and differ", c.Path, c.After.Hard)
	} else if listed && w == nil {
		return false, fmt.Errorf("%s is to be another name of %s, which is to be removed", c.Path, c.After.Hard)
	}
	if p.mounted(state.Change{Path: c.After.Hard, After: &head}) != "" {
		return false, fmt.Errorf("%s is to be another name of %s, which belongs to the image", c.Path, c.After.Hard)
	}
	at, err := p.a.look(c.After.Hard)
	if err != nil {
		return false, err
	}
	found, err := p.a.found(c.After.Hard, at)
	if err != nil {
		return false, err
	}
	if !as(found, &head) {
		return false, p.put(state.Change{Path: c.After.Hard, Before: &head, After: &head})
	}
	return at.Ino == live.Ino, nil
}

func (p *plan) remove(c state.Change) error {
	i := p.above(c.Path)
	if i >= 0 && p.fresh[state.Path(p.steps[i].Path)] && !p.steps[i].live.isDir() {
		return nil // the directory is new: nothing is in it
	}
	live, err := p.a.look(c.Path)
	if _, ok := errors.AsType[*ParentError](err); ok || err == nil && live.Ino == 0 {
		return nil // it is gone already, and so is where it was
	}
	if err != nil {
		return err
	}
	found, err := p.a.found(c.Path, live)
	if err != nil {
		return err
	}
	if !as(found, c.Before) {
		p.clashes = append(p.clashes, Clash{c.Path, c.Before, found})
	}
	if i >= 0 {
		p.steps[i].Below = append(p.steps[i].Below, rawPath(c.Path))
		return nil
	}
	p.add(c, remove, live)
	return nil
}

// foreign lists what goes along with directories that go, and that nobody has told us of.
func (p *plan) foreign() error {
	for i := range p.steps {
		s := &p.steps[i]
		if s.Do == dress || !s.live.isDir() {
			continue
		}
		dir, base, err := p.a.parent(state.Path(s.Path))
		if err != nil {
			return err
		}
		d, err := openDir(dir, base)
		dir.Close()
		if err != nil {
			return p.a.named(state.Path(s.Path), err)
		}
		known := map[rawPath]bool{}
		for _, b := range s.Below {
			known[b] = true
		}
		err = walk(d, state.Path(s.Path), func(q state.Path, _ os.DirEntry) {
			if !known[rawPath(q)] {
				p.aside = append(p.aside, Aside{q, fmt.Sprintf("no history has it, and %s is no directory any more", s.Path)})
			}
		})
		d.Close()
		if err != nil {
			return p.a.named(state.Path(s.Path), err)
		}
	}
	return nil
}

// as tells whether two entries are the same but for hard links, which one path alone does not show. Nil is nothing there.
func as(a, b *state.Entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Hard, y.Hard = "", ""
	return x.Equal(y)
}

// look tells what is live at a path, and whether it may be changed.
func (a *Applier) look(p state.Path) (ident, error) {
	dir, base, err := a.parent(p)
	if err != nil {
		return ident{}, err
	}
	defer dir.Close()
	id, err := lstat(dir, base)
	if err != nil {
		return id, a.named(p, err)
	}
	if err := locked(p.Dir(), dir, ""); err != nil {
		return id, err
	}
	if id.Ino == 0 {
		return id, nil
	}
	return id, locked(p, dir, base)
}

// locked finds what would stop a change only when half of the others were made.
func locked(p state.Path, dir *os.File, name string) error {
	var st unix.Statx_t
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH | unix.AT_NO_AUTOMOUNT
	if err := unix.Statx(int(dir.Fd()), name, flags, unix.STATX_BASIC_STATS, &st); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	switch {
	case st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0:
		return &LockedError{p, "is marked as not to be changed (immutable)", "if that is not wanted any more: chattr -i '/" + string(p) + "'"}
	case st.Attributes&unix.STATX_ATTR_APPEND != 0:
		return &LockedError{p, "is marked as only to be added to", "if that is not wanted any more: chattr -a '/" + string(p) + "'"}
	}
	return nil
}

// found reads what is live at a path: nil for nothing, an entry without a kind for what is no configuration.
func (a *Applier) found(p state.Path, live ident) (*state.Entry, error) {
	if live.Ino == 0 {
		return nil, nil
	}
	pl, rel, err := a.place(p)
	if err != nil {
		return nil, err
	}
	tree := a.places[pl].tree
	if rel == "." { // a tree has no entry for its own root
		full, err := resolved(a.places[pl].Dir)
		if err != nil {
			return nil, a.named(p, err)
		}
		if tree, err = snapshot.Open(path.Dir(full), snapshot.Options{Names: a.o.Names}); err != nil {
			return nil, a.named(p, err)
		}
		defer func() { _ = tree.Close() }()
		rel = path.Base(full)
	}
	it, err := tree.Read(state.Path(rel), nil)
	_, other := errors.AsType[*snapshot.NotKeptError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case other:
		return &state.Entry{}, nil
	case err != nil:
		return nil, a.named(p, err)
	}
	return &it.Entry, nil
}
