package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
)

// line is what the Synchronizer knows of starts from cold.
type line interface {
	rehearsal.Line
	Begun() string
	Unproven(proofs map[string]ledger.Proof) []rehearsal.Unproven
	Waits() string
}

// starts keeps the ledger of the set that is started, watches what becomes of a boot, and has the services of a secondary rehearsed.
type starts struct {
	d      *Daemon
	runner *rehearsal.Runner

	looking sync.Mutex // one look at a time; around what follows up to mu
	boot    *ledger.Entry
	noticed map[string]time.Time // since when services are known that were never proven

	mu        sync.Mutex
	book      *ledger.Book
	set       string // that book is of
	status    *rehearsal.Status
	refused   string // why the newest rehearsal that was to be did not take place; "" if it did
	refusedAt time.Time
}

func newStarts(d *Daemon) *starts {
	s := &starts{d: d, noticed: map[string]time.Time{}}
	s.runner = &rehearsal.Runner{
		Server: d.server.Name, Prove: s.prove, Log: d.log, Begun: d.hub.publish,
		Line: func() (rehearsal.Line, error) { return s.line() },
		Keep: func(e ledger.Entry) error {
			b := s.ledger()
			if b == nil {
				return errNoEngine
			}
			st := s.state()
			for i := range e.Services {
				e.Services[i].Form = formOf(st, e.Services[i].Name)
			}
			return b.Put(e)
		},
	}
	if r, ok := d.cfg.Init.(rehearsal.Init); ok {
		s.runner.Init = r
	}
	return s
}

func (s *starts) line() (line, error) {
	if f := s.d.cfg.FakeLine; f != nil {
		return f, nil
	}
	e, err := s.d.sync.now()
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (s *starts) ledger() *ledger.Book {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book
}

func (s *starts) state() *initapi.State {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.d.own.state
}

// told is what the others and the page are told: nil on what is no secondary.
func (s *starts) told() (*rehearsal.Status, []ledger.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book == nil {
		return nil, nil
	}
	list, _ := s.book.List()
	var out *rehearsal.Status
	if s.status != nil {
		c := *s.status
		c.Running = s.runner.Running()
		out = &c
	}
	return out, newest(list)
}

// mostTold is how many entries travel with every report; the newest proven swap is among them however old it is.
const mostTold = 10

func newest(list []ledger.Entry) []ledger.Entry {
	if len(list) <= mostTold {
		return list
	}
	out := slices.Clone(list[:mostTold])
	if e, ok := ledger.LastSwap(list[mostTold:]); ok {
		if _, known := ledger.LastSwap(out); !known {
			e.Services = nil
			out = append(out, e)
		}
	}
	return out
}

// look goes on with what is under way, every few seconds.
func (s *starts) look(ctx context.Context) {
	s.looking.Lock()
	defer s.looking.Unlock()
	st := s.state()
	if s.d.cfg.SetDir == "" || st == nil {
		return
	}
	if st.State != initapi.Serving || st.Set == nil || st.Role == "" {
		s.mu.Lock()
		s.book, s.set, s.status = nil, "", nil
		s.mu.Unlock()
		s.boot = nil
		return
	}
	b, err := s.open(st.Set.ID)
	if err != nil {
		s.d.log.Warn("ledger of starts", "err", err)
	}
	if b == nil {
		return
	}
	s.watchBoot(b, st)
	if st.Role != roles.Secondary {
		s.mu.Lock()
		s.status = nil
		s.mu.Unlock()
		return
	}
	s.plan(ctx, b, st)
}

// open opens the ledger of the set that is started.
func (s *starts) open(set string) (*ledger.Book, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book != nil && s.set == set {
		return s.book, nil
	}
	b, err := ledger.Open(filepath.Join(s.d.cfg.SetDir, layout.SetSentry, "ledger.json"))
	s.book, s.set, s.status = b, set, nil
	return b, err
}

// services are those of the site that run on this server, in the order of init.
func (s *starts) services(st *initapi.State) []initapi.Service {
	s.d.mu.Lock()
	packs := s.d.packs
	s.d.mu.Unlock()
	var out []initapi.Service
	for _, v := range st.Services {
		if slices.ContainsFunc(packs, func(p pack.Pack) bool { return p.Name == v.Name && p.Scope != pack.ScopeServer }) {
			out = append(out, v)
		}
	}
	return out
}

func namesOf(list []initapi.Service) []string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		out = append(out, v.Name)
	}
	return out
}

func formOf(st *initapi.State, service string) int {
	if st == nil {
		return 0
	}
	for _, f := range st.Forms {
		if f.Service == service {
			return f.Form
		}
	}
	return 0
}

