package history

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // git's
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
)

// packWriter writes a packfile object by object, without holding any in memory. Its objects can be read before it is finished.
type packWriter struct {
	dir  string
	f    *os.File
	w    *bufio.Writer
	at   int64
	idx  idxfile.Writer
	offs map[plumbing.Hash]int64
	z    *zlib.Writer
	in   *inflaters

	sealed  []byte // the index
	trailer plumbing.Hash
}

func newPackWriter(dir string, in *inflaters) (*packWriter, error) {
	f, err := os.CreateTemp(dir, "tmp_pack_")
	if err != nil {
		return nil, fmt.Errorf("make a pack: %w", err)
	}
	w := &packWriter{dir: dir, f: f, w: bufio.NewWriterSize(f, 1<<17), offs: map[plumbing.Hash]int64{}, in: in}
	// The number of objects is filled in at the end.
	return w, w.write([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00"))
}

func (w *packWriter) write(b []byte) error {
	n, err := w.w.Write(b)
	w.at += int64(n)
	return err
}

// add appends an object that is deflated already. base is where the object lies that it is a delta to, 0 if it is whole.
func (w *packWriter) add(h plumbing.Hash, typ plumbing.ObjectType, size int64, deflated []byte, base int64) error {
	if _, ok := w.offs[h]; ok {
		return nil
	}
	at := w.at
	head := appendEntryHead(nil, typ, size)
	if typ == plumbing.OFSDeltaObject {
		head = appendBack(head, at-base)
	}
	crc := crc32.Update(crc32.ChecksumIEEE(head), crc32.IEEETable, deflated)
	if err := w.write(head); err != nil {
		return err
	}
	if err := w.write(deflated); err != nil {
		return err
	}
	w.note(h, at, crc)
	return nil
}

// appendBack writes how far back a delta's base lies, the way git does.
func appendBack(b []byte, back int64) []byte {
	var buf [10]byte
	i := len(buf) - 1
	buf[i] = byte(back & 0x7f)
	for back >>= 7; back > 0; back >>= 7 {
		back--
		i--
		buf[i] = byte(back&0x7f) | 0x80
	}
	return append(b, buf[i:]...)
}

func (w *packWriter) note(h plumbing.Hash, at int64, crc uint32) {
	w.offs[h] = at
	w.idx.Add(h, uint64(at), crc)
}

// stream appends a whole object of exactly size bytes and tells its hash.
func (w *packWriter) stream(typ plumbing.ObjectType, size int64, r io.Reader) (plumbing.Hash, error) {
	at := w.at
	head := appendEntryHead(nil, typ, size)
	if err := w.write(head); err != nil {
		return plumbing.ZeroHash, err
	}
	crc := crc32.NewIEEE()
	crc.Write(head)
	sink := writerFunc(func(b []byte) (int, error) { crc.Write(b); return len(b), w.write(b) })
	if w.z == nil {
		var err error
		if w.z, err = zlib.NewWriterLevel(sink, zlib.BestSpeed); err != nil {
			return plumbing.ZeroHash, err
		}
	} else {
		w.z.Reset(sink)
	}
	sum := plumbing.NewHasher(typ, size)
	n, err := io.Copy(io.MultiWriter(w.z, sum), io.LimitReader(r, size+1))
	if err = errors.Join(err, w.z.Close()); err != nil {
		return plumbing.ZeroHash, err
	}
	if n != size {
		return plumbing.ZeroHash, fmt.Errorf("it has not the %d bytes that it had at first: it changed while it was read", size)
	}
	h := sum.Sum()
	if _, twice := w.offs[h]; twice {
		return h, fmt.Errorf("object %s comes twice", h)
	}
	w.note(h, at, crc.Sum32())
	return h, nil
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// reader lets what was written so far be read.
func (w *packWriter) reader() (*pack, error) {
	if err := w.w.Flush(); err != nil {
		return nil, err
	}
	return &pack{name: w.f.Name(), f: w.f, idx: make([]byte, idxFanout+40), z: w.in}, nil
}

func (w *packWriter) drop() {
	w.f.Close()
	os.Remove(w.f.Name())
}

// finish makes the pack durable under its lasting name, and reads it back, since what it is made of is given up after that. After an error
// nothing of it is left.
func (w *packWriter) finish() (*pack, error) {
	p, err := w.finished()
	if err != nil {
		w.drop()
		return nil, fmt.Errorf("write a pack in %s: %w", w.dir, err)
	}
	if err := p.verify(context.Background()); err != nil {
		// Not a *DamagedError: what was recorded is still where it was.
		return nil, fmt.Errorf("a pack just written cannot be read back: %v: check the disks", errors.Join(err, p.f.Close(), os.Remove(p.name+".idx"), os.Remove(p.name+".pack"))) //nolint:errorlint // see above
	}
	return p, nil
}

// seal writes all but the lasting name, and flushes it. It is what takes long; nothing can be added any more.
func (w *packWriter) seal() error {
	if err := w.w.Flush(); err != nil {
		return err
	}
	var count [4]byte
	binary.BigEndian.PutUint32(count[:], uint32(len(w.offs)))
	if _, err := w.f.WriteAt(count[:], 8); err != nil {
		return err
	}
	sum := sha1.New() //nolint:gosec
	if err := hashFile(sum, w.f, w.at); err != nil {
		return err
	}
	w.trailer = plumbing.Hash(sum.Sum(nil))
	if _, err := w.f.WriteAt(w.trailer[:], w.at); err != nil {
		return err
	}
	if err := w.idx.OnFooter(w.trailer); err != nil {
		return err
	}
	mem, err := w.idx.Index()
	if err != nil {
		return err
	}
	var idx bytes.Buffer
	if _, err := idxfile.NewEncoder(&idx).Encode(mem); err != nil {
		return err
	}
	if err := errors.Join(w.f.Chmod(0o400), w.f.Sync()); err != nil {
		return err
	}
	w.sealed = idx.Bytes()
	return nil
}

func (w *packWriter) finished() (*pack, error) {
	if w.sealed == nil {
		if err := w.seal(); err != nil {
			return nil, err
		}
	}
	name := filepath.Join(w.dir, "pack-"+w.trailer.String())
	// The pack first: git and Open look for indexes, and an index must never be without its pack.
	if err := os.Rename(w.f.Name(), name+".pack"); err != nil {
		return nil, err
	}
	if err := syncDir(w.dir); err != nil {
		return nil, errors.Join(err, os.Remove(name+".pack"))
	}
	if err := replaceFile(name+".idx", w.sealed); err != nil {
		return nil, errors.Join(err, os.Remove(name+".pack"))
	}
	w.f.Close()
	return openPack(name, w.in)
}

func hashFile(sum io.Writer, f io.ReaderAt, size int64) error {
	n, err := io.Copy(sum, io.NewSectionReader(f, 0, size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
