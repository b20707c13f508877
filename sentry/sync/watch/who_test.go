package watch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// fake is a process of a made-up /proc.
type fake struct {
	pid, parent, session, tty int
	comm, exe                 string
	ruid, euid                uint32
	login                     int64 // loginuid, -1 unset
	group                     string
	env                       []string
}

func fakeProc(t *testing.T, list []fake) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range list {
		d := filepath.Join(dir, fmt.Sprint(f.pid))
		must(t, os.Mkdir(d, 0o755))
		login := uint32(1<<32 - 1)
		if f.login >= 0 {
			login = uint32(f.login)
		}
		stat := fmt.Sprintf("%d (%s) S %d %d %d %d -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 %d 1 1 0", f.pid, f.comm, f.parent, f.pid, f.session, f.tty, f.pid*10)
		write(t, d+"/stat", stat)
		write(t, d+"/status", fmt.Sprintf("Name:\t%s\nUid:\t%d\t%d\t%d\t%d\nGid:\t0\t0\t0\t0\n", f.comm, f.ruid, f.euid, f.euid, f.euid))
		write(t, d+"/loginuid", fmt.Sprint(login))
		write(t, d+"/cgroup", "0::"+f.group+"\n")
		write(t, d+"/environ", strings.Join(append(f.env, ""), "\x00"))
		write(t, d+"/cmdline", "mysql\x00--password=secret\x00")
		if f.exe != "" {
			must(t, os.Symlink(f.exe, d+"/exe"))
		}
	}
	return dir
}

