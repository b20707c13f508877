package site

import (
	"fmt"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/verify"
)

// Advice is what to do when the office is not served now. Readiness alone would say "no" just when a swap is what helps.
type Advice struct {
	Down bool   `json:"down"` // the primary does not serve the office, as far as this server can see
	Swap bool   `json:"swap"` // a swap is likely to help: the other server's services were proven just now
	Text string `json:"text"`
	From string `json:"from,omitempty"` // server that holds, or held, the primary set
	To   string `json:"to,omitempty"`   // server to put it into
}

// Advise tells whether the primary is down and what then. It is silent (Down false) while the primary serves, boots or is being
// shut down in order, and when the site has never been seen whole.
func Advise(s Site) Advice {
	prim := lastPrimary(s)
	if prim == nil {
		return Advice{}
	}
	why := ""
	var st *initapi.State
	if prim.Report != nil {
		st = prim.Report.State
	}
	switch {
	case prim.Seen.IsZero():
		why = "has not answered since this server was started"
	case !prim.Fresh(s.At):
		why = fmt.Sprintf("does not answer since %s", Clock(prim.Seen))
	case st == nil:
		return Advice{} // sentry and init lost each other; the services may well run
	case st.State == initapi.Serving && !allFail(s, *prim):
		return Advice{}
	case st.State == initapi.Serving:
		why = "serves, but no service works"
	default:
		return Advice{}
	}
	a := Advice{Down: true, From: prim.Name}
	a.Text = fmt.Sprintf("%s, which should be the primary, %s.", strings.ToUpper(prim.Name), why)
	if !prim.Fresh(s.At) {
		a.Text += " First look whether it has power and its network cable is in, and whether the office still works."
	}
	for _, v := range s.Servers {
		if v.Name == prim.Name || v.Role() != roles.Secondary || !v.Fresh(s.At) {
			continue
		}
		if proven, at := provenBy(v, s.At); proven {
			a.Swap, a.To = true, v.Name
			a.Text += fmt.Sprintf(" %s runs the same services, proven %s ago. If %s cannot be brought back within minutes, swap the disk sets.",
				strings.ToUpper(v.Name), s.At.Sub(at).Round(time.Second), prim.Name)
			return a
		}
	}
	a.Text += " No other server is proven to run the services now; see the findings before you swap."
	return a
}

// lastPrimary is the one server that is, when last heard was, or must be the primary.
func lastPrimary(s Site) *Server {
	var found *Server
	for i, v := range s.Servers {
		if v.Role() == roles.Primary {
			if found != nil {
				return nil
			}
			found = &s.Servers[i]
		}
	}
	if found != nil {
		return found
	}
	// Never heard since this server was started: it is the primary if every other one is a running secondary.
	for i, v := range s.Servers {
		switch {
		case v.Report == nil && found == nil && !v.Self:
			found = &s.Servers[i]
		case v.Role() != roles.Secondary:
			return nil
		}
	}
	return found
}

// provenBy tells whether v's own sentry sees all of its services work, and when the oldest of these proofs was.
func provenBy(v Server, now time.Time) (bool, time.Time) {
	oldest, n := now, 0
	for _, p := range v.Report.Probes {
		if p.Target != v.Name || p.Minor || p.Standing() == verify.NotApplicable {
			continue
		}
		if p.Stale(now.Add(v.Ahead)) || (p.Standing() != verify.Pass && p.Standing() != verify.Warn) {
			return false, now
		}
		if at := p.At.Add(-v.Ahead); at.Before(oldest) {
			oldest = at
		}
		n++
	}
	return n > 0, oldest
}

func allFail(s Site, target Server) bool {
	n := 0
	for _, v := range s.Servers {
		if !v.Fresh(s.At) {
			continue
		}
		for _, p := range v.Report.Probes {
			if p.Target != target.Name || p.Minor {
				continue
			}
			if p.Standing() != verify.Fail {
				return false
			}
			n++
		}
	}
	return n > 0
}
