package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
)

// Init is what a Runner asks of init.
type Init interface {
	State(ctx context.Context) (initapi.State, error)
	Rehearse(ctx context.Context, services []string) error
}

// Line is the Synchronizer's part: it holds changes back meanwhile.
type Line interface {
	Still(ctx context.Context) (live string, err error)
	Live() string // what is live now
	Resume()
}

// Bad is a transaction that does not work, or is not known to.
type Bad struct {
	Service, Probe, Title, Words string
	Fails                        bool // seen to fail; else not known yet
}

// Prove has the transactions of services made now, and tells which have not worked since a time, on any server that verifies this one, and which
// servers do.
type Prove func(ctx context.Context, services []string, since time.Time) (bad []Bad, seen []string)

// Runner does rehearsals, one at a time.
type Runner struct {
	Server string
	Init   Init
	Line   func() (Line, error) // of the set that serves now
	Prove  Prove
	Keep   func(ledger.Entry) error
	Log    *slog.Logger
	Begun  func() // something worth telling the others has changed; may be nil

	// For tests.
	pace     time.Duration // between looks; 500 ms
	announce time.Duration
	readyIn  time.Duration
	provenIn time.Duration
	givenUp  time.Duration

	mu  sync.Mutex
	now *Running
}

// SetPace makes everything quick, for tests: a look every pace, and limit for each wait.
func (r *Runner) SetPace(pace, limit time.Duration) {
	r.pace, r.announce, r.readyIn, r.provenIn, r.givenUp = pace, pace, limit, limit, limit/4
}

// Order is what is to be rehearsed.
type Order struct {
	Services []string // in the order of packs; what needs them is in it
	All      bool     // these are all of the site
	Why, By  string
}

// ErrRuns tells that another one is under way.
var ErrRuns = errors.New("a rehearsal is under way already; `atlas ledger` shows what became of it when it is over")

// Running is the rehearsal under way, nil if none.
func (r *Runner) Running() *Running {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil {
		return nil
	}
	out := *r.now
	return &out
}

// Run rehearses and gives what the ledger keeps of it. An error means that nothing was done.
func (r *Runner) Run(ctx context.Context, o Order) (ledger.Entry, error) {
	st, err := r.Init.State(ctx)
	if err != nil {
		return ledger.Entry{}, fmt.Errorf("init does not answer: %w", err)
	}
	if err := May(st); err != nil {
		return ledger.Entry{}, err
	}
	if len(o.Services) == 0 {
		return ledger.Entry{}, errors.New("this site runs no services")
	}
	line, err := r.Line()
	if err != nil {
		return ledger.Entry{}, err
	}
	if err := r.begin(o); err != nil {
		return ledger.Entry{}, err
	}
	defer r.end()
	if !sleep(ctx, or(r.announce, Announce)) {
		return ledger.Entry{}, ctx.Err()
	}
	live, err := line.Still(ctx)
	if err != nil {
		return ledger.Entry{}, fmt.Errorf("not now: %w; try again in a minute", err)
	}
	defer line.Resume()
	at := time.Now()
	e := ledger.Entry{
		ID: ledger.ID(ledger.Rehearsal, at), Kind: ledger.Rehearsal, At: at.UTC(), Server: r.Server, Set: st.Set.ID, Role: st.Role, Image: st.Version,
		Live: live, Why: o.Why, By: o.By, All: o.All,
	}
	r.Log.Info("rehearsal", "services", o.Services, "why", o.Why, "by", o.By)
	if err := r.Init.Rehearse(ctx, o.Services); err != nil {
		return ledger.Entry{}, err
	}
	e = r.watch(ctx, e, o)
	if ctx.Err() != nil { // sentry ends: nothing is known
		return e, ctx.Err()
	}
	// What has become live meanwhile is the services' own doing, such as a file that one writes at every start: that is no change that is to be proven.
	if now := line.Live(); now != "" {
		e.Live = now
	}
	e.Done = time.Now().UTC()
	r.Log.Info("rehearsal over", "result", e.Result(), "services", o.Services)
	return e, r.Keep(e)
}

// May tells why nothing can be rehearsed on a server, if so.
func May(st initapi.State) error {
	switch {
	case st.State != initapi.Serving || st.Set == nil:
		return errors.New("no disk set serves on this server, so nothing can be rehearsed")
	case st.Role != roles.Secondary:
		return fmt.Errorf("%s is the primary and serves the office: its services are not stopped for a rehearsal. Ask the secondary: log in there and type `atlas rehearse`", strings.ToUpper(st.Server))
	}
	return nil
}

