package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/ledger"
	judged "sayasystems.com/atlas/sentry/site"
)

// ready is what `atlas ready --json` says on a server, with its exit code and how long it took.
func (p *pair) ready(t *testing.T, server string) (r judged.Readiness, code int, took time.Duration) {
	t.Helper()
	out := p.on(t, server, `b=$(date +%s%N); o=$(atlas ready --json); c=$?; e=$(date +%s%N); echo "$c $(( (e-b)/1000 ))"; printf '%s\n' "$o"`)
	head, body, _ := strings.Cut(out, "\n")
	var us int
	if _, err := fmt.Sscanf(head, "%d %d", &code, &us); err != nil {
		t.Fatalf("atlas ready on %s: %v: %s", server, err, head)
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("atlas ready on %s: %v\n%s", server, err, body)
	}
	if want := map[string]int{"yes": 0, "no": 1, "unknown": 2}[r.Verdict]; code != want {
		t.Errorf("atlas ready on %s ends with %d at %q", server, code, r.Verdict)
	}
	return r, code, time.Duration(us) * time.Microsecond
}

// starts are what a server's ledger holds, the newest first.
func (p *pair) starts(t *testing.T, server string) []ledger.Entry {
	t.Helper()
	var out []ledger.Entry
	if err := json.Unmarshal([]byte(p.exec(t, server, "atlas", "ledger", "--json")), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// rehearse has services of the secondary rehearsed, and gives what the ledger keeps of it.
func (p *pair) rehearse(t *testing.T, args ...string) ledger.Entry {
	t.Helper()
	out, _ := p.lab(20*time.Minute, append([]string{"exec", p.secondary, "--", "atlas", "rehearse", "--json"}, args...)...) // ends with 1 if it was not good
	var e ledger.Entry
	// The lab adds a line about the exit code.
	if i := strings.IndexByte(out, '{'); i < 0 || json.NewDecoder(strings.NewReader(out[i:])).Decode(&e) != nil {
		t.Fatalf("atlas rehearse %v on %s says: %s", args, p.secondary, tail(out, 20))
	}
	return e
}

func took(e ledger.Entry) string {
	var b strings.Builder
	for _, s := range e.Services {
		fmt.Fprintf(&b, "%s %s  ", s.Name, ledger.Seconds(s.Took))
	}
	return b.String()
}

// TestRehearsal: a boot is a proof; a change of Apache's configuration asks for one, and the rehearsal gives it without a false alarm on the primary;
// a change that Apache takes with a reload and does not start with is found by the rehearsal, and by nothing else; going back mends it.
func TestRehearsal(t *testing.T) {
	p := use(t, "namespace").pair(t)
	for _, server := range []string{"left", "right"} {
		eventually(t, server+" is ready for a swap", 4*time.Minute, func() error {
			if r, _, _ := p.ready(t, server); !r.Ready {
				return fmt.Errorf("%w: %+v", errNotYet, r.Reasons)
			}
			return nil
		})
		var times []time.Duration
		for range 10 {
			_, _, d := p.ready(t, server)
			times = append(times, d)
		}
		slices.Sort(times)
		t.Logf("atlas ready on %s, ten times: %v to %v", server, times[0], times[9])
		if times[5] > 100*time.Millisecond {
			t.Errorf("atlas ready on %s took %v; want 100 ms at most", server, times[5])
		}
	}
	i := slices.IndexFunc(p.starts(t, p.secondary), func(e ledger.Entry) bool { return e.Server == p.secondary && e.Kind == ledger.Start })
	if i < 0 {
		t.Fatal("the ledger has no start of the secondary")
	}
	boot := p.starts(t, p.secondary)[i]
	if !boot.Good || boot.Took == 0 || boot.Live == "" || len(boot.Seen) != 2 {
		t.Errorf("the boot in the ledger: %+v; want good, measured, seen from both", boot)
	}
	t.Logf("boot of %s: all good after %s: %s", p.secondary, ledger.Seconds(boot.Took), took(boot))
	if out, err := p.lab(time.Minute, "exec", p.primary, "--", "atlas", "rehearse", "apache"); err == nil || !strings.Contains(out+err.Error(), "is the primary") {
		t.Errorf("the primary let itself be rehearsed: %v: %s", err, out)
	}

	const envvars = "/etc/apache2/envvars"
	p.on(t, p.primary, "cp -a "+envvars+" /root/envvars.e2e")
	t.Cleanup(func() { p.on(t, p.primary, "cp -a /root/envvars.e2e "+envvars+"; rm -f /root/envvars.e2e") })

	t.Run("a good change", func(t *testing.T) {
		p.client(t, "sh", "-c", p.ssh(p.primary, "echo '# e2e' >>"+envvars+"; sleep 0.3"))
		eventually(t, "the change is open", time.Minute, func() error {
			r, _, _ := p.ready(t, p.primary)
			for _, o := range r.Open {
				if strings.Contains(o, envvars) && strings.Contains(o, "atlas rehearse") && r.Ready {
					t.Log(o)
					return nil
				}
			}
			return fmt.Errorf("%w: %+v", errNotYet, r)
		})
		alarms := p.watchAlarms(t)
		e := p.rehearse(t)
		for _, a := range alarms() {
			t.Errorf("a false alarm while it was rehearsed: %s", a)
		}
		if !e.Good || e.Why != "ordered" || !slices.ContainsFunc(e.Services, func(s ledger.Service) bool { return s.Name == "apache" && s.Good }) {
			t.Fatalf("rehearsal: %+v", e)
		}
		t.Logf("rehearsal: all good after %s: %s", ledger.Seconds(e.Took), took(e))
		eventually(t, "nothing is open", time.Minute, func() error {
			if r, _, _ := p.ready(t, p.primary); !r.Ready || len(r.Open) > 0 {
				return fmt.Errorf("%w: %+v", errNotYet, r)
			}
			return nil
		})
	})

	t.Run("reloads and does not start", func(t *testing.T) {
		// apache2 -t and a reload do not look at it; a start does.
		p.on(t, p.primary, `echo 'export APACHE_ARGUMENTS="-f /etc/apache2/shop.conf"' >>`+envvars)
		eventually(t, "the change is open, and all works", 2*time.Minute, func() error {
			if r, _, _ := p.ready(t, p.primary); !r.Ready || len(r.Open) == 0 {
				return fmt.Errorf("%w: %+v", errNotYet, r)
			}
			return nil
		})
		e := p.rehearse(t)
		if e.Good || !strings.Contains(e.Words, "/etc/apache2/shop.conf") {
			t.Fatalf("rehearsal: %+v; want it to fail with Apache's words", e)
		}
		t.Logf("found: %s", e.Words)
		for _, server := range []string{p.primary, p.secondary} {
			eventually(t, server+" says no, for this reason", time.Minute, func() error {
				r, _, _ := p.ready(t, server)
				if r.Verdict != "no" || len(r.Reasons) == 0 || r.Reasons[0].ID != "cold-start-failed-apache-"+p.secondary || !strings.Contains(r.Reasons[0].Next, "atlas rollback --service apache") {
					return fmt.Errorf("%w: %+v", errNotYet, r)
				}
				t.Logf("%s: %s (also: %v) → %s", server, r.Reasons[0].Text, r.Reasons[0].Also, r.Reasons[0].Next)
				return nil
			})
		}
		p.on(t, p.primary, "atlas rollback --service apache --yes")
		if os.Getenv("ATLAS_LONG") == "" { // by itself it comes some minutes later
			p.inStep(t)
			if e := p.rehearse(t); !e.Good {
				t.Errorf("rehearsal after the rollback: %+v", e)
			}
		} else {
			p.on(t, p.secondary, "rm /run/atlas/no-rehearsal")
			t.Cleanup(func() { p.on(t, p.secondary, "touch /run/atlas/no-rehearsal") })
		}
		eventually(t, "it is rehearsed again, and ready", 10*time.Minute, func() error {
			if r, _, _ := p.ready(t, p.primary); !r.Ready || len(r.Open) > 0 {
				return fmt.Errorf("%w: %+v", errNotYet, r)
			}
			return nil
		})
	})

	t.Run("all", func(t *testing.T) {
		alarms := p.watchAlarms(t)
		e := p.rehearse(t, "--all")
		for _, a := range alarms() {
			t.Errorf("a false alarm while it was rehearsed: %s", a)
		}
		if !e.Good || !e.All {
			t.Fatalf("rehearsal of all: %+v", e)
		}
		t.Logf("rehearsal of all: good after %s: %s", ledger.Seconds(e.Took), took(e))
	})
}

// watchAlarms collects the critical findings that the primary tells until the answer is asked for, and those that a verdict of no rests on.
func (p *pair) watchAlarms(t *testing.T) (stop func() []string) {
	t.Helper()
	done, out := make(chan struct{}), make(chan []string)
	go func() {
		seen := map[string]bool{}
		var list []string
		rehearsed := false
		for {
			select {
			case <-done:
				if !rehearsed {
					list = append(list, "the primary never told of the rehearsal")
				}
				out <- list
				return
			case <-time.After(500 * time.Millisecond):
			}
			text, err := p.lab(time.Minute, "exec", p.primary, "--", "curl", "-sSf", "-m", "10", "--unix-socket", "/run/atlas/sentry.sock", "http://sentry/v1/status")
			var s judged.Site
			if err != nil || json.Unmarshal([]byte(text), &s) != nil {
				continue
			}
			for _, r := range s.Readiness.Reasons {
				rehearsed = rehearsed || strings.HasPrefix(r.ID, "rehearsal-")
				if !r.Unknown && !seen[r.ID] {
					seen[r.ID] = true
					list = append(list, "no: "+r.Text)
				}
			}
			for _, f := range s.Findings {
				if f.Severity == "critical" && !seen[f.ID] {
					seen[f.ID] = true
					list = append(list, f.ID+": "+f.What)
				}
			}
		}
	}()
	return func() []string { close(done); return <-out }
}
