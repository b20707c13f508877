package site

import (
	"fmt"
	"strings"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Standing is how a server stands with the changes of the site's configuration, in words.
type Standing struct {
	Class string // "pass", "warn", "fail", "unknown"
	Text  string // "in step", "lacks changes since 14:02:10"
	More  string // why, if that is known
}

// Standing of v; ok is false where there is nothing to tell: it does not serve, or is not heard. It needs no Report, so that those who read
// the site as JSON have it too.
func (s Site) Standing(v Server) (st Standing, ok bool) {
	role := s.serves(v)
	if role == "" {
		return Standing{}, false
	}
	y := v.Sync
	switch {
	case y == nil:
		return Standing{Class: "unknown", Text: "changes are not followed yet"}, true
	case s.At.Add(v.Ahead).Sub(y.At) > syncSilent:
		return Standing{Class: "fail", Text: "stands still since " + Clock(y.At), More: "Changes are not recorded."}, true
	case role == roles.Primary:
		return primaryStanding(y), true
	}
	for _, p := range s.Servers {
		if p.Sync == nil || s.serves(p) != roles.Primary {
			continue
		}
		for _, q := range p.Sync.Peers {
			if q.Name == v.Name {
				return peerStanding(q), true
			}
		}
	}
	if y.InStep {
		return Standing{Class: "unknown", Text: "in step with what it received last", More: "The primary does not tell whether there is more."}, true
	}
	return Standing{Class: "unknown", Text: "not known to be in step"}, true
}

// serves is the role of the set that v serves with; "" if it does not, or is not heard.
func (s Site) serves(v Server) roles.Role {
	if v.State == nil || v.State.State != initapi.Serving || v.Seen.IsZero() || s.At.Sub(v.Seen) > FreshFor {
		return ""
	}
	return v.State.Role
}

func primaryStanding(y *state.Status) Standing {
	if h := y.Held; h != nil {
		return Standing{Class: "warn", Text: "a change is held back since " + Clock(h.Since), More: FirstLine(h.Words)}
	}
	out := Standing{Class: "pass", Text: "in step", More: "Every change is live on the other servers."}
	if len(y.Peers) == 0 {
		return Standing{Class: "pass", Text: "changes are recorded", More: "There is no other server to carry them to."}
	}
	for _, q := range y.Peers {
		if p := peerStanding(q); p.Class != "pass" {
			out = Standing{Class: p.Class, Text: strings.ToUpper(q.Name) + " " + p.Text, More: p.More}
			if p.Class == "fail" {
				break
			}
		}
	}
	return out
}

func peerStanding(q state.Peer) Standing {
	why := ""
	if q.Err != "" {
		why = "It says: " + FirstLine(q.Err)
	}
	switch {
	case q.State == "refused":
		return Standing{Class: "fail", Text: "could not take over a change of the primary", More: why}
	case q.Missing:
		return Standing{Class: "unknown", Text: "has not reported for more than a minute", More: why}
	case q.Live == "":
		return Standing{Class: "unknown", Text: "has not told yet which changes it has", More: why}
	case q.Behind > 0:
		n := "1 change"
		if q.Behind > 1 {
			n = fmt.Sprintf("%d changes", q.Behind)
		}
		return Standing{Class: "warn", Text: "lacks changes since " + Clock(q.Since), More: strings.TrimSpace(n + " on the way. " + why)}
	}
	return Standing{Class: "pass", Text: "in step"}
}

// FirstLine is the first line of somebody's words that says anything, fit to be shown.
func FirstLine(s string) string {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			return state.Printable(line)
		}
	}
	return ""
}
