// Package rehearsal starts services of a secondary from cold, to prove that they start with what is configured now: a daemon that has only read
// its files again may hold on to what it could not get anew.
//
// Data flow: the daemon tells what has not been proven (Unproven) and when all was last started; Next (pure) says when which services are to be
// rehearsed. A Runner does it with what is handed in: init stops and starts the services in the order of their needs, the Verifier's transactions
// prove them from every server, and the ledger keeps how it went. Status is what the other servers and the page are told meanwhile.
//
// It never touches a primary: Runner refuses, and init does too.
package rehearsal

import (
	"slices"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/ledger"
)

// Unproven is a service whose start with what is configured now was not proven.
type Unproven struct {
	Service string    `json:"service"`
	Title   string    `json:"title"`
	Since   time.Time `json:"since"` // when the first change after the proof became live
	Last    time.Time `json:"last"`  // and the newest
	// Change, Who and Commit tell of the newest change; all are empty where no change is the reason, and Why says what is.
	Change string `json:"change,omitempty"` // "changed /etc/apache2/envvars"
	Who    string `json:"who,omitempty"`
	Commit string `json:"commit,omitempty"`
	Why    string `json:"why,omitempty"` // "it was never proven", "another image ran then"
}

// Reason words why a service is not proven.
func (u Unproven) Reason() string {
	if u.Change == "" {
		return u.Why
	}
	s := u.Change
	if u.Who != "" {
		s += " (" + u.Who + ")"
	}
	return s
}

// Running is a rehearsal under way.
type Running struct {
	Since    time.Time `json:"since"`
	Services []string  `json:"services"`
	By       string    `json:"by,omitempty"`
}

// Status is what a secondary tells of starts from cold.
type Status struct {
	At       time.Time               `json:"at"`
	Proofs   map[string]ledger.Proof `json:"proofs"`             // by service
	Unproven []Unproven              `json:"unproven,omitempty"` // in the order of services
	Next     time.Time               `json:"next,omitzero"`      // when it is rehearsed by itself
	NextOf   []string                `json:"next_of,omitempty"`  // of which services; none = all
	Waits    string                  `json:"waits,omitempty"`    // why it is due and does not begin
	Running  *Running                `json:"running,omitempty"`
	Failed   *ledger.Entry           `json:"failed,omitempty"` // newest start that was not good, with the services that none has proven since
	LastFull time.Time               `json:"last_full,omitzero"`
	Nightly  bool                    `json:"nightly"`           // it is rehearsed every night
	Booted   time.Time               `json:"booted,omitzero"`   // when this server started; until BootLimit after it that start is still to prove itself
	Proving  bool                    `json:"proving,omitempty"` // it is still to prove itself
}

// Runs tells whether a rehearsal is under way at now and not overdue: only then it explains what fails.
func (s *Status) Runs(now time.Time) bool {
	return s != nil && s.Running != nil && now.Sub(s.Running.Since) < RunLimit
}

// Of tells whether the rehearsal under way is of service.
func (s *Status) Of(service string) bool {
	return s != nil && s.Running != nil && slices.Contains(s.Running.Services, service)
}

// Plan is what comes next by itself.
type Plan struct {
	At       time.Time
	Services []string // nil: all
	Why      string   // "after a change", "nightly"
}

// Reasons of plans.
const (
	AfterChange = "after a change"
	Again       = "again"
	Nightly     = "nightly"
)

// Input is all that Next looks at.
type Input struct {
	Unproven []Unproven
	LastFull time.Time // newest start of all services
	// Tried is the newest failed try of what is still not proven, and Tries how many failed in turn.
	Tried time.Time
	Tries int
	Ended time.Time // when the newest rehearsal was over
	// Booted is when the server started, and Proving that this start is still to prove itself.
	Booted  time.Time
	Proving bool
	Window  siteconf.Window
	Share   float64 // this server's place in the window, from 0 to 1: the twins of a site are not rehearsed at the same time
}

// Next tells what is to be rehearsed next, and when; ok is false if nothing is.
func Next(in Input, now time.Time) (p Plan, ok bool) {
	if at, due := afterChange(in); due {
		p = Plan{At: at, Why: AfterChange}
		if in.Tries > 0 {
			p.Why = Again
		}
		for _, u := range in.Unproven {
			p.Services = append(p.Services, u.Service)
		}
		ok = true
	}
	if at, due := night(in.Window, in.LastFull, in.Share, now); due && (!ok || !at.After(p.At)) {
		p, ok = Plan{At: at, Why: Nightly}, true
	}
	if wait := in.Booted.Add(BootLimit); ok && in.Proving && p.At.Before(wait) {
		p.At = wait
	}
	return p, ok
}

// afterChange is when what is not proven is to be rehearsed.
func afterChange(in Input) (time.Time, bool) {
	if len(in.Unproven) == 0 {
		return time.Time{}, false
	}
	first, last := in.Unproven[0].Since, in.Unproven[0].Last
	for _, u := range in.Unproven[1:] {
		if u.Since.Before(first) {
			first = u.Since
		}
		if u.Last.After(last) {
			last = u.Last
		}
	}
	if in.Tries == 0 {
		at := earlier(last.Add(Quiet), first.Add(MaxWait))
		if pause := in.Ended.Add(Between); !in.Ended.IsZero() && at.Before(pause) {
			at = pause
		}
		return at, true
	}
	again := in.Tried.Add(retry(in.Tries))
	if last.After(in.Tried) { // somebody has corrected something
		again = earlier(again, last.Add(QuietAfterFailure))
	}
	return again, true
}

// retry is the pause after so many failures.
func retry(tries int) time.Duration {
	d := RetryFirst
	for range tries - 1 {
		if d = 2 * d; d >= RetryMost {
			return RetryMost
		}
	}
	return d
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Concerned are the packs that have to be stopped and started for the named ones, in the order of packs: these, and all that need them, since
// at a boot they start after them.
func Concerned(packs []pack.Pack, names []string) []string {
	in := map[string]bool{}
	for _, n := range names {
		in[n] = true
	}
	for grown := true; grown; {
		grown = false
		for _, p := range packs {
			if !in[p.Name] && slices.ContainsFunc(p.Needs, func(n string) bool { return in[n] }) {
				in[p.Name], grown = true, true
			}
		}
	}
	var out []string
	for _, p := range packs {
		if in[p.Name] {
			out = append(out, p.Name)
		}
	}
	return out
}

// Share spreads servers over the window by their place among the site's.
func Share(server string, all []string) float64 {
	all = slices.Sorted(slices.Values(all))
	return float64(max(0, slices.Index(all, server))) / float64(max(1, len(all)))
}
