package daemon

import (
	"context"
	"slices"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/engine"
	"sayasystems.com/atlas/sentry/verify"
)

// prober lets the Synchronizer have the services of this server probed right after a change: by the same checks as all day, of this server
// by itself.
type prober struct{ d *Daemon }

// Standing implements engine.Prober.
func (p prober) Standing(services []string, at time.Time) []engine.Probed {
	var out []engine.Probed
	for _, r := range p.d.runner.Results() {
		if r.Target == p.d.server.Name && slices.Contains(services, r.Service) {
			out = append(out, probed(r, stood(r, at)))
		}
	}
	return out
}

// stood is what a probe had found last at a time. What it could not do says nothing.
func stood(r verify.Result, at time.Time) engine.Found {
	ever := r.Status == verify.NotApplicable
	for _, h := range slices.Backward(r.History) {
		f := found(h.Status)
		if f == engine.Untold {
			continue
		}
		ever = true
		if !h.At.After(at) {
			return f
		}
	}
	if !ever {
		return engine.Awaited
	}
	return engine.Untold
}

func found(s verify.Status) engine.Found {
	switch s {
	case verify.Pass, verify.Warn:
		return engine.Good
	case verify.Fail:
		return engine.Bad
	}
	return engine.Untold
}

func probed(r verify.Result, f engine.Found) engine.Probed {
	return engine.Probed{Service: r.Service, Name: r.Probe, Title: r.Title, Found: f, Words: r.Evidence}
}

// Probe implements engine.Prober. What init says of the services is asked anew, before and after: one that is just being started, or told of its
// files, cannot answer for them yet, and one that somebody has stopped will not.
func (p prober) Probe(ctx context.Context, which func(service, probe string) bool) []engine.Probed {
	p.ask(ctx)
	p.rest(ctx, which)
	began := time.Now()
	results := p.d.runner.Now(ctx, func(c verify.Check) bool { return c.Target == p.d.server.Name && which(c.Service, c.Probe) })
	if ctx.Err() == nil && len(results) > 0 {
		p.ask(ctx)
	}
	var out []engine.Probed
	for _, r := range results {
		out = append(out, probed(r, weigh(p.service(r.Service), found(r.Status), began, time.Now())))
	}
	return out
}

// takesUp is how long a service may go on as before when it has been told to read its files again: a signal is sent and not answered.
const takesUp = time.Second

// rest waits until services have taken up what they were told a moment ago.
func (p prober) rest(ctx context.Context, which func(service, probe string) bool) {
	var wait time.Duration
	for _, r := range p.d.runner.Results() {
		if r.Target == p.d.server.Name && which(r.Service, r.Probe) {
			if told := p.service(r.Service).Reloaded; !told.After(time.Now()) { // clocks are set
				wait = max(wait, time.Until(told.Add(takesUp)))
			}
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// weigh weighs what a probe that began at a time has found of a service: of which life of it does that speak?
func weigh(s initapi.Service, f engine.Found, began, now time.Time) engine.Found {
	after := func(t time.Time) bool { return t.After(began) && !t.After(now) }
	told := s.Reloading || after(s.Reloaded) || !s.Reloaded.After(now) && s.Reloaded.Add(takesUp).After(began)
	switch {
	case s.State == "stopping" || told:
		return engine.Starting
	case f == engine.Good && after(s.Since): // it has been another since
		return engine.Starting
	case f == engine.Good:
		return f
	case s.State == "starting" && s.Restarts == 0:
		return engine.Starting
	case s.State == "stopped":
		return engine.Untold
	}
	return f
}

func (p prober) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	p.d.askState(ctx)
}

// service is what init told last of one; empty if nothing.
func (p prober) service(name string) initapi.Service {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if st := p.d.own.state; st != nil {
		for _, s := range st.Services {
			if s.Name == name {
				return s
			}
		}
	}
	return initapi.Service{}
}
