package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	// spillAt is how many deflated bytes one commit may bring into the journal, and so into memory. What is more goes into a pack of its own.
	spillAt = 4 << 20
	// wholeAt is the size from which a file is never held in memory.
	wholeAt = 1 << 20
)

// batch gathers the objects of one commit. Nothing of them is to be seen before commit, and nothing is left of them after drop.
type batch struct {
	r     *Repo
	order []plumbing.Hash
	mem   map[plumbing.Hash]object
	bytes int
	pack  *packWriter
	dirs  map[plumbing.Hash]*dir // made by this batch; they go into the cache when it is durable
	cost  int64
}

func (r *Repo) newBatch() *batch {
	return &batch{r: r, mem: map[plumbing.Hash]object{}, dirs: map[plumbing.Hash]*dir{}}
}

func (b *batch) own(h plumbing.Hash) bool {
	if _, ok := b.mem[h]; ok {
		return true
	}
	if b.pack != nil {
		_, ok := b.pack.offs[h]
		return ok
	}
	return false
}

// put adds an object unless it is there. It is for who holds wmu.
func (b *batch) put(typ plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	h := plumbing.ComputeHash(typ, content)
	if b.own(h) || b.r.store.fresh(h) {
		return h, nil
	}
	deflated, err := b.r.z.deflate(content)
	if err != nil {
		return h, err
	}
	return h, b.add(h, object{typ: typ, size: int64(len(content)), deflated: bytes.Clone(deflated)})
}

func (b *batch) add(h plumbing.Hash, o object) error {
	if b.pack == nil && b.bytes+len(o.deflated) > spillAt {
		if err := b.spill(); err != nil {
			return err
		}
	}
	if b.pack != nil {
		return b.pack.add(h, o.typ, o.size, o.deflated, 0)
	}
	b.mem[h] = o
	b.order = append(b.order, h)
	b.bytes += len(o.deflated) + 48
	return nil
}

func (b *batch) spill() error {
	w, err := newPackWriter(b.r.store.dir, b.r.store.z)
	if err != nil {
		return err
	}
	b.pack = w
	for _, h := range b.order {
		o := b.mem[h]
		if err := w.add(h, o.typ, o.size, o.deflated, 0); err != nil {
			return err
		}
	}
	b.order, b.mem, b.bytes = nil, map[plumbing.Hash]object{}, 0
	return nil
}

// putFile adds a file's content as it comes from r.
func (b *batch) putFile(r io.Reader, limit int64) (plumbing.Hash, int64, error) {
	var head bytes.Buffer
	n, err := head.ReadFrom(io.LimitReader(r, wholeAt+1))
	if err != nil {
		return plumbing.ZeroHash, 0, err
	}
	if n > limit {
		return plumbing.ZeroHash, 0, ErrTooLarge
	}
	if n <= wholeAt {
		h, err := b.put(plumbing.BlobObject, head.Bytes())
		return h, n, err
	}
	// Git's hash begins with the size, and a file may grow while it is read: what was read is put down first.
	spool, err := os.CreateTemp(b.r.store.dir, "tmp_file_")
	if err != nil {
		return plumbing.ZeroHash, 0, err
	}
	defer os.Remove(spool.Name())
	defer spool.Close()
	n, err = io.Copy(spool, io.LimitReader(io.MultiReader(&head, r), limit+1))
	if err != nil {
		return plumbing.ZeroHash, 0, err
	}
	if n > limit {
		return plumbing.ZeroHash, 0, ErrTooLarge
	}
	sum := plumbing.NewHasher(plumbing.BlobObject, n)
	if err := hashFile(sum, spool, n); err != nil {
		return plumbing.ZeroHash, 0, err
	}
	h := sum.Sum()
	if b.own(h) || b.r.store.fresh(h) {
		return h, n, nil
	}
	_, err = b.stream(plumbing.BlobObject, n, io.NewSectionReader(spool, 0, n))
	return h, n, err
}

