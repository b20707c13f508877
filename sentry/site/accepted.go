package site

import (
	"strings"

	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/initapi"
)

// acceptor tells whether a reason was accepted, and by whom.
type acceptor func(Reason) (initapi.Accepted, bool)

// worse tells whether severity a is worse than b.
func worse(a, b string) bool {
	rank := map[string]int{"critical": 2, "warning": 1}
	return rank[a] > rank[b]
}

// accepting gives the judgement over the site's acceptances. What is not known cannot be accepted: nobody can tell what that would mean, and
// unknown is never ready. Nor can that there is nothing to swap with.
func accepting(s Site) acceptor {
	standing := map[string]accept.Acceptance{}
	for _, a := range s.Accepted {
		if a.Standing(s.At) {
			standing[a.Finding] = a
		}
	}
	severity := map[string]string{}
	if len(standing) > 0 {
		for _, f := range findings(s) {
			severity[f.ID] = f.Severity
		}
	}
	return func(r Reason) (initapi.Accepted, bool) {
		a, ok := standing[r.ID]
		if !ok || Unacceptable(r) != "" || worse(severity[r.ID], a.Severity) {
			return initapi.Accepted{}, false
		}
		return initapi.Accepted{Who: a.Who, Why: a.Why, At: a.At, Until: a.Until}, true
	}
}

// Unacceptable says in words why a reason cannot be accepted; "" if it can.
func Unacceptable(r Reason) string {
	switch {
	case r.Unknown:
		return "it is not known how things stand there, and what is not known cannot be accepted: nobody could tell whether a swap would work"
	case r.ID == "one-server" || r.ID == "no-primary" || r.ID == "no-secondary" || r.ID == "two-primaries" || strings.HasPrefix(r.ID, "holding-"):
		return "without it there is nothing to swap with"
	}
	return ""
}

// markAccepted notes in findings who has accepted them, and puts these after the others.
func markAccepted(s Site, list []initapi.Finding) []initapi.Finding {
	var open, accepted []initapi.Finding
	for _, f := range list {
		for _, a := range s.Accepted {
			if a.Finding == f.ID && a.Standing(s.At) && !worse(f.Severity, a.Severity) {
				f.Accepted = &initapi.Accepted{Who: a.Who, Why: a.Why, At: a.At, Until: a.Until}
			}
		}
		if f.Accepted != nil {
			accepted = append(accepted, f)
		} else {
			open = append(open, f)
		}
	}
	return append(append([]initapi.Finding{}, open...), accepted...)
}

// Known gives the finding called id, or the reason as one.
func (s Site) Known(id string) (f initapi.Finding, why string, ok bool) {
	for _, r := range append(append([]Reason{}, s.Readiness.Reasons...), s.Readiness.Accepted...) {
		if r.ID == id {
			f, why, ok = initapi.Finding{ID: id, Severity: "critical", What: r.Text, Where: r.Server, Next: r.Next, Since: r.Since}, Unacceptable(r), true
		}
	}
	for _, g := range s.Findings {
		if g.ID == id {
			return g, why, true
		}
	}
	return f, why, ok
}
