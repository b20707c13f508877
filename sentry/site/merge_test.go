package site

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/verify"
)

// busy is pair with five services on each server, each with two probes.
func busy() Site {
	s := pair()
	for i := range s.Servers {
		r := s.Servers[i].Report
		r.Probes, r.State.Services = nil, nil
		for _, n := range []string{"db", "web", "mail", "files", "names"} {
			r.State.Services = append(r.State.Services, initapi.Service{Name: n, Title: strings.ToUpper(n), State: "ready"})
			for _, target := range []string{"left", "right"} {
				for k := range 2 {
					r.Probes = append(r.Probes, verify.Result{
						Observer: s.Servers[i].Name, Target: target, Service: n, Probe: fmt.Sprint(k), Title: fmt.Sprint(n, k), Status: verify.Pass,
						At: now.Add(-time.Second), Every: 15 * time.Second,
					})
				}
			}
		}
	}
	return s
}

// fail lets probes fail.
func fail(s *Site, which func(verify.Result) bool) {
	for i := range s.Servers {
		for k := range s.Servers[i].Report.Probes {
			if p := &s.Servers[i].Report.Probes[k]; which(*p) {
				p.Status, p.Evidence, p.Since = verify.Fail, "refused", now.Add(-time.Minute)
			}
		}
	}
}

// rest lets probes of services rest on others.
func rest(s *Site, on map[string][]string) {
	for i := range s.Servers {
		for k := range s.Servers[i].Report.Probes {
			p := &s.Servers[i].Report.Probes[k]
			p.Rests = on[p.Service]
		}
	}
}