// stream adds a large file, past memory.
func (b *batch) stream(typ plumbing.ObjectType, size int64, r io.Reader) (plumbing.Hash, error) {
	if b.pack == nil {
		if err := b.spill(); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	return b.pack.stream(typ, size, r)
}

// keep makes sure that an object recorded before stays, and tells its size.
func (b *batch) keep(want plumbing.ObjectType, h plumbing.Hash) (int64, error) {
	typ, size, err := b.stat(h)
	if err != nil {
		return 0, err
	}
	if typ != want {
		return 0, fmt.Errorf("object %s is a %s where a %s is needed: %w", h, typ, want, ErrNotFound)
	}
	if b.own(h) || b.r.store.fresh(h) {
		return size, nil
	}
	r, _, _, err := b.r.store.open(h)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	_, err = b.stream(typ, size, r)
	return size, err
}

func (b *batch) get(h plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	if o, ok := b.mem[h]; ok {
		c, err := o.read(b.r.store.z)
		return o.typ, c, err
	}
	if p, off, err := b.written(h); p != nil || err != nil {
		if err != nil {
			return 0, nil, err
		}
		return p.read(off, 0)
	}
	return b.r.store.get(h)
}

func (b *batch) stat(h plumbing.Hash) (plumbing.ObjectType, int64, error) {
	if o, ok := b.mem[h]; ok {
		return o.typ, o.size, nil
	}
	if p, off, err := b.written(h); p != nil || err != nil {
		if err != nil {
			return 0, 0, err
		}
		return p.stat(off)
	}
	return b.r.store.stat(h)
}

func (b *batch) written(h plumbing.Hash) (*pack, int64, error) {
	if b.pack == nil {
		return nil, 0, nil
	}
	off, ok := b.pack.offs[h]
	if !ok {
		return nil, 0, nil
	}
	p, err := b.pack.reader()
	return p, off, err
}

func (b *batch) drop() {
	if b.pack != nil {
		b.pack.drop()
		b.pack = nil
	}
}

// commit makes the batch durable together with the branch's new head c (the zero hash removes the branch). One flush, if it is small enough for
// the journal.
func (b *batch) commit(branch state.Branch, h plumbing.Hash, c state.Commit) error {
	payload := encodeRecord(map[state.Branch]plumbing.Hash{branch: h}, b.order, b.mem)
	var p *pack
	if b.pack != nil && len(b.pack.offs) > 0 {
		w := b.pack
		b.pack = nil
		var err error
		if p, err = w.finish(); err != nil {
			return err
		}
	}
	if err := b.r.journal.append(payload); err != nil {
		// A pack that nothing points to does no harm; the next Pack drops it.
		return err
	}
	s := b.r.store
	s.mu.Lock()
	if p != nil {
		s.packs = append([]*pack{p}, s.packs...)
	}
	maps.Copy(s.mem, b.mem)
	s.order = append(s.order, b.order...)
	s.mu.Unlock()
	b.r.publish(branch, h, c)
	for t, d := range b.dirs {
		b.r.dirs.put(t, d)
	}
	return nil
}

// encodeRecord writes a record's payload: the branches, then the objects.
func encodeRecord(refs map[state.Branch]plumbing.Hash, order []plumbing.Hash, mem map[plumbing.Hash]object) []byte {
	n := 64
	for _, h := range order {
		n += len(mem[h].deflated) + 48
	}
	out := binary.AppendUvarint(make([]byte, 0, n), uint64(len(refs)))
	for name, h := range refs {
		out = binary.AppendUvarint(out, uint64(len(name)))
		out = append(append(out, name...), h[:]...)
	}
	out = binary.AppendUvarint(out, uint64(len(order)))
	for _, h := range order {
		o := mem[h]
		out = append(append(out, byte(o.typ)), h[:]...)
		out = binary.AppendUvarint(out, uint64(o.size))
		out = binary.AppendUvarint(out, uint64(len(o.deflated)))
		out = append(out, o.deflated...)
	}
	return out
}

// decodeRecord is the reverse of encodeRecord. It calls object for each, with bytes that belong to b.
func decodeRecord(b []byte, ref func(state.Branch, plumbing.Hash), obj func(plumbing.Hash, object)) error {
	d := decoder{b: b}
	for range d.number() {
		name := state.Branch(d.bytes(d.number()))
		h := d.hash()
		if d.bad || checkBranch(name) != nil {
			return errors.New("a branch cannot be read")
		}
		ref(name, h)
	}
	for range d.number() {
		typ := plumbing.ObjectType(d.byte())
		h, size := d.hash(), d.number()
		o := object{typ: typ, size: int64(size), deflated: d.bytes(d.number())}
		if d.bad || !typ.Valid() || typ.IsDelta() || size > maxWhole {
			return errors.New("an object cannot be read")
		}
		obj(h, o)
	}
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("%d bytes are left over", len(d.b))
	}
	return nil
}

type decoder struct {
	b   []byte
	bad bool
}

// number reads a count or size; none is larger than the bytes that are left, but for the size of what is inflated.
func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > maxWhole {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (d *decoder) hash() (h plumbing.Hash) {
	copy(h[:], d.bytes(20))
	return h
}