func (r *Runner) begin(o Order) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != nil {
		return ErrRuns
	}
	r.now = &Running{Since: time.Now().UTC(), Services: o.Services, By: o.By}
	r.tell()
	return nil
}

func (r *Runner) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = nil
	r.tell()
}

func (r *Runner) tell() {
	if r.Begun != nil {
		r.Begun()
	}
}

// watch waits for services to be ready, then for their transactions, and fills in what became of each.
func (r *Runner) watch(ctx context.Context, e ledger.Entry, o Order) ledger.Entry {
	began := time.Now()
	ready := map[string]time.Duration{}
	failing := map[string]time.Time{}
	var last map[string]initapi.Service
	for ctx.Err() == nil {
		if st, err := r.Init.State(ctx); err == nil {
			last = byName(st)
		}
		waiting := false
		for _, n := range o.Services {
			switch s, ok := last[n]; {
			case ok && s.State == "ready":
				if _, known := ready[n]; !known {
					ready[n] = time.Since(began)
				}
				delete(failing, n)
			case ok && s.State == "failed":
				delete(ready, n)
				if failing[n].IsZero() {
					failing[n] = time.Now()
				}
				waiting = waiting || time.Since(failing[n]) < or(r.givenUp, GivenUp)
			default:
				delete(ready, n)
				delete(failing, n)
				// One that waits for what has failed does not come either.
				waiting = waiting || !ok || s.Waiting == "" || len(failing) == 0 || time.Since(oldest(failing)) < or(r.givenUp, GivenUp)
			}
		}
		if !waiting && len(ready)+len(failing) > 0 || time.Since(began) > or(r.readyIn, ReadyIn) {
			break
		}
		sleep(ctx, or(r.pace, 500*time.Millisecond))
	}
	bad, seen := r.prove(ctx, o.Services, ready, began)
	return result(e, o, ready, last, bad, seen, time.Since(began))
}

// prove has the services' transactions made until all work, seen from everywhere.
func (r *Runner) prove(ctx context.Context, services []string, ready map[string]time.Duration, began time.Time) (bad []Bad, seen []string) {
	services = slices.DeleteFunc(slices.Clone(services), func(n string) bool { _, ok := ready[n]; return !ok })
	if len(services) == 0 {
		return nil, nil
	}
	until := time.Now().Add(or(r.provenIn, ProvenIn))
	for ctx.Err() == nil {
		if bad, seen = r.Prove(ctx, services, began); len(bad) == 0 || time.Now().After(until) {
			break
		}
		sleep(ctx, 2*or(r.pace, 500*time.Millisecond))
	}
	return bad, seen
}

// result says what became of each service and of all.
func result(e ledger.Entry, o Order, ready map[string]time.Duration, last map[string]initapi.Service, bad []Bad, seen []string, took time.Duration) ledger.Entry {
	e.Good, e.Seen = true, seen
	for _, n := range o.Services {
		v := ledger.Service{Name: n, Title: last[n].Title}
		t, isReady := ready[n]
		i := slices.IndexFunc(bad, func(b Bad) bool { return b.Service == n && b.Fails })
		if i < 0 {
			i = slices.IndexFunc(bad, func(b Bad) bool { return b.Service == n })
		}
		switch {
		case !isReady:
			v.Words = notReady(last[n])
		case i >= 0:
			v.Words, v.Untold = bad[i].Words, !bad[i].Fails
			if bad[i].Title != "" {
				v.Words = fmt.Sprintf("“%s”: %s", bad[i].Title, bad[i].Words)
			}
		default:
			v.Good, v.Took = true, t.Round(time.Millisecond)
		}
		if !v.Good {
			e.Good = false
			if e.Words == "" || last[n].Waiting == "" && strings.Contains(e.Words, waits) {
				e.Words = v.Label() + ": " + v.Words
			}
		}
		e.Services = append(e.Services, v)
	}
	if e.Good {
		e.Took = max(took.Round(time.Millisecond), time.Millisecond)
	}
	return e
}

const waits = "waits for "

// notReady words why a service does not run, by its own last words if it had any.
func notReady(s initapi.Service) string {
	switch {
	case s.Waiting != "":
		return waits + s.Waiting
	case s.Error != "":
		return s.Error
	case s.State == "":
		return "it is not known to init"
	}
	return "it does not get ready (" + s.State + ")"
}

func byName(st initapi.State) map[string]initapi.Service {
	out := map[string]initapi.Service{}
	for _, s := range st.Services {
		out[s.Name] = s
	}
	return out
}

func oldest(m map[string]time.Time) (at time.Time) {
	for _, t := range m {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// sleep returns false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
