package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

// pair is a site's two servers as the Synchronizer sees them.
type pair struct {
	*site
	primary, secondary string
	key                string // of root, on the client
	rehearsed          time.Time
}

func (s *site) pair(t *testing.T) *pair {
	t.Helper()
	p := &pair{site: s, primary: "left", secondary: "right", rehearsed: time.Now()}
	if s.server(t, "left").Role != "primary" {
		p.primary, p.secondary = "right", "left"
	}
	s.serving(t, p.primary, p.secondary)
	s.client(t, "true") // its folder is there from now on
	var err error
	if p.key, err = (&business{site: s}).labKey(); err != nil {
		t.Fatal(err)
	}
	p.inStep(t)
	return p
}

// address is where a server's administrators log in.
func address(server string) string {
	if server == "right" {
		return "10.7.0.12"
	}
	return "10.7.0.11"
}

const sshQuiet = " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=15 "

// ssh is a script on the client that runs a script on a server, as root.
func (p *pair) ssh(server, script string) string {
	return "ssh -i " + p.key + sshQuiet + "root@" + address(server) + " " + quoted(script)
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// perform does what a habit does.
func (p *pair) perform(h habit) error {
	var script string
	switch h.by {
	case "admin":
		script = "sshpass -p '" + p.admin + "' ssh -o PubkeyAuthentication=no" + sshQuiet + "admin@" + address(p.primary) + " " +
			quoted("echo '"+p.admin+"' | sudo -S -p '' "+h.do)
	case "client":
		script = h.do
	case "keys": // what nano is told by hand: the text, ^O, Return, ^X
		script = `(sleep 1; printf 'typed by hand\017\r'; sleep 0.3; printf '\030'; sleep 0.3) | ssh -tt -i ` + p.key + sshQuiet + "root@" + address(p.primary) + " " + quoted(h.do)
	default:
		script = p.ssh(p.primary, h.do)
	}
	out, err := p.lab(2*time.Minute, "client", "--", "sh", "-c", script)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", h.do, err, tail(out, 20))
	}
	return nil
}

// on runs a script on a server.
func (p *pair) on(t *testing.T, server, script string) string {
	t.Helper()
	return p.exec(t, server, "sh", "-c", script)
}

// has tells whether a script succeeds on a server.
func (p *pair) has(server, script string) error {
	out, err := p.lab(time.Minute, "exec", server, "--", "sh", "-c", script)
	if err != nil {
		return fmt.Errorf("on %s: %s: %w\n%s", server, script, err, tail(out, 5))
	}
	return nil
}

// history is the newest changes that a server knows, the newest first.
func (p *pair) history(t *testing.T, server string, args ...string) []state.Event {
	t.Helper()
	var list []state.Event
	out := p.exec(t, server, append([]string{"atlas", "history", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("history of %s: %v\n%s", server, err, tail(out, 10))
	}
	return list
}

// since is what was recorded on the primary after the commit id.
func (p *pair) since(t *testing.T, id string) []state.Event {
	t.Helper()
	list := p.history(t, p.primary, "--limit", "30")
	if i := slices.IndexFunc(list, func(e state.Event) bool { return e.ID == id }); i >= 0 {
		return list[:i]
	}
	t.Fatalf("%s is not among the newest changes any more:\n%s", id, told(list))
	return nil
}

func told(list []state.Event) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%s %s: %s (%s)\n", e.At.Format("15:04:05"), e.Who, e.What(), e.Short())
	}
	return b.String()
}

// sync is how a server's Synchronizer says it stands.
func (p *pair) sync(server string) (state.Status, error) {
	var st state.Status
	out, err := p.lab(time.Minute, "exec", server, "--", "curl", "-sSf", "-m", "10", "--unix-socket", "/run/atlas/sentry.sock", "http://sentry/v1/sync")
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	if err != nil {
		return st, fmt.Errorf("the Synchronizer of %s: %w\n%s", server, err, tail(out, 5))
	}
	return st, nil
}

// findings are those of a server that the Synchronizer tells.
func (p *pair) findings(t *testing.T, server string) []initapi.Finding {
	t.Helper()
	st, err := p.sync(server)
	if err != nil {
		t.Fatal(err)
	}
	return st.Findings
}

