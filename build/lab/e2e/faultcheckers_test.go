package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/steps"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestFaultCheckers shows the faults to the real checkers of both releases, without a lab: what is found on the primary its checker must refuse, what
// is found by a checker or a trial of the secondary only that one, after conversion, and what conversion finds the primary must take. It wants unpacked
// roots of Debian with the packages of the packs, in tree12 and tree13 of the directory that the environment names as ATLAS_TREES, and root: all
// runs by chroot, on a layer that is thrown away.
func TestFaultCheckers(t *testing.T) {
	trees := os.Getenv("ATLAS_TREES")
	if trees == "" {
		t.Skip("ATLAS_TREES names no directory with tree12 and tree13")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount and chroot")
	}
	packs, err := pack.LoadAll("../../../image/packs")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := class.New(packs)
	if err != nil {
		t.Fatal(err)
	}
	c := checkers{trees: trees, packs: packs, rules: rules, whole: map[string]error{}}
	seen := 0
	for _, f := range loadFaults(t) {
		t.Run(f.file+"/"+f.Name, func(t *testing.T) {
			name, ask, trial := c.of(f)
			switch {
			case ask == "":
				t.Skip("no checker looks at " + f.Found.At)
			case c.sound(t, f.From, name, ask) != nil:
				t.Skipf("%s cannot be asked here: %v", name, c.sound(t, f.From, name, ask))
			}
			seen++
			work := t.TempDir()
			said, err := c.in(t, work, f.From, name, f.script()+"keep\n"+ask)
			if want := f.Found.ID == "sync-held"; want != (err != nil) {
				t.Errorf("the checker of Debian %d: %v\n%s", f.From, err, said)
			}
			if f.Found.ID != "sync-refused" {
				return
			}
			if err := c.sound(t, 25-f.From, name, ask+trial); err != nil {
				t.Skipf("%s of Debian %d cannot be asked here: %v", name, 25-f.From, err)
			}
			res, err := convert.Convert(steps.All(), f.From, 25-f.From, keptFiles(t, filepath.Join(work, "kept")))
			if err != nil {
				t.Error(err)
			}
			for _, p := range res.Tree.All() {
				lay(t, filepath.Join(work, "lay", string(p)), res.Tree.Text(p))
			}
			said, err = c.in(t, work, 25-f.From, name, "cp -r --remove-destination /out/lay/. /\n"+ask+trial)
			if err == nil {
				t.Errorf("the checker of Debian %d takes it\n%s", 25-f.From, said)
			}
			t.Logf("Debian %d says: %s", 25-f.From, tail(said, 6))
		})
	}
	t.Logf("%d faults were shown to checkers", seen)
}

type checkers struct {
	trees string
	packs []pack.Pack
	rules *class.Rules
	whole map[string]error // by release and checker: what it says with no fault planted
}

// sound tells whether a checker takes what has no fault.
func (c checkers) sound(t *testing.T, release int, name, ask string) error {
	t.Helper()
	key := fmt.Sprint(release, name, ask)
	if _, known := c.whole[key]; !known {
		said, err := c.in(t, t.TempDir(), release, name, ask)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, tail(said, 3))
		}
		c.whole[key] = err
	}
	return c.whole[key]
}

// of finds who looks at the file of a fault: a pack, whose trial is tried as well where it needs no site, or one of the system's own checks.
func (c checkers) of(f fault) (name, ask, trial string) {
	p := state.Path(strings.TrimPrefix(f.Found.At, "/"))
	change := []state.Change{{Path: p}}
	for _, name := range apply.Affected(c.packs, change) {
		i := slices.IndexFunc(c.packs, func(p pack.Pack) bool { return p.Name == name })
		if i < 0 || c.packs[i].Check == nil || slices.Contains([]string{"openldap", "kerberos", "postgresql", "addc", "notes"}, name) { // want a running site
			continue
		}
		if slices.Contains([]string{"apache", "dovecot", "mariadb"}, name) {
			trial = commandOf(c.packs[i].Trial)
		}
		return name, commandOf(c.packs[i].Check), trial
	}
	for _, k := range c.rules.Checks() {
		if k.Name != "site" && slices.ContainsFunc(k.Paths, func(q string) bool { return p.Under(state.Path(q[1:])) }) {
			return k.Name, "'" + strings.Join(slices.Concat(k.Command[:2], []string{strings.ReplaceAll(k.Command[2], "'", `'\''`)}), "' '") + "'\n", ""
		}
	}
	return "", "", ""
}

