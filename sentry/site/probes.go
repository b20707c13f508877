package site

import (
	"fmt"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/verify"
)

// probeTroubles demands that every server has proven every service of every serving server, itself included. What any observer
// probes, all must have probed. What several observers see of one probe is one trouble.
func probeTroubles(s Site) []trouble {
	var out []trouble
	at := map[string]int{} // in out, by ID
	for _, target := range s.Servers {
		if target.Role() == "" || !target.Fresh(s.At) {
			continue
		}
		all := map[string]bool{}
		for _, obs := range s.Servers {
			for _, p := range probesOf(obs, target.Name, s.At) {
				all[p.Service+" "+p.Probe] = true
			}
		}
		for _, obs := range s.Servers {
			if !obs.Fresh(s.At) {
				continue
			}
			list := probesOf(obs, target.Name, s.At)
			path, cut := pathTrouble(list, target, obs)
			if cut {
				out = append(out, path)
			}
			for _, p := range list {
				t, ok := probeTrouble(p, obs, s.At)
				if !ok {
					continue
				}
				if i, known := at[t.ID]; known {
					out[i] = together(out[i], t)
					continue
				}
				at[t.ID] = len(out)
				out = append(out, t)
			}
			if len(list) == 0 || len(list) < len(all) {
				out = append(out, trouble{
					rank: rankProbe, because: []string{"server " + target.Name, "server " + obs.Name}, short: "not all services are verified", Reason: Reason{
						ID: "unverified-" + obs.Name + "-" + target.Name, Server: obs.Name, Unknown: true,
						Text: fmt.Sprintf("%s has not verified all of %s's services (%d of %d).", strings.ToUpper(obs.Name), strings.ToUpper(target.Name), len(list), len(all)),
						Next: "Wait a minute; if it stays so, see the messages of sentry on " + obs.Name + ".",
					},
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

// fewToTell is from how many transactions on their failing together from one server alone speaks for the way between the two.
const fewToTell = 3

// pathTrouble: all that an observer tries with another server fails, while that proves itself. Then the way between them is at fault.
func pathTrouble(list []verify.Result, target, obs Server) (trouble, bool) {
	if obs.Name == target.Name || len(list) < fewToTell {
		return trouble{}, false
	}
	own := map[string]verify.Status{}
	for _, p := range target.Report.Probes {
		if p.Target == target.Name {
			own[p.Service+" "+p.Probe] = p.Standing()
		}
	}
	var since time.Time
	for _, p := range list {
		switch {
		case p.Standing() == verify.NotApplicable:
			continue
		case p.Standing() != verify.Fail || own[p.Service+" "+p.Probe] != verify.Pass:
			return trouble{}, false
		}
		if t := ours(p.Since, obs); t.After(since) {
			since = t
		}
	}
	o, t := strings.ToUpper(obs.Name), strings.ToUpper(target.Name)
	return trouble{rank: rankServer, is: []string{"path " + obs.Name + " " + target.Name}, Reason: Reason{
		ID: "path-" + obs.Name + "-" + target.Name, Server: target.Name, Since: since,
		Text: fmt.Sprintf("%s reaches no service of %s, though %s itself proves them all: the way between them is at fault.", o, t, t),
		Next: "Look at the network cables and the switch between " + o + " and " + t + ".",
	}}, true
}

func probeTrouble(p verify.Result, obs Server, now time.Time) (trouble, bool) {
	t := trouble{
		rank: rankProbe, group: "probes " + p.Target + " " + p.Service, short: "“" + p.Title + "”", plural: "%d transactions",
		because: []string{"rehearsal " + p.Target + " " + p.Service, "cold " + p.Target + " " + p.Service, "service " + p.Target + " " + p.Service, "path " + obs.Name + " " + p.Target, "server " + p.Target},
		Reason:  Reason{ID: "probe-" + p.Target + "-" + p.Service + "-" + p.Probe, Server: p.Target, Next: p.Next, Since: ours(p.Since, obs)},
	}
	if len(p.Rests) > 0 {
		t.rank = rankRests
		for _, dep := range p.Rests {
			t.because = append(t.because, "probes "+p.Target+" "+dep)
		}
	}
	what := fmt.Sprintf("“%s” on %s", p.Title, strings.ToUpper(p.Target))
	t.seen = []string{p.Observer}
	if p.Observer == p.Target {
		t.seen = []string{strings.ToUpper(p.Target) + " itself"}
	}
	switch {
	case p.Stale(now.Add(obs.Ahead)): // its times are by the observer's clock
		t.Unknown, t.Next, t.Since = true, "Wait a minute.", ours(p.At, obs)
		t.Text = what + " was not verified lately, seen from " + t.seen[0] + "."
	// Trouble that was seen once is being looked at again, and is no reason yet; what stood before stands.
	case p.Standing() == verify.Pass, p.Standing() == verify.Warn, p.Standing() == verify.NotApplicable:
		return t, false
	case p.Standing() == verify.Fail:
		t.Evidence = p.Evidence
		t.is = []string{"probes " + p.Target + " " + p.Service}
		t.Text = what + " fails, seen from " + t.seen[0] + ": " + p.Evidence + "."
	case p.Soft():
		t.Unknown, t.Evidence = true, p.Evidence
		t.Text = what + " failed once and is being verified again, seen from " + t.seen[0] + ": " + p.Evidence + "."
	default:
		t.Unknown, t.Evidence = true, p.Evidence
		t.Text = what + " is not verified, seen from " + t.seen[0] + ": " + p.Evidence + "."
	}
	return t, true
}

// together puts what two observers say of one probe into one: what was seen to fail counts more than what is not known.
func together(a, b trouble) trouble {
	if a.Unknown && !b.Unknown {
		a, b = b, a
	}
	if a.Unknown == b.Unknown {
		both := append(append([]string{}, a.seen...), b.seen...)
		a.Text = strings.Replace(a.Text, "seen from "+strings.Join(a.seen, " and "), "seen from "+strings.Join(both, " and "), 1)
		a.seen = both
		if !b.Since.IsZero() && b.Since.Before(a.Since) {
			a.Since = b.Since
		}
	}
	// Only what explains it for both explains it.
	var because []string
	for _, c := range a.because {
		for _, d := range b.because {
			if c == d {
				because = append(because, c)
			}
		}
	}
	a.because = because
	return a
}