func TestWho(t *testing.T) {
	const pts3 = 136<<8 | 3
	ssh := []string{"SHELL=/bin/bash", "SSH_CONNECTION=10.7.0.50 51234 10.7.0.11 22"}
	users := map[uint32]string{0: "root", 33: "www-data", 1000: "anna"}
	list := []fake{
		{pid: 2, parent: 1, session: 2, comm: "sshd", login: -1, group: "/atlas/services/ssh/sshd"},
		{pid: 3, parent: 2, session: 3, comm: "sshd-session", login: 1000, group: "/atlas/services/ssh/sshd"},
		{pid: 4, parent: 3, session: 3, comm: "sshd-session", login: 1000, ruid: 1000, euid: 1000, group: "/atlas/services/ssh/sshd"},
		{pid: 5, parent: 4, session: 5, tty: pts3, comm: "bash", login: 1000, ruid: 1000, euid: 1000, env: ssh, group: "/atlas/services/ssh/sshd"},
		{pid: 6, parent: 5, session: 5, tty: pts3, comm: "vi", exe: "/usr/bin/vim.tiny", login: 1000, ruid: 1000, euid: 1000, env: ssh},
		{pid: 7, parent: 5, session: 5, tty: pts3, comm: "sudo", login: 1000, ruid: 1000, euid: 0, env: ssh},
		{pid: 8, parent: 7, session: 8, tty: pts3 + 1, comm: "useradd", login: 1000, env: []string{"SUDO_USER=anna"}},
		{pid: 9, parent: 5, session: 5, tty: pts3, comm: "passwd", login: 1000, ruid: 1000, euid: 0},
		// A kernel that keeps no loginuid.
		{pid: 13, parent: 2, session: 13, comm: "sshd", login: -1},
		{pid: 14, parent: 13, session: 14, tty: pts3, comm: "bash", login: -1, ruid: 1000, euid: 1000, env: ssh},
		{pid: 15, parent: 14, session: 14, tty: pts3, comm: "su", login: -1, ruid: 0, euid: 0},
		{pid: 16, parent: 15, session: 14, tty: pts3, comm: "bash", login: -1},
		{pid: 17, parent: 16, session: 14, tty: pts3, comm: "a2ensite", exe: "/usr/bin/perl", login: -1},
		{pid: 20, parent: 1, session: 20, comm: "apache2", login: -1, group: "/x/services/apache/apache2"},
		{pid: 21, parent: 20, session: 20, comm: "apache2", login: -1, ruid: 33, euid: 33, group: "/x/services/apache/apache2"},
		{pid: 22, parent: 21, session: 20, comm: "sh", exe: "/bin/dash", login: -1, ruid: 33, euid: 33, group: "/x/services/apache/apache2 (deleted)"},
		{pid: 30, parent: 1, session: 30, comm: "cron", login: -1, group: "/services/cron/cron"},
		{pid: 31, parent: 30, session: 30, comm: "cron", login: 0, group: "/services/cron/cron"},
		{pid: 32, parent: 31, session: 32, comm: "sh", login: 0, group: "/services/cron/cron"},
		{pid: 40, parent: 1, session: 40, tty: 4<<8 | 1, comm: "login", login: -1},
		{pid: 41, parent: 40, session: 41, tty: 4<<8 | 1, comm: "bash", login: 0},
		{pid: 50, parent: 1, session: 50, comm: "systemd-helper-", exe: "/usr/lib/systemd-helper-long (deleted)", login: -1},
		{pid: 60, parent: 5, session: 60, comm: "evil\x1b[2J", login: 1000, ruid: 1000, euid: 1000},
		{pid: 70, parent: 1, session: 70, comm: "sh", ruid: 1000, euid: 1000, login: -1},
		{pid: 71, parent: 70, session: 70, comm: "sudo", login: -1},
		{pid: 72, parent: 71, session: 70, comm: "vi", login: -1, env: []string{"SUDO_USER=anna"}},
		{pid: 73, parent: 70, session: 70, comm: "su", login: -1},
		{pid: 74, parent: 73, session: 70, comm: "vi", login: -1},
	}
	a := newAuthors(fakeProc(t, list), func(uid uint32) string { return users[uid] })
	for _, c := range []struct {
		pid int
		key string
		who state.Who
	}{
		{6, "login:5.50", state.Who{Program: "vi", User: "anna", TTY: "pts/3", From: "10.7.0.50"}},
		{8, "login:5.50", state.Who{Program: "useradd", User: "root", Login: "anna", TTY: "pts/4", From: "10.7.0.50"}},
		{9, "login:5.50", state.Who{Program: "passwd", User: "root", Login: "anna", TTY: "pts/3", From: "10.7.0.50"}},
		{17, "login:14.140", state.Who{Program: "a2ensite", User: "root", Login: "anna", TTY: "pts/3", From: "10.7.0.50"}},
		{2, "service:ssh", state.Who{Program: "sshd", User: "root", Service: "ssh"}},
		{22, "service:apache", state.Who{Program: "sh", User: "www-data", Service: "apache"}},
		{32, "job:32.320", state.Who{Program: "sh", User: "root", Service: "cron"}},
		{41, "login:41.410", state.Who{Program: "bash", User: "root", TTY: "tty1"}},
		{50, "session:50", state.Who{Program: "systemd-helper-long", User: "root"}},
		{60, "login:5.50", state.Who{Program: "evil?[2J", User: "anna", TTY: "pts/3", From: "10.7.0.50"}},
		{72, "session:70", state.Who{Program: "vi", User: "root", Login: "anna"}},
		{74, "session:70", state.Who{Program: "vi", User: "root", Login: "anna"}},
		{99, "pid:99", state.Who{}},
		{0, "pid:0", state.Who{}},
	} {
		t.Run(fmt.Sprint(c.pid), func(t *testing.T) {
			got := a.of(c.pid, false, zero)
			if c.who != (state.Who{}) {
				c.who.PID = c.pid
			}
			want := author{key: c.key, who: c.who}
			if d := cmp.Diff(want, got, cmp.AllowUnexported(author{})); d != "" {
				t.Errorf("of(%d) (-want +got):\n%s", c.pid, d)
			}
			if strings.Contains(fmt.Sprint(got), "secret") {
				t.Error("an argument is kept")
			}
		})
	}
}

