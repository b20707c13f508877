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
)

// habit is one of the usual ways in which an administrator changes a server.
type habit struct {
	name   string
	before string // what is made ready on the primary before all habits
	do     string // by ssh from the client: as root, or as admin where by says so
	by     string // "admin": by password, with sudo; "client": not by ssh, but on the client itself
	who    state.Who
	paths  []state.Path // among what the commit names
	live   string       // succeeds on a server that has the change, and only there
	after  string       // what is cleared away on the primary after all habits
}

// root is somebody who logged in as root from the client, and ran program.
func root(program string) state.Who {
	return state.Who{Program: program, User: "root", From: "10.7.0.100"}
}

func habits() []habit {
	pg := "cd /; runuser -u postgres -- "
	return []habit{
		{
			name: "an editor", do: `TERM=xterm nano /etc/etest.conf`, by: "keys", who: root("nano"), paths: []state.Path{"etc/etest.conf"},
			live: `[ "$(cat /etc/etest.conf)" = "typed by hand" ]`,
		},
		{
			name: "sed by sudo", before: "echo old >/etc/etest-sed.conf", do: "sed -i s/old/new/ /etc/etest-sed.conf", by: "admin",
			who: state.Who{Program: "sed", User: "root", Login: "admin", From: "10.7.0.100"}, paths: []state.Path{"etc/etest-sed.conf"},
			live: "grep -q new /etc/etest-sed.conf", after: "rm /etc/etest-sed.conf",
		},
		{
			name: "useradd and passwd", do: "useradd -m -c 'Erna Test' erna && echo erna:Etest-4711 | chpasswd", who: root("useradd"),
			paths: []state.Path{"etc/group", "etc/gshadow", "etc/passwd", "etc/shadow"},
			live:  `getent passwd erna >/dev/null && grep -q '^erna:\$' /etc/shadow`, after: "rm -rf /home/erna",
		},
		{
			name: "smbpasswd", before: "id esmb >/dev/null 2>&1 || useradd esmb", do: `printf 'Etest-1\nEtest-1\n' | smbpasswd -s -a esmb`,
			who: state.Who{Service: "samba"}, paths: []state.Path{"@db/samba/users"}, live: "pdbedit -u esmb >/dev/null", after: "userdel esmb",
		},
		{
			name: "a2ensite", do: `printf '<VirtualHost *:80>\nServerName etest.office.example\nRedirect / /etest-site\n</VirtualHost>\n' >/etc/apache2/sites-available/etest.conf
a2ensite -q etest && apachectl graceful`, who: root("bash"), paths: []state.Path{"etc/apache2/sites-available/etest.conf", "etc/apache2/sites-enabled/etest.conf"},
			live: etestSite,
		},
		{
			name: "a2dissite", before: "printf '<VirtualHost *:80>\nServerName etest-old.office.example\n</VirtualHost>\n' >/etc/apache2/sites-available/etest-old.conf; a2ensite -q etest-old",
			do: "a2dissite -q etest-old && apachectl graceful", who: root("a2dissite"), paths: []state.Path{"etc/apache2/sites-enabled/etest-old.conf"},
			live: "[ ! -L /etc/apache2/sites-enabled/etest-old.conf ]", after: "a2dissite -q etest-old; rm -f /etc/apache2/sites-available/etest-old.conf; apachectl graceful",
		},
		{
			name: "a package's script", do: `set -e; mkdir -p /etc/etest-pkg/conf.d
for i in 1 2 3; do echo "value = $i" >/etc/etest-pkg/$i.conf.dpkg-new; mv /etc/etest-pkg/$i.conf.dpkg-new /etc/etest-pkg/$i.conf; done
ln -s ../1.conf /etc/etest-pkg/conf.d/1.conf; chown -R root:adm /etc/etest-pkg; chmod 640 /etc/etest-pkg/2.conf`, who: root("mkdir"),
			paths: []state.Path{"etc/etest-pkg/1.conf", "etc/etest-pkg/2.conf", "etc/etest-pkg/3.conf", "etc/etest-pkg/conf.d/1.conf"},
			live:  `[ "$(stat -c %U:%G:%a /etc/etest-pkg/2.conf)" = root:adm:640 ] && [ "$(cat /etc/etest-pkg/conf.d/1.conf)" = "value = 1" ]`,
		},
		{
			name: "mv of a tree", before: "d=/etc/etest-tree; " + etestTree, do: "mv /etc/etest-tree /etc/etest-moved", who: root("mv"),
			paths: []state.Path{"etc/etest-moved/a/b/two", "etc/etest-moved/one", "etc/etest-tree/a/b/two", "etc/etest-tree/one"},
			live:  "[ -e /etc/etest-moved/a/b/two ] && [ -d /etc/etest-moved/empty ] && [ ! -e /etc/etest-tree ]", after: "rm -r /etc/etest-tree",
		},
		{
			name: "rm -r", before: "d=/etc/etest-rm; " + etestTree, do: "rm -r /etc/etest-rm", who: root("rm"), paths: []state.Path{"etc/etest-rm/a/b/two", "etc/etest-rm/one"},
			live: "[ ! -e /etc/etest-rm ]", after: "rm -r /etc/etest-rm",
		},
		{
			name: "ldapmodify on cn=config", do: `ldapmodify -Q -Y EXTERNAL -H ldapi:/// <<'X'
dn: olcDatabase={1}mdb,cn=config
changetype: modify
add: olcDbIndex
olcDbIndex: employeeNumber eq
X`, who: state.Who{Service: "openldap"}, paths: []state.Path{"@db/openldap/config.ldif"},
			live: "ldapsearch -LLL -Q -Y EXTERNAL -H ldapi:/// -b 'olcDatabase={1}mdb,cn=config' -s base olcDbIndex | grep -q employeeNumber",
		},
		{
			name: "createuser", do: pg + `createuser -d esync && runuser -u postgres -- psql -qc 'GRANT pg_monitor TO esync'`, who: state.Who{Service: "postgresql"},
			paths: []state.Path{"@db/postgresql/roles.sql"}, live: pg + `psql -Atc "SELECT pg_has_role(oid, 'pg_monitor', 'member') AND rolcreatedb FROM pg_roles WHERE rolname = 'esync'" | grep -qx t`,
		},
		{
			name: "CREATE USER", do: `mariadb -e "CREATE USER 'esync'@'%' IDENTIFIED BY 'Etest-1'; GRANT SELECT ON notes.* TO 'esync'@'%'"`, who: state.Who{Service: "mariadb"},
			paths: []state.Path{"@db/mariadb/users.sql"}, live: `mariadb -Ne "SHOW GRANTS FOR 'esync'@'%'" 2>/dev/null | grep -q 'SELECT ON .notes'`,
		},
		{
			name: "kadmin addprinc", do: "kadmin.local addprinc -pw Etest-1 esync", who: state.Who{Service: "kerberos"}, paths: []state.Path{"@db/kerberos/realm.dump"},
			live: "kadmin.local listprincs | grep -q ^esync@",
		},
		{
			name: "crontab -e", before: `printf '#!/bin/sh\nsleep 1.1\necho "17 4 * * * true" >>"$1"\n' >/root/etest-editor; chmod 755 /root/etest-editor`,
			do: "EDITOR=/root/etest-editor crontab -e", who: root("crontab"), paths: []state.Path{"var/spool/cron/crontabs/root"},
			live: "crontab -l 2>/dev/null | grep -q '^17 4'", after: "rm /root/etest-editor",
		},
		{
			name: "a page as www-data", before: `mkdir -p /srv/www/etest /etc/etest-gui; chown www-data /etc/etest-gui
echo '<?php echo file_put_contents("/etc/etest-gui/settings.ini", "colour = ".$_POST["colour"]."\n");' >/srv/www/etest/save.php`,
			do: "curl -sSf -m 20 --data colour=green http://10.7.0.10/etest/save.php", by: "client",
			who: state.Who{Program: "apache2", User: "www-data", Service: "apache"}, paths: []state.Path{"etc/etest-gui/settings.ini"},
			live: "grep -q green /etc/etest-gui/settings.ini", after: "rm -rf /srv/www/etest /etc/etest-gui",
		},
	}
}

const (
	etestSite = `curl -s -m 10 -o /dev/null -w '%{redirect_url}' -H 'Host: etest.office.example' http://10.7.0.10/ | grep -q etest-site`
	etestTree = "mkdir -p $d/a/b $d/empty; echo 1 >$d/one; echo 2 >$d/a/b/two"
)

// pair is a site's two servers as the Synchronizer sees them.
type pair struct {
	*site
	primary, secondary string
	key                string // of root, on the client
}

func (s *site) pair(t *testing.T) *pair {
	t.Helper()
	p := &pair{site: s, primary: "left", secondary: "right"}
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
	for _, h := range habits() {
		t.Run(h.name, func(t *testing.T) { from = p.habit(t, h, from) })
	}
	for _, server := range []string{p.primary, p.secondary} {
		if f := p.findings(t, server); len(f) > 0 {
			t.Errorf("in the end %s finds %+v", server, f)
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
	before := p.on(t, p.secondary, sums)
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