// plan works out how it stands, and lets a rehearsal begin that is due.
func (s *starts) plan(ctx context.Context, b *ledger.Book, st *initapi.State) {
	now := time.Now()
	list, _ := b.List()
	status := rehearsal.Status{
		At: now.UTC(), Proofs: ledger.Proofs(list, s.d.server.Name, st.Version), LastFull: ledger.LastFull(list, s.d.server.Name), Booted: st.Started,
		Proving: s.boot != nil && now.Sub(st.Started) < rehearsal.BootLimit,
	}
	l, err := s.line()
	if err != nil { // changes are not followed yet: what is live is not known
		status.Waits = err.Error()
	} else {
		status.Waits = l.Waits()
	}
	services := s.services(st)
	status.Unproven = s.unproven(l, st, services, status.Proofs, now)
	if f, ok := ledger.Failed(list, s.d.server.Name); ok {
		f.Services = slices.DeleteFunc(f.Services, func(v ledger.Service) bool { return !slices.Contains(namesOf(services), v.Name) })
		if len(f.Services) > 0 {
			status.Failed = &f
		}
	}
	status.Unproven = withFailed(status.Unproven, status.Failed)
	window, _ := s.d.settings().Rehearsal.Parse()
	status.Nightly = !window.Never
	in := rehearsal.Input{
		Unproven: status.Unproven, LastFull: status.LastFull, Booted: st.Started, Proving: status.Proving, Window: window,
		Share: rehearsal.Share(s.d.server.Name, s.secondaries()),
	}
	in.Tried, in.Tries = tries(list, s.d.server.Name)
	in.Ended = ended(list, s.d.server.Name)
	p, ok := rehearsal.Next(in, now)
	if ok {
		status.Next, status.NextOf = p.At.UTC(), p.Services
	}
	for _, why := range []string{s.primaryMissing(), s.otherRehearses(), s.forbidden()} {
		if why != "" {
			status.Waits = why
			break
		}
	}
	if !ok || now.Before(p.At) && status.Waits != "" {
		status.Waits = "" // nothing is due
	}
	s.mu.Lock()
	s.status = &status
	paused := now.Sub(s.refusedAt) < pauseAfter
	s.mu.Unlock()
	if paused || !ok || now.Before(p.At) || status.Waits != "" || s.runner.Running() != nil || s.runner.Init == nil {
		return
	}
	o := s.order(p.Services, st)
	o.Why = p.Why
	go s.rehearse(ctx, o)
}

// pauseAfter a rehearsal that could not begin: each try tells the other servers to expect one.
const pauseAfter = time.Minute

func (s *starts) rehearse(ctx context.Context, o rehearsal.Order) {
	_, err := s.runner.Run(ctx, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.refused = ""
	case ctx.Err() == nil:
		if err.Error() != s.refused {
			s.d.log.Warn("rehearsal did not take place", "err", err)
		}
		s.refused, s.refusedAt = err.Error(), time.Now()
	}
}

// order names what is stopped and started for the named services, all if none are named.
func (s *starts) order(names []string, st *initapi.State) rehearsal.Order {
	all := namesOf(s.services(st))
	if len(names) == 0 {
		return rehearsal.Order{Services: all, All: true}
	}
	s.d.mu.Lock()
	packs := s.d.packs
	s.d.mu.Unlock()
	in := rehearsal.Concerned(packs, names)
	var out []string
	for _, n := range all {
		if slices.Contains(in, n) {
			out = append(out, n)
		}
	}
	return rehearsal.Order{Services: out, All: len(out) == len(all)}
}

// unproven are the services that were changed since their proof, and those that have none.
func (s *starts) unproven(l line, st *initapi.State, services []initapi.Service, proofs map[string]ledger.Proof, now time.Time) []rehearsal.Unproven {
	changed := map[string]rehearsal.Unproven{}
	if l != nil {
		for _, u := range l.Unproven(proofs) {
			changed[u.Service] = u
		}
	}
	var out []rehearsal.Unproven
	for _, v := range services {
		p, proven := proofs[v.Name]
		u, isChanged := changed[v.Name]
		switch {
		case !proven:
			u = rehearsal.Unproven{Why: "it was never proven with this image"}
		case p.Form != formOf(st, v.Name):
			u = rehearsal.Unproven{Why: "its data have another form since"}
		case isChanged:
			delete(s.noticed, v.Name)
			out = append(out, u)
			continue
		default:
			delete(s.noticed, v.Name)
			continue
		}
		if s.noticed[v.Name].IsZero() {
			s.noticed[v.Name] = now
		}
		u.Service, u.Title, u.Since, u.Last = v.Name, v.Title, s.noticed[v.Name], s.noticed[v.Name]
		out = append(out, u)
	}
	return out
}

