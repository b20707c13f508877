package carry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A pack that is gathered is one file, whose name tells what it will be: incoming-PACK-BASE-HEAD-SEQ-SIZE. Its length is how much has come.
// It is not synced: a power cut at worst costs the transfer, since the checksum is looked at when it is whole.
const incoming = "incoming-"

// keepPartial is how long a transfer may rest before its part is deleted.
const keepPartial = 7 * 24 * time.Hour

func (o Offer) spoolName() string {
	return fmt.Sprintf("%s%s-%s-%s-%d-%d", incoming, o.Pack, dash(o.Base), o.Head.ID, o.Head.Seq, o.Size)
}

func dash(id string) string {
	if id == "" {
		return "none"
	}
	return id
}

// parseSpool reads a name that spoolName made.
func parseSpool(name string) (Partial, bool) {
	f := strings.Split(strings.TrimPrefix(name, incoming), "-")
	if !strings.HasPrefix(name, incoming) || len(f) != 5 {
		return Partial{}, false
	}
	seq, err1 := strconv.ParseUint(f[3], 10, 64)
	size, err2 := strconv.ParseInt(f[4], 10, 64)
	p := Partial{Pack: f[0], Base: f[1], Head: Point{ID: f[2], Seq: seq}, Size: size}
	if p.Base == "none" {
		p.Base = ""
	}
	if err1 != nil || err2 != nil || (State{Partial: &p}).check() != nil {
		return Partial{}, false
	}
	return p, true
}

// partial is what is being gathered, nil if nothing is.
func (r *Receiver) partial() *Partial {
	list, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		return nil
	}
	for _, e := range list {
		p, ok := parseSpool(e.Name())
		if !ok {
			continue
		}
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() && st.Size() <= p.Size {
			p.Got = st.Size()
			return &p
		}
	}
	return nil
}

// sweep deletes parts that nobody will ask for again.
func (r *Receiver) sweep() error {
	list, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), incoming) {
			continue
		}
		_, ok := parseSpool(e.Name())
		if st, err := e.Info(); err != nil || !ok || r.clock.Now().Sub(st.ModTime()) > keepPartial {
			_ = os.RemoveAll(filepath.Join(r.cfg.Dir, e.Name()))
		}
	}
	return nil
}

// drop deletes what was gathered. Only who holds the token may call it.
func (r *Receiver) drop() { r.dropBut("") }

func (r *Receiver) dropBut(keep string) {
	list, _ := os.ReadDir(r.cfg.Dir)
	for _, e := range list {
		if strings.HasPrefix(e.Name(), incoming) && e.Name() != keep {
			os.Remove(filepath.Join(r.cfg.Dir, e.Name()))
		}
	}
}

// gather adds a piece of n bytes to the pack's file. It gives the file, at its beginning, once it is whole, else nil. What has come of a
// piece that was cut stays.
func (r *Receiver) gather(body io.Reader, o Offer, n int64) (*os.File, error) {
	name := o.spoolName()
	r.dropBut(name)
	f, err := os.OpenFile(filepath.Join(r.cfg.Dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, wordDisk(err)
	}
	whole := false
	defer func() {
		if !whole {
			f.Close()
		}
	}()
	got, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, wordDisk(err)
	}
	if got != o.Offset {
		st := r.state()
		ref := refuse(CodeBase, "server %s has %d bytes of these changes, and was sent what begins at %d", r.cfg.Server, got, o.Offset)
		ref.state = &st
		return nil, ref
	}
	more, err := io.CopyN(struct{ io.Writer }{f}, body, n)
	got += more
	r.board.change(func(p *Progress) { p.Got, p.Size = got, o.Size })
	if err != nil {
		if _, disk := errors.AsType[*os.PathError](err); disk {
			r.drop() // gives the room back
			return nil, wordDisk(err)
		}
		return nil, refuse(CodeCut, "the changes did not arrive whole: %v", err)
	}
	if got < o.Size {
		return nil, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, wordDisk(err)
	}
	whole = true
	return f, nil
}

func wordDisk(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return refuse(CodeFull, "no room is left on the disk set for the changes that arrive: %v", err)
	}
	return refuse(CodeFailed, "the changes that arrive cannot be kept: %v", err)
}

// verify compares a whole pack with the checksum that was told, and leaves it at its beginning.
func verify(pack packReader, o Offer) error {
	h := sha256.New()
	if _, err := io.Copy(h, pack); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != o.Pack {
		return refuse(CodeGarbage, "the changes that arrived are not those that server %s announced: the checksum differs", o.Server)
	}
	_, err := pack.Seek(0, io.SeekStart)
	return err
}

// steady reads a request's body as long as something comes: a pause, or a rate that would take forever, ends it.
type steady struct {
	r     io.Reader
	rc    *http.ResponseController
	stall time.Duration
	until time.Time // the whole must have come
	err   error     // of reading

	mu   sync.Mutex
	over bool // cut, or all read: deadlines are not touched any more
}

func newSteady(w http.ResponseWriter, req *http.Request, stall time.Duration) *steady {
	s := &steady{r: req.Body, rc: http.NewResponseController(w), stall: stall}
	s.until = time.Now().Add(3*stall + time.Duration(max(req.ContentLength, 0))*time.Second/slowest)
	_ = s.rc.SetWriteDeadline(time.Time{}) // set again before the answer
	return s
}

func (s *steady) Read(p []byte) (int, error) {
	s.mu.Lock()
	if !s.over {
		_ = s.rc.SetReadDeadline(earlier(time.Now().Add(s.stall), s.until))
	}
	s.mu.Unlock()
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// cut ends the reading now, from another goroutine.
func (s *steady) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		_ = s.rc.SetReadDeadline(time.Unix(1, 0))
	}
}

// finished ends the limits of time: what comes now is our own work.
func (s *steady) finished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		_ = s.rc.SetReadDeadline(time.Time{})
	}
}

// drain reads what is left of a piece.
func (s *steady) drain(limit int64) { _, _ = io.Copy(io.Discard, io.LimitReader(s, limit+maxOffer)) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
