package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

const (
	askEvery   = 3 * time.Second
	askTimeout = 3 * time.Second
)

// other is another server as it was last heard.
type other struct {
	peer   siteconf.Peer
	report *site.Report
	seen   time.Time // when report came
	ahead  time.Duration
	err    error
	errAt  time.Time // since when err
	asked  time.Time
	busy   bool
	mark   marks
	seeing map[trouble]bool // what its probes see in trouble
}

// trouble is a service of a server that somebody's probe does not find well.
type trouble struct{ target, service string }

// troubles are those of r; nil if there is no report.
func troubles(r *site.Report) map[trouble]bool {
	if r == nil {
		return nil
	}
	out := map[trouble]bool{}
	for _, p := range r.Probes {
		if !p.Minor && (p.Status == verify.Fail || p.Status == verify.Warn) {
			out[trouble{p.Target, p.Service}] = true
		}
	}
	return out
}

// heed has the services probed from here soon that another server has just seen in trouble: two see more, and sooner.
func (d *Daemon) heed(was, now map[trouble]bool) {
	for t := range now {
		if !was[t] {
			d.runner.Kick(func(target, service string) bool { return target == t.target && service == t.service })
		}
	}
}

// pollOthers asks every peer that was not asked lately, each on its own.
func (d *Daemon) pollOthers(ctx context.Context) {
	p, err := d.book.Peers()
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known := map[string]bool{}
	for _, q := range p.Peers {
		known[q.Name] = true
		o := d.others[q.Name]
		if o == nil || o.peer != q {
			o = &other{peer: q, err: errors.New("not asked yet"), errAt: time.Now()}
			d.others[q.Name] = o
		}
		if o.busy || time.Since(o.asked) < askEvery {
			continue
		}
		o.busy, o.asked = true, time.Now()
		go d.ask(ctx, o, q)
	}
	for name := range d.others {
		if !known[name] {
			delete(d.others, name)
		}
	}
}

func (d *Daemon) ask(ctx context.Context, o *other, p siteconf.Peer) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var r site.Report
	from := time.Now()
	err := d.client.Status(ctx, p, &r)
	now := time.Now()
	if err == nil && r.Name != p.Name {
		err = errors.New("it calls itself " + r.Name)
	}
	d.mu.Lock()
	o.busy = false
	was := o.err
	if err != nil {
		if was == nil {
			o.errAt = now
		}
		o.err = err
	} else {
		// Half of the round trip, as NTP does.
		o.report, o.seen, o.err, o.ahead = &r, now, nil, r.At.Sub(from.Add(now.Sub(from)/2)).Round(10*time.Millisecond)
	}
	var m marks
	if err == nil {
		m = markOf(r.State)
	}
	changed := m.differences(o.mark)
	o.mark = m
	saw, sees := o.seeing, troubles(o.report)
	o.seeing = sees
	d.mu.Unlock()
	d.heed(saw, sees)
	if ctx.Err() == nil && (err == nil) != (was == nil) {
		if err != nil {
			d.log.Warn("peer does not answer", "peer", p.Name, "err", err)
		} else {
			d.log.Info("peer answers", "peer", p.Name)
		}
	}
	d.kick(p.Name, changed)
}

// pendingFile keeps which peers have not been told yet about a server that joined here.
const pendingFile = "pins-to-tell.json"

type pendingPin struct {
	To   string        `json:"to"` // server id
	Peer siteconf.Peer `json:"peer"`

	tried time.Time
}

// Joined implements peers.Local: the site's other servers must pin the newcomer too. They are told until they have answered.
func (d *Daemon) Joined(p siteconf.Peer, told bool) {
	defer d.hub.publish()
	if told {
		return
	}
	all, err := d.book.Peers()
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var kept []pendingPin
	for _, q := range d.pending {
		if q.Peer.Name != p.Name && q.To != p.ID {
			kept = append(kept, q)
		}
	}
	for _, q := range all.Peers {
		if q.Name != p.Name {
			kept = append(kept, pendingPin{To: q.ID, Peer: p})
		}
	}
	d.pending = kept
	d.savePending()
}

func (d *Daemon) tellPending(ctx context.Context) {
	d.mu.Lock()
	var due []pendingPin
	for i := range d.pending {
		if time.Since(d.pending[i].tried) > 10*time.Second {
			d.pending[i].tried = time.Now()
			due = append(due, d.pending[i])
		}
	}
	d.mu.Unlock()
	if len(due) == 0 {
		return
	}
	all, err := d.book.Peers()
	if err != nil {
		return
	}
	for _, p := range due {
		go d.tell(ctx, all.Peers, p)
	}
}

func (d *Daemon) tell(ctx context.Context, all []siteconf.Peer, p pendingPin) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for _, q := range all {
		if q.ID != p.To {
			continue
		}
		if err := d.client.Pin(ctx, q, p.Peer); err != nil {
			d.log.Warn("peer not told about new server", "peer", q.Name, "new", p.Peer.Name, "err", err)
			return
		}
		d.log.Info("peer told about new server", "peer", q.Name, "new", p.Peer.Name)
	}
	// Told, or no longer of this site.
	d.mu.Lock()
	defer d.mu.Unlock()
	var kept []pendingPin
	for _, q := range d.pending {
		if q.To != p.To || q.Peer != p.Peer {
			kept = append(kept, q)
		}
	}
	d.pending = kept
	d.savePending()
}

func (d *Daemon) loadPending() {
	data, err := os.ReadFile(filepath.Join(d.cfg.StateDir, pendingFile))
	if err != nil {
		return
	}
	if err := json.Unmarshal(data, &d.pending); err != nil {
		d.log.Warn("list of peers to tell is unreadable", "err", err)
	}
}

func (d *Daemon) savePending() {
	data, err := json.Marshal(d.pending)
	if err == nil {
		err = siteconf.WriteFile(filepath.Join(d.cfg.StateDir, pendingFile), data, 0o600)
	}
	if err != nil {
		d.log.Warn("list of peers to tell not saved", "err", err)
	}
}
