package check

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/image/pack"
)

// TestTrials starts the real daemons as the packs' trials do: on what is shipped, and on configurations that the checkers take and the daemons
// do not. It wants unpacked roots of Debian with the packages of the packs, in tree12 and tree13 of the directory that the environment names
// as ATLAS_TREES, and root: all runs by chroot, on a layer that is thrown away, in the namespaces of a check.
func TestTrials(t *testing.T) {
	trees := os.Getenv("ATLAS_TREES")
	if trees == "" {
		t.Skip("ATLAS_TREES names no directory with tree12 and tree13")
	}
	helperFor(t)
	packs, err := pack.LoadAll(filepath.Join("..", "..", "..", "image", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range trialCases {
		for _, release := range []int{12, 13} {
			if c.only != 0 && c.only != release {
				continue
			}
			t.Run(fmt.Sprintf("%s-%d", c.name, release), func(t *testing.T) {
				p := packs[slices.IndexFunc(packs, func(p pack.Pack) bool { return p.Name == c.pack })]
				tree := filepath.Join(trees, fmt.Sprintf("tree%d", release))
				if _, err := os.Stat(tree); err != nil {
					t.Skipf("there is no %s", tree)
				}
				h, v := trialHelper(t, packs, p, tree, release, c.edit)
				if got := one(t, h, checkOf(t, p, p.Check, v), nil); got.Result != Pass {
					t.Errorf("the checker: %s; want that it passes over it", got.Result)
				}
				got := one(t, h, checkOf(t, p, p.Trial, v), nil)
				if want := map[bool]Result{true: Pass, false: Fail}[c.words == ""]; got.Result != want || !strings.Contains(got.Output, c.words) {
					t.Errorf("the trial: %s; want %s with %q", got.Result, want, c.words)
				}
			})
		}
	}
}

var trialCases = []struct {
	name, pack string
	only       int    // release; 0: both
	edit       string // of a server that has just been set up
	words      string // of what the daemon says; "": it works
}{
	{name: "dovecot", pack: "dovecot"},
	{name: "dovecot-username", pack: "dovecot", only: 13, edit: `echo 'auth_username_format = %Lu' >>/etc/dovecot/local.conf`, words: "verification account"},
	{name: "mariadb", pack: "mariadb"},
	{name: "mariadb-engine", pack: "mariadb", edit: `printf '[mysqld]\ndefault_storage_engine = rocksdb\n' >/etc/mysql/mariadb.conf.d/90-office.cnf`, words: "rocksdb"},
	{name: "postgresql", pack: "postgresql"},
	{
		name: "postgresql-library", pack: "postgresql", words: "nothere",
		edit: `conf=$(echo /etc/postgresql/*/main/conf.d); echo "shared_preload_libraries = 'nothere'" >$conf/50-office.conf; chown postgres $conf/50-office.conf`,
	},
	{name: "kerberos", pack: "kerberos"},
	{
		name: "kerberos-des", pack: "kerberos", words: "realm",
		edit: `sed -i '1i [realms]\n\tEXAMPLE.COM = {\n\t\tmaster_key_type = des-cbc-crc\n\t\tsupported_enctypes = des-cbc-crc:normal\n\t}\n' /etc/krb5kdc/kdc.conf`,
	},
	{name: "apache", pack: "apache"},
	{name: "apache-ini", pack: "apache", edit: `sed -i 's/^memory_limit.*/memory_limit = (128M/' /etc/php/*/apache2/php.ini`, words: "syntax error"},
	{name: "apache-extension", pack: "apache", edit: `echo 'extension = nothere' >/etc/php/$(ls /etc/php | head -n 1)/apache2/conf.d/50-office.ini`, words: "nothere"},
	{name: "apache-no-php", pack: "apache", edit: `a2dismod -q php$(ls /etc/php | head -n 1)`, words: "by PHP"},
	{name: "samba", pack: "samba"},
	{name: "samba-passdb", pack: "samba", edit: `sed -i 's/^\[global\]/[global]\n\tpassdb backend = nothere/' /etc/samba/smb.conf`, words: "samba: "},
}

func checkOf(t *testing.T, p pack.Pack, c *pack.Check, v pack.Vars) Check {
	t.Helper()
	command, err := pack.ExpandAll(c.Command, v)
	if err != nil {
		t.Fatal(err)
	}
	limit, err := time.ParseDuration(c.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	return Check{Service: p.Name, Title: p.Title, Command: command, User: c.User, Timeout: limit + time.Minute, Show: c.Show, Fresh: c.Fresh}
}

// trialSetups make a service's files as its first start does.
var trialSetups = map[string]string{
	"dovecot":    `sh $P/init.sh $R 10.7.0.10 ""`,
	"postgresql": `sh $P/init.sh 10.7.0.10`,
	"apache":     `sh $P/init.sh`,
	"kerberos":   `sh $P/init.sh EXAMPLE.COM office.example.com 10.7.0.10`,
}

// trialHelper is a helper that works in a copy of a tree, with the files of the packs, edited.
func trialHelper(t *testing.T, packs []pack.Pack, p pack.Pack, tree string, release int, edit string) (Helper, pack.Vars) {
	t.Helper()
	v := pack.Vars{
		Service: "10.7.0.10", Address: "10.7.0.10", Hostname: "office", Domain: "example.com", FQDN: "office.example.com", Realm: "EXAMPLE.COM", BaseDN: "dc=example,dc=com",
		Release: strconv.Itoa(release), StateDir: "/run/state",
	}
	work := t.TempDir()
	for _, q := range packs {
		if q.Default != pack.On {
			continue
		}
		for _, f := range q.Files {
			data, err := os.ReadFile(filepath.Join(q.Dir, f.From))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := pack.Expand(string(data), v); f.Template && err == nil {
				data = []byte(text)
			}
			name := filepath.Join(work, "image", f.To)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	inside := fmt.Sprintf(`set -e; P=/usr/lib/atlas/packs/%s; R=%d
ip link set lo up; ip addr add 10.7.0.10/32 dev lo
mkdir -p /etc/ssl/atlas /etc/atlas /run/lock /var/log/mysql
openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=office -keyout /etc/ssl/atlas/site.key -out /etc/ssl/atlas/site.crt 2>/dev/null
chgrp ssl-cert /etc/ssl/atlas/site.key; chmod 0640 /etc/ssl/atlas/site.key
echo the-verify-word >/etc/atlas/verify.secret
id atlas-verify >/dev/null 2>&1 || useradd -u 610 -M -d /var/lib/atlas-verify atlas-verify
%s
%s
ip addr del 10.7.0.10/32 dev lo`, p.Name, release, trialSetups[p.Name], edit)
	outside := `set -e
mkdir -p "$1/m"; mount --make-rprivate /; mount -t tmpfs tmpfs "$1/m"; mkdir "$1/m/up" "$1/m/work" "$1/m/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/m/up,workdir=$1/m/work" "$1/m/root"
mount --rbind /dev "$1/m/root/dev"; mount -t proc proc "$1/m/root/proc"; mount -t tmpfs tmpfs "$1/m/root/run"
mkdir -p "$1/m/root/usr/lib/atlas"; cp -r "$4" "$1/m/root/usr/lib/atlas/packs"; cp -r --remove-destination "$1/image/." "$1/m/root/"
cp "$5" "$1/m/root/helper"
chroot "$1/m/root" /bin/sh -c "$3" </dev/null >"$1/said" 2>&1 || { cat "$1/said" >&2; exit 1; }
exec chroot "$1/m/root" /helper check-helper`
	abs, err := filepath.Abs(filepath.Join("..", "..", "..", "image", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	return Helper{Command: []string{"/bin/sh", "-c", outside, "sh", work, tree, inside, abs, self}}, v
}
