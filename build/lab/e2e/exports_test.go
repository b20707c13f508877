package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/sync/class"
)

// exportChanges are the usual ways in which what lives in databases is changed, and undone.
var exportChanges = []struct{ export, change, undo string }{
	{
		"postgresql/roles.sql", `cd /; p() { runuser -u postgres -- "$@"; }; p createuser -d etest; p createdb -O etest etest
p psql -q <<'X'
ALTER ROLE etest PASSWORD 'Etest-1' VALID UNTIL '2040-01-01'; CREATE ROLE "etest ""staff"; GRANT "etest ""staff" TO etest WITH ADMIN OPTION;
ALTER ROLE etest SET search_path TO shop, "$user"; ALTER ROLE etest IN DATABASE etest SET application_name = E'two\nlines';
REVOKE ALL ON DATABASE etest FROM PUBLIC; GRANT CONNECT ON DATABASE etest TO "etest ""staff" WITH GRANT OPTION;
ALTER DATABASE etest SET timezone = 'UTC'; ALTER ROLE ALL SET log_min_messages = 'error';
X`,
		`cd /; runuser -u postgres -- psql -q -c 'DROP DATABASE etest' -c 'DROP ROLE etest, "etest ""staff"' -c 'ALTER ROLE ALL RESET log_min_messages'`,
	},
	{
		"postgresql/verify.tsv", `cd /; runuser -u postgres -- psql -q atlas_verify -c "UPDATE canary SET text = 'the verification row, etest'" -c "INSERT INTO canary VALUES (2, E'tab\tand \\\\')"`,
		`cd /; runuser -u postgres -- psql -q atlas_verify -c "UPDATE canary SET text = 'the verification row' WHERE id = 1" -c "DELETE FROM canary WHERE id = 2"`,
	},
	{
		"mariadb/users.sql", `mariadb -e "CREATE USER 'etest'@'%' IDENTIFIED BY 'Etest-1' REQUIRE SSL; GRANT SELECT, INSERT ON etest.* TO 'etest'@'%' WITH GRANT OPTION; CREATE ROLE etest_role;
GRANT SELECT ON etest.* TO etest_role; GRANT etest_role TO 'etest'@'%'; SET DEFAULT ROLE etest_role FOR 'etest'@'%'; CREATE DATABASE etest; CREATE TABLE etest.t (a INT);
GRANT SELECT (a) ON etest.t TO 'et\'est'@'10.7.%' IDENTIFIED BY 'x'; CREATE PROCEDURE etest.p() SELECT 1; GRANT EXECUTE ON PROCEDURE etest.p TO 'etest'@'%'"`,
		`mariadb -e "DROP USER 'etest'@'%', 'et\'est'@'10.7.%'; DROP ROLE etest_role; DROP DATABASE etest"`,
	},
	{
		"mariadb/verify.sql", `mariadb -e "INSERT INTO atlas_verify.canary VALUES (2, 'etest''s\n')"`,
		`mariadb -e "DELETE FROM atlas_verify.canary WHERE id = 2"`,
	},
	{
		"kerberos/realm.dump", `kadmin.local addpol -maxlife 90days etest && kadmin.local addprinc -pw Etest-1 -policy etest etest && kadmin.local addprinc -randkey HTTP/etest`,
		`kadmin.local delprinc -force etest; kadmin.local delprinc -force HTTP/etest; kadmin.local delpol -force etest`,
	},
	{
		"openldap/config.ldif", `ldapmodify -Q -Y EXTERNAL -H ldapi:/// <<'X'
dn: cn=module{0},cn=config
changetype: modify
add: olcModuleLoad
olcModuleLoad: memberof

dn: olcOverlay=memberof,olcDatabase={1}mdb,cn=config
changetype: add
objectClass: olcMemberOf
olcOverlay: memberof
X`,
		`ldapdelete -Q -Y EXTERNAL -H ldapi:/// 'olcOverlay={0}memberof,olcDatabase={1}mdb,cn=config'`,
	},
	{
		"openldap/services.ldif", `printf 'dn: uid=etest,ou=services,dc=office,dc=example\nobjectClass: account\nuid: etest\ndescription: caf\303\251\n' | ldapadd -Q -Y EXTERNAL -H ldapi:///`,
		`ldapdelete -Q -Y EXTERNAL -H ldapi:/// uid=etest,ou=services,dc=office,dc=example`,
	},
	{
		"samba/users", `id etest >/dev/null 2>&1 || useradd -G users -c 'Etest Müller' etest; printf 'Etest-1\nEtest-1\n' | smbpasswd -s -a etest && pdbedit -r -u etest -p '\\office\p\etest' >/dev/null`,
		`smbpasswd -x etest`,
	},
	{
		"samba/registry", `net conf addshare etest /srv/etest writeable=y guest_ok=n "Plans" && net conf setparm global "log level" 1; groupadd -f etestg; net groupmap add ntgroup=Etest unixgroup=etestg type=domain`,
		`net conf delshare etest; net conf delparm global "log level"; net groupmap delete ntgroup=Etest`,
	},
	{ // Groups.xml has the password "Etest-1" as Windows writes it there, Registry.pol is no text.
		"addc/policies", `export KRB5_CONFIG=/var/lib/samba-ad/private/krb5.conf; c='-s /etc/samba/addc.conf'; dom=DC=ad,DC=office,DC=example
by="$c -H ldap://$(sed -n 's/^interfaces = //p' /etc/samba/addc-address.conf) -U Administrator%$(cat /etc/atlas/addc-admin.secret)"
samba-tool gpo create etest $by; g=$(ldbsearch -H /var/lib/samba-ad/private/sam.ldb '(displayName=etest)' cn | sed -n 's/^cn: //p')
dir=/var/lib/samba-ad/state/sysvol/ad.office.example/Policies/$g/Machine; mkdir -p $dir/Preferences/Groups
printf '<Groups>\r\n <Properties userName="x" cpassword="RXRlc3QtMQ"/>\r\n</Groups>\r\n' >$dir/Preferences/Groups/Groups.xml
printf 'PReg\001\000\000\000[\000S\000RXRlc3QtMQ' >$dir/Registry.pol; : >"$dir/etest, leer"
samba-tool ou add "OU=Etest\\, Büro,$dom" $c; samba-tool ou add "OU=In,OU=Etest\\, Büro,$dom" $c
samba-tool gpo setlink "OU=In,OU=Etest\\, Büro,$dom" $g --enforce $by; samba-tool gpo setlink $dom $g $by
samba-tool gpo setinheritance "OU=Etest\\, Büro,$dom" block $by
samba-tool domain passwordsettings set --min-pwd-length=9 --max-pwd-age=90 --account-lockout-threshold=5 $c
samba-tool domain passwordsettings pso create etest 5 --min-pwd-length=12 $c`,
		`export KRB5_CONFIG=/var/lib/samba-ad/private/krb5.conf; c='-s /etc/samba/addc.conf'; dom=DC=ad,DC=office,DC=example
by="$c -H ldap://$(sed -n 's/^interfaces = //p' /etc/samba/addc-address.conf) -U Administrator%$(cat /etc/atlas/addc-admin.secret)"
g=$(ldbsearch -H /var/lib/samba-ad/private/sam.ldb '(displayName=etest)' cn | sed -n 's/^cn: //p'); samba-tool gpo del $g $by
samba-tool domain passwordsettings set --min-pwd-length=7 --max-pwd-age=42 --account-lockout-threshold=0 $c
samba-tool domain passwordsettings pso delete etest $c; samba-tool ou delete "OU=Etest\\, Büro,$dom" --force-subtree-delete $c`,
	},
}

