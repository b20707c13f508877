package steps

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestDaemons has the real daemons look at what was converted, and at what would be there without. It wants unpacked roots of
// Debian with the packages of
// the packs, in tree12 and tree13 of the directory that the environment names as ATLAS_TREES, and root: the daemons run in them by chroot, on a
// layer that is thrown away.
func TestDaemons(t *testing.T) {
	trees := daemonTrees(t)
	for _, dir := range golden(t) {
		from, to := releases(t, dir)
		root := filepath.Join(trees, fmt.Sprintf("tree%d", to))
		service, _, _ := strings.Cut(filepath.Base(dir), "-")
		script, ok := checkers[service]
		if _, err := os.Stat(root); err != nil || !ok {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			before := parseTree(read(t, dir, "before.txt"))
			if said, err := inTree(t, root, parseTree(read(t, dir, "after.txt")), script); (err != nil) != lacking[filepath.Base(dir)] {
				t.Errorf("the daemon of Debian %d does with what was converted what it should not: %v\n%s", to, err, said)
			}
			said, err := inTree(t, root, before, script)
			if refused[filepath.Base(dir)] && err == nil {
				t.Errorf("the daemon of Debian %d takes what comes from Debian %d as it is: the case proves nothing", to, from)
			}
			if err != nil {
				t.Logf("without conversion: %s", said)
			}
		})
	}
}

// refused are the cases whose text the other daemon does not take as it is.
var refused = map[string]bool{
	"ssh-12-13-lists": true, "ssh-13-12-new": true, "samba-12-13-gone": true, "samba-13-12-new": true, "samba-11-12-names": true,
	"mariadb-12-13-fatal": true, "mariadb-13-12-new": true, "mariadb-11-12-old": true, "mariadb-13-12-latin": true, "chrony-13-12-new": true,
}

// lacking are the cases where something is missing there, which no conversion can mend: the daemon says so too.
var lacking = map[string]bool{"mariadb-13-12-plugin": true}

// checkers say by their exit status whether a daemon takes its configuration, and why not.
var checkers = map[string]string{
	"ssh": `mkdir -p /run/sshd; ssh-keygen -A >/dev/null
for f in /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf; do [ ! -e $f ] || sshd -t -f $f || exit 1; done`,
	"samba": `said=$(testparm -s /etc/samba/smb.conf 2>&1 >/dev/null) || { echo "$said"; exit 1; }
! echo "$said" | grep -E 'Unknown parameter|Ignoring|ERROR|Error|Badly formed|not valid|WARNING: The .* deprecated'`,
	"postgresql": `set -e
bin=$(ls -d /usr/lib/postgresql/*/bin); v=$(basename $(dirname $bin)); data=/var/lib/postgresql/$v/main
mkdir -p $data; chown -R postgres: /etc/postgresql /var/lib/postgresql
setpriv --reuid postgres --regid postgres --clear-groups $bin/postgres -D $data -c config_file=/etc/postgresql/$v/main/postgresql.conf -C max_connections`,
	"mariadb": `said=$(mariadbd --help --verbose 2>&1 >/dev/null) || { echo "$said"; exit 1; }
! echo "$said" | grep -E 'ERROR|was removed'`,
	"nfs":    `said=$(nfsconf --dump 2>&1 >/dev/null) && [ -z "$said" ] || { echo "$said"; exit 1; }`,
	"chrony": `chronyd -p -f /etc/chrony/chrony.conf >/dev/null`,
	"sysctl": `sysctl --dry-run --system | grep -q 'vm.swappiness\|ip_forward'`,
}

func inTree(t *testing.T, root string, tree *convert.Tree, script string) (string, error) {
	t.Helper()
	work := t.TempDir()
	for _, p := range tree.All() {
		f, _ := tree.Get(p)
		name := filepath.Join(work, "files", string(p))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		switch {
		case f.Stock: // it is there
		case f.Entry.Kind == state.Link:
			if err := os.Symlink(f.Entry.Target, name); err != nil {
				t.Fatal(err)
			}
		default:
			if err := os.WriteFile(name, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", `set -e
mkdir "$1/m"; mount -t tmpfs tmpfs "$1/m"; mkdir "$1/m/up" "$1/m/work" "$1/m/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/m/up,workdir=$1/m/work" "$1/m/root"
mount --rbind /dev "$1/m/root/dev"; mount --rbind /proc "$1/m/root/proc"; mount -t tmpfs tmpfs "$1/m/root/run"
mkdir -p "$1/m/root/run/samba" "$1/m/root/run/postgresql"
(cd "$1/files"; find . ! -type d) >"$1/m/root/run/case"
cp -rP --remove-destination "$1/files/." "$1/m/root/"
exec chroot "$1/m/root" /bin/bash -c "$3"`, "sh", work, root, script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // apache2 ends its whole process group
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