// withFailed adds services that did not start, though they have an older proof with the same files.
func withFailed(list []rehearsal.Unproven, f *ledger.Entry) []rehearsal.Unproven {
	if f == nil {
		return list
	}
	for _, v := range f.Services {
		if !slices.ContainsFunc(list, func(u rehearsal.Unproven) bool { return u.Service == v.Name }) {
			list = append(list, rehearsal.Unproven{Service: v.Name, Title: v.Label(), Since: f.At, Last: f.At, Why: "it did not start"})
		}
	}
	return list
}

// tries counts the rehearsals in turn that were not good, and tells when the newest was.
func tries(list []ledger.Entry, server string) (at time.Time, n int) {
	for _, e := range list {
		if e.Server != server || e.Done.IsZero() {
			continue
		}
		if e.Good {
			break
		}
		if n++; at.IsZero() {
			at = e.Done
		}
	}
	return at, n
}

func (s *starts) secondaries() []string {
	var out []string
	for _, v := range s.d.lastSite().ByRole(roles.Secondary) {
		out = append(out, v.Name)
	}
	return out
}

// primaryMissing tells why this server may be needed any minute, which is no time to stop its services.
func (s *starts) primaryMissing() string {
	site := s.d.lastSite()
	prim := site.ByRole(roles.Primary)
	switch {
	case len(prim) != 1:
		return "no primary is heard that serves the office: this server may be needed any minute"
	case site.Advice.Down:
		return "the primary does not serve the office: this server may be needed any minute"
	case prim[0].State != nil && !prim[0].State.Ready:
		return fmt.Sprintf("not all services of %s run: this server may be needed any minute", strings.ToUpper(prim[0].Name))
	}
	return ""
}

// otherRehearses: with three servers one twin is always up.
func (s *starts) otherRehearses() string {
	for _, v := range s.d.lastSite().ByRole(roles.Secondary) {
		if v.Self || v.Starts == nil {
			continue
		}
		due := !v.Starts.Next.IsZero() && v.Starts.Waits == "" && v.Starts.Next.Before(time.Now().Add(v.Ahead)) && v.Name < s.d.server.Name
		if v.Starts.Running != nil || due {
			return strings.ToUpper(v.Name) + " is being rehearsed"
		}
	}
	return ""
}

// noRehearsal is a file with which somebody who works on a secondary keeps rehearsals away, until it is removed or the server is started anew.
const noRehearsal = "no-rehearsal"

func (s *starts) forbidden() string {
	path := filepath.Join(s.d.cfg.RunDir, noRehearsal)
	if _, err := os.Stat(path); s.d.cfg.RunDir == "" || err != nil {
		return ""
	}
	return "the file " + path + " keeps it away; remove it when the work on this server is done"
}

// ended is when the newest rehearsal of a server was over.
func ended(list []ledger.Entry, server string) (at time.Time) {
	for _, e := range list {
		if e.Server == server && e.Kind == ledger.Rehearsal && !e.Done.IsZero() {
			return e.Done
		}
	}
	return at
}

// Rehearse is the administrator's order. It returns when the rehearsal has begun; what becomes of it is in the ledger.
func (s *starts) Rehearse(ctx context.Context, names []string, by string) (rehearsal.Order, error) {
	st := s.state()
	if st == nil {
		return rehearsal.Order{}, errors.New("init does not answer; try again in a minute")
	}
	if err := rehearsal.May(*st); err != nil {
		return rehearsal.Order{}, err
	}
	if why := s.primaryMissing(); why != "" {
		return rehearsal.Order{}, errors.New(why)
	}
	all := namesOf(s.services(st))
	for _, n := range names {
		if !slices.Contains(all, n) {
			return rehearsal.Order{}, fmt.Errorf("this site runs no service %.40q; known are %s", n, strings.Join(all, ", "))
		}
	}
	if s.runner.Running() != nil {
		return rehearsal.Order{}, rehearsal.ErrRuns
	}
	if _, err := s.line(); err != nil {
		return rehearsal.Order{}, err
	}
	if s.runner.Init == nil {
		return rehearsal.Order{}, errors.New("this init cannot rehearse")
	}
	o := s.order(names, st)
	o.Why, o.By = "ordered", by
	s.mu.Lock()
	s.refused = ""
	s.mu.Unlock()
	go s.rehearse(context.WithoutCancel(ctx), o)
	return o, nil
}
