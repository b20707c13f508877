package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

// breakage is a change that a service would not start with.
type breakage struct {
	service, do, words string
	hashed             string // what the secondary must not get
	mend               string // after `atlas rollback`
}

func breakages() []breakage {
	return []breakage{
		{"apache", "echo Nonsense >>/etc/apache2/sites-available/000-default.conf", "Invalid command 'Nonsense'", "/etc/apache2/sites-available/000-default.conf", "--held"},
		{"postfix", "echo 'message_size_limit = lots' >>/etc/postfix/main.cf", "message_size_limit", "/etc/postfix/main.cf", "/etc/postfix/main.cf"},
		{"postgresql", "for f in /etc/postgresql/*/main/pg_hba.conf; do echo 'host all all all nonsense' >>$f; done", `invalid authentication method "nonsense"`, "/etc/postgresql/*/main/pg_hba.conf", "--held"},
		{"samba", "echo 'reed only = no' >>/etc/samba/smb.conf", `Unknown parameter encountered: "reed only"`, "/etc/samba/smb.conf", "--service samba --to HEAD~2"},
	}
}

// TestHeldBack breaks the configuration of services on the primary. It is told in the checker's words and goes nowhere: the secondary's
// files and services stay as they are; what is changed later waits behind it; one command mends it.
func TestHeldBack(t *testing.T) {
	p := use(t, "namespace").pair(t)
	for _, b := range breakages() {
		t.Run(b.service, func(t *testing.T) { p.heldBack(t, b) })
	}
}

func (p *pair) heldBack(t *testing.T, b breakage) {
	defer p.on(t, p.primary, "rm -f /etc/etest-later")
	p.quiet(t)
	sums := "sha256sum " + b.hashed + "; atlas service list --json | grep -E '\"(name|pid|state)\"'"
	// A service that has just been given new files may still be on its way.
	var before string
	eventually(t, "the secondary's services stay as they are", time.Minute, func() error {
		was := before
		if before = p.on(t, p.secondary, sums); before != was || strings.Contains(before, `"starting"`) {
			time.Sleep(2 * time.Second)
			return errNotYet
		}
		return nil
	})
	watch := p.watch(t, sums, before)
	p.on(t, p.primary, b.do)
	began := time.Now()
	var held *state.Held
	soon(t, "it is held back", syncLimit, func() error {
		st, err := p.sync(p.primary)
		if held = st.Held; err == nil && held == nil {
			err = errNotYet
		}
		return err
	})
	t.Logf("held back after %v: %s", time.Since(began).Round(time.Millisecond), strings.TrimSpace(held.Words))
	if !strings.Contains(held.Words, b.words) || held.Service != b.service {
		t.Errorf("held back by %s, which says %q; want %s and %q", held.Service, held.Words, b.service, b.words)
	}
	found := p.findings(t, p.primary)
	i := slices.IndexFunc(found, func(f initapi.Finding) bool { return f.ID == "sync-held" })
	if i < 0 || !strings.Contains(found[i].What, b.words) || !strings.Contains(found[i].Next, "atlas rollback") {
		t.Errorf("no finding with the words and what to do: %+v", found)
	}
	p.on(t, p.primary, "echo later >/etc/etest-later")
	time.Sleep(2 * time.Second)
	if p.has(p.secondary, "[ ! -e /etc/etest-later ]") != nil {
		t.Error("a later change went past the one that is held back")
	}
	out := p.on(t, p.primary, "atlas rollback "+b.mend+" --yes")
	began = time.Now()
	soon(t, "it flows again", syncLimit, func() error {
		st, err := p.sync(p.primary)
		if err == nil && st.Held != nil {
			err = fmt.Errorf("%w: %+v\n%s", errNotYet, st.Held, out)
		}
		return err
	})
	t.Logf("goes on %v after the rollback", time.Since(began).Round(time.Millisecond))
	later := "[ -e /etc/etest-later ]"
	if b.mend == "--held" { // everything that was not sent on went back
		p.on(t, p.primary, "echo again >/etc/etest-later")
	}
	soon(t, "what came later is on the secondary", syncLimit, func() error { return p.has(p.secondary, later) })
	for _, seen := range watch() {
		t.Errorf("the secondary was changed:\n%s\nbefore:\n%s", seen, before)
	}
	p.inStep(t)
}

// watch looks again and again at what a script prints on the secondary, until the function it gives is called: that gives what was not as
// it should be.
func (p *pair) watch(t *testing.T, script, want string) func() []string {
	t.Helper()
	var (
		wg   sync.WaitGroup
		bad  []string
		stop = make(chan struct{})
		end  = sync.OnceFunc(func() { close(stop); wg.Wait() })
	)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			out, err := p.lab(time.Minute, "exec", p.secondary, "--", "sh", "-c", script)
			if err != nil {
				out += err.Error()
			}
			if out != want && len(bad) < 3 {
				bad = append(bad, out)
			}
		}
	})
	t.Cleanup(end)
	return func() []string { end(); return bad }
}