// soon tries often, since what is waited for is measured.
func soon(t *testing.T, what string, limit time.Duration, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
	}
}

const (
	syncLimit = time.Minute            // on a machine that is busy with other things
	settled   = 800 * time.Millisecond // after that nothing more belongs to an action
)

// inStep waits until the secondary has all of the primary.
func (p *pair) inStep(t *testing.T) {
	t.Helper()
	soon(t, "both servers are in step", 3*time.Minute, func() error {
		a, err := p.sync(p.primary)
		if err != nil {
			return err
		}
		b, err := p.sync(p.secondary)
		if err != nil {
			return err
		}
		if a.Head == nil || b.Head == nil || a.Head.ID != b.Head.ID || !b.InStep || len(a.Peers) == 0 || a.Peers[0].Live != a.Head.ID {
			return fmt.Errorf("%w: %+v %+v", errNotYet, a, b)
		}
		return nil
	})
}

// quiet waits until nothing more is recorded, and gives the newest commit.
func (p *pair) quiet(t *testing.T) string {
	t.Helper()
	last := ""
	soon(t, "changes have settled", syncLimit, func() error {
		id := p.history(t, p.primary, "--limit", "1")[0].ID
		if id == last {
			return nil
		}
		last = id
		time.Sleep(settled)
		return errNotYet
	})
	p.inStep(t)
	return last
}

// TestSynchronizer changes the primary in the usual ways. Each is one commit that says who did it, live on the secondary, and can be
// undone with one command.
func TestSynchronizer(t *testing.T) {
	p := use(t, "namespace").pair(t)
	var before, after []string
	for _, h := range habits() {
		before, after = append(before, h.before), append(after, h.after)
	}
	p.on(t, p.primary, strings.Join(before, "\n"))
	t.Cleanup(func() { p.on(t, p.primary, strings.Join(after, "\n")) })
	from := p.quiet(t)
	known := map[string]bool{} // told by earlier tests
	for _, server := range []string{p.primary, p.secondary} {
		for _, f := range p.findings(t, server) {
			known[f.ID+f.What] = true
		}
	}
	for _, h := range habits() {
		t.Run(h.name, func(t *testing.T) { from = p.habit(t, h, from) })
	}
	for _, server := range []string{p.primary, p.secondary} {
		for _, f := range p.findings(t, server) {
			if !known[f.ID+f.What] {
				t.Errorf("in the end %s finds %+v", server, f)
			}
		}
	}
}

