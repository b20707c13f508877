package history

import (
	"bufio"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // git's
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Export writes, as a git pack of whole objects, what the commit want and those before it need beyond the commits have and those before them.
// Names in have that are not known here are passed over.
func (r *Repo) Export(w io.Writer, have []string, want string) error {
	top, err := r.byID(want)
	if err != nil {
		return err
	}
	known := map[plumbing.Hash]bool{}
	for _, id := range have {
		if isID(id) {
			known[plumbing.NewHash(id)] = true
		}
	}
	// From want back to what is there already, or to the first.
	var line []*commitRec
	base := plumbing.ZeroHash
	for c := top; ; {
		if known[plumbing.NewHash(c.ID)] {
			base = c.tree
			break
		}
		line = append(line, c)
		if c.Parent == "" {
			break
		}
		if c, err = r.byID(c.Parent); err != nil {
			return err
		}
	}
	e := exporter{r: r, seen: map[plumbing.Hash]bool{}}
	for _, c := range slices.Backward(line) {
		if err := e.changes(base, c.tree); err != nil {
			return fmt.Errorf("export commit %s: %w", short(c.ID), err)
		}
		e.add(plumbing.NewHash(c.ID))
		base = c.tree
	}
	if err := e.write(w); err != nil {
		return fmt.Errorf("export commit %s: %w", short(want), err)
	}
	return nil
}

type exporter struct {
	r    *Repo
	seen map[plumbing.Hash]bool
	list []plumbing.Hash
}

func (e *exporter) add(h plumbing.Hash) {
	if !e.seen[h] {
		e.seen[h] = true
		e.list = append(e.list, h)
	}
}

// changes adds what the directory b needs that a, at the same place before, has not.
func (e *exporter) changes(a, b plumbing.Hash) error {
	if a == b || e.seen[b] {
		return nil
	}
	d, err := e.r.loadDir(b)
	if err != nil {
		return err
	}
	before := &dir{}
	if !a.IsZero() {
		if before, err = e.r.loadDir(a); err != nil {
			return err
		}
	}
	if before.sidecar != d.sidecar {
		e.add(d.sidecar)
	}
	for i := range d.items {
		it, was := &d.items[i], before.item(d.items[i].name)
		switch {
		case was != nil && was.hash == it.hash:
		case it.kind != state.Dir:
			e.add(it.hash)
		case was != nil && was.kind == state.Dir:
			err = e.changes(was.hash, it.hash)
		default:
			err = e.changes(plumbing.ZeroHash, it.hash)
		}
		if err != nil {
			return err
		}
	}
	e.add(b)
	return nil
}

func (e *exporter) write(to io.Writer) error {
	sum := sha1.New() //nolint:gosec
	w := bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<16)
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(e.list)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	z, err := zlib.NewWriterLevel(w, zlib.BestSpeed)
	if err != nil {
		return err
	}
	for _, h := range e.list {
		if err := e.object(w, z, h); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = to.Write(sum.Sum(nil))
	return err
}

func (e *exporter) object(w *bufio.Writer, z *zlib.Writer, h plumbing.Hash) error {
	// What was recorded just now lies in memory, deflated.
	if o, p, _, ok := e.r.store.find(h); ok && p == nil {
		_, err := w.Write(appendEntryHead(nil, o.typ, o.size))
		if err == nil {
			_, err = w.Write(o.deflated)
		}
		return err
	}
	rc, typ, size, err := e.r.store.open(h)
	if err != nil {
		return err
	}
	defer rc.Close()
	if _, err := w.Write(appendEntryHead(nil, typ, size)); err != nil {
		return err
	}
	z.Reset(w)
	_, err = io.Copy(z, rc)
	return errors.Join(err, z.Close())
}
