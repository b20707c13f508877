package site

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// serverTroubles tells why v could not take part in a swap.
func serverTroubles(v Server, now time.Time) []trouble {
	name := strings.ToUpper(v.Name)
	one := func(id, text, next string) []trouble {
		return []trouble{{rank: rankServer, is: []string{"server " + v.Name}, Reason: Reason{ID: id + v.Name, Server: v.Name, Unknown: true, Text: text, Next: next}}}
	}
	switch {
	case v.Report == nil:
		return one("server-unknown-", name+" has not answered yet: nothing is known of it.", "Switch it on, and check its cable"+port(v)+" and address ("+v.Address+").")
	case !v.Fresh(now):
		out := one("server-unknown-", fmt.Sprintf("%s is unknown since %s: it does not answer.", name, Clock(v.Seen)), "Look whether it is on and its network cable is in"+port(v)+".")
		out[0].Since, out[0].Evidence = v.Seen, v.Error
		return out
	case v.Silent(now):
		out := one("server-unknown-", fmt.Sprintf("%s does not answer since %s.", name, Clock(v.ErrorAt)), "Look whether it is on and its network cable is in"+port(v)+".")
		out[0].Since, out[0].Evidence, out[0].excuses = v.ErrorAt, v.Error, true
		return out
	case v.Report.State == nil:
		return one("init-silent-", name+" does not tell its state: "+v.Report.StateErr, "Wait a minute; if it stays so, restart "+v.Name+".")
	}
	st := v.Report.State
	switch st.State {
	case initapi.Serving:
		return servingTroubles(v, st)
	case initapi.Holding:
		out := one("holding-", name+" has started no disk set.", "See what its console or its page says.")
		out[0].Unknown, out[0].Since = false, st.Started
		if len(st.Reasons) > 0 {
			out[0].Text, out[0].Next = name+" has started no disk set: "+st.Reasons[0].Text, cmp.Or(st.Reasons[0].Next, out[0].Next)
		}
		return out
	}
	out := one("starting-", name+" is "+StateWord(st)+".", "Wait until it has finished.")
	out[0].excuses, out[0].Since = true, st.Started
	return out
}

// port names the network port whose link is up, or was when the server was last heard.
func port(v Server) string {
	if v.Report == nil || v.Report.Inventory == nil {
		return ""
	}
	var up []string
	for _, n := range v.Report.Inventory.NICs {
		if n.Link {
			up = append(up, n.Name)
		}
	}
	if len(up) != 1 {
		return ""
	}
	return " (port " + up[0] + ")"
}

func servingTroubles(v Server, st *initapi.State) []trouble {
	out := setTroubles(v, st)
	out = append(out, serviceTroubles(v, st)...)
	for _, f := range st.Findings {
		// These two are told in better words.
		if f.Severity != "critical" || strings.HasPrefix(f.ID, "set-degraded") || strings.HasPrefix(f.ID, "service-") {
			continue
		}
		out = append(out, trouble{rank: rankFinding, Reason: Reason{
			ID: f.ID + "-" + v.Name, Server: v.Name, Text: strings.ToUpper(v.Name) + ": " + f.What, Next: f.Next, Since: ours(f.Since, v),
		}})
	}
	return out
}

// ours is a time of v by this server's clock.
func ours(t time.Time, v Server) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-v.Ahead)
}

// setTroubles tells of a disk set that is not whole, with the bay and the disk, as init has found it.
func setTroubles(v Server, st *initapi.State) []trouble {
	if st.Set == nil || !st.Set.Degraded {
		return nil
	}
	name := strings.ToUpper(v.Name)
	r := Reason{ID: "set-degraded-" + v.Name, Server: v.Name, Text: name + "'s disk set is not whole.", Next: "Put a new disk into the empty bay."}
	if st.Set.Rebuild != "" {
		r.Text, r.Next = name+"'s disk set is being rebuilt: "+st.Set.Rebuild+".", "Wait until the rebuild has finished."
	}
	for _, f := range st.Findings {
		if strings.HasPrefix(f.ID, "set-degraded") {
			r.ID, r.Since = f.ID+"-"+v.Name, ours(f.Since, v)
			if st.Set.Rebuild == "" {
				r.Text += " " + f.What
			}
			if f.Next != "" {
				r.Next = f.Next
			}
			break
		}
	}
	return []trouble{{rank: rankSet, Reason: r, short: "the disk set is not whole"}}
}