// commandOf is a checker as a line of a script.
func commandOf(k *pack.Check) string {
	as := ""
	if k.User != "" {
		as = fmt.Sprintf("setpriv --reuid %[1]s --regid %[1]s --init-groups ", k.User)
	}
	return as + strings.Join(k.Command, " ") + "\n"
}

// prepare makes what a pack's checker counts on.
var prepare = map[string]string{
	"apache":  "mkdir -p /srv/www; sh $P/init.sh >/dev/null 2>&1",
	"dovecot": "sh $P/init.sh $R 10.7.0.10 '' 2>/dev/null",
	"chrony":  "mkdir -p /run/chrony-atlas; echo allow >/run/chrony-atlas/serve.conf",
	"nfs":     "mkdir -p /srv/nfs",
	"postfix": "sh $P/site.sh office.example.com 10.7.0.10 '' 2>/dev/null",
}

// in runs a script in a release's tree, with what the packs ship; /out is work.
func (c checkers) in(t *testing.T, work string, release int, name, script string) (string, error) {
	t.Helper()
	vars := pack.Vars{
		Service: "10.7.0.10", Address: "10.7.0.10", Management: "10.7.0.2", Hostname: "office", Domain: "example.com", FQDN: "office.example.com",
		Realm: "EXAMPLE.COM", BaseDN: "dc=example,dc=com", Release: strconv.Itoa(release), Server: "left", StateDir: "/run/state",
	}
	image := t.TempDir()
	root, err := os.MkdirTemp("", "faults-") // an overlay takes a comma in a path, as in the name of a fault, for its own
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(root) }()
	for _, p := range c.packs {
		for _, f := range p.Files {
			data, err := os.ReadFile(filepath.Join(p.Dir, f.From))
			if err != nil {
				t.Fatal(err)
			}
			if f.Template {
				text, err := pack.Expand(string(data), vars)
				if err != nil {
					t.Fatal(err)
				}
				data = []byte(text)
			}
			if p.Name == name || p.Conflicts == nil && p.Default == pack.On {
				lay(t, filepath.Join(image, f.To), data)
			}
		}
	}
	all := fmt.Sprintf(`set -e
P=/usr/lib/atlas/packs/%s; R=%d
keep() { find /etc -newer /out/begun -type f | cpio -pdm --quiet /out/kept 2>/dev/null || (find /etc -newer /out/begun -type f | tar cf - -T - 2>/dev/null | tar xf - -C /out/kept); }
ip link set lo up; ip addr add 10.7.0.10/32 dev lo
mkdir -p /etc/ssl/atlas /run/lock /run/samba /run/was/var/spool/cron/crontabs /etc/atlas /out/kept
[ -e /etc/ssl/atlas/site.key ] || openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=office -keyout /etc/ssl/atlas/site.key -out /etc/ssl/atlas/site.crt 2>/dev/null
chmod 0644 /etc/ssl/atlas/*; echo secret >/etc/atlas/verify.secret
%s
sleep 0.01; touch /out/begun; sleep 0.01
%s`, name, release, prepare[name], script)
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", `set -e
mkdir "$1/m"; mount -t tmpfs tmpfs "$1/m"; mkdir "$1/m/up" "$1/m/work" "$1/m/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/m/up,workdir=$1/m/work" "$1/m/root"
mount --rbind /dev "$1/m/root/dev"; mount -t proc proc "$1/m/root/proc"; mount -t tmpfs tmpfs "$1/m/root/run"
mkdir -p "$1/m/root/usr/lib/atlas" "$1/m/root/out"; cp -r "$4" "$1/m/root/usr/lib/atlas/packs"
cp -r --remove-destination "$5/." "$1/m/root/"
mount --bind "$6" "$1/m/root/out"
exec chroot "$1/m/root" /bin/sh -c "$3"`, "sh", root, filepath.Join(c.trees, fmt.Sprintf("tree%d", release)), all, "../../../image/packs", image, work)
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func lay(t *testing.T, name string, data []byte) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// keptFiles reads what was planted.
func keptFiles(t *testing.T, dir string) *convert.Tree {
	t.Helper()
	tree := convert.NewTree(nil)
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		tree.Write(state.Path(rel), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
