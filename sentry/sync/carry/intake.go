package carry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/sync/state"
)

func (r *Receiver) hello(w http.ResponseWriter, req *http.Request, from siteconf.Peer) {
	st, err := r.greet(w, req, from)
	if err != nil {
		r.note(from.Name, err, false)
	}
	r.reply(w, st, err)
}

func (r *Receiver) greet(w http.ResponseWriter, req *http.Request, from siteconf.Peer) (State, error) {
	run, done, err := r.begin()
	if err != nil {
		return State{}, err
	}
	defer done()
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(r.lim.Answer)) // as long as attestations may take
	data, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxHello))
	if err != nil {
		return State{}, refuse(CodeCut, "the greeting did not arrive whole: %v", err)
	}
	h, err := decodeHello(data, r.cfg.Versions)
	if err != nil {
		return State{}, err
	}
	if err := r.admit(run, from, h.Site, h.Set, h.Head()); err != nil {
		return State{}, err
	}
	if err := r.follow(run, h.Source); err != nil {
		return State{}, err
	}
	head, _ := r.cfg.Store.Head(state.Site)
	r.parted(run, h, pointOf(head))
	r.note(from.Name, nil, h.Allowed == pointOf(head))
	if h.Apart && r.ordered() == "" {
		r.note(from.Name, refuse(CodeDiverged, "server %s has another history of changes than this server, and can send nothing: change %d of it does not come "+
			"after change %d here", from.Name, h.Allowed.Seq, head.Seq), false)
	}
	return r.state(), nil
}

// parted keeps whether the primary's history is another one than ours, and takes its order to replace ours then.
func (r *Receiver) parted(run *run, h Hello, head Point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run.apart = nil
	if h.Apart && head.ID != "" && h.Allowed != head {
		run.apart = &Apart{With: h.Server, Theirs: h.Allowed, Ours: head}
		if h.Replace != "" && r.replace == "" {
			r.replace = h.Replace
			r.cfg.Log.Warn("the primary orders that its history takes the place of the one here", "peer", h.Server, "kept", h.Replace)
		}
	}
	if h.Allowed == head {
		r.replace = "" // done already
	}
}

// admit tells whether from may send at all.
func (r *Receiver) admit(run *run, from siteconf.Peer, site, set, lineage string) error {
	switch {
	case site != run.site:
		return refuse(CodeSite, "server %s belongs to another site", from.Name)
	case run.role == roles.Primary:
		return refuse(CodePrimaries, "server %s is itself the primary and takes no changes from %s; two servers hold a primary disk set", r.cfg.Server, from.Name)
	case run.role != roles.Secondary:
		return refuse(CodeNotReady, "server %s has no disk set started that could take changes", r.cfg.Server)
	}
	return run.judge.caller(run.ctx, from.Name, set, lineage)
}

// follow makes src what is followed from now on, durably, or tells why not.
func (r *Receiver) follow(run *run, src Source) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := run.source.next(src)
	if err != nil || next == nil {
		return err
	}
	if err := next.save(r.sourcePath()); err != nil {
		return refuse(CodeFailed, "%v", err)
	}
	r.cfg.Log.Info("changes come from", "set", src.Set, "lineage", src.Head())
	run.source = *next
	return nil
}

// state is what is here now.
func (r *Receiver) state() State {
	c, _ := r.cfg.Store.Head(state.Site)
	st := State{Protocol: Protocol, Server: r.cfg.Server, Versions: r.cfg.Versions, Head: pointOf(c), Parent: c.Parent}
	st.Partial = r.partial()
	st.Busy, st.Replace = r.busy.Load(), r.ordered() != ""
	if st.Partial != nil && st.Partial.Base != st.Head.ID && st.Partial.Base != st.Parent && !st.Replace {
		st.Partial = nil // it continues what is not here any more
	}
	return st
}

func (r *Receiver) push(w http.ResponseWriter, req *http.Request, from siteconf.Peer) {
	body := newSteady(w, req, r.lim.Stall)
	st, err := r.take(body, req, from)
	r.note(from.Name, err, true)
	if err != nil && body.err == nil {
		body.drain(r.lim.Piece) // else the refusal could be lost: the sender still writes
	}
	r.reply(w, st, err)
}

