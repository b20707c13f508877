package history

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Head is the newest commit of a branch, if it has any.
func (r *Repo) Head(branch state.Branch) (state.Commit, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c, ok := r.tops[branch]
	return c, ok
}

// Commit reads the commit whose full name is id. ErrNotFound if there is none; Resolve understands short names.
func (r *Repo) Commit(id string) (state.Commit, error) {
	c, err := r.byID(id)
	if err != nil {
		return state.Commit{}, err
	}
	return c.Commit, nil
}

func (r *Repo) byID(id string) (*commitRec, error) {
	if !isID(id) {
		return nil, fmt.Errorf("commit %.80q: %w", id, ErrNotFound)
	}
	c, err := r.commit(plumbing.NewHash(id))
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", short(id), err)
	}
	return c, nil
}

// treeOf is the tree of a commit; the empty name has none.
func (r *Repo) treeOf(id string) (plumbing.Hash, error) {
	if id == "" {
		return plumbing.ZeroHash, nil
	}
	c, err := r.byID(id)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return c.tree, nil
}

// Lookup tells what was at path in a commit.
func (r *Repo) Lookup(commitID string, path state.Path) (state.Entry, bool, error) {
	tree, err := r.treeOf(commitID)
	if err != nil {
		return state.Entry{}, false, err
	}
	it, err := r.lookup(tree, path)
	if err != nil || it == nil {
		return state.Entry{}, false, err
	}
	return it.entry(), true, nil
}

// lookup gives nil if there is nothing.
func (r *Repo) lookup(tree plumbing.Hash, path state.Path) (*item, error) {
	for rest := string(path); ; {
		if tree.IsZero() {
			return nil, nil
		}
		d, err := r.loadDir(tree)
		if err != nil {
			return nil, err
		}
		name, after, more := strings.Cut(rest, "/")
		it := d.item(name)
		if it == nil || !more {
			return it, nil
		}
		if it.kind != state.Dir {
			return nil, nil
		}
		tree, rest = it.hash, after
	}
}

// Walk calls fn for all that was at and below a path in a commit, a directory before what lies in it; "" is everything. If fn returns
// fs.SkipDir for a directory, what lies below it is left out; any other error ends the walk.
func (r *Repo) Walk(commitID string, under state.Path, fn func(state.Path, state.Entry) error) error {
	tree, err := r.treeOf(commitID)
	if err != nil {
		return err
	}
	if under != "" {
		it, err := r.lookup(tree, under)
		if err != nil || it == nil {
			return err
		}
		err = fn(under, it.entry())
		if err != nil || it.kind != state.Dir {
			return skipped(err)
		}
		tree = it.hash
	}
	if tree.IsZero() {
		return nil
	}
	return r.walk(tree, under, fn)
}

func (r *Repo) walk(tree plumbing.Hash, under state.Path, fn func(state.Path, state.Entry) error) error {
	d, err := r.loadDir(tree)
	if err != nil {
		return err
	}
	for i := range d.items {
		it := &d.items[i]
		p := below(under, it.name)
		err := fn(p, it.entry())
		if err == nil && it.kind == state.Dir {
			err = r.walk(it.hash, p, fn)
		}
		if err := skipped(err); err != nil {
			return err
		}
	}
	return nil
}

func skipped(err error) error {
	if errors.Is(err, fs.SkipDir) {
		return nil
	}
	return err
}

func below(dir state.Path, name string) state.Path {
	if dir == "" {
		return state.Path(name)
	}
	return dir + "/" + state.Path(name)
}

// Content reads recorded content. A reader that comes to its end without an error has read what was recorded, byte for byte.
func (r *Repo) Content(hash state.Hash) (io.ReadCloser, error) {
	if !isID(string(hash)) {
		return nil, fmt.Errorf("content %.80q: %w", string(hash), ErrNotFound)
	}
	rc, typ, _, err := r.store.open(plumbing.NewHash(string(hash)))
	if err == nil && typ != plumbing.BlobObject {
		rc.Close()
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("content %s: %w", short(string(hash)), err)
	}
	return rc, nil
}

// Diff lists what changed from commit a to commit b, in the order of paths. a may be "": then all of b was added.
func (r *Repo) Diff(a, b string) ([]state.Change, error) {
	return r.diff(a, b, "")
}

func (r *Repo) diff(a, b string, under state.Path) ([]state.Change, error) {
	before, err := r.treeOf(a)
	if err != nil {
		return nil, err
	}
	after, err := r.treeOf(b)
	if err != nil {
		return nil, err
	}
	var out []state.Change
	err = r.diffTrees(r.loadDir, before, after, "", func(p state.Path, a, b *item) error {
		if under != "" && !p.Under(under) {
			return nil
		}
		c := state.Change{Path: p}
		if a != nil {
			e := a.entry()
			c.Before = &e
		}
		if b != nil {
			e := b.entry()
			c.After = &e
		}
		out = append(out, c)
		return nil
	})
	state.SortChanges(out)
	return out, err
}

// diffTrees calls fn for each path that differs; what is equal is not looked at. A zero tree is empty.
func (r *Repo) diffTrees(load loader, a, b plumbing.Hash, under state.Path, fn func(p state.Path, a, b *item) error) error {
	if a == b {
		return nil
	}
	var before, after []item
	for _, side := range []struct {
		h  plumbing.Hash
		to *[]item
	}{{a, &before}, {b, &after}} {
		if side.h.IsZero() {
			continue
		}
		d, err := load(side.h)
		if err != nil {
			return err
		}
		*side.to = d.items
	}
	for len(before) > 0 || len(after) > 0 {
		var x, y *item
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].name < after[0].name:
			x, before = &before[0], before[1:]
		case len(before) == 0 || after[0].name < before[0].name:
			y, after = &after[0], after[1:]
		default:
			x, y, before, after = &before[0], &after[0], before[1:], after[1:]
		}
		if same(x, y) {
			continue
		}
		if err := r.diffItem(load, x, y, under, fn); err != nil {
			return err
		}
	}
	return nil
}

func (r *Repo) diffItem(load loader, x, y *item, under state.Path, fn func(p state.Path, a, b *item) error) error {
	var name string
	var a, b plumbing.Hash
	if x != nil {
		if name = x.name; x.kind == state.Dir {
			a = x.hash
		}
	}
	if y != nil {
		if name = y.name; y.kind == state.Dir {
			b = y.hash
		}
	}
	p := below(under, name)
	if x == nil || y == nil || !sameMeta(x, y) {
		if err := fn(p, x, y); err != nil {
			return err
		}
	}
	return r.diffTrees(load, a, b, p, fn)
}
