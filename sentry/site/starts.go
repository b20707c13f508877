package site

import (
	"fmt"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
)

// startTroubles tells what keeps the secondaries from being proven to start from cold with what is configured now. What was changed a short
// while ago counts only when the time for its rehearsal is over: see package rehearsal for the weighing.
func startTroubles(s Site) []trouble {
	var out []trouble
	for _, v := range s.ByRole(roles.Secondary) {
		if !v.Fresh(s.At) {
			continue
		}
		out = append(out, startsOf(v, s.At.Add(v.Ahead))...)
	}
	return out
}

// startsOf tells it of one server; now is by its clock.
func startsOf(v Server, now time.Time) []trouble {
	name, st := strings.ToUpper(v.Name), v.Report.Starts
	if st == nil {
		return []trouble{{rank: rankStart, Reason: Reason{
			ID: "cold-start-untold-" + v.Name, Server: v.Name, Unknown: true, Text: name + " has not told yet whether its services start from cold.",
			Next: "Wait a minute; if it stays so, restart sentry there: atlas service restart sentry.",
		}}}
	}
	var out []trouble
	if st.Running != nil {
		out = append(out, runningTrouble(v, st, now))
	}
	if f := st.Failed; f != nil {
		out = append(out, failedTroubles(v, *f)...)
	}
	return append(out, unprovenTroubles(v, st, now)...)
}

func runningTrouble(v Server, st *rehearsal.Status, now time.Time) trouble {
	name := strings.ToUpper(v.Name)
	t := trouble{rank: rankServer, is: []string{"rehearsal " + v.Name}, excuses: true, Reason: Reason{
		ID: "rehearsal-" + v.Name, Server: v.Name, Unknown: true, Since: ours(st.Running.Since, v),
		Text: fmt.Sprintf("%s is being rehearsed since %s: its services are started from cold, to prove that they would start after a swap.", name, Clock(ours(st.Running.Since, v))),
		Next: "Wait a few minutes. If the primary fails just now, swap all the same.",
	}}
	for _, n := range st.Running.Services {
		t.is = append(t.is, "rehearsal "+v.Name+" "+n)
	}
	if !st.Runs(now) {
		t.is, t.excuses, t.Unknown = nil, false, false
		t.Text = fmt.Sprintf("The rehearsal of %s has not ended since %s.", name, Clock(ours(st.Running.Since, v)))
		t.Next = "Look at its services; then: atlas service restart sentry on " + v.Name + "."
	}
	return t
}

// failedTroubles tells of each service that did not start.
func failedTroubles(v Server, f ledger.Entry) []trouble {
	var out []trouble
	for _, svc := range f.Services {
		out = append(out, trouble{
			rank: rankCold, is: []string{"cold " + v.Name + " " + svc.Name}, because: []string{"rehearsal " + v.Name + " " + svc.Name}, group: "cold " + v.Name,
			short: svc.Label() + " did not start from cold", Reason: Reason{
				ID: coldID(v, svc), Server: v.Name, Since: ours(f.At, v), Evidence: svc.Words, Text: coldWords(v, f, svc), Next: coldRemedy(v, svc),
			},
		})
	}
	return out
}

func coldID(v Server, svc ledger.Service) string {
	return "cold-start-failed-" + svc.Name + "-" + v.Name
}

func coldWords(v Server, f ledger.Entry, svc ledger.Service) string {
	how := "at its rehearsal"
	if f.Kind == ledger.Start {
		how = "when the server was started"
	}
	return fmt.Sprintf("%s of %s did not start from cold %s at %s: %s.", svc.Label(), strings.ToUpper(v.Name), how, Clock(ours(f.At, v)), strings.TrimSuffix(Clipped(FirstLine(svc.Words)), "."))
}

// mostWords of a daemon stand in a sentence; its log has all.
const mostWords = 240

// Clipped is s, cut after mostWords characters.
func Clipped(s string) string {
	if r := []rune(s); len(r) > mostWords {
		return string(r[:mostWords]) + "…"
	}
	return s
}

func coldRemedy(v Server, svc ledger.Service) string {
	return fmt.Sprintf("After a swap, or a power cut, it would not start: correct it on the primary, or go back there: `atlas rollback --service %s`. It is rehearsed again by itself, or now: `atlas rehearse` on %s.", svc.Name, v.Name)
}

