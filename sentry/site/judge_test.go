package site

import (
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/verify"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// pair is a healthy site of two, told by left.
func pair() Site {
	s := Site{ID: "s", Name: "Miller", At: now, Server: "left"}
	for _, name := range []string{"left", "right"} {
		role := roles.Primary
		if name == "right" {
			role = roles.Secondary
		}
		r := &Report{Name: name, At: now, Peers: []string{"left", "right"}, State: &initapi.State{
			Server: name, State: initapi.Serving, Role: role, Ready: true, Version: "1",
			Set: &initapi.Set{ID: name}, Services: []initapi.Service{{Name: "web", Title: "Web", State: "ready"}},
		}}
		for _, target := range []string{"left", "right"} {
			r.Probes = append(r.Probes, verify.Result{Observer: name, Target: target, Service: "web", Probe: "page", Title: "Page", Status: verify.Pass, At: now.Add(-time.Second), Every: 15 * time.Second})
		}
		r.Sync = &state.Status{At: now, Role: string(role)}
		if role == roles.Primary {
			r.Sync.Peers = []state.Peer{{Name: "right", Up: true, Live: "c1", State: "in step"}}
		} else {
			r.Starts = &rehearsal.Status{At: now, Proofs: map[string]ledger.Proof{"web": {Service: "web", At: now.Add(-time.Hour), Live: "l1"}}, LastFull: now.Add(-time.Hour), Nightly: true}
		}
		s.Servers = append(s.Servers, Server{Name: name, Self: name == "left", Seen: now.Add(-time.Second), Report: r})
	}
	return s
}

func TestReadiness(t *testing.T) {
	left := func(s *Site) *initapi.State { return s.Servers[0].Report.State }
	right := func(s *Site) *Server { return &s.Servers[1] }
	sync := func(s *Site) *state.Status { return s.Servers[0].Report.Sync }
	probe := func(s *Site, observer, target int) *verify.Result { return &s.Servers[observer].Report.Probes[target] }
	// form makes the data of the primary of one form, and the secondary's image take another.
	form := func(have, takes int, older ...int) [2]initapi.DataForm {
		d := initapi.DataForm{Service: "db", Title: "Database", Path: "/var/lib/db", Kind: "postgresql"}
		p, q := d, d
		p.Form, p.Since, p.Room = have, now, 512<<20
		q.Takes, q.Older = takes, older
		return [2]initapi.DataForm{p, q}
	}
	forms := func(f [2]initapi.DataForm) func(*Site) {
		return func(s *Site) {
			left(s).Forms, right(s).Report.State.Forms = f[:1], f[1:]
			left(s).Set.FreeBytes = 1 << 40
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Site)
		want   string
		reason string // part of the first
	}{
		{"healthy", func(*Site) {}, initapi.VerdictYes, ""},
		{"another release, all converted", func(s *Site) { left(s).Release, right(s).Report.State.Release = "12", "13" }, initapi.VerdictYes, ""},
		{"what has no counterpart", func(s *Site) {
			right(s).Report.Sync.Findings = []initapi.Finding{{ID: "sync-convert-x", Severity: "critical", What: "/etc/x:3 has no counterpart."}}
		}, initapi.VerdictNo, "/etc/x:3 has no counterpart."},
		{"what is told of a conversion", func(s *Site) {
			right(s).Report.Sync.Findings = []initapi.Finding{{ID: "sync-convert-x", Severity: "warning", What: "/etc/x:3 means nearly the same."}}
		}, initapi.VerdictYes, ""},
		{"other people could get in there", func(s *Site) {
			right(s).Report.Sync.Findings = []initapi.Finding{{ID: "sync-effective/samba/guest ok", Severity: "critical", What: "guest ok is others there."}}
		}, initapi.VerdictNo, "guest ok is others there."},
		{"a setting comes to something else", func(s *Site) {
			right(s).Report.Sync.Findings = []initapi.Finding{{ID: "sync-effective/samba/log level", Severity: "warning", What: "log level is another there."}}
		}, initapi.VerdictYes, ""},
		{"data that are brought forward", forms(form(15, 17, 15)), initapi.VerdictYes, ""},
		{"no programs for them", forms(form(15, 17)), initapi.VerdictNo, "RIGHT cannot bring the data of Database forward: its image has no programs of PostgreSQL 15"},
		{"no room for them", func(s *Site) { forms(form(15, 17, 15))(s); left(s).Set.FreeBytes = 1 << 20 }, initapi.VerdictNo, "has no room to bring the data of Database from PostgreSQL 15 to PostgreSQL 17 after a swap: it takes 512 MB, and 1 MB are free"},
		{"newer data", forms(form(17, 15)), initapi.VerdictNo, "RIGHT has PostgreSQL 15 and does not read the data of Database, which are of PostgreSQL 17"},
		{"newer data, older kept", func(s *Site) { forms(form(17, 15))(s); left(s).Forms[0].Kept = []int{15} }, initapi.VerdictNo, "after a swap Database would be there as it was on 2026-03-04"},
		{"no data yet", forms(form(0, 17)), initapi.VerdictYes, ""},
		{"one server", func(s *Site) { s.Servers = s.Servers[:1] }, initapi.VerdictNo, "only one server"},
		{"peer never heard", func(s *Site) { right(s).Report, right(s).Seen = nil, time.Time{} }, initapi.VerdictUnknown, "RIGHT has not answered yet"},
		{"peer silent for 21 s", func(s *Site) { right(s).Seen = now.Add(-21 * time.Second) }, initapi.VerdictUnknown, "RIGHT is unknown since"},
		{"peer silent for 19 s", func(s *Site) { right(s).Seen = now.Add(-19 * time.Second) }, initapi.VerdictYes, ""},
		{"peer does not answer for a moment", func(s *Site) {
			right(s).Seen, right(s).Error, right(s).ErrorAt = now.Add(-6*time.Second), "no route", now.Add(-4*time.Second)
			probe(s, 0, 1).Status = verify.Fail
		}, initapi.VerdictNo, "“Page” on RIGHT fails"},
		{"peer does not answer, and its services do not either", func(s *Site) {
			right(s).Seen, right(s).Error, right(s).ErrorAt = now.Add(-8*time.Second), "no route", now.Add(-6*time.Second)
			probe(s, 0, 1).Status = verify.Fail
		}, initapi.VerdictUnknown, "RIGHT does not answer since"},
		{"init silent", func(s *Site) { s.Servers[0].Report.State, s.Servers[0].Report.StateErr = nil, "no socket" }, initapi.VerdictUnknown, "no socket"},
		{"booting", func(s *Site) { left(s).State, left(s).Phase = initapi.Booting, "inventory" }, initapi.VerdictUnknown, "starting (inventory)"},
		{"shutting down", func(s *Site) { left(s).State = initapi.Stopping }, initapi.VerdictUnknown, "shutting down"},
		{"holding", func(s *Site) {
			left(s).State, left(s).Reasons = initapi.Holding, []roles.Reason{{Text: "Bay 1 is foreign."}}
		}, initapi.VerdictNo, "Bay 1 is foreign."},
		{"degraded", func(s *Site) { left(s).Set.Degraded = true }, initapi.VerdictNo, "LEFT's disk set is not whole"},
		{"rebuilding", func(s *Site) { left(s).Set.Degraded, left(s).Set.Rebuild = true, "12 %" }, initapi.VerdictNo, "being rebuilt: 12 %"},
		{"service not ready", func(s *Site) { left(s).Ready, left(s).Services[0].State = false, "failed" }, initapi.VerdictNo, "Web (failed)"},
		{"two primaries", func(s *Site) { right(s).Report.State.Role = roles.Primary }, initapi.VerdictNo, "Two servers hold a primary set: left and right"},
		{"no primary", func(s *Site) { left(s).Role = roles.Secondary }, initapi.VerdictNo, "the office is not served"},
		{"critical finding", func(s *Site) {
			left(s).Findings = []initapi.Finding{{ID: "hot", Severity: "critical", What: "Too hot."}}
		}, initapi.VerdictNo, "Too hot."},
		{"warning only", func(s *Site) { left(s).Findings = []initapi.Finding{{ID: "warm", Severity: "warning", What: "Warm."}} }, initapi.VerdictYes, ""},
		{"probe fails", func(s *Site) { probe(s, 0, 1).Status = verify.Fail }, initapi.VerdictNo, "“Page” on RIGHT fails, seen from left: "},
		{"own probe fails", func(s *Site) { probe(s, 1, 1).Status = verify.Fail }, initapi.VerdictNo, "“Page” on RIGHT fails, seen from RIGHT itself"},
		{"probe seen to fail once", func(s *Site) { probe(s, 0, 1).Status, probe(s, 0, 1).Stands = verify.Fail, verify.Pass }, initapi.VerdictYes, ""},
		{"probe fails three times", func(s *Site) { probe(s, 0, 1).Status, probe(s, 0, 1).Stands = verify.Fail, verify.Fail }, initapi.VerdictNo, "“Page” on RIGHT fails, seen from left: "},
		{"probe fails from the start, once", func(s *Site) { probe(s, 0, 1).Status, probe(s, 0, 1).Stands = verify.Fail, verify.Unknown }, initapi.VerdictUnknown, "failed once and is being verified again"},
		{"probe comes and goes", func(s *Site) { probe(s, 0, 1).Stands, probe(s, 0, 1).Flapping = verify.Warn, true }, initapi.VerdictYes, ""},
		{"probe warns", func(s *Site) { probe(s, 0, 1).Status = verify.Warn }, initapi.VerdictYes, ""},
		{"probe not applicable", func(s *Site) { probe(s, 0, 1).Status = verify.NotApplicable }, initapi.VerdictYes, ""},
		{"probe unknown", func(s *Site) { probe(s, 0, 1).Status = verify.Unknown }, initapi.VerdictUnknown, "is not verified"},
		{"probe skipped", func(s *Site) { probe(s, 0, 1).Status = verify.Skipped }, initapi.VerdictUnknown, "is not verified"},
		{"probe old", func(s *Site) { probe(s, 0, 1).At = now.Add(-time.Minute) }, initapi.VerdictUnknown, "was not verified lately"},
		{"probe never ran", func(s *Site) { probe(s, 0, 1).At = time.Time{} }, initapi.VerdictUnknown, "was not verified lately"},
		{"probe missing on one", func(s *Site) { s.Servers[0].Report.Probes = s.Servers[0].Report.Probes[:1] }, initapi.VerdictUnknown, "LEFT has not verified all of RIGHT's services (0 of 1)"},
		{"no probes at all", func(s *Site) { s.Servers[0].Report.Probes, s.Servers[1].Report.Probes = nil, nil }, initapi.VerdictUnknown, "(0 of 0)"},
		{"minor probe fails", func(s *Site) { probe(s, 0, 1).Minor, probe(s, 1, 1).Minor = true, true }, initapi.VerdictUnknown, "(0 of 0)"},
		{"clock an hour ahead", func(s *Site) {
			right(s).Ahead = time.Hour
			for i := range right(s).Report.Probes {
				right(s).Report.Probes[i].At = now.Add(time.Hour - time.Second)
			}
		}, initapi.VerdictNo, "The clock of RIGHT is 1h0m0s ahead of this server's."},
		{"clock half a minute behind", func(s *Site) {
			right(s).Ahead = -30 * time.Second
			for i := range right(s).Report.Probes {
				right(s).Report.Probes[i].At = now.Add(-31 * time.Second)
			}
		}, initapi.VerdictYes, ""},
		{"less than half the memory", func(s *Site) {
			s.Servers[0].Report.Inventory, right(s).Report.Inventory = &hwcheck.Inventory{Memory: 16 << 30}, &hwcheck.Inventory{Memory: 4 << 30}
		}, initapi.VerdictNo, "Server right has less memory than left"},
		{"a little less memory", func(s *Site) {
			s.Servers[0].Report.Inventory, right(s).Report.Inventory = &hwcheck.Inventory{Memory: 16 << 30}, &hwcheck.Inventory{Memory: 12 << 30}
		}, initapi.VerdictYes, ""},
		{"no synchronizer", func(s *Site) { s.Servers[0].Report.Sync = nil }, initapi.VerdictUnknown, "LEFT does not follow changes"},
		{"synchronizer stands still", func(s *Site) { sync(s).At = now.Add(-3 * time.Minute) }, initapi.VerdictUnknown, "has not looked at changes"},
		{"change held back", func(s *Site) { sync(s).Held = &state.Held{Since: now} }, initapi.VerdictNo, "held back since"},
		{"change on its way", func(s *Site) { sync(s).Peers[0].Behind, sync(s).Peers[0].Since = 1, now.Add(-time.Second) }, initapi.VerdictYes, ""},
		{"change not live", func(s *Site) { sync(s).Peers[0].Behind, sync(s).Peers[0].Since = 1, now.Add(-2*time.Minute) }, initapi.VerdictNo, "RIGHT lacks the primary's changes"},
		{"change refused", func(s *Site) { sync(s).Peers[0].State = "refused" }, initapi.VerdictNo, "RIGHT could not take over"},
		{"no report of changes", func(s *Site) { sync(s).Peers[0].Missing = true }, initapi.VerdictUnknown, "RIGHT has not reported"},
		{"nothing known of the other", func(s *Site) { sync(s).Peers[0].Live = "" }, initapi.VerdictUnknown, "RIGHT has not told yet"},
		{"not a peer to carry to", func(s *Site) { sync(s).Peers = nil }, initapi.VerdictUnknown, "RIGHT is not known to left"},
		{"fault before missing", func(s *Site) {
			probe(s, 0, 1).Status = verify.Unknown
			left(s).Set.Degraded = true
		}, initapi.VerdictNo, "not whole"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pair()
			c.change(&s)
			got := Judge(s).Readiness
			if got.Verdict != c.want || got.Ready != (c.want == initapi.VerdictYes) {
				t.Fatalf("readiness = %+v; want %s", got, c.want)
			}
			if c.reason == "" {
				if len(got.Reasons) != 0 {
					t.Errorf("reasons = %+v; want none", got.Reasons)
				}
				return
			}
			if len(got.Reasons) == 0 || !strings.Contains(got.Reasons[0].Text, c.reason) {
				t.Errorf("reasons = %+v; want the first to say %q", got.Reasons, c.reason)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	s := pair()
	s.Servers[0].Report.Probes[1].Status = verify.Fail
	s.Servers[1].Report.Probes[1].Status = verify.Fail
	s.Servers[1].Ahead = time.Minute
	s.Servers[1].Report.At = now.Add(time.Minute)
	s.Servers[1].Report.Probes[1].At = now.Add(time.Minute)
	s.Servers[1].Report.State.Version = "2"
	s.Servers[1].Report.Peers = nil
	s.Servers[1].Report.State.Services[0].State = "failed"
	got := map[string]string{}
	for _, f := range Judge(s).Findings {
		got[f.ID] = f.Severity
	}
	for id, sev := range map[string]string{
		"probe-right-web-page": "critical", "clock-right": "warning", "version-left-right": "info", "not-pinned-right-left": "warning", "service-web-right": "critical",
	} {
		if got[id] != sev {
			t.Errorf("finding %s has severity %q; want %q (all: %v)", id, got[id], sev, got)
		}
	}
	if first := Judge(s).Findings[0]; first.Severity != "critical" {
		t.Errorf("first finding = %+v; want a critical one", first)
	}
}

func TestAdvise(t *testing.T) {
	silent := func(s *Site) { s.Server, s.Servers[0].Self, s.Servers[0].Seen = "right", false, now.Add(-time.Hour) }
	for _, c := range []struct {
		name   string
		change func(*Site)
		want   Advice
	}{
		{"healthy", func(*Site) {}, Advice{}},
		{"primary silent, twin proven", silent, Advice{Down: true, Swap: true, From: "left", To: "right"}},
		{"primary never heard", func(s *Site) { silent(s); s.Servers[0].Seen, s.Servers[0].Report = time.Time{}, nil }, Advice{Down: true, Swap: true, From: "left", To: "right"}},
		{"twin not proven", func(s *Site) { silent(s); s.Servers[1].Report.Probes[1].Status = verify.Fail }, Advice{Down: true, From: "left"}},
		{"twin's proof is old", func(s *Site) { silent(s); s.Servers[1].Report.Probes[1].At = now.Add(-time.Hour) }, Advice{Down: true, From: "left"}},
		{"secondary silent", func(s *Site) { s.Servers[1].Seen = now.Add(-time.Hour) }, Advice{}},
		{"primary's services all fail", func(s *Site) {
			s.Servers[0].Report.Probes[0].Status, s.Servers[1].Report.Probes[0].Status = verify.Fail, verify.Fail
		}, Advice{Down: true, Swap: true, From: "left", To: "right"}},
		{"primary shuts down in order", func(s *Site) { s.Servers[0].Report.State.State = initapi.Stopping }, Advice{}},
	} {
		s := pair()
		c.change(&s)
		got := Judge(s).Advice
		if (got.Text == "") == got.Down {
			t.Errorf("%s: text %q with down %v", c.name, got.Text, got.Down)
		}
		got.Text = ""
		if got != c.want {
			t.Errorf("%s: advice = %+v; want %+v", c.name, got, c.want)
		}
	}
}