func TestWhoRemembers(t *testing.T) {
	dir := fakeProc(t, []fake{{pid: 6, parent: 1, session: 6, comm: "touch", login: -1}})
	a := newAuthors(dir, func(uint32) string { return "root" })
	first := a.of(6, false, zero)
	must(t, os.RemoveAll(dir+"/6"))
	if got := a.of(6, false, zero.Add(time.Second)); got != first || got.who.Program != "touch" {
		t.Errorf("of() a process that ended = %+v; want what was known: %+v", got, first)
	}
	if got := a.of(6, true, zero.Add(time.Second)); got != first {
		t.Errorf("of() a process that ended = %+v; want what was known: %+v", got, first)
	}
	a.proc.dir = fakeProc(t, []fake{{pid: 8, parent: 1, session: 8, comm: "bash", login: -1}})
	a.runs(8, "a2ensite", zero)
	a.runs(8, "perl", zero.Add(time.Millisecond))
	if got := a.of(8, true, zero.Add(10*time.Millisecond)); got.who.Program != "a2ensite" {
		t.Errorf("of() a script that ended = %+v; want its name", got)
	}
	a.runs(8, "bash", zero.Add(20*time.Millisecond))
	a.runs(8, "mv", zero.Add(21*time.Millisecond))
	if got := a.of(8, true, zero.Add(30*time.Millisecond)); got.who.Program != "mv" {
		t.Errorf("of() a shell that became mv = %+v; want that", got)
	}
	if got := a.of(8, true, zero.Add(2*time.Minute)); got.who.Program != "" {
		t.Errorf("of() a process that ended long ago = %+v; want nobody", got)
	}
	other := newAuthors(fakeProc(t, []fake{{pid: 6, parent: 1, session: 6, comm: "other", login: -1}}), a.user)
	other.known = a.known
	if got := other.of(6, false, zero.Add(2*time.Second)); got.who.Program != "other" {
		t.Errorf("of() another process with the same number = %+v", got)
	}
	for i := range 3 * maxKnown {
		a.known[i+10] = &seen{checked: zero}
		a.forget(zero.Add(time.Hour))
	}
	if len(a.known) > maxKnown {
		t.Errorf("%d processes are remembered; want at most %d", len(a.known), maxKnown)
	}
}

// TestShortLived has programs write that end at once, and counts how many are known by name.
func TestShortLived(t *testing.T) {
	// The real programs are outside of the test's root: they are marked by hand.
	b := unstarted(t, []state.Path{"etc"}, etc)
	base := b.w.kernel.base
	var err error
	b.w.kernel.base, err = os.Open("/")
	must(t, err)
	b.w.kernel.programs([]state.Path{"usr/bin", "usr/sbin"})
	must(t, b.w.kernel.base.Close())
	b.w.kernel.base = base
	if b.w.kernel.exec < 0 {
		t.Error("starts of programs are not noticed")
	}
	b.start()
	const n = 100
	for i := range n {
		must(t, exec.Command("sh", "-c", fmt.Sprintf("echo x > %s", b.p(fmt.Sprintf("etc/f%d", i)))).Run())
	}
	var known int
	acts := b.all()
	for i := range n {
		if !covers(acts, state.Path(fmt.Sprintf("etc/f%d", i))) {
			t.Errorf("etc/f%d was not told", i)
		}
	}
	for _, a := range acts {
		if a.Who.Program == "sh" && a.Who.User == "root" {
			known++
		}
	}
	s := b.w.Stats()
	t.Logf("%d of %d events without author; %d of %d parts by sh", s.Unknown, s.Events, known, len(acts))
	if s.Unknown > s.Events/2 { // a busy machine with the race detector looks late
		t.Errorf("%d of %d events without author", s.Unknown, s.Events)
	}
}

// TestServiceGroup has a process in a control group like those that init makes change a file.
func TestServiceGroup(t *testing.T) {
	needRoot(t)
	var mount string
	for _, m := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(m, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			mount = m
		}
	}
	top := filepath.Join(mount, fmt.Sprintf("watch-test-%d", os.Getpid()))
	group := filepath.Join(top, "services/apache/apache2")
	if mount == "" || os.MkdirAll(group, 0o755) != nil {
		t.Skip("no control groups can be made here")
	}
	t.Cleanup(func() {
		for d := group; d != mount; d = filepath.Dir(d) {
			_ = os.Remove(d)
		}
	})
	b := watching(t, []state.Path{"etc"}, etc)
	script := fmt.Sprintf("echo $$ > %s/cgroup.procs && echo x > %s && sleep 0.1", group, b.p("etc/site.php"))
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no process can be put into a control group here: %v: %s", err, out)
	}
	acts := b.all()
	if acts[0].Who.Service != "apache" || acts[0].Who.Program != "sh" {
		t.Errorf("told %+v; want sh of the service apache", acts[0])
	}
}