// unprovenTroubles tells of services whose start is not proven, all of one server in one.
func unprovenTroubles(v Server, st *rehearsal.Status, now time.Time) []trouble {
	var late, never []rehearsal.Unproven
	for _, u := range st.Unproven {
		switch {
		case failedIn(st, u.Service): // told with its own words
		case newlyOn(st, u) && now.Sub(u.Since) < rehearsal.Grace: // told beside the verdict
		case u.Change == "" && now.Sub(u.Since) < rehearsal.Grace, st.Proving && now.Sub(u.Since) >= rehearsal.Grace:
			never = append(never, u) // that start is under way: what was changed long before, on a set that comes from another server, is in it
		case now.Sub(u.Since) >= rehearsal.Grace:
			late = append(late, u)
		}
	}
	name := strings.ToUpper(v.Name)
	var out []trouble
	base := trouble{rank: rankStart, because: []string{"rehearsal " + v.Name, "server " + v.Name}, short: "its start from cold is not proven"}
	if len(late) > 0 {
		t := base
		t.Reason = Reason{
			ID: "cold-start-" + v.Name, Server: v.Name, Since: ours(oldest(late), v), Evidence: proofWords(v, st, late[0].Service), Next: nextWords(v, st, now),
			Text: fmt.Sprintf("%s of %s has not been started from cold since this: %s.", titles(late), name, changeWords(late[0], v)),
		}
		out = append(out, t)
	}
	if len(never) > 0 {
		t := base
		t.Reason = Reason{
			ID: "cold-start-unproven-" + v.Name, Server: v.Name, Unknown: true, Since: ours(oldest(never), v), Next: nextWords(v, st, now),
			Text: fmt.Sprintf("A start of %s from cold is not proven yet on %s: %s.", titles(never), name, never[0].Reason()),
		}
		if st.Proving {
			t.Text = fmt.Sprintf("%s was started at %s, and not all of its services are proven since, from every server.", name, Clock(ours(st.Booted, v)))
			t.Next = "Wait a minute."
		}
		out = append(out, t)
	}
	return out
}

// newlyOn tells that a service was switched on while the server runs, whose own start is proven: it has just started there, and its transactions
// tell whether it works.
func newlyOn(st *rehearsal.Status, u rehearsal.Unproven) bool {
	_, proven := st.Proofs[u.Service]
	return u.Change == "" && !proven && !st.Proving && len(st.Proofs) > 0
}

func failedIn(st *rehearsal.Status, service string) bool {
	if st.Failed == nil {
		return false
	}
	for _, s := range st.Failed.Services {
		if s.Name == service {
			return true
		}
	}
	return false
}

func oldest(list []rehearsal.Unproven) time.Time {
	at := list[0].Since
	for _, u := range list {
		if u.Since.Before(at) {
			at = u.Since
		}
	}
	return at
}

// titles names services: two by name, more by their number.
func titles(list []rehearsal.Unproven) string {
	switch n := len(list); n {
	case 1:
		return list[0].Title
	case 2:
		return list[0].Title + " and " + list[1].Title
	default:
		return fmt.Sprintf("%s and %d more services", list[0].Title, n-1)
	}
}

func changeWords(u rehearsal.Unproven, v Server) string {
	if u.Change == "" {
		return u.Why
	}
	s := u.Change + " at " + Clock(ours(u.Last, v))
	if u.Who != "" {
		s += " by " + strings.TrimPrefix(u.Who, "by ")
	}
	return s
}

// proofWords tells of the newest good start of a service.
func proofWords(v Server, st *rehearsal.Status, service string) string {
	p, ok := st.Proofs[service]
	if !ok {
		return ""
	}
	return "last proven start: " + Clock(ours(p.At, v))
}

// nextWords tells when it is rehearsed, and how to have that now.
func nextWords(v Server, st *rehearsal.Status, now time.Time) string {
	by := "`atlas rehearse` on " + v.Name + "."
	switch {
	case st.Waits != "":
		return "The rehearsal waits: " + st.Waits + ". Then it comes by itself, or with " + by
	case st.Next.IsZero():
		return "Rehearse it: " + by
	case !st.Next.After(now):
		return "It is rehearsed in a moment, or at once with " + by
	}
	return "It is rehearsed at " + st.Next.Add(-v.Ahead).Local().Format("15:04") + " by itself, or now with " + by
}

// openStart is a change whose rehearsal is still to come in time.
type openStart struct {
	id, title, server, what, next string
	change                        string
	since, last                   time.Time
}

