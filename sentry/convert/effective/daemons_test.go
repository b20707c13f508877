package effective_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/effective"
	"sayasystems.com/atlas/sentry/convert/facts"
	"sayasystems.com/atlas/sentry/convert/steps"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestDaemons asks the real daemons of two releases what they make of the packs' files: as they are shipped, edited by people on one side and
// converted for the other, and with mistakes planted on the other. It wants unpacked roots of Debian with the packages of the packs, in tree12
// and tree13 of the directory that the environment names as ATLAS_TREES, and root: all runs by chroot, on a layer that is thrown away.
func TestDaemons(t *testing.T) {
	trees := os.Getenv("ATLAS_TREES")
	if trees == "" {
		t.Skip("ATLAS_TREES names no directory with tree12 and tree13")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount and chroot")
	}
	packs, err := pack.LoadAll(filepath.Join("..", "..", "..", "image", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := packs[slices.IndexFunc(packs, func(p pack.Pack) bool { return p.Name == c.pack })]
			rules, err := class.New(packs)
			if err != nil {
				t.Fatal(err)
			}
			for _, way := range [][2]int{{12, 13}, {13, 12}} {
				if c.from != 0 && c.from != way[0] {
					continue
				}
				theirs := ask(t, packs, p, filepath.Join(trees, fmt.Sprintf("tree%d", way[0])), way[0], edited{script: c.edit, rules: rules})
				res, err := convert.Convert(steps.All(), way[0], way[1], theirs.tree)
				if err != nil {
					t.Error(err)
				}
				ours := ask(t, packs, p, filepath.Join(trees, fmt.Sprintf("tree%d", way[1])), way[1], edited{files: res.Tree, script: c.plant, rules: rules})
				var told []string
				for _, f := range res.Findings {
					told = append(told, f.What+" "+f.Next)
				}
				from, _ := facts.Of(way[0])
				to, _ := facts.Of(way[1])
				all := effective.Compare(rulesOf(t, p), effective.Side{Settings: theirs.said, Facts: from, Names: []string{"left"}},
					effective.Side{Settings: ours.said, Facts: to, Names: []string{"right"}}, told)
				got := []string{}
				explained := map[effective.Why]int{}
				for _, d := range all {
					explained[d.Why]++
					if d.Why == effective.None {
						got = append(got, map[bool]string{true: "guard "}[d.Guard]+d.Name)
						what, _ := d.Words(p.Title, "left", "right")
						t.Log(what)
					}
				}
				t.Logf("%d to %d: %d and %d settings; %v", way[0], way[1], len(theirs.said), len(ours.said), explained)
				if d := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("Debian %d to %d: unexplained differences (-want +got):\n%s", way[0], way[1], d)
				}
				if len(theirs.said) < 3 {
					t.Errorf("only %d settings", len(theirs.said))
				}
			}
		})
	}
}

func rulesOf(t *testing.T, p pack.Pack) effective.Rules {
	t.Helper()
	x := p.Effective
	r := effective.Rules{Service: x.Service, Own: x.Own, Guards: x.Guards}
	for _, s := range x.Ships {
		ship := effective.Ship{Name: s.Name, Values: map[int]string{}}
		for release, v := range s.Values {
			n, err := strconv.Atoi(release)
			if err != nil {
				t.Fatal(err)
			}
			ship.Values[n] = v
		}
		r.Ships = append(r.Ships, ship)
	}
	return r
}

// edited is what is done to a server's files after they have been set up.
type edited struct {
	files  *convert.Tree // what people changed, in the words of this release; nil: nothing
	script string
	rules  *class.Rules
}

type answer struct {
	tree *convert.Tree // the pack's configuration, with what nobody has changed as Stock
	said effective.Settings
}

// prelude is run before any pack's.
const prelude = `set -e
ip link set lo up; ip addr add 10.7.0.10/32 dev lo
mkdir -p /etc/ssl/atlas /run/lock /run/samba /run/sshd /run/mysqld /run/dovecot /run/slapd /run/apache2 /etc/atlas /root /out/before /out/after
install -d -o postgres -g postgres -m 2775 /run/postgresql
[ -e /etc/ssl/atlas/site.key ] || openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=office -keyout /etc/ssl/atlas/site.key -out /etc/ssl/atlas/site.crt 2>/dev/null
chmod 0644 /etc/ssl/atlas/*; chown postgres /etc/ssl/atlas/site.key; chmod 0600 /etc/ssl/atlas/site.key
chown openldap /run/slapd
`

// setups make a pack's files as the first start does; starts have those running that only tell while they run.
var (
	setups = map[string]string{
		"ssh":        `ssh-keygen -q -A; mkdir -p /run/state/ssh; cp /etc/ssh/ssh_host_ed25519_key /run/state/ssh/; sh $P/release.sh $R 10.7.0.2`,
		"postfix":    `sh $P/site.sh office.example.com 10.7.0.10 ""`,
		"dovecot":    `sh $P/init.sh $R 10.7.0.10 "" 2>/dev/null`,
		"postgresql": `sh $P/init.sh 10.7.0.10`,
		"chrony":     `mkdir -p /run/chrony-atlas; printf 'bindaddress 10.7.0.10\nallow\nlocal stratum 10\n' >/run/chrony-atlas/serve.conf`,
		"openldap":   `sh $P/init.sh dc=example,dc=com example.com office.example.com 2>/dev/null`,
		"apache":     `sh $P/init.sh`,
	}
	starts = map[string]string{
		"postgresql": `setpriv --reuid postgres --regid postgres --init-groups sh $P/run.sh >/run/said 2>&1 &
for i in $(seq 100); do setpriv --reuid postgres --regid postgres --init-groups psql -qd postgres -c "" 2>/dev/null && break; sleep 0.1; done`,
	}
)

