package carry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// pack is what brings a receiver from base to head.
type pack struct {
	base string
	head Point
	id   string // SHA-256, hex
	size int64
	data []byte // nil if it is in a file
	path string
	refs int // links that send it; of packs.mu
}

// piece reads n bytes at offset.
func (p *pack) piece(offset, n int64) (io.Reader, func(), error) {
	if p.data != nil {
		return bytes.NewReader(p.data[offset : offset+n]), func() {}, nil
	}
	f, err := os.Open(p.path)
	if err != nil {
		return nil, nil, err
	}
	return io.NewSectionReader(f, offset, n), func() { f.Close() }, nil
}

// packs makes packs, each once for all links that want the same. Large ones are files, which outlive the daemon: outgoing-PACK-BASE-HEAD-SEQ-SIZE.
type packs struct {
	dir   string
	store Exporter
	lim   Limits
	clock Clock

	mu     sync.Mutex
	ctx    context.Context
	making map[string]*making
	small  []*pack // newest last
	large  map[string]*pack
}

type making struct {
	done chan struct{}
	p    *pack
	err  error
}

const (
	outgoing  = "outgoing-"
	unwanted  = 24 * time.Hour // a file that no link asked for is deleted after
	keepSmall = 4
)

func newPacks(dir string, store Exporter, lim Limits, clock Clock) *packs {
	return &packs{dir: dir, store: store, lim: lim, clock: clock, making: map[string]*making{}, large: map[string]*pack{}}
}

// start finds the files of an earlier run.
func (s *packs) start(ctx context.Context) error {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.large = ctx, map[string]*pack{}
	for _, e := range list {
		rest, ok := strings.CutPrefix(e.Name(), outgoing)
		if !ok {
			continue
		}
		path := filepath.Join(s.dir, e.Name())
		q, ok := parseSpool(incoming + rest)
		st, err := e.Info()
		if !ok || err != nil || st.Size() != q.Size || s.clock.Now().Sub(st.ModTime()) > unwanted {
			os.Remove(path)
			continue
		}
		s.large[q.Pack] = &pack{base: q.Base, head: q.Head, id: q.Pack, size: q.Size, path: path}
	}
	return nil
}

// find gives the large pack id, if it is still there. The caller releases it.
func (s *packs) find(id string) *pack {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.large[id]
	if p != nil {
		p.refs++
	}
	return p
}

// get gives the pack from base to head. The caller releases it if it is large.
func (s *packs) get(ctx context.Context, base string, head Point) (*pack, error) {
	for {
		p, m, mine := s.claim(base, head)
		switch {
		case p != nil:
			return p, nil
		case mine:
			m.p, m.err = s.export(base, head)
			s.mu.Lock()
			delete(s.making, base+head.ID)
			if m.err == nil && m.p.data != nil {
				s.small = append(s.small, m.p)
				s.small = s.small[max(0, len(s.small)-keepSmall):]
			} else if m.err == nil {
				s.large[m.p.id] = m.p
				m.p.refs++
			}
			s.mu.Unlock()
			close(m.done)
			return m.p, m.err
		}
		select {
		case <-m.done:
			if m.err != nil {
				return nil, m.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// claim finds a pack, or who makes it; mine: the caller shall.
func (s *packs) claim(base string, head Point) (p *pack, m *making, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.small {
		if p.base == base && p.head == head {
			return p, nil, false
		}
	}
	for _, p := range s.large {
		if p.base == base && p.head == head {
			p.refs++
			return p, nil, false
		}
	}
	if m := s.making[base+head.ID]; m != nil {
		return nil, m, false
	}
	m = &making{done: make(chan struct{})}
	s.making[base+head.ID] = m
	return nil, m, true
}

// release tells that a link does not send p any more.
func (s *packs) release(p *pack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.data != nil {
		return
	}
	if p.refs--; p.refs <= 0 && s.ctx.Err() == nil { // at the end of the daemon it is kept for the next
		delete(s.large, p.id)
		os.Remove(p.path)
	}
}

// forget has p made anew when it is wanted next.
func (s *packs) forget(p *pack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.data == nil {
		delete(s.large, p.id)
		return
	}
	for i, q := range s.small {
		if q == p {
			s.small = append(s.small[:i:i], s.small[i+1:]...)
			return
		}
	}
}

func (s *packs) export(base string, head Point) (*pack, error) {
	w := &spill{ctx: s.ctx, dir: s.dir, limit: s.lim.Memory, most: s.lim.Pack, sum: sha256.New()}
	defer w.close()
	var have []string
	if base != "" {
		have = []string{base}
	}
	if err := s.store.Export(w, have, head.ID); err != nil {
		return nil, err
	}
	p := &pack{base: base, head: head, id: hex.EncodeToString(w.sum.Sum(nil)), size: w.size}
	switch {
	case w.size == 0:
		return nil, errors.New("the history gave an empty pack")
	case w.f == nil:
		p.data = w.buf
		return p, nil
	}
	o := Offer{Base: base, Head: head, Pack: p.id, Size: p.size}
	p.path = filepath.Join(s.dir, outgoing+strings.TrimPrefix(o.spoolName(), incoming))
	if err := w.f.Sync(); err != nil { // else after a power cut a file of the right name could hold something else
		return nil, err
	}
	if err := os.Rename(w.f.Name(), p.path); err != nil {
		return nil, err
	}
	return p, nil
}

// spill keeps what is written to it in memory, and from limit on in a file.
type spill struct {
	ctx   context.Context
	dir   string
	limit int64 // of memory
	most  int64
	sum   hash.Hash
	size  int64
	buf   []byte
	f     *os.File
}

func (w *spill) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if w.size+int64(len(p)) > w.most {
		return 0, fmt.Errorf("the changes are more than the %d bytes that can be sent", w.most)
	}
	if w.f == nil && w.size+int64(len(p)) > w.limit {
		f, err := os.CreateTemp(w.dir, outgoing+"new-*")
		if err != nil {
			return 0, err
		}
		w.f = f
		if _, err := f.Write(w.buf); err != nil {
			return 0, err
		}
		w.buf = nil
	}
	if w.f == nil {
		w.buf = append(w.buf, p...)
	} else if _, err := w.f.Write(p); err != nil {
		return 0, err
	}
	w.sum.Write(p)
	w.size += int64(len(p))
	return len(p), nil
}

// close deletes the file unless it got its name.
func (w *spill) close() {
	if w.f != nil {
		w.f.Close()
		os.Remove(w.f.Name())
	}
}
