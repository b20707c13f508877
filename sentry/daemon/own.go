package daemon

import (
	"context"
	"fmt"
	"maps"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/site"
)

// own is what init last told. An error makes the state unknown at once: an old state is no evidence.
type own struct {
	state     *initapi.State
	err       error
	boot      *initapi.BootReport
	inventory *hwcheck.Inventory
	details   time.Time // when boot and inventory were last asked
	mark      marks     // of the state, to notice changes
}

func (d *Daemon) pollOwn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	d.askState(ctx)
	d.mu.Lock()
	ask := d.own.err == nil && time.Since(d.own.details) > 30*time.Second
	if ask {
		d.own.details = time.Now()
	}
	d.mu.Unlock()
	if !ask {
		return
	}
	if b, err := d.cfg.Init.Boot(ctx); err == nil {
		d.mu.Lock()
		d.own.boot = &b
		d.mu.Unlock()
	}
	if inv, err := d.cfg.Init.Inventory(ctx); err == nil {
		d.mu.Lock()
		d.own.inventory = &inv
		d.mu.Unlock()
	}
}

// askState asks init for its state; when that has changed, the next poll asks for the details too.
func (d *Daemon) askState(ctx context.Context) {
	st, err := d.cfg.Init.State(ctx)
	d.mu.Lock()
	if err != nil {
		d.own.state, d.own.err = nil, err
	} else {
		d.own.state, d.own.err = &st, nil
	}
	m := markOf(d.own.state)
	changed := m.differences(d.own.mark)
	d.own.mark = m
	if changed != nil {
		d.own.details = time.Time{}
	}
	d.mu.Unlock()
	d.kick(d.server.Name, changed)
}

// initTimeout is how long init has to tell its state; a busy small machine takes a while.
const initTimeout = 5 * time.Second

// kick makes probes of a server run again soon: those of the services that have changed, or all of them.
func (d *Daemon) kick(server string, changed func(service string) bool) {
	if changed == nil {
		return
	}
	d.runner.Kick(func(target, service string) bool { return target == server && changed(service) })
	d.hub.publish()
}

// marks sum up what should make probes run again soon when it changes: by service, and under "" what concerns them all. What changes all
// the time while a server starts is left out, such as its phase: probes are not run before it serves.
type marks map[string]string

func markOf(st *initapi.State) marks {
	if st == nil {
		return marks{"": "?"}
	}
	whole := fmt.Sprint(st.State, st.Role, st.Addresses)
	if st.Set != nil {
		whole += fmt.Sprint(st.Set.ID, st.Set.Degraded)
	}
	m := marks{"": whole}
	for _, s := range st.Services {
		m[s.Name] = fmt.Sprint(s.State, s.Restarts, s.Since.UnixNano()) // a start from cold may be over between two looks
	}
	return m
}

// differences tells which services differ from an earlier mark; nil if none.
func (m marks) differences(was marks) func(service string) bool {
	if maps.Equal(m, was) {
		return nil
	}
	if m[""] != was[""] {
		return func(string) bool { return true }
	}
	return func(service string) bool { return m[service] != was[service] }
}

// report is what this server tells the others, and itself.
func (d *Daemon) report(now time.Time) site.Report {
	r := site.Report{ID: d.server.ID, Name: d.server.Name, Address: d.address(), At: now, Probes: d.runner.Results(), Peers: []string{}}
	if p, err := d.book.Peers(); err == nil {
		r.Site, r.SiteName = p.Site, p.SiteName
		for _, q := range p.Peers {
			r.Peers = append(r.Peers, q.Name)
		}
	}
	r.Sync = d.sync.status()
	r.Starts, r.Ledger = d.starts.told()
	r.Accepted = d.accepted.List()
	if d.health != nil {
		r.Health = d.health.Status()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r.State, r.Boot, r.Inventory = d.own.state, d.own.boot, d.own.inventory
	if d.own.err != nil {
		r.StateErr = d.own.err.Error()
	}
	if d.packErr != nil {
		r.PackErr = d.packErr.Error()
	}
	for _, p := range d.packs {
		r.Packs = append(r.Packs, site.Service{Name: p.Name, Title: p.Title})
	}
	return r
}

// Attest implements peers.Local. It asks init now: what it told a second ago is no evidence.
func (d *Daemon) Attest(ctx context.Context) (roles.Attestation, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // less than peers.AttestTimeout
	defer cancel()
	st, err := d.cfg.Init.State(ctx)
	if err != nil {
		return roles.Attestation{}, fmt.Errorf("%w: %w", peers.ErrCannotTell, err)
	}
	p, err := d.book.Peers()
	if err != nil {
		return roles.Attestation{}, fmt.Errorf("%w: %w", peers.ErrCannotTell, err)
	}
	return attestation(d.server.Name, p.Site, st), nil
}

// attestation tells what init's state says. While the disks have not been read in this boot it says so: an empty list is no evidence.
func attestation(server, siteID string, st initapi.State) roles.Attestation {
	a := roles.Tell(server, siteID, st.Disks)
	a.Reachable, a.Seen = true, st.Seen
	a.Booting = st.State == initapi.Booting && !st.DisksKnown
	// A set is started from Start on until the server is off, whatever State says meanwhile.
	if st.Set != nil && st.Role != "" {
		a.Role, a.Set, a.Serving = st.Role, st.Set.ID, true
	}
	return a
}

// Status implements peers.Local.
func (d *Daemon) Status(context.Context) (any, error) {
	r := d.report(time.Now())
	for i := range r.Probes {
		// The others' pages draw a short history only.
		if n := len(r.Probes[i].History); n > 12 {
			r.Probes[i].History = r.Probes[i].History[n-12:]
		}
	}
	return r, nil
}

// Self implements peers.Local.
func (d *Daemon) Self(context.Context) (siteconf.Peer, error) {
	a := d.address()
	if a == "" {
		return siteconf.Peer{}, fmt.Errorf("server %s has no management address yet; try again in a moment", d.server.Name)
	}
	return siteconf.Peer{ID: d.server.ID, Name: d.server.Name, Address: a, Cert: d.id.Cert}, nil
}

// HandOut implements peers.Local.
func (d *Daemon) HandOut(ctx context.Context) (peers.JoinReply, error) {
	st, err := d.cfg.Init.State(ctx)
	if err != nil {
		return peers.JoinReply{}, fmt.Errorf("server %s cannot tell its state: %w", d.server.Name, err)
	}
	if st.State != initapi.Serving || st.Set == nil {
		return peers.JoinReply{}, fmt.Errorf("server %s is %s: %w, so it cannot hand over the site's configuration; start its set, or join through another server",
			d.server.Name, site.StateWord(&st), peers.ErrNoSet)
	}
	return peers.ReadHandOut(d.cfg.Etc)
}