// serviceTroubles tells which services of v do not run. One that waits for another is told with that.
func serviceTroubles(v Server, st *initapi.State) []trouble {
	var out []trouble
	for _, svc := range st.Services {
		if svc.State == "ready" {
			continue
		}
		t := trouble{
			rank: rankService, is: []string{"service " + v.Name + " " + svc.Name}, because: []string{"rehearsal " + v.Name + " " + svc.Name, "cold " + v.Name + " " + svc.Name},
			short: svc.Title + " " + waitingWord(svc),
			Reason: Reason{
				ID: serviceID(v, st, svc.Name), Server: v.Name, Since: ours(svc.Since, v), Evidence: svc.Error,
				Text: fmt.Sprintf("%s's services are not all ready: %s (%s).", strings.ToUpper(v.Name), svc.Title, waitingWord(svc)),
				Next: "If it does not change within a minute, see the service's last words, and try `atlas service restart " + svc.Name + "` on " + v.Name + ".",
			},
		}
		for _, o := range st.Services {
			if svc.Waiting != "" && o.State != "ready" && o.Title != "" && o.Name != svc.Name && strings.Contains(svc.Waiting, o.Title) {
				t.because = append(t.because, "service "+v.Name+" "+o.Name)
			}
		}
		out = append(out, t)
	}
	if !st.Ready && len(out) == 0 {
		out = append(out, trouble{rank: rankService, Reason: Reason{ID: "not-ready-" + v.Name, Server: v.Name, Text: strings.ToUpper(v.Name) + "'s services are not all ready.", Next: "Wait a minute."}})
	}
	return out
}

func waitingWord(svc initapi.Service) string {
	if svc.Waiting != "" {
		return "waits for " + svc.Waiting
	}
	return svc.State
}

// serviceID names the finding about a service that does not run: init's own, or else the one that serviceFindings makes.
func serviceID(v Server, st *initapi.State, service string) string {
	own := "service-failed-" + service
	if slices.ContainsFunc(st.Findings, func(f initapi.Finding) bool { return f.ID == own }) {
		return own + "-" + v.Name
	}
	return "service-" + service + "-" + v.Name
}

func roleTroubles(s Site) []trouble {
	var out []trouble
	var because []string // a server that does not serve is why there is no set of a role
	for _, v := range s.Servers {
		because = append(because, "server "+v.Name)
	}
	prim, sec := s.ByRole(roles.Primary), s.ByRole(roles.Secondary)
	switch {
	case len(prim) == 0:
		out = append(out, trouble{rank: rankRole, because: because, short: "no server holds a started primary set: the office is not served", Reason: Reason{
			ID: "no-primary", Text: "No server holds a started primary set: the office is not served.", Next: "Put the primary disk set into a server and start it.",
		}})
	case len(prim) > 1:
		out = append(out, trouble{rank: rankTwo, Reason: Reason{
			ID: "two-primaries", Text: "Two servers hold a primary set: " + names(prim) + ".", Next: "Shut one of them down now, and call whoever installed the site.",
		}})
	}
	if len(sec) == 0 {
		out = append(out, trouble{rank: rankRole, because: because, short: "no server holds a started secondary set", Reason: Reason{
			ID: "no-secondary", Text: "No server holds a started secondary set: nothing proves that a swap would work.", Next: "Put the secondary disk set into the other server and start it.",
		}})
	}
	return out
}
