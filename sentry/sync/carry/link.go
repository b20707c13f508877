package carry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// link is what the sender has with one peer: a goroutine that sends (carry) and one that waits for news (listen), each with connections
// of its own.
type link struct {
	s      *Sender
	peer   siteconf.Peer
	ctx    context.Context
	cancel context.CancelFunc
	out    *peers.Line
	in     *peers.Line
	wake   chan struct{} // there is more to send
	greet  chan struct{} // say hello again
	retry  chan struct{} // the peer is back: do not wait any longer

	has   *State       // by the peer's last answer; nil = say hello first. Of carry alone
	pack  *pack        // large one on its way. Of carry alone
	apart bool         // what it has is not in our history. Guarded by s.mu
	order state.Branch // by Sender.Replace, while they are apart. Guarded by s.mu
	// rounds counts answers in a row that only told to ask differently. Of carry alone.
	rounds int

	// Guarded by s.mu.
	up         bool
	reached    time.Time
	versions   Versions
	received   Point
	receivedAt time.Time
	sent, size int64
	sendErr    error
	hearErr    error
	report     Progress
	newsAt     time.Time // when report changed
	reportAt   time.Time // when it was told or confirmed
	began      time.Time
}

// maxRounds of them are an error, which waits.
const maxRounds = 3

func newLink(ctx context.Context, s *Sender, p siteconf.Peer) (*link, error) {
	out, err := s.cfg.Client.Line(p)
	if err != nil {
		return nil, err
	}
	in, err := s.cfg.Client.Line(p)
	if err != nil {
		return nil, err
	}
	l := &link{
		s: s, peer: p, out: out, in: in, wake: make(chan struct{}, 1), greet: make(chan struct{}, 1), retry: make(chan struct{}, 1), began: s.clock.Now(),
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l, nil
}

// carry sends until the link ends.
func (l *link) carry() {
	defer l.out.Close()
	defer l.keep(nil)
	wait := backoff{longest: l.s.lim.Backoff}
	for l.ctx.Err() == nil {
		again, err := l.step()
		if l.ctx.Err() != nil {
			return
		}
		l.outcome(&l.sendErr, err)
		if err != nil {
			l.has, l.rounds = nil, 0
			pause, wake := wait.next(), (chan struct{})(nil)
			switch CodeOf(err) {
			case "":
			case CodeFull, CodeGarbage, CodeFailed, CodeSize:
				// It would most likely be refused again, after all has been sent again. Something newer may fare better.
				pause, wake = 12*l.s.lim.Backoff, l.wake
			default:
				wake = l.wake
			}
			select {
			case <-l.ctx.Done():
			case <-l.s.clock.After(pause):
			case <-wake:
			case <-l.retry:
				wait.reset()
			}
			continue
		}
		if again {
			continue
		}
		wait.reset()
		select {
		case <-l.ctx.Done():
		case <-l.wake:
		case <-l.greet:
			l.has = nil
		case <-l.s.clock.After(l.s.lim.Beat):
			l.has = nil
		}
	}
}

// step is one exchange with the peer, if there is anything to say. again: there may be more.
func (l *link) step() (again bool, err error) {
	if l.has == nil {
		return true, l.hello()
	}
	if l.has.Busy {
		select {
		case <-l.ctx.Done():
		case <-l.s.clock.After(200 * time.Millisecond):
		}
		l.has = nil
		return true, nil
	}
	_, want := l.s.Head()
	if want.ID == "" || want.ID == l.has.Head.ID {
		l.parted(false)
		l.keep(nil)
		return false, nil
	}
	base, more, err := l.base(want)
	if err != nil {
		return false, err
	}
	if !more {
		l.keep(nil)
		return false, nil
	}
	p, err := l.choose(base, want)
	if err != nil {
		return false, err
	}
	return true, l.push(p)
}

// base gives the commit that the peer has and a pack can build on, "" for none. more: there is something to send up to want. The lines are
// compared here, since a pack from a commit that is not on the line would hold everything from the first on, and be refused after that.
func (l *link) base(want Point) (base string, more bool, err error) {
	has := l.has.Head
	if has.ID == "" {
		l.parted(false)
		return "", true, nil
	}
	older, newer := has, want
	if has.Seq > want.Seq {
		older, newer = want, has // it has more than may be sent now
	}
	ok, err := l.continues(older, newer)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("read history: %w", err)
	case ok:
		l.parted(false)
		return has.ID, has.Seq < want.Seq, nil
	case l.has.Replace:
		l.parted(true)
		return "", true, nil
	}
	// What it has may have been amended here since: then what that builds on is still on the line.
	if l.has.Parent != "" && has.Seq <= want.Seq {
		ok, err := l.continues(Point{ID: l.has.Parent, Seq: has.Seq - 1}, want)
		if err != nil {
			return "", false, fmt.Errorf("read history: %w", err)
		}
		if ok {
			return l.has.Parent, true, nil
		}
	}
	l.parted(true)
	if has.Seq > want.Seq {
		return "", false, refuse(CodeDiverged, "server %s has change %d (%.10s) of this primary, which has only %d: it runs with an older state than before, "+
			"or its history was begun anew", l.peer.Name, has.Seq, has.ID, want.Seq)
	}
	return "", false, refuse(CodeDiverged, "server %s has change %d (%.10s), which is not in this server's history: their histories ran apart", l.peer.Name, has.Seq, has.ID)
}

