package site

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/verify"
)

// findings lists what is wrong or worth telling anywhere in the site, worst first.
func findings(s Site) []initapi.Finding {
	out := []initapi.Finding{}
	for _, v := range s.Servers {
		out = append(out, serverFindings(v, s)...)
	}
	out = append(out, probeFindings(s)...)
	out = append(out, compare(s)...)
	out = append(out, formFindings(s)...)
	out = append(out, startFindings(s)...)
	// A secondary takes no changes while it is rehearsed.
	out = slices.DeleteFunc(out, func(f initapi.Finding) bool {
		v, ok := s.Find(strings.TrimPrefix(f.ID, "sync-behind-"))
		return ok && f.ID != v.Name && v.Fresh(s.At) && v.Report.Starts.Runs(s.At.Add(v.Ahead))
	})
	rank := map[string]int{"critical": 0, "warning": 1, "info": 2}
	sort.SliceStable(out, func(i, j int) bool {
		if a, b := rank[out[i].Severity], rank[out[j].Severity]; a != b {
			return a < b
		}
		return out[i].Since.Before(out[j].Since)
	})
	return out
}

func serverFindings(v Server, s Site) []initapi.Finding {
	var out []initapi.Finding
	if !v.Fresh(s.At) {
		f := initapi.Finding{
			ID: "server-unknown-" + v.Name, Severity: "critical", Where: v.Name, Since: v.Seen,
			What: "Server " + v.Name + " does not answer, and has not since this server was started.", Next: "Look whether it is on and its network cable is in.",
		}
		if !v.Seen.IsZero() {
			f.What = fmt.Sprintf("Server %s is unknown since %s.", v.Name, Clock(v.Seen))
		} else {
			f.Since = v.ErrorAt
		}
		if v.Error != "" {
			f.What += " (" + v.Error + ")"
		}
		return append(out, f)
	}
	r := v.Report
	if r.State == nil {
		out = append(out, initapi.Finding{
			ID: "init-silent-" + v.Name, Severity: "critical", Where: v.Name, Since: r.At,
			What: "The first process of " + v.Name + " does not answer sentry: " + r.StateErr, Next: "If it stays so, restart the server.",
		})
	} else {
		for _, f := range r.State.Findings {
			if f.Where == "" {
				f.Where = v.Name
			} else if !strings.Contains(f.Where, v.Name) {
				f.Where = v.Name + ", " + f.Where
			}
			f.ID += "-" + v.Name // the other server may have found the same of itself
			if serviceOf(f.ID, v.Name) != "" && v.Rehearses(s.At, serviceOf(f.ID, v.Name)) {
				continue
			}
			out = append(out, f)
		}
		out = append(out, serviceFindings(v, r.State, s.At)...)
		if r.State.State == initapi.Holding {
			for _, why := range r.State.Reasons {
				out = append(out, initapi.Finding{ID: "holding-" + why.Code + "-" + v.Name, Severity: "critical", Where: v.Name, What: why.Text, Next: why.Next, Since: r.State.Started})
			}
		}
	}
	out = append(out, syncFindings(v, s.At)...)
	out = append(out, healthFindings(v)...)
	if r.PackErr != "" {
		out = append(out, initapi.Finding{
			ID: "packs-" + v.Name, Severity: "critical", Where: v.Name, Since: r.At,
			What: "The service packs of the image cannot be read: " + r.PackErr, Next: "Install an image that is right.",
		})
	}
	if f, ok := clockFinding(v); ok {
		out = append(out, f)
	}
	for _, w := range s.Servers {
		if w.Name != v.Name && !contains(r.Peers, w.Name) {
			out = append(out, initapi.Finding{
				ID: "not-pinned-" + v.Name + "-" + w.Name, Severity: "warning", Where: v.Name, Since: r.At,
				What: fmt.Sprintf("%s does not know %s yet.", v.Name, w.Name), Next: "It will be told within a minute; if not, let " + w.Name + " join again.",
			})
		}
	}
	return out
}

// By how much the clocks of two servers may differ: beyond the first it is told, beyond the second a swap would be harmed. Kerberos refuses tickets at
// five minutes, and what one server wrote would be younger than the present on the other.
const (
	clockTold = 10 * time.Second
	clockBad  = time.Minute
)

// clockFinding compares the clock of v with that of the server that tells this.
func clockFinding(v Server) (initapi.Finding, bool) {
	d := v.Ahead.Abs()
	if d <= clockTold {
		return initapi.Finding{}, false
	}
	way := "ahead of"
	if v.Ahead < 0 {
		way = "behind"
	}
	f := initapi.Finding{
		ID: "clock-" + v.Name, Severity: "warning", Where: v.Name, Since: v.Seen,
		What: fmt.Sprintf("The clock of %s is %s %s this server's.", strings.ToUpper(v.Name), d.Round(time.Second), way),
		Next: "Set the wrong one right (date), and see whether both reach their time server: chronyc sources.",
	}
	if d > clockBad {
		f.Severity = "critical"
	}
	return f, true
}

