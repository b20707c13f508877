package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/verify"
)

// breakage is a change that a service would not start with, or not work.
type breakage struct {
	service, do, words string
	hashed             string // what the secondary must not get
	mend               string // after `atlas rollback`
	probe              bool   // every checker takes it
}

func breakages() []breakage {
	return []breakage{
		{"apache", "echo Nonsense >>/etc/apache2/sites-available/000-default.conf", "Invalid command 'Nonsense'", "/etc/apache2/sites-available/000-default.conf", "--held", false},
		{"postfix", "echo 'message_size_limit = lots' >>/etc/postfix/main.cf", "message_size_limit", "/etc/postfix/main.cf", "/etc/postfix/main.cf", false},
		{"postgresql", "for f in /etc/postgresql/*/main/pg_hba.conf; do echo 'host all all all nonsense' >>$f; done", `invalid authentication method "nonsense"`, "/etc/postgresql/*/main/pg_hba.conf", "--held", false},
		{"samba", "echo 'reed only = no' >>/etc/samba/smb.conf", `Unknown parameter encountered: "reed only"`, "/etc/samba/smb.conf", "--service samba --to HEAD~2", false},
		{"apache", "echo 'Require all denied' >/srv/www/atlas-verify/.htaccess", "403", "/srv/www/atlas-verify/.htaccess", "--held", true},
		{
			"apache", "printf '<Location />\\nRequire all denied\\n</Location>\\n' >>/etc/apache2/sites-available/000-default.conf && service apache2 reload", "403",
			"/etc/apache2/sites-available/000-default.conf", "--held", true,
		},
	}
}

// TestHeldBack breaks the configuration of services on the primary. It is told in the checker's words and goes nowhere: the secondary's
// files and services stay as they are; what is changed later waits behind it; one command mends it.
func TestHeldBack(t *testing.T) {
	p := use(t, "namespace").pair(t)
	for _, b := range breakages() {
		name := b.service
		if b.probe {
			name += " probe"
		}
		t.Run(name, func(t *testing.T) { p.heldBack(t, b) })
	}
}

func (p *pair) heldBack(t *testing.T, b breakage) {
	defer p.on(t, p.primary, "rm -f /etc/etest-later")
	p.quiet(t)
	if b.probe {
		p.probesGood(t, p.primary, b.service)
	}
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

// probesGood waits until all probes of a server's service by itself are good: what fails then is the change's doing.
func (p *pair) probesGood(t *testing.T, server, service string) {
	t.Helper()
	eventually(t, "probes of "+service+" on "+server+" are good", 3*time.Minute, func() error {
		st, err := p.judged(server)
		if err != nil {
			return err
		}
		n := 0
		for _, v := range st.Servers {
			for _, r := range v.Probes {
				if v.Name != server || r.Target != server || r.Service != service {
					continue
				}
				if n++; r.Status != verify.Pass && r.Status != verify.Warn && r.Status != verify.NotApplicable { // no browser in the image
					return fmt.Errorf("%w: %s: %s", errNotYet, r.Probe, r.Evidence)
				}
			}
		}
		if n == 0 {
			return errNotYet
		}
		return nil
	})
}

// judgement is what a server says of the site.
type judgement struct {
	Readiness struct {
		Ready   bool
		Reasons []reason
	}
	Servers []struct {
		Name   string
		Probes []verify.Result
	}
}

type reason struct{ Text, Next string }

func (p *pair) judged(server string) (judgement, error) {
	var st judgement
	out, err := p.lab(time.Minute, "exec", server, "--", "curl", "-sSf", "-m", "10", "--unix-socket", "/run/atlas/sentry.sock", "http://sentry/v1/status")
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	if err != nil {
		return st, fmt.Errorf("the site as %s sees it: %w\n%s", server, err, tail(out, 5))
	}
	return st, nil
}

// TestSecondaryGoesBack moves the web server's pages on the primary to a folder of their own. Pages are data and not carried, so that on the
// secondary, whose checker takes the change, there is nothing at the new place. It goes back by itself and serves on.
func TestSecondaryGoesBack(t *testing.T) {
	p := use(t, "namespace").pair(t)
	const (
		files = "/etc/apache2/sites-available/*.conf /etc/apache2/conf-available/atlas.conf"
		sums  = "sha256sum " + files
		page  = "curl -sSf -m 5 http://127.0.0.1/atlas-verify/static.txt | grep -q 'static page 1'"
		tries = "grep 'going back' /run/atlas/log/sentry.log | grep -o 'commit=[0-9a-f]*' || true"
	)
	p.quiet(t)
	p.probesGood(t, p.primary, "apache")
	p.probesGood(t, p.secondary, "apache")
	before, tried := p.on(t, p.secondary, sums), strings.Fields(p.on(t, p.secondary, tries))
	defer p.on(t, p.primary, "rm -rf /srv/web")
	p.on(t, p.primary, "cp -a /srv/www /srv/web && sed -i s,/srv/www,/srv/web, "+files+" && atlas service reload apache")
	began := time.Now()
	var found initapi.Finding
	soon(t, "the secondary refuses it", 2*syncLimit, func() error {
		st, err := p.sync(p.secondary)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(st.Findings, func(f initapi.Finding) bool { return f.ID == "sync-refused" })
		if i < 0 || st.InStep {
			return fmt.Errorf("%w: %+v", errNotYet, st)
		}
		found = st.Findings[i]
		return nil
	})
	refused := time.Now()
	t.Logf("went back within %v: %s → %s", time.Since(began).Round(time.Millisecond), found.What, found.Next)
	if !strings.Contains(found.What, "says: GET /") || !strings.Contains(found.Next, "atlas rollback") {
		t.Errorf("the finding has not the probe's words and what to do: %+v", found)
	}
	if now := p.on(t, p.secondary, sums); now != before {
		t.Errorf("the secondary has other files than before:\n%s\n%s", now, before)
	}
	soon(t, "the primary knows, and the site is not ready", syncLimit, func() error {
		st, err := p.sync(p.primary)
		if err == nil && (st.Held != nil || len(st.Peers) != 1 || st.Peers[0].State != "refused") {
			err = fmt.Errorf("%w: %+v", errNotYet, st)
		}
		return err
	})
	if st, err := p.judged(p.primary); err != nil || st.Readiness.Ready {
		t.Errorf("the site says that it is ready to swap (%v)", err)
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		for _, server := range []string{p.primary, p.secondary} {
			if err := p.has(server, page); err != nil {
				t.Error(err)
			}
		}
	}
	// sed writes one file after the other: on a busy machine they may come as more than one state, and each is tried.
	byState := map[string]int{}
	for _, commit := range strings.Fields(p.on(t, p.secondary, tries))[len(tried):] {
		byState[commit]++
	}
	for commit, n := range byState {
		if n > 1+int(time.Since(refused)/time.Minute) {
			t.Errorf("it went back %d times in %v from %s; want once, and again after a minute", n, time.Since(refused), commit)
		}
	}
	if len(byState) == 0 || len(byState) > strings.Count(before, "\n")+1 {
		t.Errorf("it went back from the states %v; want one, or at most one for each file", byState)
	}
	p.on(t, p.primary, "atlas rollback /etc/apache2 --yes")
	p.inStep(t)
	if i := slices.IndexFunc(p.findings(t, p.secondary), func(f initapi.Finding) bool { return f.ID == "sync-refused" }); i >= 0 {
		t.Error("the finding stays")
	}
	if now := p.on(t, p.secondary, sums); now != before {
		t.Errorf("after the rollback the secondary has other files than before:\n%s\n%s", now, before)
	}
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