// take reads an offer with its piece, and brings history forward if that makes the pack whole.
func (r *Receiver) take(body *steady, req *http.Request, from siteconf.Peer) (State, error) {
	run, done, err := r.begin()
	if err != nil {
		return State{}, err
	}
	defer done()
	if req.ContentLength < 0 || req.ContentLength > r.lim.Piece+maxOffer+4 {
		return State{}, refuse(CodeSize, "the request has %d bytes; at most %d are taken at once", req.ContentLength, r.lim.Piece)
	}
	o, n, err := readOffer(body, r.cfg.Versions)
	if err != nil {
		if CodeOf(err) == "" {
			err = refuse(CodeCut, "the offer did not arrive whole: %v", err)
		}
		return State{}, err
	}
	o.Server = from.Name
	if err := r.admit(run, from, o.Site, o.Set, o.Lineage); err != nil {
		return State{}, err
	}
	if o.Size > r.lim.Pack {
		return State{}, refuse(CodeSize, "the changes are %d bytes long; server %s takes at most %d", o.Size, r.cfg.Server, r.lim.Pack)
	}
	unlock, err := r.lock(run, body)
	if err != nil {
		return State{}, err
	}
	defer unlock()
	if err := r.fits(run, o); err != nil {
		return State{}, err
	}
	return r.piece(run, body, o, req.ContentLength-n)
}

// lock waits for the right to read a pack and write history. Who comes later is the one whose connection lives: a transfer that is still
// being read is cut for it.
func (r *Receiver) lock(run *run, body *steady) (func(), error) {
	r.mu.Lock()
	if run.reading != nil {
		run.reading()
	}
	r.mu.Unlock()
	t := time.NewTimer(r.lim.Stall / 2)
	defer t.Stop()
	select {
	case <-r.importing:
	case <-run.ctx.Done():
		return nil, refuse(CodeStopped, "server %s is shutting down", r.cfg.Server)
	case <-t.C:
		st := r.state()
		ref := refuse(CodeBusy, "server %s still takes earlier changes into its history", r.cfg.Server)
		ref.state = &st
		return nil, ref
	}
	r.mu.Lock()
	run.reading = body.cut
	stopped := run.ctx.Err() != nil
	r.mu.Unlock()
	unlock := func() {
		r.settle(run)
		r.importing <- struct{}{}
	}
	if stopped {
		unlock()
		return nil, refuse(CodeStopped, "server %s is shutting down", r.cfg.Server)
	}
	return unlock, nil
}

// settle ends the time in which a transfer may be cut: all has been read.
func (r *Receiver) settle(run *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run.reading = nil
}

// fits tells whether o continues what is here.
func (r *Receiver) fits(run *run, o Offer) error {
	r.mu.Lock()
	src := run.source
	r.mu.Unlock()
	if o.Set != src.Set || o.Lineage != src.Head() {
		return refuse(CodeHello, "server %s was not greeted for this disk set", r.cfg.Server)
	}
	st := r.state()
	switch {
	case st.Replace && o.Base == "" && o.Head.ID != st.Head.ID:
		return nil
	case o.Head.ID == st.Head.ID || o.Base != st.Head.ID && (o.Base != st.Parent || o.Base == "") && o.Head.Seq >= st.Head.Seq:
		ref := refuse(CodeBase, "server %s has another state than the changes build on", r.cfg.Server)
		ref.state = &st
		return ref
	case o.Head.Seq < st.Head.Seq:
		return refuse(CodeReplayed, "server %s offers change %d, but change %d is here already: that is an older state, which was not taken",
			o.Server, o.Head.Seq, st.Head.Seq)
	}
	return nil
}

// piece reads a piece of n bytes. Small packs stay in memory, others are gathered in a file.
func (r *Receiver) piece(run *run, body *steady, o Offer, n int64) (State, error) {
	if o.Offset+n > o.Size || n < 0 {
		return State{}, refuse(CodeGarbage, "the piece is longer than its pack")
	}
	var pack packReader
	if o.Size <= r.lim.Memory && o.Offset == 0 && n == o.Size {
		var buf bytes.Buffer
		if _, err := io.CopyN(&buf, body, n); err != nil {
			return State{}, refuse(CodeCut, "the changes did not arrive whole: %v", err)
		}
		pack = bytes.NewReader(buf.Bytes())
	} else {
		f, err := r.gather(body, o, n)
		if err != nil {
			return State{}, err
		}
		if f == nil { // not whole yet
			return r.state(), nil
		}
		defer f.Close()
		pack = f
	}
	body.finished()
	r.settle(run)
	return r.bring(o, pack)
}

