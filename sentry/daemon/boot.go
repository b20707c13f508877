package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

// watchBoot puts this boot into the ledger, and what becomes of it as soon as that is known: every boot is a start of all services from cold.
func (s *starts) watchBoot(b *ledger.Book, st *initapi.State) {
	id := ledger.ID(ledger.Start, st.Started)
	if s.boot == nil || s.boot.ID != id {
		list, _ := b.List()
		i := slices.IndexFunc(list, func(e ledger.Entry) bool { return e.ID == id })
		switch {
		case i >= 0 && !list[i].Done.IsZero():
			s.boot = nil
			return
		case i >= 0:
			s.boot = &list[i]
		default:
			s.boot = s.begun(id, list, st)
			s.keep(b)
		}
	}
	s.noteLine(b, st)
	services := s.services(st)
	if len(services) == 0 {
		return
	}
	bad, seen := s.proven(namesOf(services), st.Started, st)
	// By this process's own clock: the wall's may jump while a server starts.
	running := time.Since(s.d.started)
	late := running > rehearsal.BootLimit
	if took := time.Since(s.boot.At).Round(10 * time.Millisecond); s.boot.Took == 0 && slices.Contains(seen, s.d.server.Name) && took >= running && took < running+rehearsal.BootLimit {
		s.boot.Took = took
	}
	failed := slices.ContainsFunc(bad, func(x rehearsal.Bad) bool { return x.Fails })
	if len(bad) > 0 && (!late || !failed) { // what only is not known yet stays open
		return
	}
	if s.boot.Live == "" && st.Role == roles.Secondary && !late { // the Synchronizer does not know yet with what they have started
		return
	}
	s.closeBoot(b, st, services, bad, seen)
}

// begun is the entry of a boot that the ledger does not know yet.
func (s *starts) begun(id string, list []ledger.Entry, st *initapi.State) *ledger.Entry {
	e := ledger.Entry{ID: id, Kind: ledger.Start, At: st.Started.UTC(), Server: s.d.server.Name, Set: st.Set.ID, Role: st.Role, Image: st.Version, All: true}
	if was := ledger.RanBefore(list, st.Set.ID); was != e.Server {
		e.From = was
	}
	s.d.mu.Lock()
	if r := s.d.own.boot; r != nil && r.Started.Equal(st.Started) {
		e.At = e.At.Add(-r.Kernel - r.Firmware) // power-on
	}
	s.d.mu.Unlock()
	return &e
}

// noteLine notes with what this secondary's services have started. After that long a time nobody knows that any more.
func (s *starts) noteLine(b *ledger.Book, st *initapi.State) {
	if s.boot.Live != "" || st.Role != roles.Secondary || time.Since(st.Started) > rehearsal.BootLimit {
		return
	}
	if l, err := s.line(); err == nil {
		if s.boot.Live = l.Begun(); s.boot.Live != "" {
			s.keep(b)
		}
	}
}

func (s *starts) closeBoot(b *ledger.Book, st *initapi.State, services []initapi.Service, bad []rehearsal.Bad, seen []string) {
	e := s.boot
	e.Done, e.Good, e.Seen, e.Services = time.Now().UTC(), len(bad) == 0, seen, nil
	for _, v := range services {
		one := ledger.Service{Name: v.Name, Title: v.Title, Form: formOf(st, v.Name), Good: true}
		if v.State == "ready" && v.Since.After(e.At) && v.Since.Sub(e.At) < rehearsal.BootLimit {
			one.Took = v.Since.Sub(e.At).Round(10 * time.Millisecond)
		}
		if i := slices.IndexFunc(bad, func(x rehearsal.Bad) bool { return x.Service == v.Name }); i >= 0 {
			one.Good, one.Took, one.Words = false, 0, bad[i].Words
			one.Untold = !slices.ContainsFunc(bad, func(x rehearsal.Bad) bool { return x.Service == v.Name && x.Fails })
			if bad[i].Title != "" {
				one.Words = "“" + bad[i].Title + "”: " + bad[i].Words
			}
			if e.Words == "" || !one.Untold && !e.Fails() {
				e.Words = one.Label() + ": " + one.Words
			}
		}
		e.Services = append(e.Services, one)
	}
	if !e.Good {
		e.Took = 0
	}
	s.d.log.Info("this start is proven", "result", e.Result(), "swap", e.Swap())
	s.keep(b)
	s.boot = nil
	s.d.hub.publish()
}

