package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// object is one that the journal holds and the packs do not yet.
type object struct {
	typ      plumbing.ObjectType
	size     int64
	deflated []byte
}

func (o object) read(z *inflaters) ([]byte, error) {
	return z.readAll(bytes.NewReader(o.deflated), o.size)
}

// source is where objects are read from: the store, or the store and what is about to be added to it.
type source interface {
	get(h plumbing.Hash) (plumbing.ObjectType, []byte, error)
	stat(h plumbing.Hash) (plumbing.ObjectType, int64, error)
}

// store finds objects in the journal's part in memory, and in the packs. Readers may use it while a writer adds to it.
type store struct {
	dir string // repo.git/objects/pack
	z   *inflaters

	mu    sync.RWMutex
	mem   map[plumbing.Hash]object
	order []plumbing.Hash // of mem, as they came
	packs []*pack         // the newest first
	old   []*pack         // packs that are being replaced: see Pack. What is in these only has to be kept anew.
}

func openStore(dir string) (*store, error) {
	s := &store{dir: dir, z: &inflaters{}, mem: map[plumbing.Hash]object{}}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	have := map[string]bool{}
	for _, e := range list {
		have[e.Name()] = true
	}
	for _, e := range list {
		name := e.Name()
		base, isIdx := strings.CutSuffix(name, ".idx")
		base2, isPack := strings.CutSuffix(name, ".pack")
		switch {
		case isIdx && !have[base+".pack"]:
			return nil, &DamagedError{Where: filepath.Join(dir, name), What: "its pack is missing"}
		case isIdx:
			p, err := openPack(filepath.Join(dir, base), s.z)
			if err != nil {
				return nil, err
			}
			s.packs = append(s.packs, p)
		case strings.HasPrefix(name, "tmp_"), strings.HasSuffix(name, ".new"), isPack && !have[base2+".idx"]:
			// A power cut came before it was finished: the journal still has what is in it, or it was never acknowledged.
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("clear away an unfinished pack: %w", err)
			}
		}
	}
	return s, nil
}

func (s *store) find(h plumbing.Hash) (object, *pack, int64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o, ok := s.mem[h]; ok {
		return o, nil, 0, true
	}
	for _, p := range s.packs {
		if off, ok := p.offset(h); ok {
			return object{}, p, off, true
		}
	}
	return object{}, nil, 0, false
}

// fresh tells whether h is kept, and not only in packs that are about to go.
func (s *store) fresh(h plumbing.Hash) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, ok := s.mem[h]; ok {
		return true
	}
	for _, p := range s.packs {
		if _, ok := p.offset(h); ok && !slices.Contains(s.old, p) {
			return true
		}
	}
	return false
}

func (s *store) get(h plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	o, p, off, ok := s.find(h)
	if !ok {
		return 0, nil, missing(h)
	}
	var b []byte
	var err error
	if p == nil {
		b, err = o.read(s.z)
	} else {
		o.typ, b, err = p.read(off, 0)
	}
	if err == nil && plumbing.ComputeHash(o.typ, b) != h {
		err = errors.New("its bytes do not fit its name")
	}
	if err != nil {
		return 0, nil, damagedObject(h, err)
	}
	return o.typ, b, nil
}

func (s *store) stat(h plumbing.Hash) (plumbing.ObjectType, int64, error) {
	o, p, off, ok := s.find(h)
	if !ok {
		return 0, 0, missing(h)
	}
	if p == nil {
		return o.typ, o.size, nil
	}
	return p.stat(off)
}

// open streams an object; a reader that comes to the end knows that the bytes are those of h.
func (s *store) open(h plumbing.Hash) (io.ReadCloser, plumbing.ObjectType, int64, error) {
	o, p, off, ok := s.find(h)
	if !ok {
		return nil, 0, 0, missing(h)
	}
	var r io.ReadCloser
	size, err := o.size, error(nil)
	if p == nil {
		r, err = s.z.open(bytes.NewReader(o.deflated))
	} else if o.typ, _, err = p.stat(off); err == nil {
		r, size, err = p.open(off)
	}
	if err != nil {
		return nil, 0, 0, damagedObject(h, err)
	}
	return &checkedReader{r: r, h: h, left: size, sum: plumbing.NewHasher(o.typ, size)}, o.typ, size, nil
}

type checkedReader struct {
	r    io.ReadCloser
	h    plumbing.Hash
	left int64
	sum  plumbing.Hasher
}

func (c *checkedReader) Close() error { return c.r.Close() }

func (c *checkedReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.left -= int64(n)
	c.sum.Write(b[:n])
	switch {
	case c.left < 0 || errors.Is(err, io.EOF) && c.left > 0:
		return 0, damagedObject(c.h, errors.New("its size is not the one told"))
	case errors.Is(err, io.EOF) && c.sum.Sum() != c.h:
		return 0, damagedObject(c.h, errors.New("its bytes do not fit its name"))
	case err != nil && !errors.Is(err, io.EOF):
		return n, damagedObject(c.h, err)
	}
	return n, err
}

func missing(h plumbing.Hash) error { return fmt.Errorf("object %s: %w", h, ErrNotFound) }

func damagedObject(h plumbing.Hash, err error) error {
	if d, ok := errors.AsType[*DamagedError](err); ok {
		return d
	}
	return &DamagedError{Where: "object " + h.String(), What: "it cannot be read", Err: err}
}
