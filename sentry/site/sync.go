package site

import (
	"fmt"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

// How long the Synchronizer may be silent, and changes be on their way, before it is a fault.
const (
	syncSilent = 2 * time.Minute // no sign of life of a Synchronizer at work; a checker of a service may take half a minute
	syncSlow   = time.Minute     // a change that is not live on a secondary
)

// syncTroubles tells what of the primary's configuration is not proven to be live on the secondaries.
func syncTroubles(s Site) []trouble {
	prim, sec := s.ByRole(roles.Primary), s.ByRole(roles.Secondary)
	if len(prim) != 1 || len(sec) == 0 || !prim[0].Fresh(s.At) {
		return nil // told by others
	}
	p := prim[0]
	name := strings.ToUpper(p.Name)
	st := p.Report.Sync
	silent := func(id, text, next string, since time.Time) []trouble {
		return []trouble{{rank: rankSync, is: []string{"sync " + p.Name}, because: []string{"server " + p.Name}, short: "its Synchronizer is silent", Reason: Reason{
			ID: id + p.Name, Server: p.Name, Unknown: true, Text: text, Next: next, Since: since,
		}}}
	}
	switch {
	case st == nil:
		return silent("sync-absent-", name+" does not follow changes of its configuration yet.", "Wait a minute; if it stays so, see the messages of sentry on "+p.Name+".", time.Time{})
	case s.At.Add(p.Ahead).Sub(st.At) > syncSilent:
		return silent("sync-silent-", fmt.Sprintf("%s has not looked at changes of its configuration since %s.", name, Clock(st.At)), "Restart sentry there: atlas service restart sentry.", ours(st.At, p))
	}
	var out []trouble
	if st.Held != nil {
		out = append(out, trouble{rank: rankSync, is: []string{"held " + p.Name}, Reason: Reason{
			ID: "sync-held-" + p.Name, Server: p.Name, Since: ours(st.Held.Since, p), Evidence: FirstLine(st.Held.Words),
			Text: fmt.Sprintf("A change on %s is held back since %s: the other servers do not have it.", name, Clock(st.Held.Since)),
			Next: "Correct it or go back: see the findings.",
		}})
	}
	for _, v := range sec {
		if t, ok := peerTrouble(p, v, s.At); ok {
			out = append(out, t)
		}
	}
	return out
}

// These begin the names of a secondary's findings (sentry/sync/engine) about what it could not convert from the primary's release, and about
// settings that come to something else there.
const (
	convertedID = "sync-convert-"
	effectiveID = "sync-effective/"
)

// conversionTroubles tell what of the primary's configuration has no counterpart on a secondary of another release: its service would not work
// there, or would let in other people.
func conversionTroubles(s Site) []trouble {
	var out []trouble
	for _, v := range s.ByRole(roles.Secondary) {
		if v.Report.Sync == nil {
			continue
		}
		for _, f := range v.Report.Sync.Findings {
			if (strings.HasPrefix(f.ID, convertedID) || strings.HasPrefix(f.ID, effectiveID)) && f.Severity == "critical" {
				out = append(out, trouble{rank: rankData, Reason: Reason{ID: f.ID + "-" + v.Name, Server: v.Name, Text: f.What, Next: f.Next, Since: ours(f.Since, v)}})
			}
		}
	}
	return out
}

// peerTrouble tells why secondary v is not known to be in step with primary p.
func peerTrouble(p, v Server, now time.Time) (trouble, bool) {
	name := strings.ToUpper(v.Name)
	t := trouble{rank: rankSync, because: []string{"server " + v.Name, "server " + p.Name, "rehearsal " + v.Name}, short: "its settings are not in step", Reason: Reason{Server: v.Name}}
	tell := func(id string, unknown bool, text, next string) (trouble, bool) {
		t.ID, t.Unknown, t.Text, t.Next = id+v.Name, unknown, text, next
		return t, true
	}
	for _, q := range p.Report.Sync.Peers {
		if q.Name != v.Name {
			continue
		}
		t.Since, t.Evidence = ours(q.Since, p), q.Err
		switch {
		case q.State == "refused":
			return tell("sync-refused-", false, name+" could not take over a change of the primary.", "See the findings of "+v.Name+".")
		case q.Missing:
			return tell("sync-missing-", true, name+" has not reported about the primary's changes for more than a minute.", "Wait a minute; if it stays so, restart sentry there: atlas service restart sentry.")
		case q.Live == "":
			return tell("sync-untold-", true, name+" has not told yet which of the primary's changes it has.", "Wait a minute.")
		case q.Behind > 0 && now.Add(p.Ahead).Sub(q.Since) > syncSlow:
			next := "Wait until it has caught up."
			if q.Err != "" {
				next = "It says: " + q.Err + "."
			}
			return tell("sync-behind-", false, fmt.Sprintf("%s lacks the primary's changes since %s.", name, Clock(q.Since)), next)
		}
		return trouble{}, false
	}
	return tell("sync-unknown-", true, name+" is not known to "+p.Name+" as a server to carry changes to.", "Wait a minute; if it stays so, let it join again.")
}

// syncFindings are what the Synchronizer of a server has found.
func syncFindings(v Server, now time.Time) []initapi.Finding {
	st := v.Report.Sync
	if st == nil {
		i := v.Report.State
		if i == nil || i.State != initapi.Serving || i.Set == nil || now.Add(v.Ahead).Sub(i.Started) < 10*time.Minute {
			return nil
		}
		return []initapi.Finding{{
			ID: "sync-absent-" + v.Name, Severity: "critical", Where: v.Name, Since: i.Started,
			What: "Changes of the configuration of " + v.Name + " are not recorded.", Next: "Restart sentry there: atlas service restart sentry.",
		}}
	}
	out := append([]initapi.Finding(nil), st.Findings...)
	for i := range out {
		if out[i].Where == "" {
			out[i].Where = v.Name
		}
		out[i].ID += "-" + v.Name
	}
	if silent := now.Add(v.Ahead).Sub(st.At); silent > syncSilent {
		out = append(out, initapi.Finding{
			ID: "sync-silent-" + v.Name, Severity: "critical", Where: v.Name, Since: st.At,
			What: fmt.Sprintf("The Synchronizer of %s has stood still since %s: changes are not recorded.", v.Name, Clock(st.At)), Next: "Restart sentry there: atlas service restart sentry.",
		})
	}
	return append(out, peerFindings(v, st, now)...)
}

func peerFindings(v Server, st *state.Status, now time.Time) []initapi.Finding {
	var out []initapi.Finding
	for _, q := range st.Peers {
		if q.Behind == 0 || now.Add(v.Ahead).Sub(q.Since) < syncSlow || q.State == "refused" { // a refusal is a finding of the other server
			continue
		}
		what := fmt.Sprintf("%s lacks the changes of %s since %s.", q.Name, v.Name, Clock(q.Since))
		if q.Err != "" {
			what = fmt.Sprintf("%s lacks the changes of %s since %s: %s.", q.Name, v.Name, Clock(q.Since), q.Err)
		}
		out = append(out, initapi.Finding{
			ID: "sync-behind-" + q.Name, Severity: "warning", Where: q.Name, Since: q.Since, What: what,
			Next: "Look whether " + q.Name + " is on and its network cable is in; it catches up by itself.",
		})
	}
	return out
}