// parted notes whether the histories are apart. When they are not any more, an order that was given meanwhile is over.
func (l *link) parted(apart bool) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.apart = apart; !apart {
		l.order = ""
	}
}

// continues tells whether older is on the line that leads to newer.
func (l *link) continues(older, newer Point) (bool, error) {
	for id := newer.ID; id != older.ID; {
		c, err := l.s.cfg.Store.Commit(id)
		switch {
		case errors.Is(err, history.ErrNotFound):
			return false, nil
		case err != nil:
			return false, err
		case c.Seq <= older.Seq || c.Parent == "":
			return false, nil
		case l.ctx.Err() != nil:
			return false, l.ctx.Err()
		}
		id = c.Parent
	}
	return true, nil
}

// choose gives the pack to send: a large one that is on its way is brought to its end, even if there is more by now.
func (l *link) choose(base string, want Point) (*pack, error) {
	if part := l.has.Partial; part != nil && part.Base == base && part.Head.Seq <= want.Seq && part.Head.ID != l.has.Head.ID {
		if l.pack != nil && l.pack.id == part.Pack {
			return l.pack, nil
		}
		if p := l.s.packs.find(part.Pack); p != nil {
			l.keep(p)
			return p, nil
		}
	}
	// A pack whose answer was lost with the link may be what the peer has now; where that was amended here since, it would be sent for ever.
	if l.pack != nil && l.pack.base == base && l.pack.head.Seq <= want.Seq && l.pack.head.ID != l.has.Head.ID {
		return l.pack, nil
	}
	p, err := l.s.packs.get(l.ctx, base, want)
	if err != nil {
		return nil, fmt.Errorf("gather the changes for server %s: %w", l.peer.Name, err)
	}
	if p.data != nil {
		l.keep(nil)
		return p, nil
	}
	l.keep(p)
	return p, nil
}

// keep remembers p as the large pack on its way, instead of the one before.
func (l *link) keep(p *pack) {
	if l.pack == p {
		return
	}
	if l.pack != nil {
		l.s.packs.release(l.pack)
	}
	l.pack = p
	l.moved(0, 0)
}

func (l *link) moved(sent, size int64) {
	l.s.mu.Lock()
	l.sent, l.size = sent, size
	l.s.mu.Unlock()
}

// hello greets the peer and learns what it has.
func (l *link) hello() error {
	l.s.mu.Lock()
	h := Hello{Protocol: Protocol, Server: l.s.cfg.Server, Versions: l.s.cfg.Versions, Source: l.s.source, Allowed: l.s.limit, Apart: l.apart, Replace: l.order}
	l.s.mu.Unlock()
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("greet %s: %w", l.peer.Name, err)
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.s.lim.Answer)
	defer cancel()
	return l.exchange(ctx, PathHello, bytes.NewReader(text), int64(len(text)))
}

