package history

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // git's
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// ImportOptions say what else Import may do.
type ImportOptions struct {
	// Replace lets a line that does not continue the one here take its place, also an older one. What was here stays readable until Pack.
	Replace bool
	// Keep is the line that leads to what was here from then on, so that it stays for good; "" for none. There must be no such line yet, but
	// for one to the same commit.
	Keep state.Branch
}

// Import reads a pack that Export wrote, of at most limit bytes when inflated, and puts branch to the commit head in it. When it returns without
// an error that is durable. Otherwise nothing was kept: ErrMalformed (not a history of ours, or something missing), ErrTooLarge, *DivergedError,
// *ReplayedError, or trouble with reading or with the disk. To have the head already is no error.
func (r *Repo) Import(src io.Reader, limit int64, branch state.Branch, head string, o ImportOptions) (state.Commit, error) {
	if err := checkBranch(branch); err != nil || !isID(head) {
		return state.Commit{}, malformed("line %.80q at %.80q", string(branch), head)
	}
	// A peer may be slow, or hang: nobody waits for it here. What the pack leaves out because it is here already is looked at again below.
	b := r.newBatch()
	defer b.drop()
	err := b.readPack(src, limit)
	r.wmu.Lock()
	defer r.wmu.Unlock()
	if err == nil {
		err = r.writable()
	}
	var c state.Commit
	if err == nil {
		c, err = b.take(branch, plumbing.NewHash(head), o)
	}
	if err != nil {
		return state.Commit{}, fmt.Errorf("receive commit %s: %w", short(head), err)
	}
	r.settleSoon()
	return c, nil
}

// take looks at what was read, and makes it durable.
func (b *batch) take(branch state.Branch, head plumbing.Hash, o ImportOptions) (state.Commit, error) {
	in := checker{b: b, seen: map[plumbing.Hash]extent{}}
	c, err := in.line(branch, head, o.Replace)
	if err != nil {
		return state.Commit{}, err
	}
	at, exists := b.r.head(branch)
	if exists && at == head {
		return c.Commit, nil
	}
	if o.Replace {
		if exists && o.Keep != "" {
			if err := b.r.keep(at, o.Keep); err != nil {
				return state.Commit{}, err
			}
		}
		b.r.mu.Lock()
		b.r.moved = true
		b.r.mu.Unlock()
	}
	return c.Commit, b.commit(branch, head, c.Commit)
}

// keep makes a new line that leads to the commit at.
func (r *Repo) keep(at plumbing.Hash, as state.Branch) error {
	if err := checkBranch(as); err != nil {
		return fmt.Errorf("keep what is here: %w", err)
	}
	switch was, exists := r.head(as); {
	case exists && was == at:
		return nil // by an attempt that did not come to its end
	case exists:
		return fmt.Errorf("keep what is here: there is a line %q already", as)
	}
	c, err := r.commit(at)
	if err == nil {
		err = r.newBatch().commit(as, at, c.Commit)
	}
	if err != nil {
		return fmt.Errorf("keep what is here: %w", err)
	}
	return nil
}

// packReader gives bytes one by one where inflating needs that, so that nothing beyond an object's end is taken, and sums what was taken.
type packReader struct {
	src    io.Reader
	buf    []byte
	at     int // of buf: taken
	summed int // of buf: in sum
	taped  int // of buf: on tape
	tape   []byte
	large  bool // nothing is taped
	sum    hash.Hash
	left   int64
	err    error // of src
}

func (p *packReader) fill() error {
	if p.at < len(p.buf) {
		return nil
	}
	if p.err != nil {
		return p.err
	}
	p.digest()
	if cap(p.buf) == 0 {
		p.buf = make([]byte, 1<<16)
	}
	p.buf = p.buf[:cap(p.buf)]
	n, err := io.ReadAtLeast(p.src, p.buf, 1)
	p.buf, p.at, p.summed, p.taped, p.err = p.buf[:n], 0, 0, 0, err
	if p.left -= int64(n); p.left < 0 {
		p.err = ErrTooLarge
		p.buf = p.buf[:0]
	}
	return p.err
}

// digest brings all that was taken into the sum and onto the tape.
func (p *packReader) digest() {
	p.sum.Write(p.buf[p.summed:p.at])
	if !p.large {
		p.tape = append(p.tape, p.buf[p.taped:p.at]...)
	}
	p.summed, p.taped = p.at, p.at
}

// rewind begins a new tape.
func (p *packReader) rewind() {
	p.digest()
	p.tape = p.tape[:0]
}

func (p *packReader) ReadByte() (byte, error) {
	if err := p.fill(); err != nil {
		return 0, err
	}
	p.at++
	return p.buf[p.at-1], nil
}

func (p *packReader) Read(b []byte) (int, error) {
	if err := p.fill(); err != nil {
		return 0, err
	}
	n := copy(b, p.buf[p.at:])
	p.at += n
	return n, nil
}

// fault tells trouble with the connection or the disk, which passes, from a pack that is not as it has to be.
func (p *packReader) fault(err error) error {
	var path *fs.PathError
	switch {
	case p.err != nil && !errors.Is(p.err, io.EOF):
		return p.err
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrMalformed), errors.As(err, &path):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("it is cut short")
	}
	return malformed("%v", err)
}

// readPack takes a pack's objects into the batch, those that are here already left out.
func (b *batch) readPack(src io.Reader, limit int64) error {
	p := &packReader{src: src, sum: sha1.New(), left: limit} //nolint:gosec
	var head [12]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return p.fault(err)
	}
	if string(head[:8]) != "PACK\x00\x00\x00\x02" {
		return malformed("it does not begin like one")
	}
	left := limit
	for n := binary.BigEndian.Uint32(head[8:]); n > 0; n-- {
		size, err := b.readObject(p, left)
		if err != nil {
			return p.fault(err)
		}
		left -= size
	}
	p.digest()
	want := p.sum.Sum(nil)
	var got [20]byte
	if _, err := io.ReadFull(p, got[:]); err != nil {
		return p.fault(err)
	}
	if !bytes.Equal(got[:], want) {
		return malformed("its checksum does not fit")
	}
	if _, err := p.ReadByte(); err == nil {
		return malformed("something follows its end")
	} else if !errors.Is(err, io.EOF) {
		return p.fault(err)
	}
	return nil
}

func (b *batch) readObject(p *packReader, left int64) (int64, error) {
	h, err := readEntryHead(p)
	if err != nil {
		return 0, err
	}
	p.rewind()
	if h.typ.IsDelta() {
		return 0, malformed("it holds a difference to something else")
	}
	if h.size > left || h.size > maxWhole {
		return 0, ErrTooLarge
	}
	zr, err := b.r.store.z.open(p)
	if err != nil {
		return 0, err
	}
	defer zr.done()
	if h.typ == plumbing.BlobObject && h.size > wholeAt {
		p.large = true
		defer func() { p.large = false }()
		_, err := b.stream(h.typ, h.size, zr)
		return h.size, err
	}
	content, err := readSized(zr, h.size)
	if err != nil {
		return 0, err
	}
	// It is kept as the sender deflated it, which is half of the work saved.
	p.digest()
	id := plumbing.ComputeHash(h.typ, content)
	if b.own(id) || b.r.store.fresh(id) {
		return h.size, nil
	}
	return h.size, b.add(id, object{typ: h.typ, size: h.size, deflated: bytes.Clone(p.tape)})
}