// TestTwoSessions has two people (sessions) change files at once, one of them by several programs. On a busy machine it may take longer
// than an action may, so there are several attempts; never may they be mixed up.
func TestTwoSessions(t *testing.T) {
	b := watching(t, []state.Path{"etc"}, etc)
	run := func(script string) *exec.Cmd {
		c := exec.Command("sh", "-c", script)
		c.Dir = b.p("etc")
		c.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		must(t, c.Start())
		return c
	}
	want := [][]state.Path{{"etc/a", "etc/a.copy", "etc/b", "etc/b.copy", "etc/c", "etc/c.copy"}, {"etc/x", "etc/y"}}
	var d string
	for range 5 {
		one := run("for f in a b c; do echo x > $f; sh -c \"echo x > $f.copy; sleep 0.1\"; done; sleep 0.1")
		two := run("for f in x y; do sleep 0.04; echo x > $f; done; sleep 0.2")
		must(t, one.Wait(), two.Wait())
		by := map[uint64][]state.Path{}
		for _, a := range b.all() {
			by[a.ID] = append(by[a.ID], a.Paths...)
		}
		var got [][]state.Path
		var told []state.Path
		for _, l := range by {
			slices.Sort(l)
			l = slices.Compact(l)
			got = append(got, l)
			told = append(told, l...)
			if slices.ContainsFunc(l, func(p state.Path) bool { return p < "etc/x" }) && slices.Max(l) >= "etc/x" {
				t.Errorf("two people's changes are one action: %q", l)
			}
		}
		slices.Sort(told)
		if n := len(slices.Compact(told)); n != 8 {
			t.Errorf("%d paths were told; want 8", n)
		}
		slices.SortFunc(got, func(a, b []state.Path) int { return len(b) - len(a) })
		if d = cmp.Diff(want, got); d == "" {
			return
		}
	}
	t.Errorf("actions (-want +got):\n%s", d)
}

// TestPrograms has programs that administrators use do their work, each as one action.
func TestPrograms(t *testing.T) {
	b := watching(t, []state.Path{"etc"}, func(root string) {
		etc(root)
		write(t, root+"/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
		write(t, root+"/etc/group", "root:x:0:\n")
		write(t, root+"/etc/shadow", "root:*:1::::::\n")
		write(t, root+"/etc/gshadow", "root:*::\n")
		write(t, root+"/etc/hosts", "127.0.0.1 localhost\n")
		write(t, root+"/etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nUSERGROUPS_ENAB yes\n")
		for i := range 20 {
			must(t, os.MkdirAll(fmt.Sprintf("%s/etc/old/d%d", root, i), 0o755))
			write(t, fmt.Sprintf("%s/etc/old/d%d/f", root, i), "x")
		}
	})
	for _, c := range []struct {
		program string
		args    []string
		want    []state.Path
	}{
		{"useradd", []string{"-P", b.root, "-M", "bert"}, p("etc/passwd", "etc/shadow", "etc/group", "etc/gshadow")},
		{"mv", []string{b.p("etc/old"), b.p("etc/sub/new")}, p("etc/old", "etc/sub/new")},
		{"vi", []string{"-es", "-c", "%s/localhost/office/", "-c", "wq", b.p("etc/hosts")}, p("etc/hosts")},
		{"sed", []string{"-i", "s/office/house/", b.p("etc/hosts")}, p("etc/hosts")},
		{"cp", []string{"-a", b.p("etc/sub/new"), b.p("etc/copy")}, p("etc/copy")},
		{"rm", []string{"-r", b.p("etc/copy")}, p("etc/copy")},
	} {
		t.Run(c.program, func(t *testing.T) {
			b.t = t
			if _, err := exec.LookPath(c.program); err != nil {
				t.Skipf("%s is not installed here", c.program)
			}
			cmd := exec.Command(c.program, c.args...)
			cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("%s does not work here: %v: %s", c.program, err, out)
			}
			acts := b.all()
			t.Logf("%d parts, %q by %s", len(acts), paths(acts), acts[0].Who)
			known := slices.DeleteFunc(slices.Clone(acts), func(a Action) bool { return a.Who == (state.Who{}) })
			if n := len(ids(known)); n > 1 || n == 0 && (c.program == "useradd" || c.program == "vi") {
				t.Errorf("%d actions; want one: %+v", n, acts)
			}
			for _, p := range c.want {
				if !covers(acts, p) {
					t.Errorf("%s is not told", p)
				}
			}
			for _, p := range paths(acts) {
				if p.Base() == "4913" || strings.HasSuffix(string(p), ".swp") {
					t.Logf("%s is told, which is there no more", p)
				}
			}
		})
	}
}

