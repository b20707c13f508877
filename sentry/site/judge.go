package site

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/verify"
)

// Judge fills in the site's findings and its readiness from its servers, at s.At.
func Judge(s Site) Site {
	s.Servers = append([]Server(nil), s.Servers...)
	sort.Slice(s.Servers, func(i, j int) bool { return s.Servers[i].Name < s.Servers[j].Name })
	for i := range s.Servers {
		if r := s.Servers[i].Report; r != nil {
			s.Servers[i].State, s.Servers[i].Boot, s.Servers[i].Probes = r.State, r.Boot, r.Probes
			s.Servers[i].Sync = r.Sync
		}
		if s.Servers[i].Probes == nil {
			s.Servers[i].Probes = []verify.Result{}
		}
	}
	s.Readiness = ready(s)
	s.Advice = Advise(s)
	s.Findings = findings(s)
	return s
}

func ready(s Site) Readiness {
	var seen, missing []Reason
	add := func(r Reason) {
		if r.Unknown {
			missing = append(missing, r)
		} else {
			seen = append(seen, r)
		}
	}
	if len(s.Servers) < 2 {
		add(Reason{
			Text: "There is only one server: nothing could take over.",
			Next: "Install a second server and let it join this site with the join code.",
		})
	}
	whole := true
	for _, v := range s.Servers {
		for _, r := range serverReasons(v, s.At) {
			whole = whole && !r.Unknown
			add(r)
		}
	}
	// While a server is not known, who is primary cannot be told; its own reason stands already.
	if whole && len(s.Servers) > 1 {
		for _, r := range roleReasons(s) {
			add(r)
		}
	}
	for _, r := range probeReasons(s) {
		add(r)
	}
	for _, r := range syncReasons(s) {
		add(r)
	}
	for _, r := range conversionReasons(s) {
		add(r)
	}
	for _, r := range formReasons(s) {
		add(r)
	}
	out := Readiness{Reasons: append(seen, missing...)}
	switch {
	case len(seen) > 0:
		out.Verdict = initapi.VerdictNo
	case len(missing) > 0:
		out.Verdict = initapi.VerdictUnknown
	default:
		out.Ready, out.Verdict, out.Reasons = true, initapi.VerdictYes, []Reason{}
	}
	return out
}

// serverReasons tells why v could not take part in a swap.
func serverReasons(v Server, now time.Time) []Reason {
	name := strings.ToUpper(v.Name)
	switch {
	case v.Report == nil:
		return []Reason{{Server: v.Name, Unknown: true, Text: name + " has not answered yet: nothing is known of it.", Next: "Switch it on, and check its cable and address (" + v.Address + ")."}}
	case !v.Fresh(now):
		return []Reason{{Server: v.Name, Unknown: true, Text: fmt.Sprintf("%s is unknown since %s: it does not answer.", name, Clock(v.Seen)), Next: "Look whether it is on and its network cable is in."}}
	case v.Report.State == nil:
		return []Reason{{Server: v.Name, Unknown: true, Text: name + " does not tell its state: " + v.Report.StateErr, Next: "Wait a minute; if it stays so, restart " + v.Name + "."}}
	}
	st := v.Report.State
	switch st.State {
	case initapi.Serving:
	case initapi.Holding:
		r := Reason{Server: v.Name, Text: name + " has started no disk set.", Next: "See what its console or its page says."}
		if len(st.Reasons) > 0 {
			r.Text, r.Next = name+" has started no disk set: "+st.Reasons[0].Text, st.Reasons[0].Next
		}
		return []Reason{r}
	default:
		return []Reason{{Server: v.Name, Unknown: true, Text: name + " is " + StateWord(st) + ".", Next: "Wait until it has finished."}}
	}
	var out []Reason
	if st.Set != nil && st.Set.Degraded {
		text, next := name+"'s disk set is not whole.", "Put a new disk into the empty bay."
		if st.Set.Rebuild != "" {
			text, next = name+"'s disk set is being rebuilt: "+st.Set.Rebuild+".", "Wait until the rebuild has finished."
		}
		out = append(out, Reason{Server: v.Name, Text: text, Next: next})
	}
	if !st.Ready {
		var bad []string
		for _, svc := range st.Services {
			if svc.State != "ready" {
				why := svc.State
				if svc.Waiting != "" {
					why = "waits for " + svc.Waiting
				}
				bad = append(bad, svc.Title+" ("+why+")")
			}
		}
		text := name + "'s services are not all ready."
		if len(bad) > 0 {
			text = name + "'s services are not all ready: " + strings.Join(bad, ", ") + "."
		}
		out = append(out, Reason{Server: v.Name, Text: text, Next: "If it does not change within a minute, see the service's last words below."})
	}
	for _, f := range st.Findings {
		// These two are told above in better words.
		if f.Severity == "critical" && !strings.HasPrefix(f.ID, "set-degraded") && !strings.HasPrefix(f.ID, "service-") {
			out = append(out, Reason{Server: v.Name, Text: name + ": " + f.What, Next: f.Next})
		}
	}
	return out
}

