package history

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // git's
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// pack is a settled packfile (gitformat-pack(5), version 2) with its index in memory. It is read with ReadAt, so any number of readers may use
// it at once; go-git's own Packfile seeks, and its index fills a map while it is read.
type pack struct {
	name string // without .pack
	f    *os.File
	idx  []byte
	n    int
	z    *inflaters
}

const (
	idxHeads  = 8
	idxFanout = idxHeads + 256*4
	maxChain  = 64 // deltas upon deltas; git's own limit is 50
	maxWhole  = 1 << 30
)

func openPack(name string, z *inflaters) (*pack, error) {
	idx, err := os.ReadFile(name + ".idx")
	if err != nil {
		return nil, fmt.Errorf("read the index of a pack: %w", err)
	}
	damaged := func(what string) error { return &DamagedError{Where: name + ".idx", What: what} }
	if len(idx) < idxFanout+40 || string(idx[:8]) != "\xfftOc\x00\x00\x00\x02" {
		return nil, damaged("it is not an index of version 2")
	}
	if sum := sha1.Sum(idx[:len(idx)-20]); !bytes.Equal(sum[:], idx[len(idx)-20:]) { //nolint:gosec
		return nil, damaged("its checksum does not fit")
	}
	n := int(binary.BigEndian.Uint32(idx[idxFanout-4:]))
	if n > (len(idx)-idxFanout-40)/28 {
		return nil, damaged("it is too short")
	}
	f, err := os.Open(name + ".pack")
	if err != nil {
		return nil, fmt.Errorf("open a pack: %w", err)
	}
	return &pack{name: name, f: f, idx: idx, n: n, z: z}, nil
}

func (p *pack) hash(i int) []byte { return p.idx[idxFanout+20*i : idxFanout+20*i+20] }