// bring takes a whole pack into history and tells the engine.
func (r *Receiver) bring(o Offer, pack packReader) (State, error) {
	r.busy.Store(true)
	defer r.busy.Store(false)
	err := verify(pack, o)
	var c state.Commit
	if err == nil {
		if o.Base == "" {
			o.Kept = r.ordered()
		}
		if c, err = r.cfg.Store.Import(pack, r.lim.Inflate, state.Site, o.Head.ID, o.Kept); err == nil {
			if o.Kept != "" {
				r.cfg.Log.Warn("the primary's history took the place of the one here", "set", o.Set, "commit", c.ID, "kept", o.Kept)
			}
			r.together()
		}
	}
	r.drop() // what was gathered is either in history or worth nothing
	if err != nil {
		err = wordImport(err, o)
		r.board.change(func(p *Progress) { p.Got, p.Size = 0, 0 })
		return State{}, err
	}
	r.board.change(func(p *Progress) {
		p.Head, p.State, p.Got, p.Size, p.At, p.Findings = pointOf(c), Receiving, 0, 0, r.clock.Now().UTC(), nil
	})
	if r.on != nil {
		r.on(c, o)
	}
	return State{Protocol: Protocol, Server: r.cfg.Server, Versions: r.cfg.Versions, Head: pointOf(c), Parent: c.Parent}, nil
}

// together ends what was ordered while the histories were apart.
func (r *Receiver) together() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace = ""
	if r.run != nil {
		r.run.apart = nil
	}
}

// progress answers as soon as there is news.
func (r *Receiver) progress(w http.ResponseWriter, req *http.Request, from siteconf.Peer) {
	run, done, err := r.begin()
	if err != nil {
		r.reply(w, nil, err)
		return
	}
	defer done()
	if !r.poll(from.Name, 1) {
		r.reply(w, nil, refuse(CodeBusy, "server %s waits for news already, several times", from.Name))
		return
	}
	defer r.poll(from.Name, -1)
	q := req.URL.Query()
	after, err := strconv.ParseUint(q.Get("after"), 10, 64)
	if epoch := q.Get("epoch"); err != nil || epoch != "" && !nameID.MatchString(epoch) {
		r.reply(w, nil, refuse(CodeGarbage, "the question for progress cannot be understood"))
		return
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // that the caller goes away must be noticed, that it is silent must not
	_ = rc.SetWriteDeadline(time.Now().Add(r.lim.Poll + r.lim.Answer))
	ctx, cancel := context.WithTimeout(req.Context(), r.lim.Poll)
	defer cancel()
	stop := context.AfterFunc(run.ctx, cancel)
	defer stop()
	r.reply(w, r.board.after(ctx, q.Get("epoch"), after), nil)
}

// poll counts one more, or one less, who waits for news.
func (r *Receiver) poll(server string, by int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if by > 0 && r.polls[server] >= maxPolls {
		return false
	}
	r.polls[server] += by
	return true
}

// reply answers with v, or with why not.
func (r *Receiver) reply(w http.ResponseWriter, v any, err error) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(r.lim.Answer))
	status := http.StatusOK
	if err != nil {
		ref, ok := errors.AsType[*Refusal](err)
		if !ok {
			ref = refuse(CodeFailed, "%v", err)
		}
		v, status = refusal{Error: ref.Msg, Code: ref.Code, State: ref.state}, ref.Code.status()
	}
	text, err := json.Marshal(v)
	if err != nil {
		r.cfg.Log.Error("answer not sent", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the peer is gone; it will ask again
}

// wordImport gives what history says the code that the sender goes by.
func wordImport(err error, o Offer) error {
	code := codeOf(err)
	switch {
	case CodeOf(err) != "":
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code = CodeFull
	}
	return refuse(code, "changes up to number %d of server %s were not taken: %v", o.Head.Seq, o.Server, err)
}

// packReader is a whole pack.
type packReader interface {
	io.ReadSeeker
	io.ReaderAt
}

var (
	_ packReader = (*bytes.Reader)(nil)
	_ packReader = (*os.File)(nil)
)