func roleReasons(s Site) []Reason {
	var out []Reason
	prim, sec := s.ByRole(roles.Primary), s.ByRole(roles.Secondary)
	switch {
	case len(prim) == 0:
		out = append(out, Reason{Text: "No server holds a started primary set: the office is not served.", Next: "Put the primary disk set into a server and start it."})
	case len(prim) > 1:
		out = append(out, Reason{Text: "Two servers hold a primary set: " + names(prim) + ".", Next: "Shut one of them down now, and call whoever installed the site."})
	}
	if len(sec) == 0 {
		out = append(out, Reason{Text: "No server holds a started secondary set: nothing proves that a swap would work.", Next: "Put the secondary disk set into the other server and start it."})
	}
	return out
}

// probeReasons demands that every server has proven every service of every serving server, itself included. What any observer
// probes, all must have probed.
func probeReasons(s Site) []Reason {
	var out []Reason
	for _, target := range s.Servers {
		if target.Role() == "" || !target.Fresh(s.At) {
			continue
		}
		all := map[string]verify.Result{}
		for _, obs := range s.Servers {
			for _, p := range probesOf(obs, target.Name, s.At) {
				all[p.Service+" "+p.Probe] = p
			}
		}
		for _, obs := range s.Servers {
			if !obs.Fresh(s.At) {
				continue
			}
			got := map[string]bool{}
			for _, p := range probesOf(obs, target.Name, s.At) {
				got[p.Service+" "+p.Probe] = true
				if r, ok := probeReason(p, obs, s.At); ok {
					out = append(out, r)
				}
			}
			if len(got) == 0 || len(got) < len(all) {
				out = append(out, Reason{
					Server: obs.Name, Unknown: true,
					Text: fmt.Sprintf("%s has not verified all of %s's services (%d of %d).", strings.ToUpper(obs.Name), strings.ToUpper(target.Name), len(got), len(all)),
					Next: "Wait a minute; if it stays so, see the messages of sentry on " + obs.Name + ".",
				})
			}
		}
	}
	return out
}

// probesOf are obs's results on target that count for a swap, if they are evidence at all.
func probesOf(obs Server, target string, now time.Time) []verify.Result {
	var out []verify.Result
	if obs.Fresh(now) {
		for _, p := range obs.Report.Probes {
			if p.Target == target && !p.Minor {
				out = append(out, p)
			}
		}
	}
	return out
}

func probeReason(p verify.Result, obs Server, now time.Time) (Reason, bool) {
	where := fmt.Sprintf("“%s” on %s, seen from %s", p.Title, strings.ToUpper(p.Target), p.Observer)
	if p.Observer == p.Target {
		where = fmt.Sprintf("“%s” on %s", p.Title, strings.ToUpper(p.Target))
	}
	// Its times are by the observer's clock.
	if p.Stale(now.Add(obs.Ahead)) {
		return Reason{Server: p.Target, Unknown: true, Text: where + ", was not verified lately.", Next: "Wait a minute."}, true
	}
	// Trouble that was seen once is being looked at again, and is no reason yet; what stood before stands.
	switch p.Standing() {
	case verify.Pass, verify.Warn, verify.NotApplicable:
		return Reason{}, false
	case verify.Fail:
		return Reason{Server: p.Target, Text: where + ", fails: " + p.Evidence + ".", Next: p.Next}, true
	}
	text := where + ", is not verified: " + p.Evidence + "."
	if p.Soft() {
		text = where + ", failed once and is being verified again: " + p.Evidence + "."
	}
	return Reason{Server: p.Target, Unknown: true, Text: text, Next: p.Next}, true
}

func names(list []Server) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.Name
	}
	return strings.Join(out, " and ")
}

// Clock words a time of day for people, in UTC unless the server has a time zone.
func Clock(t time.Time) string {
	if time.Since(t) > 20*time.Hour {
		return t.Local().Format("2 Jan 15:04")
	}
	return t.Local().Format("15:04:05")
}

// StateWord words a state for people.
func StateWord(st *initapi.State) string {
	if st == nil {
		return "unknown"
	}
	switch st.State {
	case initapi.Booting:
		if st.Phase != "" {
			return "starting (" + st.Phase + ")"
		}
		return "starting"
	case initapi.Serving:
		if st.Ready {
			return "serving"
		}
		for _, svc := range st.Services {
			if svc.State == "failed" || svc.State == "stopped" {
				return "serving, but not all services run"
			}
		}
		return "starting services"
	case initapi.Holding:
		return "waiting for a disk set"
	case initapi.Stopping:
		return "shutting down"
	}
	return st.State
}
