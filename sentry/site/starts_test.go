package site

import (
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/verify"
)

// changed is a service that somebody changed so long ago.
func changed(service string, ago time.Duration) rehearsal.Unproven {
	return rehearsal.Unproven{Service: service, Title: strings.ToUpper(service[:1]) + service[1:], Since: now.Add(-ago), Last: now.Add(-ago), Change: "changed /etc/" + service, Who: "vi, by anna"}
}

func TestStarts(t *testing.T) {
	starts := func(s *Site) *rehearsal.Status { return s.Servers[1].Report.Starts }
	failed := func(words string) *ledger.Entry {
		return &ledger.Entry{Kind: ledger.Rehearsal, At: now.Add(-time.Minute), Server: "right", Services: []ledger.Service{{Name: "web", Title: "Web", Words: words}}}
	}
	down := func(s *Site) { // as it is seen while right's services are stopped
		r := s.Servers[1].Report
		r.State.Ready, r.State.Services[0].State = false, "failed"
		r.State.Findings = []initapi.Finding{{ID: "service-failed-web", Severity: "critical", What: "Web does not run."}}
		for i := range s.Servers {
			s.Servers[i].Report.Probes[1].Status, s.Servers[i].Report.Probes[1].Evidence = verify.Fail, "connection refused"
		}
		p := &s.Servers[0].Report.Sync.Peers[0]
		p.Behind, p.Since = 1, now.Add(-2*time.Minute)
	}
	running := func(s *Site, ago time.Duration) {
		starts(s).Running = &rehearsal.Running{Since: now.Add(-ago), Services: []string{"web"}}
		down(s)
	}
	for _, c := range []struct {
		name    string
		change  func(*Site)
		want    string
		reason  string // part of the only one
		open    string // part of what is told beside the verdict
		finding string // its ID and severity
	}{
		{"proven", func(*Site) {}, initapi.VerdictYes, "", "", ""},
		{"not told", func(s *Site) { s.Servers[1].Report.Starts = nil }, initapi.VerdictUnknown, "has not told yet whether its services start", "", ""},
		{
			"changed just now", func(s *Site) {
				starts(s).Unproven, starts(s).Next = []rehearsal.Unproven{changed("web", time.Minute)}, now.Add(9*time.Minute)
			},
			initapi.VerdictYes, "", "Web of RIGHT is still to be started from cold with this: changed /etc/web at " + Clock(now.Add(-time.Minute)) + " by vi, by anna. It is rehearsed at " + now.Add(9*time.Minute).Local().Format("15:04") + " by itself, or now with `atlas rehearse` on right.", "cold-start-open-web-right info",
		},
		{
			"a second before the end of grace", func(s *Site) {
				starts(s).Unproven = []rehearsal.Unproven{changed("web", rehearsal.Grace-time.Second)}
			}, initapi.VerdictYes, "", "still to be started", "",
		},
		{
			"at the end of grace", func(s *Site) {
				starts(s).Unproven = []rehearsal.Unproven{changed("web", rehearsal.Grace)}
				starts(s).Waits = "LEFT does not serve"
			}, initapi.VerdictNo, "Web of RIGHT has not been started from cold since this: changed /etc/web at", "", "cold-start-right critical",
		},
		{
			"several", func(s *Site) {
				starts(s).Unproven = []rehearsal.Unproven{changed("web", time.Hour), changed("db", 2*time.Hour), changed("mail", time.Minute)}
			}, initapi.VerdictNo, "Web and Db of RIGHT has not been", "Mail of RIGHT", "cold-start-right critical",
		},
		{"never proven, just booted", func(s *Site) {
			starts(s).Proving, starts(s).Booted = true, now.Add(-time.Minute)
			starts(s).Unproven = []rehearsal.Unproven{{Service: "web", Title: "Web", Since: now.Add(-time.Minute), Why: "it was never proven"}}
		}, initapi.VerdictUnknown, "RIGHT was started at", "", "cold-start-unproven-right info"},
		{"just booted, changed long before", func(s *Site) {
			starts(s).Proving, starts(s).Booted = true, now.Add(-time.Minute)
			starts(s).Unproven = []rehearsal.Unproven{changed("web", 48*time.Hour)}
		}, initapi.VerdictUnknown, "RIGHT was started at", "", "cold-start-unproven-right info"},
		{"just booted, changed just before", func(s *Site) {
			starts(s).Proving, starts(s).Booted = true, now.Add(-time.Minute)
			starts(s).Unproven = []rehearsal.Unproven{changed("web", 2*time.Minute)}
		}, initapi.VerdictYes, "", "Web of RIGHT is still to be started", "cold-start-open-web-right info"},
		{"switched on", func(s *Site) {
			starts(s).Proofs = map[string]ledger.Proof{"db": {Service: "db"}}
			starts(s).Unproven = []rehearsal.Unproven{{Service: "web", Title: "Web", Since: now.Add(-time.Minute), Why: "it was never proven with this image"}}
		}, initapi.VerdictYes, "", "Web of RIGHT was switched on, and is still to be started from cold.", "cold-start-open-web-right info"},
		{"changes of many services", func(s *Site) {
			starts(s).Unproven = []rehearsal.Unproven{changed("web", 2*time.Minute), changed("mail", time.Minute), changed("files", 3*time.Minute)}
		}, initapi.VerdictYes, "", "and 2 more services of RIGHT are still to be started from cold with what was changed since " + Clock(now.Add(-3*time.Minute)) +
			"; the last was this: changed /etc/mail at " + Clock(now.Add(-time.Minute)), "cold-start-open-right info"},
		{"never proven", func(s *Site) {
			starts(s).Unproven = []rehearsal.Unproven{{Service: "web", Title: "Web", Since: now.Add(-time.Hour), Why: "another image ran then"}}
		}, initapi.VerdictNo, "has not been started from cold since this: another image ran then", "", ""},
		{"failed", func(s *Site) {
			starts(s).Failed, starts(s).Unproven = failed("AH00526: Syntax error\nmore"), []rehearsal.Unproven{changed("web", time.Hour)}
			down(s)
			s.Servers[0].Report.Sync.Peers[0].Behind = 0
		}, initapi.VerdictNo, "Web of RIGHT did not start from cold at its rehearsal at " + Clock(now.Add(-time.Minute)) + ": AH00526: Syntax error.", "", "cold-start-failed-web-right critical"},
		{"running", func(s *Site) { running(s, time.Minute) }, initapi.VerdictUnknown, "RIGHT is being rehearsed since", "", "rehearsal-right info"},
		{"running, of something else", func(s *Site) {
			running(s, time.Minute)
			starts(s).Running.Services = []string{"mail"}
			s.Servers[0].Report.Sync.Peers[0].Behind = 0
		}, initapi.VerdictNo, "Web (failed)", "", "service-failed-web-right critical"},
		{"running for too long", func(s *Site) {
			running(s, rehearsal.RunLimit)
			s.Servers[0].Report.Sync.Peers[0].Behind = 0
		}, initapi.VerdictNo, "has not ended since", "", "rehearsal-right critical"},
		{"nightly missed", func(s *Site) { starts(s).LastFull = now.Add(-51 * time.Hour) }, initapi.VerdictYes, "", "", "rehearsal-missed-right warning"},
		{"never at night", func(s *Site) { starts(s).LastFull, starts(s).Nightly = now.Add(-51*time.Hour), false }, initapi.VerdictYes, "", "", ""},
		{"clock most of a minute ahead", func(s *Site) {
			const ahead = 50 * time.Second
			v := &s.Servers[1]
			v.Ahead = ahead
			v.Report.Sync.At = now.Add(ahead)
			v.Report.Probes[0].At, v.Report.Probes[1].At = now.Add(ahead), now.Add(ahead)
			u := changed("web", time.Minute-ahead) // a minute ago by its clock
			starts(s).Unproven = []rehearsal.Unproven{u}
		}, initapi.VerdictYes, "", "at " + Clock(now.Add(-time.Minute)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pair()
			c.change(&s)
			s = Judge(s)
			r := s.Readiness
			if r.Verdict != c.want || c.reason == "" && len(r.Reasons) != 0 {
				t.Fatalf("readiness = %+v; want %s", r, c.want)
			}
			if c.reason != "" && (len(r.Reasons) == 0 || !has(r.Reasons, c.reason)) {
				t.Errorf("reasons = %+v; want %q", r.Reasons, c.reason)
			}
			if c.name == "running" && len(r.Reasons) != 1 {
				t.Errorf("reasons = %+v; want one that explains all", r.Reasons)
			}
			if got := strings.Join(r.Open, "\n"); c.open == "" && got != "" || !strings.Contains(got, c.open) {
				t.Errorf("open = %q; want %q", got, c.open)
			}
			all := map[string]string{}
			for _, f := range s.Findings {
				all[f.ID] = f.Severity
				if f.Severity == "critical" && c.want == initapi.VerdictUnknown {
					t.Errorf("a false alarm: %+v", f)
				}
			}
			if id, sev, ok := strings.Cut(c.finding, " "); ok && all[id] != sev {
				t.Errorf("findings = %v; want %s", all, c.finding)
			}
		})
	}
}

func has(list []Reason, text string) bool {
	for _, r := range list {
		if strings.Contains(r.Text, text) {
			return true
		}
	}
	return false
}