func (s *starts) keep(b *ledger.Book) {
	if err := b.Put(*s.boot); err != nil {
		s.d.log.Warn("start not kept in the ledger", "err", err)
	}
}

// prove is rehearsal.Prove: this server's own transactions are made now, the others' are taken as they report them.
func (s *starts) prove(ctx context.Context, services []string, since time.Time) ([]rehearsal.Bad, []string) {
	s.d.pollOwn(ctx)
	st := s.state()
	if st == nil {
		return []rehearsal.Bad{{Service: services[0], Words: "init does not answer"}}, nil
	}
	again := map[string]bool{} // each once, and those that did not work again
	for _, b := range unproven(s.d.runner.Results(), s.d.server.Name, readySince(services, since, st), 0) {
		again[b.Service+" "+b.Probe] = true
	}
	s.d.runner.Now(ctx, func(c verify.Check) bool { return c.Target == s.d.server.Name && again[c.Service+" "+c.Probe] })
	return s.proven(services, since, st)
}

// readySince is from when on transactions with services count.
func readySince(services []string, since time.Time, st *initapi.State) map[string]time.Time {
	out := map[string]time.Time{}
	for _, v := range st.Services {
		if v.State != "ready" || !slices.Contains(services, v.Name) {
			continue
		}
		out[v.Name] = since
		if v.Since.After(since) {
			out[v.Name] = v.Since
		}
	}
	return out
}

// proven tells which transactions of services have not worked since a time, or since the service is ready if that is later, and which servers have
// proven all. The primary has to; other servers if they are heard.
func (s *starts) proven(services []string, since time.Time, st *initapi.State) (bad []rehearsal.Bad, seen []string) {
	ready := readySince(services, since, st)
	for _, v := range st.Services {
		if _, ok := ready[v.Name]; ok || !slices.Contains(services, v.Name) {
			continue
		}
		words := v.Error
		if words == "" {
			words = "it is " + v.State
		}
		if v.Waiting != "" {
			words = "it waits for " + v.Waiting
		}
		bad = append(bad, rehearsal.Bad{Service: v.Name, Words: words, Fails: v.State == "failed" || v.Waiting != ""})
	}
	if len(bad) > 0 {
		return bad, nil
	}
	own := unproven(s.d.runner.Results(), s.d.server.Name, ready, 0)
	if len(own) == 0 {
		seen = append(seen, s.d.server.Name)
	}
	bad = own
	last := s.d.lastSite()
	for _, v := range last.Servers {
		if v.Self {
			continue
		}
		if !v.Fresh(time.Now()) || v.Role() == "" {
			if needed(last, v, st.Role) {
				for _, n := range services {
					bad = append(bad, rehearsal.Bad{Service: n, Words: strings.ToUpper(v.Name) + " does not tell what it sees"})
				}
			}
			continue
		}
		theirs := unproven(v.Report.Probes, s.d.server.Name, ready, v.Ahead)
		if len(theirs) == 0 {
			seen = append(seen, v.Name)
		}
		for i := range theirs {
			theirs[i].Words += " (seen from " + v.Name + ")"
		}
		bad = append(bad, theirs...)
	}
	return bad, seen
}

// needed tells whether a server that is not heard has to be waited for: with two servers the other one, else only the primary.
func needed(s site.Site, v site.Server, own roles.Role) bool {
	if len(s.Servers) <= 2 {
		return true
	}
	return own == roles.Secondary && len(s.ByRole(roles.Primary)) == 0 && v.Report != nil && v.Report.State != nil && v.Report.State.Role == roles.Primary
}

// unproven are the transactions with target that have not worked since their service is ready. Times of results are by a clock that is ahead.
func unproven(results []verify.Result, target string, ready map[string]time.Time, ahead time.Duration) []rehearsal.Bad {
	var out []rehearsal.Bad
	for _, r := range results {
		from, ok := ready[r.Service]
		if r.Target != target || r.Minor || !ok {
			continue
		}
		b := rehearsal.Bad{Service: r.Service, Probe: r.Probe, Title: r.Title, Words: r.Evidence}
		switch {
		case r.At.Add(-ahead).Before(from):
			b.Words = "it was not made since"
		case r.Status == verify.Pass, r.Status == verify.Warn, r.Status == verify.NotApplicable:
			continue
		default:
			b.Fails = r.Standing() == verify.Fail // seen once, it is being looked at again
		}
		out = append(out, b)
	}
	return out
}