// comparisonTroubles are what of the comparison of servers stands in the way of a swap: clocks that differ much, and hardware that could not carry
// the services.
func comparisonTroubles(s Site) []trouble {
	var out []trouble
	for _, v := range s.Servers {
		if f, ok := clockFinding(v); ok && f.Severity == "critical" && v.Fresh(s.At) {
			out = append(out, trouble{rank: rankFinding, Reason: Reason{ID: f.ID, Server: v.Name, Text: f.What, Next: f.Next}})
		}
	}
	for _, f := range compare(s) {
		if f.Severity == "critical" {
			out = append(out, trouble{rank: rankFinding, Reason: Reason{ID: f.ID, Text: f.What, Next: f.Next}})
		}
	}
	return out
}

// serviceFindings tells of failed services, unless init has a finding of its own.
func serviceFindings(v Server, st *initapi.State, now time.Time) []initapi.Finding {
	var out []initapi.Finding
	for _, svc := range st.Services {
		if svc.State != "failed" || v.Rehearses(now, svc.Name) {
			continue
		}
		told := false
		for _, f := range st.Findings {
			told = told || strings.Contains(f.ID, svc.Name)
		}
		if !told {
			what := svc.Title + " has failed"
			if svc.Error != "" {
				what += ": " + svc.Error
			}
			out = append(out, initapi.Finding{
				ID: "service-" + svc.Name + "-" + v.Name, Severity: "critical", Where: v.Name + ", " + svc.Name, What: what + ".", Since: svc.Since,
				Next: "On " + v.Name + " try `atlas service restart " + svc.Name + "`.",
			})
		}
	}
	return out
}

// probeFindings makes one finding of all observers that see the same probe fail.
func probeFindings(s Site) []initapi.Finding {
	type key struct{ target, service, probe string }
	found := map[key]*initapi.Finding{}
	var order []key
	for _, v := range s.Servers {
		if !v.Fresh(s.At) {
			continue
		}
		for _, p := range v.Report.Probes {
			stands := p.Standing() // trouble that was seen once is being looked at again, and is no finding yet
			if stands != verify.Fail && stands != verify.Warn || rehearsed(s, p.Target, p.Service) {
				continue
			}
			k := key{p.Target, p.Service, p.Probe}
			if f := found[k]; f != nil {
				f.What += " Also seen from " + p.Observer + "."
				if p.Since.Before(f.Since) {
					f.Since = p.Since
				}
				continue
			}
			sev := "critical"
			if stands == verify.Warn || p.Minor {
				sev = "warning"
			}
			found[k] = &initapi.Finding{
				ID: "probe-" + p.Target + "-" + p.Service + "-" + p.Probe, Severity: sev, Where: p.Target + ", " + p.Service,
				What: fmt.Sprintf("%s: %s (seen from %s).", p.Title, p.Evidence, p.Observer), Next: p.Next, Since: p.Since,
			}
			order = append(order, k)
		}
	}
	out := make([]initapi.Finding, 0, len(order))
	for _, k := range order {
		out = append(out, *found[k])
	}
	return out
}

// compare tells what differs between the servers that should not.
func compare(s Site) []initapi.Finding {
	var out []initapi.Finding
	for i, a := range s.Servers {
		for _, b := range s.Servers[i+1:] {
			if a.Report == nil || b.Report == nil || a.Report.State == nil || b.Report.State == nil {
				continue
			}
			if a.Report.Inventory != nil && b.Report.Inventory != nil {
				x, y := *a.Report.Inventory, *b.Report.Inventory
				x.Server, y.Server = a.Name, b.Name
				for _, f := range hwcheck.Compare(x, y) {
					out = append(out, initapi.Finding{ID: "hardware-" + f.ID, Severity: f.Severity, Where: a.Name + ", " + b.Name, What: f.What, Next: f.Next})
				}
			}
			if x, y := a.Report.State, b.Report.State; x.Version != y.Version {
				out = append(out, initapi.Finding{
					ID: "version-" + a.Name + "-" + b.Name, Severity: "info", Where: a.Name + ", " + b.Name,
					What: fmt.Sprintf("The servers run different images: %s has %s, %s has %s.", a.Name, x.Version, b.Name, y.Version),
				})
			}
		}
	}
	return out
}

func contains(list []string, s string) bool {
	return slices.Contains(list, s)
}

// causesFirst puts findings of the same severity into the order of the reasons that they are: root causes first, and what comes from them after
// all others.
func causesFirst(r Readiness, list []initapi.Finding) []initapi.Finding {
	at := map[string]int{}
	all := append(slices.Clone(r.Reasons), r.Accepted...)
	for i, x := range all {
		for _, id := range x.Explains {
			at[id] = 2*len(all) + i
		}
	}
	for i, x := range all {
		at[x.ID] = i
	}
	place := func(f initapi.Finding) int {
		if n, ok := at[f.ID]; ok {
			return n
		}
		return len(all)
	}
	rank := map[string]int{"critical": 0, "warning": 1, "info": 2}
	slices.SortStableFunc(list, func(a, b initapi.Finding) int {
		if a.Severity != b.Severity {
			return rank[a.Severity] - rank[b.Severity]
		}
		return place(a) - place(b)
	})
	return list
}
