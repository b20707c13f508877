package site

import (
	"sort"
	"strings"
	"time"

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
			s.Servers[i].Sync, s.Servers[i].Starts, s.Servers[i].Health = r.Sync, r.Starts, r.Health
		}
		if s.Servers[i].Probes == nil {
			s.Servers[i].Probes = []verify.Result{}
		}
	}
	s.Readiness = ready(s)
	s.Advice = Advise(s)
	s.Findings = markAccepted(s, causesFirst(s.Readiness, findings(s)))
	return s
}

// ready is the verdict. What stands in the way is gathered from everything that is known, told under its root cause, and the worst comes first;
// what an administrator has accepted is set apart.
func ready(s Site) Readiness {
	out := Readiness{At: s.At, Reasons: []Reason{}, Accepted: []Reason{}, Open: openStarts(s)}
	var all []trouble
	if len(s.Servers) < 2 {
		all = append(all, trouble{rank: rankRole, Reason: Reason{
			ID: "one-server", Text: "There is only one server: nothing could take over.", Next: "Install a second server and let it join this site with the join code.",
		}})
	}
	whole := true
	for _, v := range s.Servers {
		for _, t := range serverTroubles(v, s.At) {
			whole = whole && !t.Unknown
			all = append(all, t)
		}
	}
	// While a server is not known, who is primary cannot be told; its own reason stands already.
	if whole && len(s.Servers) > 1 {
		all = append(all, roleTroubles(s)...)
	}
	for _, more := range [][]trouble{probeTroubles(s), syncTroubles(s), conversionTroubles(s), formReasons(s), startTroubles(s), comparisonTroubles(s), healthTroubles(s)} {
		all = append(all, more...)
	}
	accepted := accepting(s)
	for _, t := range merge(all, accepted) {
		if a, ok := accepted(t.Reason); ok {
			t.Accepted = &a
			out.Accepted = append(out.Accepted, t.Reason)
			continue
		}
		out.Reasons = append(out.Reasons, t.Reason)
	}
	switch {
	case len(out.Reasons) == 0:
		out.Ready, out.Verdict = true, initapi.VerdictYes
	case out.Reasons[0].Unknown: // those that were seen come first
		out.Verdict = initapi.VerdictUnknown
	default:
		out.Verdict = initapi.VerdictNo
	}
	return out
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
