package ledger

import (
	"slices"
	"time"
)

// Proof is the newest start of one service from cold that was good.
type Proof struct {
	Service string        `json:"service"`
	At      time.Time     `json:"at"`   // when the start began
	Live    string        `json:"live"` // commit that it started with
	Took    time.Duration `json:"took_ns,omitempty"`
	Form    int           `json:"form,omitempty"`
	Entry   string        `json:"entry"` // Entry.ID
}

// Proofs gives, of each service, the newest good start in a server with an image: what another server or another image has proven says
// nothing about this one. list is newest first. A service is proven by its own start: what the others of the same start did matters only where
// it needs them, and then its own transactions failed too.
func Proofs(list []Entry, server, image string) map[string]Proof {
	out := map[string]Proof{}
	for _, e := range list {
		if e.Server != server || e.Image != image || e.Live == "" || e.Done.IsZero() {
			continue
		}
		for _, s := range e.Services {
			if _, ok := out[s.Name]; !ok && s.Good {
				out[s.Name] = Proof{Service: s.Name, At: e.At, Live: e.Live, Took: s.Took, Form: s.Form, Entry: e.ID}
			}
		}
	}
	return out
}

// Failed gives the newest start of services in a server that was not good, of those services that no later start has proven. list is newest
// first.
func Failed(list []Entry, server string) (Entry, bool) {
	good := map[string]bool{}
	for _, e := range list {
		if e.Server != server || e.Done.IsZero() {
			continue
		}
		bad := slices.DeleteFunc(slices.Clone(e.Services), func(s Service) bool { return s.Good || s.Untold || good[s.Name] })
		if !e.Good && len(bad) > 0 {
			e.Services = bad
			return e, true
		}
		for _, s := range e.Services {
			if s.Good {
				good[s.Name] = true
			}
		}
	}
	return Entry{}, false
}

// LastFull is when all services of a server were last started from cold, good or not. list is newest first.
func LastFull(list []Entry, server string) (at time.Time) {
	for _, e := range list {
		if e.Server == server && (e.All || e.Kind == Start) {
			return e.At
		}
	}
	return at
}

// LastSwap is the newest swap of which all services worked: of the primary set, since that is the one that the office waits for. list is newest
// first.
func LastSwap(list []Entry) (Entry, bool) {
	for _, e := range list {
		if e.Swap() && e.Good && e.Role == "primary" {
			return e, true
		}
	}
	return Entry{}, false
}

// LastProven is the newest good start of all services of a secondary. list is newest first.
func LastProven(list []Entry, server string) (Entry, bool) {
	for _, e := range list {
		if e.Server == server && e.Good && (e.All || e.Kind == Start) {
			return e, true
		}
	}
	return Entry{}, false
}

// RanBefore is the server that the set of list was last started in, "" if none is known. list is newest first.
func RanBefore(list []Entry, set string) string {
	for _, e := range list {
		if e.Set == set && e.Kind == Start {
			return e.Server
		}
	}
	return ""
}
