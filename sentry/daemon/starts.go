package daemon

import (
	"context"
	"path/filepath"
	"slices"
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
	status.Unproven = withFailed(status.Unproven, status.Failed, l)
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
		case p.Form != 0 && p.Form != formOf(st, v.Name): // 0: that start has made them
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

// withFailed adds services that did not start, though they have an older proof with the same files, and notes when somebody has changed them since:
// that is likely to be the correction.
func withFailed(list []rehearsal.Unproven, f *ledger.Entry, l line) []rehearsal.Unproven {
	if f == nil {
		return list
	}
	tried := map[string]ledger.Proof{}
	for _, v := range f.Services {
		tried[v.Name] = ledger.Proof{Service: v.Name, Live: f.Live}
		if !slices.ContainsFunc(list, func(u rehearsal.Unproven) bool { return u.Service == v.Name }) {
			list = append(list, rehearsal.Unproven{Service: v.Name, Title: v.Label(), Since: f.At, Last: f.At, Why: "it did not start"})
		}
	}
	if l == nil || f.Live == "" {
		return list
	}
	for _, u := range l.Unproven(tried) {
		for i := range list {
			if list[i].Service == u.Service && u.Last.After(list[i].Last) {
				list[i].Last = u.Last
			}
		}
	}
	return list
}