// habit does one and undoes it. from is the newest commit before; it gives the newest after it.
func (p *pair) habit(t *testing.T, h habit, from string) (last string) {
	last = from
	defer func() {
		if t.Failed() {
			last = p.quiet(t)
		}
	}()
	if p.has(p.secondary, h.live) == nil {
		t.Fatalf("the secondary has it before: %s", h.live)
	}
	if err := p.perform(h); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var made []state.Event
	soon(t, "it is recorded", syncLimit, func() error {
		if made = p.since(t, from); len(made) == 0 {
			return errNotYet
		}
		return nil
	})
	recorded := time.Since(began)
	soon(t, "it is live on the secondary", syncLimit, func() error { return p.has(p.secondary, h.live) })
	live := time.Since(began)
	to := p.quiet(t)
	if made = p.since(t, from); len(made) != 1 {
		t.Errorf("recorded as %d changes:\n%s", len(made), told(made))
	}
	c := made[len(made)-1]
	t.Logf("recorded within %v of its end, live within %v: %s: %s", recorded.Round(time.Millisecond), live.Round(time.Millisecond), c.By(), c.What())
	who := c.Who
	who.PID, who.TTY = 0, ""
	if who.Program == "a2enmod" { // a2dissite is a link to it
		who.Program = "a2dissite"
	}
	if who != h.who {
		t.Errorf("attributed to %q (%+v); want %q", c.Who, c.Who, h.who)
	}
	for _, path := range h.paths {
		if !slices.ContainsFunc(c.Files, func(f state.Touched) bool { return f.Path == path }) {
			t.Errorf("%s is not named among what was changed: %v", path, c.Files)
		}
	}
	if text := p.exec(t, p.primary, "atlas", "show", c.ID); strings.Contains(text, "Etest-") || strings.Contains(text, "$y$") || strings.Contains(text, "SCRAM-SHA-256$") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	began = time.Now()
	out, err := p.lab(2*time.Minute, "client", "--", "sh", "-c", p.ssh(p.primary, "atlas rollback --all --to "+from+" --yes"))
	if err != nil {
		t.Fatalf("roll back: %v\n%s", err, tail(out, 20))
	}
	back := time.Since(began)
	for _, server := range []string{p.primary, p.secondary} {
		soon(t, "it is undone on "+server, syncLimit, func() error {
			if p.has(server, h.live) == nil {
				return errNotYet
			}
			return nil
		})
	}
	t.Logf("rolled back in %v, on the secondary after %v", back.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	last = p.quiet(t)
	if made = p.since(t, to); len(made) != 1 || made[0].Rollback != from || made[0].Who.From != "10.7.0.100" {
		t.Errorf("the rollback is recorded as %d changes:\n%s", len(made), told(made))
	}
	return last
}

// TestSecondaryChange changes a file on the secondary. It is put back as it is on the primary, kept in the secondary's history, and told.
func TestSecondaryChange(t *testing.T) {
	p := use(t, "namespace").pair(t)
	t.Cleanup(func() { p.on(t, p.primary, "rm -f /etc/etest-both") })
	p.on(t, p.primary, "echo primary >/etc/etest-both")
	p.quiet(t)
	for _, c := range []struct{ name, do string }{
		{"edited", "echo secondary >/etc/etest-both"},
		{"removed", "rm /etc/etest-both"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.client(t, "sh", "-c", p.ssh(p.secondary, c.do+"; sleep 0.3")) // people stay a moment
			began := time.Now()
			soon(t, "it is put back", syncLimit, func() error { return p.has(p.secondary, "grep -q primary /etc/etest-both") })
			t.Logf("put back after %v", time.Since(began).Round(time.Millisecond))
			soon(t, "it is told", syncLimit, func() error {
				for _, f := range p.findings(t, p.secondary) {
					if f.ID == "sync-local-change" && strings.Contains(f.What, "/etc/etest-both") && strings.Contains(f.What, "10.7.0.100") {
						return nil
					}
				}
				return errNotYet
			})
			list := p.history(t, p.secondary, "--local", "/etc/etest-both")
			if !slices.ContainsFunc(list, func(e state.Event) bool { return e.Who.From == "10.7.0.100" && e.Server == p.secondary }) {
				t.Errorf("what was done is not in the history of %s:\n%s", p.secondary, told(list))
			}
		})
	}
	p.inStep(t)
}

// TestSecondaryOff makes ten changes while the secondary is off: it has all of them when it is back.
func TestSecondaryOff(t *testing.T) {
	p := use(t, "namespace").pair(t)
	p.off(t, p.secondary)
	for i := range 10 {
		p.on(t, p.primary, fmt.Sprintf("echo %d >/etc/etest-off-%d; rm -f /etc/etest-off-%d", i, i, i-5))
	}
	p.site.on(t, p.secondary)
	p.serving(t, p.primary, p.secondary)
	began := time.Now()
	p.inStep(t)
	t.Logf("in step %v after its services were ready", time.Since(began).Round(time.Millisecond))
	for i := range 10 {
		want := fmt.Sprintf("[ -e /etc/etest-off-%d ]", i)
		if i < 5 {
			want = "! " + want
		}
		if err := p.has(p.secondary, want); err != nil {
			t.Error(err)
		}
	}
	p.on(t, p.primary, "rm -f /etc/etest-off-*")
	p.inStep(t)
}

// follows changes something on the primary and waits for it on the secondary: after a swap, in the other direction.
func (s *site) follows(t *testing.T, primary, secondary, text string) {
	t.Helper()
	p := &pair{site: s, primary: primary, secondary: secondary}
	p.inStep(t)
	p.on(t, primary, "echo '"+text+"' >/etc/etest-swap")
	soon(t, "a change of "+primary+" is on "+secondary, syncLimit, func() error { return p.has(secondary, "grep -qx '"+text+"' /etc/etest-swap") })
	p.inStep(t)
}