// exports finds what the packs export, with the commands as they are run.
func (s *site) exports(t *testing.T) map[string]pack.Export {
	t.Helper()
	packs, err := pack.LoadAll(filepath.Join("..", "..", "..", "image", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]pack.Export{}
	for _, p := range packs {
		for _, e := range p.Exports {
			for _, c := range []*[]string{&e.Dump, &e.Load, &e.Changed} {
				if *c, err = pack.ExpandAll(*c, pack.Vars{Realm: "OFFICE.EXAMPLE", BaseDN: "dc=office,dc=example"}); err != nil {
					t.Fatal(err)
				}
			}
			out[p.Name+"/"+e.Name] = e
		}
	}
	return out
}

// feed runs a command on a server as a user, with input, and returns what it printed.
func (s *site) feed(server, user, input string, command []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	args := []string{"lab", "--dir", s.dir, "exec", server, "--"}
	if user != "" {
		args = append(args, "setpriv", "--reuid", user, "--regid", user, "--init-groups", "env", "-C", "/")
	}
	cmd := exec.CommandContext(ctx, s.bin, append(args, command...)...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &said
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s on %s: %w: %s", strings.Join(command, " "), server, err, tail(said.String(), 10))
	}
	return out.String(), nil
}

// TestExports carries what lives in databases from the primary to the secondary: unchanged, changed in the usual ways, and deleted again.
func TestExports(t *testing.T) {
	s := use(t, "namespace")
	primary, secondary := "left", "right"
	if s.server(t, "left").Role != "primary" {
		primary, secondary = secondary, primary
	}
	// The Synchronizer would carry the same at the same time.
	for _, server := range []string{primary, secondary} {
		s.exec(t, server, "atlas", "service", "stop", "sentry")
	}
	t.Cleanup(func() {
		for _, server := range []string{primary, secondary} {
			s.exec(t, server, "atlas", "service", "start", "sentry")
		}
		s.healthy(t, primary, secondary)
	})
	exports := s.exports(t)
	packs, err := pack.LoadAll(filepath.Join("..", "..", "..", "image", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := class.New(packs)
	if err != nil {
		t.Fatal(err)
	}
	dump := func(server, name string) string {
		e := exports[name]
		out, err := s.feed(server, e.User, "", e.Dump)
		if err != nil || out == "" {
			t.Fatalf("dump %s: %v; %d bytes", name, err, len(out))
		}
		return out
	}
	carry := func(name string) string {
		text := dump(primary, name)
		e := exports[name]
		began := time.Now()
		if _, err := s.feed(secondary, e.User, text, e.Load); err != nil {
			t.Errorf("load %s: %v", name, err)
		}
		took := time.Since(began)
		if got := dump(secondary, name); got != text {
			t.Errorf("%s: the secondary has\n%s\nwant\n%s", name, got, text)
		}
		t.Logf("%s: %d bytes, loaded in %v", name, len(text), took.Round(time.Millisecond))
		return text
	}

	for _, server := range []string{primary, secondary} {
		s.exec(t, server, "sh", "-c", "id etest >/dev/null 2>&1 || useradd -G users -c 'Etest Müller' etest; groupadd -f etestg")
	}
	for _, c := range exportChanges {
		e, ok := exports[c.export]
		if !ok {
			t.Fatalf("no pack exports %s", c.export)
		}
		t.Run(c.export, func(t *testing.T) {
			before := carry(c.export)
			if again := dump(primary, c.export); again != before {
				t.Errorf("the same state gives\n%s\nand then\n%s", before, again)
			}
			changed := func() string {
				if len(e.Changed) == 0 {
					return ""
				}
				out, err := s.feed(primary, e.User, "", e.Changed)
				if err != nil {
					t.Error(err)
				}
				return out
			}
			mark := changed()
			s.exec(t, primary, "sh", "-ec", c.change)
			if len(e.Changed) > 0 && changed() == mark {
				t.Errorf("changed prints the same before and after")
			}
			after := carry(c.export)
			if after == before {
				t.Errorf("the change is not in the text:\n%s", after)
			}
			shown := string(rules.Redact(class.ExportPath(filepath.Dir(c.export), filepath.Base(c.export)), []byte(after)))
			for _, secret := range []string{"SCRAM-SHA-256$", "{SSHA}", "$6$", "RXRlc3QtMQ", "UlhSbGMzUXRNUQ"} {
				if strings.Contains(shown, secret) && secret != "$6$" || strings.Contains(shown, "$6$rounds") {
					t.Errorf("what is shown has a secret %s:\n%s", secret, shown)
				}
			}
			s.exec(t, primary, "sh", "-c", c.undo)
			if end := carry(c.export); strings.Contains(end, "etest") {
				t.Errorf("after the deletion there is still\n%s", end)
			}
			// A text that was cut off must change nothing.
			if _, err := s.feed(secondary, e.User, "", e.Load); err == nil && e.Secret {
				t.Errorf("an empty text was taken")
			}
		})
	}
	t.Run("who gets another SID keeps his files", func(t *testing.T) { s.anotherSID(t, primary, exports["samba/users"]) })
	tested := map[string]bool{}
	for _, c := range exportChanges {
		tested[c.export] = true
	}
	for _, name := range slices.Sorted(maps.Keys(exports)) {
		if !tested[name] {
			t.Errorf("%s is not tried here; add a way to change it", name)
		}
	}
}

// anotherSID loads accounts of which one has another SID than smbd has seen for the same person: an account made anew, or one that was in the middle of
// being loaded when somebody logged in with it; then the first again. What belongs to the person alone must open all the same.
func (s *site) anotherSID(t *testing.T, server string, users pack.Export) {
	s.exec(t, server, "sh", "-ec", `useradd -G users esid; printf 'Esid-1\nEsid-1\n' | smbpasswd -s -a esid >/dev/null; install -d -o esid -m 0700 /srv/office/esid`)
	t.Cleanup(func() { s.exec(t, server, "sh", "-c", "smbpasswd -x esid; userdel esid; rm -r /srv/office/esid") })
	list := func() {
		s.client(t, "smbclient", "//"+serviceAddress+"/office", "-U", "esid%Esid-1", "-c", `ls esid\*`)
	}
	list() // smbd knows who it is now
	before, err := s.feed(server, users.User, "", users.Dump)
	if err != nil {
		t.Fatal(err)
	}
	sid := regexp.MustCompile(`(?m)^(esid\|.*\|S-1-5-21-\d+-\d+-\d+)-\d+\|`)
	after := sid.ReplaceAllString(before, "$1-77777|")
	if after == before {
		t.Fatalf("no SID of esid in\n%s", before)
	}
	for _, text := range []string{after, before} {
		if _, err := s.feed(server, users.User, text, users.Load); err != nil {
			t.Fatal(err)
		}
		list()
	}
}

// checkCases break one file each; words are what the checker says.
var checkCases = []struct{ pack, file, edit, words string }{
	{"apache", "apache2/sites-available/000-default.conf", "echo Nonsense >>$f", "Invalid command 'Nonsense'"},
	{"samba", "samba/smb.conf", "echo 'reed only = no' >>$f", `Unknown parameter encountered: "reed only"`},
	{"addc", "samba/addc.conf", "echo 'reed only = no' >>$f", `Unknown parameter encountered: "reed only"`},
	{"mariadb", "mysql/mariadb.conf.d/90-etest.cnf", "printf '[mariadbd]\\nno_such = 1\\n' >$f", "unknown variable 'no_such=1'"},
	{"postgresql", "postgresql/*/main/postgresql.conf", "echo 'work_mem = lots' >>$f", `invalid value for parameter "work_mem": "lots"`},
	{"postgresql", "postgresql/*/main/pg_hba.conf", "echo 'host all all all nonsense' >>$f", `invalid authentication method "nonsense"`},
	{"postgresql", "postgresql/*/main/pg_ident.conf", "echo 'a b' >>$f", "pg_ident.conf"},
	{"openldap", "ldap/slapd.d/cn=config/olcDatabase={1}mdb.ldif", "sed -i 's/^olcAccess: {7}.*/olcAccess: {7}to nobody/' $f", `missing "=" in "nobody"`},
	{"kerberos", "krb5.conf", "echo '[open' >>$f", "Improper format of Kerberos configuration file"},
	{"kerberos", "krb5kdc/kdc.conf", "echo '} }' >>$f", "Improper format of Kerberos configuration file"},
	{"chrony", "chrony/conf.d/etest.conf", "echo 'servr a' >$f", "Invalid directive at line 1"},
	{"cron", "cron.d/etest", "echo '61 * * * * root true' >$f", "bad minute"},
	{"cron", "logrotate.d/etest", "echo '/var/log/x { rotate many }' >$f", "bad rotation count"},
	{"nfs", "exports", "echo '/srv/x 10.0.0.0/8(rx)' >>$f", `unknown keyword "rx"`},
	{"nfs", "nfs.conf.d/etest.conf", "echo '[open' >$f", "nfs.conf.d/etest.conf:1"},
	{"dovecot", "dovecot/local.conf", "echo 'nonsense = yes' >>$f", "Unknown setting: nonsense"},
	{"postfix", "postfix/main.cf", "echo 'mesage_size_limit = 10' >>$f", "unused parameter: mesage_size_limit"},
	{"postfix", "postfix/main.cf", "echo 'smtpd_client_connection_count_limit = x' >>$f", "postfix: "},
	{"postfix", "postfix/master.cf", "echo 'smtp inet n' >>$f", "bad field count"},
	{"certificate", "ssl/atlas/site.key", "echo x >$f", "site.key"},
	{"hardware", "udev/rules.d/90-etest.rules", "echo 'KERNEL=x' >$f", "Invalid key/value pair"},
	{"ssh", "", "", ""},
	{"accounts", "passwd", "echo 'anna:x:0' >>$f", "invalid password file entry"},
	{"accounts", "group", "echo anna >>$f", "invalid group file entry"},
	{"sudo", "sudoers.d/etest", "echo 'anna ALL' >$f", "syntax error"},
	{"site", "atlas/site.yaml", "echo '    - ghost' >>$f", "ghost is no service"},
	{"firewall", "nftables.conf", "echo 'table inet {' >>$f", "nftables.conf"},
	{"shell", "profile.d/etest.sh", "echo 'if' >$f", "etest.sh"},
}

// TestChecks has every service look at its configuration as it is, and with one mistake in it: the service's own words are told.
func TestChecks(t *testing.T) {
	s := use(t, "namespace")
	packs, err := pack.LoadAll(filepath.Join("..", "..", "..", "image", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := class.New(packs)
	if err != nil {
		t.Fatal(err)
	}
	var checks []string
	for _, p := range packs {
		if p.Check != nil {
			checks = append(checks, p.Name)
		}
	}
	for _, c := range rules.Checks() {
		checks = append(checks, c.Name)
	}
	seen := map[string]bool{}
	for _, c := range checkCases {
		// The real helper, in a mount namespace where a copy with the mistake lies at /etc.
		run := func(edit string) (string, time.Duration, error) {
			script := "cand=/var/lib/atlas-etest; [ -d $cand ] || cp -a /etc $cand; for f in $cand/" + c.file + "; do :; done\n" +
				"rm -f /tmp/etest; [ ! -f $f ] || cp -a $f /tmp/etest; " + edit + "; code=0\n" +
				"unshare -m --propagation private sh -c \"mount --bind $cand /etc; exec /usr/lib/atlas/sentry check $1\" || code=$?\n" +
				"if [ -e /tmp/etest ]; then cp -a /tmp/etest $f; elif [ -f $f ]; then rm -f $f; fi; exit $code"
			began := time.Now()
			out, err := s.lab(time.Minute, "exec", "left", "--", "sh", "-c", script, "sh", c.pack)
			return out, time.Since(began), err
		}
		if !seen[c.pack] {
			seen[c.pack] = true
			if out, took, err := run(":"); err != nil {
				t.Errorf("%s: the configuration as it is: %v\n%s", c.pack, err, tail(out, 10))
			} else {
				t.Logf("%s: good in %v", c.pack, took.Round(time.Millisecond))
			}
		}
		if c.file == "" {
			continue
		}
		if out, _, err := run(c.edit); err == nil || !strings.Contains(out, c.words) {
			t.Errorf("%s with %s: %v\n%s\nwant a failure that says %q", c.file, c.edit, err, tail(out, 10), c.words)
		}
	}
	for _, name := range checks {
		if !seen[name] {
			t.Errorf("the check of %s is not tried here", name)
		}
	}
	if out, err := s.lab(time.Minute, "exec", "left", "--", "rm", "-rf", "/var/lib/atlas-etest"); err != nil {
		t.Error(errors.Join(err, errors.New(out)))
	}
}