func (p *pack) offset(h plumbing.Hash) (int64, bool) {
	lo := 0
	if h[0] > 0 {
		lo = int(binary.BigEndian.Uint32(p.idx[idxHeads+4*(int(h[0])-1):]))
	}
	hi := min(int(binary.BigEndian.Uint32(p.idx[idxHeads+4*int(h[0]):])), p.n)
	for lo < hi {
		mid := (lo + hi) / 2
		switch bytes.Compare(p.hash(mid), h[:]) {
		case 0:
			off := int64(binary.BigEndian.Uint32(p.idx[idxFanout+24*p.n+4*mid:]))
			if off&0x80000000 != 0 {
				at := idxFanout + 28*p.n + 8*int(off&0x7fffffff)
				if at+8 > len(p.idx)-40 {
					return 0, false
				}
				off = int64(binary.BigEndian.Uint64(p.idx[at:]))
			}
			return off, true
		case -1:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, false
}

// entryHead is what stands before an object's bytes in a pack.
type entryHead struct {
	typ  plumbing.ObjectType
	size int64 // inflated; of the delta, if it is one
	data int64 // where the deflated bytes begin
	base int64 // of a delta: the offset of what it changes
}

func (p *pack) head(off int64) (entryHead, error) {
	var buf [40]byte
	n, err := p.f.ReadAt(buf[:], off)
	if n < 3 && err != nil {
		return entryHead{}, p.damaged(off, err)
	}
	r := bytes.NewReader(buf[:n])
	h, err := readEntryHead(r)
	if err != nil {
		return h, p.damaged(off, err)
	}
	switch h.typ {
	case plumbing.OFSDeltaObject:
		var back int64
		for {
			c, err := r.ReadByte()
			if err != nil || back > 1<<48 {
				return h, p.damaged(off, err)
			}
			if back = back<<7 | int64(c&0x7f); c&0x80 == 0 {
				break
			}
			back++
		}
		if h.base = off - back; back <= 0 || h.base < 12 {
			return h, p.damaged(off, errors.New("a delta without a base"))
		}
	case plumbing.REFDeltaObject:
		var ref plumbing.Hash
		if _, err := io.ReadFull(r, ref[:]); err != nil {
			return h, p.damaged(off, err)
		}
		var ok bool
		if h.base, ok = p.offset(ref); !ok || h.base == off {
			return h, p.damaged(off, errors.New("a delta without a base"))
		}
	}
	h.data = off + int64(n-r.Len())
	return h, nil
}

// readEntryHead reads type and size: three bits and four, then seven of each further byte.
func readEntryHead(r io.ByteReader) (entryHead, error) {
	c, err := r.ReadByte()
	if err != nil {
		return entryHead{}, err
	}
	h := entryHead{typ: plumbing.ObjectType(c >> 4 & 7), size: int64(c & 15)}
	for shift := 4; c&0x80 != 0; shift += 7 {
		if c, err = r.ReadByte(); err != nil {
			return h, err
		}
		if shift > 50 {
			return h, errors.New("the size of an object is not possible")
		}
		h.size |= int64(c&0x7f) << shift
	}
	if !h.typ.Valid() || h.typ == plumbing.TagObject {
		return h, fmt.Errorf("an object of type %d", h.typ)
	}
	return h, nil
}

func appendEntryHead(b []byte, typ plumbing.ObjectType, size int64) []byte {
	c := byte(typ)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		b = append(b, c|0x80)
		c = byte(size & 0x7f)
	}
	return append(b, c)
}

// stat gives an object's type and size.
func (p *pack) stat(off int64) (plumbing.ObjectType, int64, error) {
	h, err := p.head(off)
	if err != nil || !h.typ.IsDelta() {
		return h.typ, h.size, err
	}
	// A delta begins with the sizes of its base and of its result.
	zr, err := p.z.open(io.NewSectionReader(p.f, h.data, 1<<20))
	if err != nil {
		return 0, 0, p.damaged(off, err)
	}
	defer zr.done()
	var sizes [20]byte
	n, _ := io.ReadFull(zr, sizes[:])
	_, a := binary.Uvarint(sizes[:n])
	if a <= 0 {
		return 0, 0, p.damaged(off, errors.New("a delta without sizes"))
	}
	size, b := binary.Uvarint(sizes[a:n])
	if b <= 0 || size > maxWhole {
		return 0, 0, p.damaged(off, errors.New("a delta without sizes"))
	}
	for range maxChain {
		if h, err = p.head(h.base); err != nil || !h.typ.IsDelta() {
			return h.typ, int64(size), err
		}
	}
	return 0, 0, p.damaged(off, errors.New("too many deltas upon each other"))
}

// read gives a whole object.
func (p *pack) read(off int64, chain int) (plumbing.ObjectType, []byte, error) {
	h, err := p.head(off)
	if err != nil {
		return 0, nil, err
	}
	if chain > maxChain {
		return 0, nil, p.damaged(off, errors.New("too many deltas upon each other"))
	}
	b, err := p.inflate(h)
	if err != nil {
		return 0, nil, p.damaged(off, err)
	}
	if !h.typ.IsDelta() {
		return h.typ, b, nil
	}
	typ, base, err := p.read(h.base, chain+1)
	if err != nil {
		return 0, nil, err
	}
	out, err := packfile.PatchDelta(base, b)
	if err != nil {
		return 0, nil, p.damaged(off, err)
	}
	return typ, out, nil
}

func (p *pack) inflate(h entryHead) ([]byte, error) {
	return p.z.readAll(io.NewSectionReader(p.f, h.data, 1<<62-h.data), h.size)
}

// open streams an object's bytes. Deltas are made of small objects only, and are put together in memory.
func (p *pack) open(off int64) (io.ReadCloser, int64, error) {
	h, err := p.head(off)
	if err != nil {
		return nil, 0, err
	}
	if h.typ.IsDelta() {
		_, b, err := p.read(off, 0)
		return io.NopCloser(bytes.NewReader(b)), int64(len(b)), err
	}
	zr, err := p.z.open(io.NewSectionReader(p.f, h.data, 1<<62-h.data))
	if err != nil {
		return nil, 0, p.damaged(off, err)
	}
	return zr, h.size, nil
}

func (p *pack) damaged(off int64, err error) error {
	if d, ok := errors.AsType[*DamagedError](err); ok {
		return d
	}
	if errors.Is(err, os.ErrClosed) {
		return err
	}
	return &DamagedError{Where: p.name[strings.LastIndexByte(p.name, '/')+1:] + ".pack", What: fmt.Sprintf("the object at byte %d", off), Err: err}
}
