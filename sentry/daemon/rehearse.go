package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
)

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