func openOf(s Site) []openStart {
	var out []openStart
	for _, v := range s.ByRole(roles.Secondary) {
		if !v.Fresh(s.At) || v.Report.Starts == nil {
			continue
		}
		if list := openAt(v, s.At.Add(v.Ahead)); len(list) <= fewNamed {
			out = append(out, list...)
		} else {
			out = append(out, allOpen(v, list))
		}
	}
	return out
}

// allOpen tells many as one, with the newest change: a certificate, say, concerns nearly every service.
func allOpen(v Server, list []openStart) openStart {
	out, newest := list[0], list[0]
	for _, o := range list {
		if o.since.Before(out.since) {
			out.since = o.since
		}
		if o.last.After(newest.last) {
			newest = o
		}
	}
	out.id = "cold-start-open-" + v.Name
	out.what = fmt.Sprintf("%s and %d more services of %s are still to be started from cold with what was changed since %s; the last was this: %s.",
		out.title, len(list)-1, strings.ToUpper(v.Name), Clock(out.since), newest.change)
	return out
}

func openAt(v Server, now time.Time) []openStart {
	var out []openStart
	st := v.Report.Starts
	for _, u := range st.Unproven {
		if u.Change == "" && !newlyOn(st, u) || now.Sub(u.Since) >= rehearsal.Grace || failedIn(st, u.Service) || st.Runs(now) && st.Of(u.Service) {
			continue
		}
		o := openStart{
			id: "cold-start-open-" + u.Service + "-" + v.Name, title: u.Title, server: v.Name, since: ours(u.Since, v), last: u.Last, next: nextWords(v, st, now), change: changeWords(u, v),
		}
		o.what = fmt.Sprintf("%s of %s is still to be started from cold with this: %s.", u.Title, strings.ToUpper(v.Name), o.change)
		if newlyOn(st, u) {
			o.change = u.Title + " was switched on"
			o.what = fmt.Sprintf("%s of %s was switched on, and is still to be started from cold.", u.Title, strings.ToUpper(v.Name))
		}
		out = append(out, o)
	}
	return out
}

// openStarts words them beside the verdict.
func openStarts(s Site) []string {
	var out []string
	for _, o := range openOf(s) {
		out = append(out, o.what+" "+o.next)
	}
	return out
}

// startFindings are what is to be told of starts from cold, beside readiness.
func startFindings(s Site) []initapi.Finding {
	var out []initapi.Finding
	for _, v := range s.ByRole(roles.Secondary) {
		if !v.Fresh(s.At) || v.Report.Starts == nil {
			continue
		}
		st, now := v.Report.Starts, s.At.Add(v.Ahead)
		for _, t := range startsOf(v, now) {
			sev := "critical"
			if t.Unknown {
				sev = "info"
			}
			out = append(out, initapi.Finding{ID: t.ID, Severity: sev, Where: v.Name, What: t.Text, Next: t.Next, Since: t.Since})
		}
		if since := now.Sub(st.LastFull); st.Nightly && !st.LastFull.IsZero() && since > rehearsal.NightMissed {
			next := "Look at the messages of sentry on " + v.Name + "; now: `atlas rehearse --all` there."
			if st.Waits != "" {
				next = "It waits: " + st.Waits + "."
			}
			out = append(out, initapi.Finding{
				ID: "rehearsal-missed-" + v.Name, Severity: "warning", Where: v.Name, Since: ours(st.LastFull, v), Next: next,
				What: fmt.Sprintf("The services of %s were last all started from cold on %s: the nightly rehearsal does not take place.", strings.ToUpper(v.Name), ours(st.LastFull, v).Local().Format("2 Jan 15:04")),
			})
		}
	}
	for _, o := range openOf(s) {
		out = append(out, initapi.Finding{ID: o.id, Severity: "info", Where: o.server, What: o.what, Next: o.next, Since: o.since})
	}
	return out
}

// Rehearses tells whether a service of v is being started from cold, which explains what is seen of it.
func (s Server) Rehearses(now time.Time, service string) bool {
	return s.Fresh(now) && s.Report.Starts.Runs(now.Add(s.Ahead)) && s.Report.Starts.Of(service)
}

func rehearsed(s Site, target, service string) bool {
	v, ok := s.Find(target)
	return ok && v.Rehearses(s.At, service)
}

// serviceOf is the service that one of init's findings is about.
func serviceOf(id, server string) string {
	name, ok := strings.CutPrefix(strings.TrimSuffix(id, "-"+server), "service-failed-")
	if !ok {
		return ""
	}
	return name
}