func TestRootCauses(t *testing.T) {
	left, right := func(s *Site) *Report { return s.Servers[0].Report }, func(s *Site) *Report { return s.Servers[1].Report }
	svc := func(r *Report, i int, state, waiting string) {
		r.State.Ready = false
		r.State.Services[i].State, r.State.Services[i].Waiting, r.State.Services[i].Since = state, waiting, now.Add(-time.Minute)
	}
	for _, c := range []struct {
		name   string
		change func(*Site)
		want   []string // ID and "also" of each reason
	}{
		{"a server is off", func(s *Site) {
			s.Servers[1].Seen = now.Add(-time.Minute)
			left(s).Sync.Peers[0].Missing = true
			right(s).Inventory = &hwcheck.Inventory{NICs: []hwcheck.NIC{{Name: "eno1", Link: true}, {Name: "eno2"}}}
		}, []string{"server-unknown-right: its settings are not in step"}},
		{"a service has failed", func(s *Site) {
			svc(right(s), 1, "failed", "")
			fail(s, func(p verify.Result) bool { return p.Target == "right" && p.Service == "web" })
		}, []string{"service-web-right: “web0”; “web1”"}},
		{"others rest on what does not work", func(s *Site) {
			rest(s, map[string][]string{"web": {"db"}, "mail": {"web", "db"}})
			fail(s, func(p verify.Result) bool {
				return p.Target == "right" && (p.Service == "web" && p.Probe == "1" || p.Service == "mail" || p.Service == "db" && p.Probe == "0")
			})
		}, []string{"probe-right-db-0: 3 transactions"}},
		{"what they rest on works", func(s *Site) {
			rest(s, map[string][]string{"web": {"db"}, "mail": {"web", "db"}})
			fail(s, func(p verify.Result) bool { return p.Target == "right" && p.Service == "web" && p.Probe == "1" })
		}, []string{"probe-right-web-1"}},
		{"others wait for it", func(s *Site) {
			svc(right(s), 0, "failed", "")
			svc(right(s), 1, "starting", "DB, which has failed")
			fail(s, func(p verify.Result) bool { return p.Target == "right" && (p.Service == "web" || p.Service == "db") })
		}, []string{"service-db-right: WEB waits for DB, which has failed; 4 transactions"}},
		{"two services", func(s *Site) {
			svc(right(s), 2, "failed", "")
			svc(right(s), 3, "failed", "")
		}, []string{"service-mail-right", "service-files-right"}},
		{"transactions of one service", func(s *Site) {
			fail(s, func(p verify.Result) bool { return p.Target == "right" && p.Service == "web" })
		}, []string{"probe-right-web-0: “web1”"}},
		{"the way between", func(s *Site) {
			fail(s, func(p verify.Result) bool { return p.Target == "right" && p.Observer == "left" })
		}, []string{"path-left-right: 10 transactions"}},
		{"the way between, and a fault", func(s *Site) {
			fail(s, func(p verify.Result) bool { return p.Target == "right" && (p.Observer == "left" || p.Service == "web") })
		}, []string{"probe-right-db-0: “db1”", "probe-right-web-0: “web1”", "probe-right-mail-0: “mail1”", "probe-right-files-0: “files1”", "probe-right-names-0: “names1”"}},
		{"no set started", func(s *Site) {
			st := right(s).State
			st.State, st.Role, st.Set, st.Services = initapi.Holding, "", nil, nil
			st.Reasons = []roles.Reason{{Code: "x", Text: "Bay 2 is empty."}}
		}, []string{"holding-right: no server holds a started secondary set"}},
		{"a disk, and a service", func(s *Site) {
			svc(left(s), 1, "failed", "")
			left(s).State.Set.Degraded = true
			left(s).State.Findings = []initapi.Finding{{ID: "set-degraded-bay-2", Severity: "critical", What: "The disk in bay 2 has left the set.", Next: "Put a disk into bay 2.", Since: now.Add(-time.Hour)}}
		}, []string{"set-degraded-bay-2-left", "service-web-left"}},
		{"init silent, and a fault that is seen", func(s *Site) {
			right(s).State, right(s).StateErr = nil, "no socket"
		}, []string{"init-silent-right"}},
		{"unknown comes last", func(s *Site) {
			svc(right(s), 2, "failed", "")
			s.Servers[0].Report.Sync = nil
		}, []string{"service-mail-right", "sync-absent-left"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := busy()
			c.change(&s)
			var got []string
			r := Judge(s).Readiness
			for _, x := range r.Reasons {
				text := x.ID
				if len(x.Also) > 0 {
					text += ": " + strings.Join(x.Also, "; ")
				}
				got = append(got, text)
				if x.Text == "" || x.Next == "" && !strings.HasPrefix(x.ID, "probe-") {
					t.Errorf("%s lacks words: %+v", x.ID, x)
				}
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("reasons:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
	s := busy()
	s.Servers[1].Seen = now.Add(-time.Minute)
	right(&s).Inventory = &hwcheck.Inventory{NICs: []hwcheck.NIC{{Name: "eno1", Link: true}, {Name: "eno2"}}}
	if next := Judge(s).Readiness.Reasons[0].Next; !strings.Contains(next, "(port eno1)") {
		t.Errorf("next = %q; want the port", next)
	}
}

// TestMergeLosesNothing: whatever explains what, in circles too, something of all troubles is told, and the verdict is never better than the
// worst that was seen and is not excused.
func TestMergeLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	nobody := func(Reason) (initapi.Accepted, bool) { return initapi.Accepted{}, false }
	for range 5000 {
		n := 1 + r.IntN(7)
		all := make([]trouble, n)
		for i := range all {
			all[i] = trouble{rank: r.IntN(4), Reason: Reason{ID: fmt.Sprint(i), Text: fmt.Sprint("t", i), Unknown: r.IntN(2) == 0}, is: []string{fmt.Sprint("n", r.IntN(n))}}
			for range r.IntN(3) {
				all[i].because = append(all[i].because, fmt.Sprint("n", r.IntN(n)))
			}
			if r.IntN(3) == 0 {
				all[i].group = fmt.Sprint("g", r.IntN(2))
			}
		}
		out := merge(all, nobody)
		told := map[string]bool{}
		seen := false
		for _, o := range out {
			told[o.Text] = true
			for _, a := range o.Also {
				told[a] = true
			}
			seen = seen || !o.Unknown
		}
		for _, a := range all {
			if !told[a.Text] {
				t.Fatalf("%s is not told: %+v of %+v", a.Text, out, all)
			}
			if !a.Unknown && !seen {
				t.Fatalf("a fault is taken for unknown: %+v of %+v", out, all)
			}
		}
	}
}

func TestAccepted(t *testing.T) {
	of := func(id, severity string) accept.Acceptance {
		return accept.Acceptance{Finding: id, Severity: severity, Who: "anna", Why: "the disk is ordered", At: now.Add(-time.Hour), Until: now.Add(time.Hour)}
	}
	degraded := func(s *Site) {
		s.Servers[0].Report.State.Set.Degraded = true
		s.Servers[0].Report.State.Findings = []initapi.Finding{{ID: "set-degraded-bay-2", Severity: "critical", What: "The disk in bay 2 has left."}}
	}
	web := func(s *Site) {
		fail(s, func(p verify.Result) bool { return p.Target == "right" && p.Service == "web" })
	}
	for _, c := range []struct {
		name     string
		change   func(*Site)
		accept   []accept.Acceptance
		want     string
		reasons  string
		accepted string
	}{
		{"accepted", degraded, []accept.Acceptance{of("set-degraded-bay-2-left", "critical")}, initapi.VerdictYes, "", "set-degraded-bay-2-left"},
		{"of the other server", degraded, []accept.Acceptance{of("set-degraded-bay-2-right", "critical")}, initapi.VerdictNo, "set-degraded-bay-2-left", ""},
		{"became worse", degraded, []accept.Acceptance{of("set-degraded-bay-2-left", "warning")}, initapi.VerdictNo, "set-degraded-bay-2-left", ""},
		{"ended", degraded, []accept.Acceptance{func() accept.Acceptance {
			a := of("set-degraded-bay-2-left", "critical")
			a.Ended = now.Add(-time.Minute)
			return a
		}()}, initapi.VerdictNo, "set-degraded-bay-2-left", ""},
		{"over", degraded, []accept.Acceptance{func() accept.Acceptance {
			a := of("set-degraded-bay-2-left", "critical")
			a.Until = now
			return a
		}()}, initapi.VerdictNo, "set-degraded-bay-2-left", ""},
		{"one transaction, not the other", web, []accept.Acceptance{of("probe-right-web-0", "critical")}, initapi.VerdictNo, "probe-right-web-1", "probe-right-web-0"},
		{"both", web, []accept.Acceptance{of("probe-right-web-0", "critical"), of("probe-right-web-1", "critical")}, initapi.VerdictYes, "", "probe-right-web-0 probe-right-web-1"},
		{"beside another", func(s *Site) { degraded(s); web(s) }, []accept.Acceptance{of("set-degraded-bay-2-left", "critical")}, initapi.VerdictNo, "probe-right-web-0", "set-degraded-bay-2-left"},
		{"with what comes from it", func(s *Site) {
			web(s)
			s.Servers[1].Report.State.Ready, s.Servers[1].Report.State.Services[1].State = false, "failed"
		}, []accept.Acceptance{of("service-web-right", "critical")}, initapi.VerdictYes, "", "service-web-right"},
		{"what is not known", func(s *Site) { s.Servers[1].Seen = now.Add(-time.Minute) }, []accept.Acceptance{of("server-unknown-right", "critical")}, initapi.VerdictUnknown, "server-unknown-right", ""},
		{"nothing to swap with", func(s *Site) { s.Servers = s.Servers[:1] }, []accept.Acceptance{of("one-server", "critical")}, initapi.VerdictNo, "one-server", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := busy()
			c.change(&s)
			s.Accepted = c.accept
			s = Judge(s)
			ids := func(list []Reason) string {
				var out []string
				for _, r := range list {
					out = append(out, r.ID)
				}
				return strings.Join(out, " ")
			}
			if r := s.Readiness; r.Verdict != c.want || r.Ready != (c.want == initapi.VerdictYes) || ids(r.Reasons) != c.reasons || ids(r.Accepted) != c.accepted {
				t.Errorf("verdict %s, reasons %q, accepted %q; want %s, %q, %q", r.Verdict, ids(r.Reasons), ids(r.Accepted), c.want, c.reasons, c.accepted)
			}
			for i, f := range s.Findings {
				if a := f.Accepted; a != nil && (a.Who != "anna" || i+1 < len(s.Findings) && s.Findings[i+1].Accepted == nil) {
					t.Errorf("an accepted finding stands before others, or without who: %+v", f)
				}
			}
			for _, r := range s.Readiness.Reasons {
				if _, _, ok := s.Known(r.ID); !ok {
					t.Errorf("%s cannot be accepted by its name", r.ID)
				}
			}
		})
	}
	s := Judge(busy())
	if _, _, ok := s.Known("nonsense"); ok {
		t.Error("nonsense is known")
	}
}

// TestCausesFirst: of the findings too the root cause comes first, and what comes from it after everything else.
func TestCausesFirst(t *testing.T) {
	s := busy()
	fail(&s, func(p verify.Result) bool { return p.Target == "right" && p.Service == "web" })
	r := s.Servers[1].Report
	r.State.Ready, r.State.Services[1].State, r.State.Services[1].Since = false, "failed", now
	s.Servers[0].Report.State.Findings = []initapi.Finding{{ID: "hot", Severity: "critical", What: "Too hot.", Since: now}}
	var got []string
	for _, f := range Judge(s).Findings {
		got = append(got, f.ID)
	}
	if want := "service-web-right hot-left probe-right-web-0 probe-right-web-1"; strings.Join(got, " ") != want {
		t.Errorf("findings %q; want %q", strings.Join(got, " "), want)
	}
}

func TestMemory(t *testing.T) {
	var m Memory
	look := func(after time.Duration, ids ...string) map[string]time.Duration {
		s := Site{At: now.Add(after)}
		for _, id := range ids {
			s.Readiness.Reasons = append(s.Readiness.Reasons, Reason{ID: id})
		}
		s.Readiness.Reasons = append(s.Readiness.Reasons, Reason{ID: "known", Since: now.Add(-time.Hour)})
		m.Stamp(&s)
		out := map[string]time.Duration{}
		for _, r := range s.Readiness.Reasons {
			out[r.ID] = r.Since.Sub(now)
		}
		return out
	}
	look(0, "a")
	if got := look(10*time.Second, "a", "b"); got["a"] != 0 || got["b"] != 10*time.Second || got["known"] != -time.Hour {
		t.Errorf("after 10 s: %v", got)
	}
	look(20*time.Second, "b")
	if got := look(30*time.Second, "a", "b"); got["a"] != 0 {
		t.Errorf("a was away for 20 s and stands since %v", got["a"])
	}
	if got := look(time.Minute+time.Second, "a"); got["a"] != 61*time.Second {
		t.Errorf("a was away for 31 s and stands since %v", got["a"])
	}
	if look(5 * time.Minute); len(m.since) != 1 {
		t.Errorf("remembers %v", m.since)
	}
}