func ask(t *testing.T, packs []pack.Pack, p pack.Pack, root string, release int, e edited) answer {
	t.Helper()
	if _, err := os.Stat(root); err != nil {
		t.Skipf("there is no %s", root)
	}
	vars := pack.Vars{
		Service: "10.7.0.10", Address: "10.7.0.10", Management: "10.7.0.2", Hostname: "office", Domain: "example.com", FQDN: "office.example.com",
		Realm: "EXAMPLE.COM", BaseDN: "dc=example,dc=com", Release: strconv.Itoa(release), Server: "left", StateDir: "/run/state",
	}
	work := t.TempDir()
	for _, q := range packs {
		if q.Conflicts != nil && q.Name != p.Name || q.Default != pack.On {
			continue
		}
		shipped(t, filepath.Join(work, "image"), q, vars)
	}
	if e.files != nil {
		lay(t, filepath.Join(work, "files"), e.files)
	}
	command, err := pack.ExpandAll(p.Effective.Command, vars)
	if err != nil {
		t.Fatal(err)
	}
	run := "'" + strings.Join(command, "' '") + "'"
	if p.Effective.User != "" {
		run = fmt.Sprintf("setpriv --reuid %[1]s --regid %[1]s --init-groups %s", p.Effective.User, run)
	}
	var config []string
	for _, c := range p.Config {
		if strings.HasPrefix(c, "/etc/") {
			config = append(config, c)
		}
	}
	keep := `for f in ` + strings.Join(config, " ") + `; do [ ! -e $f ] || { mkdir -p $1$(dirname $f); cp -a $f $1$f; }; done`
	script := fmt.Sprintf("%sP=/usr/lib/atlas/packs/%s; R=%d\nkeep() { %s; }\nkeep /out/before\n%s\ncp -r --remove-destination /out/files/. / 2>/dev/null || :\n%s\n%s\nkeep /out/after\nfind /etc/postfix -type f -exec touch -d '1 minute ago' {} +\n%s >/out/said",
		prelude, p.Name, release, keep, setups[p.Name], e.script, starts[p.Name], run)
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", `set -e
mkdir "$1/m"; mount -t tmpfs tmpfs "$1/m"; mkdir "$1/m/up" "$1/m/work" "$1/m/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/m/up,workdir=$1/m/work" "$1/m/root"
mount --rbind /dev "$1/m/root/dev"; mount -t proc proc "$1/m/root/proc"; mount -t tmpfs tmpfs "$1/m/root/run"
mkdir -p "$1/m/root/usr/lib/atlas" "$1/m/root/out"; cp -r "$4" "$1/m/root/usr/lib/atlas/packs"
cp -r --remove-destination "$1/image/." "$1/m/root/"
mount --bind "$1" "$1/m/root/out"
exec chroot "$1/m/root" /bin/sh -c "$3"`, "sh", work, root, script, filepath.Join("..", "..", "..", "image", "packs"))
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("Debian %d: %v\n%s", release, err, out)
	}
	said, err := os.ReadFile(filepath.Join(work, "said"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := effective.ParseSettings(said)
	if err != nil {
		t.Fatal(err)
	}
	return answer{tree: treeOf(t, work, e.rules), said: s}
}

// shipped lays a pack's files as an image has them, templates filled in.
func shipped(t *testing.T, dir string, p pack.Pack, v pack.Vars) {
	t.Helper()
	for _, f := range p.Files {
		data, err := os.ReadFile(filepath.Join(p.Dir, f.From))
		if err == nil && f.Template {
			var text string
			text, err = pack.Expand(string(data), v)
			if strings.Contains(string(data), "debian-{{.Release}}") || err == nil {
				data = []byte(text)
			}
		}
		name := filepath.Join(dir, f.To)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(name), 0o755)
		}
		if err == nil {
			err = os.WriteFile(name, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func lay(t *testing.T, dir string, tree *convert.Tree) {
	t.Helper()
	for _, p := range tree.All() {
		f, _ := tree.Get(p)
		name := filepath.Join(dir, string(p))
		if f.Stock || f.Entry.Kind == state.Dir {
			continue
		}
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil && f.Entry.Kind == state.Link {
			err = os.Symlink(f.Entry.Target, name)
		} else if err == nil {
			err = os.WriteFile(name, f.Data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// treeOf reads what a pack's configuration was after it was edited; Stock is what is as the image ships it.
func treeOf(t *testing.T, work string, rules *class.Rules) *convert.Tree {
	t.Helper()
	files := map[state.Path]convert.File{}
	after := filepath.Join(work, "after")
	err := filepath.WalkDir(after, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(after, name)
		p := state.Path(rel)
		if err != nil || rel == "." || rules.Classify(p) != class.Shared {
			return err
		}
		f := convert.File{Entry: state.Entry{Kind: state.File, Mode: 0o644, Owner: "root", Group: "root"}}
		was := ""
		switch {
		case d.IsDir():
			f.Entry.Kind, f.Stock = state.Dir, true
		case d.Type() == fs.ModeSymlink:
			f.Entry.Kind = state.Link
			f.Entry.Target, err = os.Readlink(name)
			was, _ = os.Readlink(filepath.Join(work, "before", rel))
			f.Stock = was == f.Entry.Target
		default:
			f.Data, err = os.ReadFile(name)
			old, oerr := os.ReadFile(filepath.Join(work, "before", rel))
			f.Stock = oerr == nil && string(old) == string(f.Data)
		}
		files[p] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return convert.NewTree(files)
}