// push sends the next piece of p.
func (l *link) push(p *pack) error {
	l.s.mu.Lock()
	o := Offer{
		Protocol: Protocol, Server: l.s.cfg.Server, Versions: l.s.cfg.Versions, Site: l.s.source.Site, Set: l.s.source.Set, Lineage: l.s.source.Head(),
		Branch: state.Site, Base: p.base, Head: p.head, Pack: p.id, Size: p.size,
	}
	l.s.mu.Unlock()
	n := p.size
	if p.data == nil {
		if part := l.has.Partial; part != nil && part.Pack == p.id {
			o.Offset = part.Got
		}
		n = min(p.size-o.Offset, l.s.lim.Piece)
		l.moved(o.Offset, p.size)
	}
	head, err := frame(o)
	if err != nil {
		return err
	}
	piece, closeFile, err := p.piece(o.Offset, n)
	if err != nil {
		return fmt.Errorf("send changes to server %s: %w", l.peer.Name, err)
	}
	defer closeFile()
	// An answer takes longer when it makes a large pack whole.
	answer := l.s.lim.Answer
	if o.Offset+n == p.size {
		answer += time.Duration(p.size/importRate) * time.Second
	}
	ctx, cancel := context.WithCancelCause(l.ctx)
	defer cancel(nil)
	w := watch(io.MultiReader(bytes.NewReader(head), piece), int64(len(head))+n, l.s.lim.Stall, answer, cancel)
	defer w.stop()
	err = l.exchange(ctx, PathPush, w, int64(len(head))+n)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStalled) {
		err = fmt.Errorf("send changes to server %s: %w", l.peer.Name, cause)
	}
	if CodeOf(err) == CodeGarbage {
		l.s.packs.forget(p) // it may be ours that is damaged
		l.keep(nil)
	}
	if CodeOf(err) == CodeDiverged { // not amended here: it was recorded elsewhere
		l.parted(true)
	}
	if err == nil && l.has != nil && l.has.Partial != nil {
		l.moved(l.has.Partial.Got, l.has.Partial.Size)
	}
	return err
}

// exchange sends a request, and keeps what the answer says the peer has.
func (l *link) exchange(ctx context.Context, path string, body io.Reader, size int64) error {
	data, err := ask(ctx, l.out, http.MethodPost, path, body, size)
	r, refused := errors.AsType[*Refusal](err)
	if err == nil || refused {
		l.answered()
	}
	switch {
	case refused && l.rounds >= maxRounds:
		return err // it always says so: do not go round in circles
	case refused && (r.Code == CodeBase || r.Code == CodeBusy) && r.state != nil:
		l.has = r.state
	case refused && r.Code == CodeHello:
		l.has = nil // the label changed, or the other side was started anew
		l.rounds++
		return nil
	case err != nil:
		return err
	default:
		st, err := decodeState(data, l.s.cfg.Versions)
		if err != nil {
			return fmt.Errorf("ask %s: %w", l.peer.Name, err)
		}
		l.has = &st
	}
	if refused && r.Code == CodeBase {
		l.rounds++
	} else if path == PathPush && !refused {
		l.rounds = 0
	}
	l.learn(l.has)
	return nil
}

// answered notes that the peer is there.
func (l *link) answered() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.up, l.reached = true, l.s.clock.Now()
}

func (l *link) learn(st *State) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if st.Image != "" {
		l.versions = st.Versions
	}
	if l.received != st.Head {
		l.received, l.receivedAt = st.Head, l.s.clock.Now()
	}
}

// outcome keeps an error, or that there is none, and tells when that changed.
func (l *link) outcome(where *error, err error) {
	l.s.mu.Lock()
	old := *where
	*where = err
	if err != nil && CodeOf(err) == "" {
		l.up = false
	}
	st := l.status()
	l.s.mu.Unlock()
	if (old == nil) != (err == nil) || err != nil && old.Error() != err.Error() {
		if err != nil {
			l.s.cfg.Log.Warn("changes do not get to a server", "peer", l.peer.Name, "err", err)
		}
		l.tell(st)
	}
}

func (l *link) tell(st Status) {
	if l.s.cfg.Changed != nil {
		l.s.cfg.Changed(st)
	}
}
