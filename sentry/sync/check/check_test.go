package check

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is its own helper.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "check-helper" {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func helperFor(t *testing.T) Helper {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	if err := exec.Command("unshare", "-mnp", "true").Run(); err != nil {
		t.Skip("namespaces are not allowed here: ", err)
	}
	return Helper{Command: []string{"/proc/self/exe", "check-helper"}}
}

func shell(script string) []string { return []string{"/bin/sh", "-c", script} }

func one(t *testing.T, h Helper, k Check, c *Candidate) Verdict {
	t.Helper()
	v := h.Run(t.Context(), []Check{k}, c)[0]
	t.Logf("%s in %s: %s", v.Result, v.Duration.Round(time.Millisecond), v.Output)
	return v
}

func TestVerdicts(t *testing.T) {
	h := helperFor(t)
	for _, c := range []struct {
		name    string
		command []string
		user    string
		want    Result
		words   string
	}{
		{"pass", shell("echo fine"), "", Pass, "fine"},
		{"fail", shell("echo line 3: no such thing >&2; exit 2"), "", Fail, "line 3: no such thing"},
		{"signal", shell("kill -SEGV $$"), "", Fail, "segmentation fault"},
		{"abort", shell("kill -ABRT $$"), "", Fail, "abort"},
		{"could not", shell("echo no room; exit 75"), "", Unknown, "no room"},
		{"missing", []string{"/no/such/program"}, "", Unknown, "/no/such/program"},
		{"no account", shell("true"), "nobody-of-that-name", Unknown, "no such account"},
		{"account", shell("test $(id -un) = nobody && ! test -r /etc/shadow"), "nobody", Pass, ""},
		{"no command", nil, "", Unknown, "no command"},
		{"much to say", shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1"), "", Fail, "line 2999"},
		{"bytes that a terminal obeys", shell(`printf 'a\033[2Jb\377'; exit 1`), "", Fail, "a[2Jb?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := one(t, h, Check{Command: c.command, User: c.user}, nil)
			if v.Result != c.want || !strings.Contains(v.Output, c.words) || len(v.Output) > maxOutput {
				t.Errorf("got %s, %d bytes: %q; want %s with %q", v.Result, len(v.Output), v.Output, c.want, c.words)
			}
		})
	}
}

// Everything that a checker gone wrong, or gone bad, might try. Each attempt is such that it does no harm where the protection fails: it sets
// what is set, asks whether it might, or goes for what belongs to the test.
func TestNoHarm(t *testing.T) {
	h := helperFor(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	sleeper := exec.Command("sleep", "60")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
	dir := t.TempDir() // below /tmp: not seen
	home, err := os.MkdirTemp("/var", "atlas-check-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	mark := filepath.Join(home, "mark")
	disk := diskOf(t)
	for _, c := range []struct{ name, script string }{
		{"write /etc", "! echo x > /etc/atlas-test-harm && ! true >> /etc/hosts"},
		{"write /var", "! echo x > " + mark},
		{"remount", "! mount -o remount,bind,rw / && ! mount -t tmpfs x /run/x"},
		{"unmount", "! umount /tmp"},
		{"own view of the disk", "mknod /tmp/disk b " + disk + " 2>&1 | grep -q 'not permitted' && ! ls /dev/vda /dev/sda"},
		{"kill", fmt.Sprintf("! kill -9 %d", sleeper.Process.Pid)},
		{"kill all", "! kill -s 0 -- -1"},
		{"see processes", fmt.Sprintf("! test -e /proc/%d/status || ! grep -q sleep /proc/%d/status", sleeper.Process.Pid, sleeper.Process.Pid)},
		{"connect", fmt.Sprintf("! bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d'", l.Addr().(*net.TCPAddr).Port)},
		{"network", "test $(grep -c : /proc/net/dev) = 1 && ! bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'"},
		{"sysctl", "f=/proc/sys/vm/swappiness; v=$(cat $f) && test -n \"$v\" && ! echo $v > $f"},
		{"host name", "! hostname \"$(hostname)\""},
		{"see /run and /tmp of others", "test -z \"$(ls -A /run)\" && test -z \"$(ls -A /tmp)\""},
		{"empty places are writable", "echo x > /tmp/atlas-check-x && echo x > /run/x && echo x > /var/tmp/atlas-check-x && echo x > /dev/shm/x && echo x > /dev/null && test -s /tmp/atlas-check-x"},
		{"clock", "! date -s \"@$(date +%s.%N)\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v := one(t, h, Check{Command: shell(c.script)}, nil); v.Result != Pass {
				t.Errorf("%s: got %s; want pass: %s", c.script, v.Result, v.Output)
			}
		})
	}
	for _, p := range []string{"/etc/atlas-test-harm", mark, "/tmp/atlas-check-x", "/var/tmp/atlas-check-x"} {
		if _, err := os.Lstat(p); err == nil {
			t.Errorf("%s was made", p)
		}
	}
	if pid, err := unix.Wait4(sleeper.Process.Pid, nil, unix.WNOHANG, nil); err != nil || pid != 0 {
		t.Errorf("a process outside was killed: %d, %v", pid, err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("outside: %v %v", names, err)
	}
}

func diskOf(t *testing.T) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %d", unix.Major(st.Dev), unix.Minor(st.Dev))
}

func TestHangingChecker(t *testing.T) {
	h := helperFor(t)
	name := fmt.Sprintf("86%d", os.Getpid()) // seconds of sleep, by which its children are found
	start := time.Now()
	v := one(t, h, Check{Command: shell("trap '' TERM INT HUP; echo waiting; setsid sleep " + name + " & sleep " + name), Timeout: 700 * time.Millisecond}, nil)
	if v.Result != Unknown || !strings.Contains(v.Output, "waiting") || !strings.Contains(v.Output, "did not end within") {
		t.Errorf("got %s: %s; want unknown that says why", v.Result, v.Output)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
	if out, err := exec.Command("pgrep", "-f", "sleep "+name).Output(); err == nil {
		t.Errorf("processes are left: %s", out)
	}
	// A child that outlives its checker, too.
	if v := one(t, h, Check{Command: shell("setsid sleep " + name + " & echo done")}, nil); v.Result != Pass || v.Duration > 5*time.Second {
		t.Errorf("got %s after %s; want pass at once", v.Result, v.Duration)
	}
	if out, err := exec.Command("pgrep", "-f", "sleep "+name).Output(); err == nil {
		t.Errorf("processes are left: %s", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	if v := h.Run(ctx, []Check{{Command: shell("sleep 30")}}, nil)[0]; v.Result != Unknown || !strings.Contains(v.Output, "called off") {
		t.Errorf("called off: got %s: %s", v.Result, v.Output)
	}
}

// The candidate is laid over a directory of the test's own, with a mount below it that must stay to be seen.
func TestCandidate(t *testing.T) {
	h := helperFor(t)
	live, err := os.MkdirTemp("/var", "atlas-check-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(live)
	layer, err := os.MkdirTemp("/var", "atlas-check-test:layer,-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(layer)
	for p, data := range map[string]string{"a": "old", "gone": "old", "dir/x": "old", "dir/y": "old", "whole/z": "old", "image/own": "hidden"} {
		put(t, filepath.Join(live, p), data)
	}
	for p, data := range map[string]string{"a": "new", "dir/x": "new", "whole/new": "new"} {
		put(t, filepath.Join(layer, p), data)
	}
	if err := unix.Mknod(filepath.Join(layer, "gone"), unix.S_IFCHR, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(layer, "whole"), Opaque, []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(filepath.Join(layer, "a"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", filepath.Join(live, "image"), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(filepath.Join(live, "image"), unix.MNT_DETACH) }()
	put(t, filepath.Join(live, "image/shown"), "mounted")
	script := "cd " + live + ` && test "$(cat a dir/x dir/y whole/new image/shown)" = newnewoldnewmounted && ! test -e gone &&
		! test -e whole/z && ! test -e image/own && test $(stat -c %a a) = 640 && ! echo x > a && ! echo x > b && ! rm dir/y`
	for _, h.noOverlay = range []bool{false, true} {
		k := Check{Command: shell(script + "; s=$?; ls -lR .; exit $s")}
		if v := one(t, h, k, &Candidate{Layers: []Layer{{At: live, Dir: layer}}}); v.Result != Pass {
			t.Errorf("without overlay %v: got %s: %s", h.noOverlay, v.Result, v.Output)
		}
	}
	if data, err := os.ReadFile(filepath.Join(live, "a")); err != nil || string(data) != "old" {
		t.Errorf("the live file has become %q, %v", data, err)
	}
	if data, err := os.ReadFile(filepath.Join(layer, "a")); err != nil || string(data) != "new" {
		t.Errorf("the staged file has become %q, %v", data, err)
	}
}

func TestShowAndFresh(t *testing.T) {
	h := helperFor(t)
	dir, err := os.MkdirTemp("/run", "atlas-check-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	put(t, filepath.Join(dir, "made.conf"), "shown")
	script := fmt.Sprintf("test $(cat %s/made.conf) = shown && ! echo x > %s/made.conf && echo x > /run/own/pid && test $(stat -c %%U /run/own) = nobody", dir, dir)
	k := Check{Command: shell(script), User: "nobody", Show: []string{dir, "/run/not-there"}, Fresh: []string{"/run/own"}}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if v := one(t, h, k, nil); v.Result != Pass {
		t.Errorf("got %s: %s", v.Result, v.Output)
	}
	if v := one(t, h, Check{Command: shell("true"), Show: []string{"/run/../etc"}}, nil); v.Result != Unknown {
		t.Errorf("a path outside /run: got %s", v.Result)
	}
}

func TestLog(t *testing.T) {
	h := helperFor(t)
	if _, err := os.Lstat("/dev/log"); err == nil {
		if v := one(t, h, Check{Command: shell("test -S /dev/log")}, nil); v.Result != Pass {
			t.Errorf("got %s: %s", v.Result, v.Output)
		}
		return
	}
	l, err := net.Listen("unix", "/dev/log")
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = l.Close() }()
	if v := one(t, h, Check{Command: shell("test -S /dev/log && test -c /dev/null")}, nil); v.Result != Pass {
		t.Errorf("got %s: %s", v.Result, v.Output)
	}
}

func put(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What a check costs beside the checker itself.
func BenchmarkNamespace(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("namespaces need root")
	}
	h := Helper{Command: []string{"/proc/self/exe", "check-helper"}}
	for b.Loop() {
		if v := h.Run(b.Context(), []Check{{Command: []string{"/bin/true"}}}, nil)[0]; v.Result != Pass {
			b.Fatal(v.Output)
		}
	}
}
