package history

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	entriesMax = 8 << 20 // that a received state may have
	pathMax    = 4096
)

// checker looks at what was received before any of it counts. It trusts what a branch here leads to, at the same place, and nothing else: an
// object that happens to be here may be a leftover whose parts are gone.
type checker struct {
	b    *batch
	seen map[plumbing.Hash]extent // directories that are whole
}

// extent is how much is below a directory. Directories can hold one another many times over, so that few bytes would unfold to billions.
type extent struct{ entries, longest int }

// line checks all commits from head back to what is here already, and whether branch may be put to head.
func (k *checker) line(branch state.Branch, head plumbing.Hash, replace bool) (*commitRec, error) {
	r := k.b.r
	present, exists := r.head(branch)
	var list []*commitRec
	var base *commitRec
	for h := head; !h.IsZero(); {
		known, err := k.known(h)
		if err != nil {
			return nil, err
		}
		if known != nil {
			base = known
			break
		}
		c, err := k.commit(h)
		if err != nil {
			return nil, err
		}
		if n := len(list); n > 0 && list[n-1].Seq != c.Seq+1 {
			return nil, malformed("commit %s has number %d, the one after it %d", short(c.ID), c.Seq, list[n-1].Seq)
		}
		list = append(list, c)
		h = plumbing.NewHash(c.Parent)
	}
	if err := k.follows(list, base); err != nil {
		return nil, err
	}
	top := base
	if len(list) > 0 {
		top = list[0]
	}
	if top == nil {
		return nil, malformed("commit %s is not in it", short(head.String()))
	}
	if exists && present != head && (base == nil || plumbing.NewHash(base.ID) != present) {
		older, err := r.isAncestor(head, present)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if older && err == nil && !replace {
			return nil, &ReplayedError{Branch: string(branch), Have: present.String(), Want: top.ID, At: top.At}
		}
		if !replace && !k.amends(list, base, present) {
			return nil, &DivergedError{Branch: string(branch), Have: present.String(), Want: top.ID}
		}
	}
	before := plumbing.ZeroHash
	if base != nil {
		before = base.tree
	}
	for _, c := range slices.Backward(list) {
		if _, err := k.tree(before, c.tree, ""); err != nil {
			return nil, fmt.Errorf("commit %s: %w", short(c.ID), err)
		}
		before = c.tree
	}
	return top, nil
}

// amends tells whether the first commit of list takes the place of the one that is the newest here: several writes of one action became one
// commit, of which a part was carried already.
func (k *checker) amends(list []*commitRec, base *commitRec, present plumbing.Hash) bool {
	was, err := k.b.r.commit(present)
	if err != nil || len(list) == 0 {
		return false
	}
	first := list[len(list)-1]
	return first.Parent == was.Parent && first.Seq == was.Seq && first.Server == was.Server && (base == nil) == (was.Parent == "")
}

func (k *checker) follows(list []*commitRec, base *commitRec) error {
	if len(list) == 0 {
		return nil
	}
	first := list[len(list)-1]
	want := uint64(1)
	if base != nil {
		want = base.Seq + 1
	}
	if first.Seq != want {
		return malformed("commit %s has number %d where %d is due", short(first.ID), first.Seq, want)
	}
	return nil
}

// known gives the commit h if a branch here leads to it.
func (k *checker) known(h plumbing.Hash) (*commitRec, error) {
	r := k.b.r
	r.mu.RLock()
	var heads []plumbing.Hash
	for _, at := range r.heads {
		heads = append(heads, at)
	}
	r.mu.RUnlock()
	if _, _, _, here := r.store.find(h); !here {
		return nil, nil
	}
	for _, at := range heads {
		if ok, err := r.isAncestor(h, at); err != nil || !ok {
			if err != nil && !errors.Is(err, ErrNotFound) {
				return nil, err
			}
			continue
		}
		return r.commit(h)
	}
	return nil, nil
}

func (k *checker) commit(h plumbing.Hash) (*commitRec, error) {
	if _, err := k.b.keep(plumbing.CommitObject, h); err != nil {
		return nil, k.fault("commit "+h.String(), err)
	}
	_, raw, err := k.b.get(h)
	if err != nil {
		return nil, k.fault("commit "+h.String(), err)
	}
	c, err := parseCommit(raw)
	if err != nil {
		return nil, malformed("commit %s: %v", h, err)
	}
	return &c, nil
}

// tree checks the directory b, which was a in the state before.
func (k *checker) tree(a, b plumbing.Hash, path state.Path) (extent, error) {
	if a == b {
		return extent{}, nil
	}
	if e, ok := k.seen[b]; ok {
		return e, nil
	}
	where := fmt.Sprintf("directory %q", "/"+string(path))
	if len(path) > pathMax {
		return extent{}, malformed("%.100s… lies too deep", where)
	}
	// Kept in memory it may be, without being on the disk any more.
	if _, err := k.b.keep(plumbing.TreeObject, b); err != nil {
		return extent{}, k.fault(where, err)
	}
	d, ok := k.b.r.dirs.get(b)
	if !ok {
		var err error
		if d, err = readDir(k.b, b); err != nil {
			return extent{}, k.fault(where, err)
		}
		k.b.remember(b, d)
	}
	if _, err := k.b.keep(plumbing.BlobObject, d.sidecar); err != nil {
		return extent{}, k.fault(where, err)
	}
	before := &dir{}
	if !a.IsZero() {
		var err error
		if before, err = k.b.loadDir(a); err != nil {
			return extent{}, err
		}
	}
	e := extent{entries: len(d.items)}
	for i := range d.items {
		it := &d.items[i]
		sub, err := k.item(before.item(it.name), it, below(path, it.name))
		if err != nil {
			return e, err
		}
		e.entries += sub.entries
		e.longest = max(e.longest, len(it.name)+1+sub.longest)
		if e.entries > entriesMax || len(path)+e.longest > pathMax {
			return e, malformed("%.100s holds too many entries, or too deep ones", where)
		}
	}
	k.seen[b] = e
	return e, nil
}

func (k *checker) item(was, it *item, p state.Path) (extent, error) {
	if it.kind == state.Dir {
		old := plumbing.ZeroHash
		if was != nil && was.kind == state.Dir {
			old = was.hash
		}
		return k.tree(old, it.hash, p)
	}
	if was != nil && was.kind != state.Dir && was.hash == it.hash && was.size == it.size {
		return extent{}, nil
	}
	if err := p.Check(); err != nil {
		return extent{}, malformed("%v", err)
	}
	size, err := k.b.keep(plumbing.BlobObject, it.hash)
	if err != nil {
		return extent{}, k.fault(pathWord(p), err)
	}
	if it.kind == state.File && size != it.size {
		return extent{}, malformed("%s has %d bytes where %d are told", pathWord(p), size, it.size)
	}
	if size > k.b.r.opt.MaxFile {
		return extent{}, fmt.Errorf("%s: %w", pathWord(p), ErrTooLarge)
	}
	return extent{}, nil
}

// fault words what is missing in, or wrong with, what was received. Damage to what was here before stays what it is.
func (k *checker) fault(where string, err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return malformed("%s is needed and missing: %v", where, err)
	case errors.Is(err, errDir):
		return malformed("%s: %v", where, err)
	}
	return err
}