// TestLatency measures from the end of a write to the action, for 1,000 writes; -v shows it. ATLAS_LONG has it wait between writes.
func TestLatency(t *testing.T) {
	b := watching(t, []state.Path{"etc"}, func(root string) {
		for i := range 190 {
			must(t, os.MkdirAll(fmt.Sprintf("%s/etc/d%d", root, i), 0o755))
		}
	})
	n := 1000
	if testing.Short() {
		n = 100
	}
	var before, after unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &before))
	start := b.w.Stats().Events
	var took []time.Duration
	for i := range n {
		path := fmt.Sprintf("etc/d%d/f%d", i%190, i)
		// Each by an author of its own, since only the first part of an action counts.
		b.w.mu.Lock()
		clear(b.w.group.groups)
		b.w.mu.Unlock()
		write(t, b.p(path), "x")
		began := time.Now()
		for !covers(b.soFar(), state.Path(path)) {
			time.Sleep(50 * time.Microsecond)
			if time.Since(began) > 5*time.Second {
				t.Fatalf("%s was not told within 5 s", path)
			}
		}
		took = append(took, time.Since(began))
		b.mu.Lock()
		b.acts = nil
		b.mu.Unlock()
	}
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &after))
	slices.Sort(took)
	events := b.w.Stats().Events - start
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	t.Logf("%d writes: p50 %v, p99 %v, most %v; %d events, %v CPU each with the writing and waiting",
		n, took[n/2], took[n*99/100], took[n-1], events, cpu/time.Duration(events))
	if took[n/2] > 100*time.Millisecond {
		t.Errorf("half of the writes took longer than %v to be told", took[n/2])
	}
}

// BenchmarkEvents has other processes' work done by one shell command, so that what this process uses is the cost of noticing.
func BenchmarkEvents(b *testing.B) {
	w := watching(b, []state.Path{"etc"}, etc)
	var before, after unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &before))
	cmd := exec.Command("sh", "-c", fmt.Sprintf("cd %s; i=0; while [ $i -lt %d ]; do echo x > f$((i %% 1000)); i=$((i+1)); done", w.p("etc"), b.N))
	must(b, cmd.Run())
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &after))
	s := w.w.Stats()
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/float64(max(s.Events, 1)), "cpu-ns/event")
	b.ReportMetric(float64(s.Events)/float64(b.N), "events/write")
	b.ReportMetric(float64(s.Overflows), "overflows")
}

// The address of a login whose process has no environment yet is that of sshd's connection.
func TestWhoRemote(t *testing.T) {
	dir := fakeProc(t, []fake{{pid: 3, parent: 1, session: 3, comm: "sshd-session", login: -1}, {pid: 4, parent: 3, session: 3, comm: "sshd-session", login: -1}})
	must(t, os.MkdirAll(dir+"/3/fd", 0o755))
	must(t, os.Symlink("socket:[777]", dir+"/3/fd/4"))
	must(t, os.Mkdir(dir+"/3/net", 0o755))
	write(t, dir+"/3/net/tcp", `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00070A:0016 6400070A:C822 01 00000000:00000000 02:000A7214 00000000     0        0 777 2 0000000000000000 20 4 30 10 -1
   1: 0B00070A:0016 3200070A:C822 01 00000000:00000000 02:000A7214 00000000     0        0 778 2 0000000000000000 20 4 30 10 -1
`)
	a := newAuthors(dir, func(uint32) string { return "root" })
	a.runs(4, "bash", zero)
	if got := a.of(4, true, zero).who; got.From != "10.7.0.100" || got.Program != "bash" {
		t.Errorf("of() a login that ended at once = %+v; want bash from 10.7.0.100", got)
	}
	for s, want := range map[string]string{"0000000000000000FFFF00006400070A:0016": "10.7.0.100", "x": "", "00": "", "000007FD000000000000000010000000:1": "fd07::10"} {
		if got, _ := parseAddr(s); got != want {
			t.Errorf("parseAddr(%q) = %q; want %q", s, got, want)
		}
	}
}
