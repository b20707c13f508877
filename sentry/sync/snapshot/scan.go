package snapshot

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// ScanOptions of a scan. The zero value is usable.
type ScanOptions struct {
	// Skip leaves out a path and all below it.
	Skip func(state.Path) bool
	// Known may tell the hash of a file with this stamp, so that its bytes need not be read; "" if it is not known.
	Known func(state.Path, Stamp) state.Hash
}

// Scan yields every entry at and below roots, in the order of the paths (that of strings.Compare). Roots that do not exist hold nothing. Of
// the names of one file the smallest has Entry.Hard empty, the others name it.
//
// An entry that cannot be kept or read is yielded with an error and only its path, and the scan goes on (*NotKeptError, *TooLargeError,
// ErrBusy and others). Two errors come with an empty path and end it: that of ctx, and *TooManyError. What is mounted below a root (the
// image's own files) is passed over in silence, as are names that begin with TempPrefix.
func (t *Tree) Scan(ctx context.Context, roots []state.Path, o ScanOptions) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		s := &scan{tree: t, ctx: ctx, opts: o, names: t.names.Now(), yield: yield, first: map[Inode]state.Path{}}
		// Roots nest and meet like entries of a directory do, see dir.
		var steps []string
		roots = slices.Clone(roots)
		slices.Sort(roots)
		for _, r := range slices.Compact(roots) {
			if !slices.ContainsFunc(roots, func(q state.Path) bool { return q != r && r.Under(q) }) {
				steps = append(steps, string(r), string(r)+"/")
			}
		}
		slices.Sort(steps)
		for _, p := range steps {
			if !s.root(p) {
				return
			}
		}
	}
}

type scan struct {
	tree  *Tree
	ctx   context.Context //nolint:containedctx // lives as long as the loop over it
	opts  ScanOptions
	names Table
	yield func(Item, error) bool
	first map[Inode]state.Path // of files with several names: the smallest one
	n     int
	most  TooManyError
}

// root scans one step: "etc" the entry itself, "etc/" what is in it.
func (s *scan) root(step string) bool {
	p := state.Path(strings.TrimSuffix(step, "/"))
	if err := p.Check(); err != nil {
		return s.yield(Item{Path: p}, err)
	}
	if s.opts.Skip != nil && s.opts.Skip(p) {
		return true
	}
	d, err := s.tree.dir(p.Dir())
	if err != nil {
		return gone(err) || s.yield(Item{Path: p}, err)
	}
	defer d.Close()
	if strings.HasSuffix(step, "/") {
		return s.below(d, p)
	}
	return s.entry(d, p, true)
}

func gone(err error) bool { // nothing is there, or what is there is no directory
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// entry yields p, which lies in d.
func (s *scan) entry(d *os.File, p state.Path, root bool) bool {
	if err := s.ctx.Err(); err != nil {
		s.yield(Item{}, err)
		return false
	}
	if s.n++; s.n > s.tree.opts.MaxEntries {
		s.most.Limit = s.tree.opts.MaxEntries
		s.yield(Item{}, &s.most)
		return false
	}
	if !root {
		if m, err := statAt(int(d.Fd()), p.Base(), 0); err == nil && m.mount() {
			return true
		}
	}
	it, err := s.tree.readAt(d, p, s.names, nil, s.opts.Known)
	switch {
	case err != nil && gone(err):
		return true
	case err != nil:
		return s.yield(Item{Path: p}, err)
	}
	if it.Entry.Kind != state.Dir && it.Links > 1 {
		if f, ok := s.first[it.Inode]; ok {
			it.Entry.Hard = f
		} else {
			s.first[it.Inode] = p
		}
	}
	return s.yield(it, nil)
}

// below yields what the directory p, which lies in parent, holds.
func (s *scan) below(parent *os.File, p state.Path) bool {
	d, err := openDir(int(parent.Fd()), string(p.Base()), s.tree.path(p))
	if err != nil {
		return gone(err) || s.yield(Item{Path: p}, err)
	}
	defer d.Close()
	return s.dir(d, p)
}

// dir yields what the open directory p holds. Each subdirectory is two steps, "a" for itself and "a/" for what it holds, so that "a-b"
// comes in between as the order of paths wants it.
func (s *scan) dir(d *os.File, p state.Path) bool {
	steps, ok := s.steps(d, p)
	if !ok {
		return false
	}
	for _, name := range steps {
		child := p + "/" + state.Path(name)
		if sub, ok := strings.CutSuffix(name, "/"); ok {
			child = p + "/" + state.Path(sub)
			if m, err := statAt(int(d.Fd()), sub, 0); err == nil && m.mount() {
				continue
			}
			if !s.below(d, child) {
				return false
			}
			continue
		}
		if !s.entry(d, child, false) {
			return false
		}
	}
	return true
}

func (s *scan) steps(d *os.File, p state.Path) (steps []string, ok bool) {
	held := 0
	for {
		list, err := d.ReadDir(1024)
		for _, e := range list {
			if strings.HasPrefix(e.Name(), TempPrefix) || s.opts.Skip != nil && s.opts.Skip(p+"/"+state.Path(e.Name())) {
				continue
			}
			held++
			steps = append(steps, e.Name())
			if e.IsDir() {
				steps = append(steps, e.Name()+"/")
			}
		}
		if held > s.most.Held {
			s.most.Dir, s.most.Held = p, held
		}
		switch {
		case s.n+held > s.tree.opts.MaxEntries && held > 1024:
			s.most.Limit = s.tree.opts.MaxEntries
			s.yield(Item{}, &s.most)
			return nil, false
		case errors.Is(err, io.EOF):
			slices.Sort(steps)
			return steps, true
		case err != nil:
			return nil, s.yield(Item{Path: p}, err)
		}
	}
}
