package supervise

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/initapi"
)

// lines reads a file that daemons of a test write to.
func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
}

func TestOneshot(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "did")
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{
		{Name: "daemon", After: []string{"once"}, Command: sh("echo daemon >> " + file + "; exec sleep 1000"), Ready: pack.Ready{Command: []string{"/bin/true"}}},
		{Name: "once", Oneshot: true, Command: sh("sleep 0.2; echo up >> " + file), StopCommand: sh("echo down >> " + file)},
	}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	wrote := func(n int) { // readiness of these daemons says nothing about what they write
		t.Helper()
		for range 300 {
			if len(lines(t, file)) >= n {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("wrote %q; want %d words", lines(t, file), n)
	}
	wrote(2)
	s := b.Snapshot()[0]
	if p := s.Processes[1]; p.State != Ready || p.PID != 0 {
		t.Errorf("the oneshot is %+v; want ready without a process", p)
	}
	if err := b.Restart(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	wrote(5)
	if err := b.StopAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"up", "daemon", "down", "up", "daemon", "down"}
	if d := cmp.Diff(want, lines(t, file)); d != "" {
		t.Error(d)
	}
}

func TestOneshotThatFailsIsTriedAgain(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "tries")
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{
		Name: "once", Oneshot: true, Command: sh("echo x >> " + file + "; echo no module; [ $(wc -l < " + file + ") -ge 3 ]"),
	}}})
	b.start("a")
	s := b.until("a", func(s initapi.Service) bool { return s.State == Failed })
	if want := "once: ended by itself: exit status 1: no module"; s.Error != want {
		t.Errorf("Error = %q; want %q", s.Error, want)
	}
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if n := len(lines(t, file)); n != 3 {
		t.Errorf("%d tries; want 3", n)
	}
}

func TestStopCommandComesBeforeTheSignal(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "order")
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{
		Name: "d", Env: []string{"WORD=asked"}, StopCommand: sh("echo $WORD >> " + file), Ready: pack.Ready{Command: []string{"/usr/bin/test", "-e", file + ".armed"}},
		Command: sh(`trap 'echo signal >> ` + file + `; exit 0' TERM; touch ` + file + `.armed; while :; do sleep 0.02; done`),
	}}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"asked", "signal"}, lines(t, file)); d != "" {
		t.Error(d)
	}
}

func TestReloadCommand(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "reloaded")
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{
		{Name: "good", Command: sh("exec sleep 1000"), ReloadCommand: sh("echo good >> " + file)},
		{Name: "bad", Command: sh("exec sleep 1000"), ReloadCommand: sh("echo syntax error in line 3; exit 1")},
	}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if err := b.Reload(t.Context(), "good"); err != nil {
		t.Error(err)
	}
	if err := b.Reload(t.Context(), "bad"); err == nil || !strings.Contains(err.Error(), "syntax error in line 3") {
		t.Errorf("Reload = %v; want the command's own words", err)
	}
	if d := cmp.Diff([]string{"good"}, lines(t, file)); d != "" {
		t.Error(d)
	}
}

func TestLimitOfFiles(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "limit")
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{
		Name: "d", Limits: pack.Limits{Files: 321}, Command: sh("echo $(ulimit -Sn) $(ulimit -Hn) > " + file + "; exec sleep 1000"), Ready: pack.Ready{Command: []string{"/usr/bin/test", "-s", file}},
	}}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"321", "321"}, lines(t, file)); d != "" {
		t.Error(d)
	}
}

// TestPrivate runs two services of the same kind that want the same directory: each has its own, with its owner, and what is
// asked of one is asked where it lives.
func TestPrivate(t *testing.T) {
	needRoot(t)
	b := newBench(t)
	shared, err := os.MkdirTemp("/run", "atlas-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shared) })
	if err := os.WriteFile(shared+"/outside", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	daemon := func(name string) pack.Process {
		return pack.Process{
			Name: "d", Private: []string{shared}, User: "nobody",
			RunDirs: []pack.RunDir{{Path: shared, User: "nobody", Mode: "2750"}, {Path: shared + "/inner", User: "nobody"}},
			Command: sh(`ls ` + shared + ` > ` + shared + `/inner/list; stat -c '%U %a' ` + shared + ` > ` + shared + `/` + name + `; exec sleep 1000`),
			Ready:   pack.Ready{Command: sh("grep . " + shared + "/" + name)},
			// As its user, in its directories.
			StopCommand: sh("id -un > " + shared + "/stopped; cat " + shared + "/" + name + " " + shared + "/inner/list"),
		}
	}
	b.add(pack.Pack{Name: "one", Processes: []pack.Process{daemon("one")}})
	b.add(pack.Pack{Name: "two", Processes: []pack.Process{daemon("two")}})
	b.start("one", "two")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	pid := b.Snapshot()[0].Processes[0].PID
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/root" + shared + "/one")
	if err != nil || string(data) != "nobody 2750\n" {
		t.Errorf("inside: %q, %v", data, err)
	}
	if entries, err := os.ReadDir(shared); err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v; want only what was there", entries, err)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), shared) {
		t.Errorf("the private directory is mounted outside too: %v", err)
	}
	if err := b.Stop(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(b.dir, "log", "one.log"))
	if err != nil || !strings.Contains(string(log), "stop-d: nobody 2750\n") || !strings.Contains(string(log), "stop-d: inner\n") || strings.Contains(string(log), "outside") {
		t.Errorf("log: %v\n%s", err, log)
	}
}

func TestPrivateSocket(t *testing.T) {
	needRoot(t)
	b := newBench(t)
	dir, err := os.MkdirTemp("/run", "atlas-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// Another service's socket of the same name must not make this one ready.
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p := helper("d", "late socket", "ADDRESS="+dir+"/s")
	p.Private, p.Ready = []string{dir}, pack.Ready{Socket: dir + "/s", Timeout: "5s"}
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{p}})
	start := time.Now()
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 300*time.Millisecond {
		t.Errorf("ready after %s, before it listens", d)
	}
}

func TestHelperTellsWhatFails(t *testing.T) {
	b := newBench(t)
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{Name: "d", Limits: pack.Limits{Files: 100}, Command: []string{"/nonexistent/daemon"}}}})
	b.start("a")
	s := b.until("a", func(s initapi.Service) bool { return s.State == Failed })
	if !strings.Contains(s.Error, "/nonexistent/daemon") || !strings.Contains(s.Error, "no such file") {
		t.Errorf("Error = %q; want it to name the file", s.Error)
	}
}

func TestLimitsOfTheGroup(t *testing.T) {
	b := newBench(t)
	if b.tree == nil {
		t.Skip("no cgroup2 that can be written here")
	}
	g, err := b.tree.Group("services/a/d")
	if err != nil {
		t.Fatal(err)
	}
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{Name: "d", Limits: pack.Limits{Memory: "64M", Processes: 7}, Command: sh("exec sleep 1000")}}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	f, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	_ = f.Close()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(dir + "/pids.max")
	if os.IsNotExist(err) {
		t.Skip("no controllers here")
	}
	if err != nil || string(data) != "7\n" {
		t.Errorf("pids.max: %q, %v", data, err)
	}
	if data, err := os.ReadFile(dir + "/memory.max"); err != nil || string(data) != "67108864\n" {
		t.Errorf("memory.max: %q, %v", data, err)
	}
}

// TestOneProcess restarts, stops and starts one process of three by the name of its unit.
func TestOneProcess(t *testing.T) {
	b := newBench(t)
	sleeper := func(name string, after ...string) pack.Process {
		return pack.Process{Name: name, Units: []string{name + "-unit", "all-units"}, After: after, Command: sh("exec sleep 1000")}
	}
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{sleeper("x"), sleeper("y", "x"), sleeper("z")}})
	pids := func() (out []int) {
		for _, p := range b.Snapshot()[0].Processes {
			out = append(out, p.PID)
		}
		return out
	}
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	before := pids()
	if err := b.Restart(t.Context(), "x-unit.service"); err != nil {
		t.Fatal(err)
	}
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if now := pids(); now[0] == before[0] || now[1] == before[1] || now[2] != before[2] {
		t.Errorf("after the restart of x: %v, before %v; want x and y, which comes after it, anew, and z as it was", now, before)
	}
	if err := b.Stop(t.Context(), "y"); err != nil {
		t.Fatal(err)
	}
	if s := b.Snapshot()[0]; s.State != Stopped || s.Processes[0].State != Ready || s.Processes[1].State != Stopped {
		t.Errorf("after y was stopped: %+v", s)
	}
	x := pids()[0]
	if err := b.Restart(t.Context(), "x"); err != nil { // y was stopped by name and stays so
		t.Fatal(err)
	}
	b.until("a", func(s initapi.Service) bool { return s.Processes[0].State == Ready && s.Processes[0].PID != x })
	if s := b.Snapshot()[0]; s.Processes[1].State != Stopped {
		t.Errorf("y was started by the restart of x: %+v", s)
	}
	if err := b.Start("y-unit"); err != nil {
		t.Fatal(err)
	}
	if err := b.ready(); err != nil {
		t.Error(err)
	}
	before = pids()
	if err := b.Restart(t.Context(), "all-units"); err != nil {
		t.Fatal(err)
	}
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	for i, pid := range pids() {
		if pid == before[i] {
			t.Errorf("process %d was not restarted by a unit that means all", i)
		}
	}
	if err := b.Start("nobody-knows"); err == nil {
		t.Error("an unknown name was started")
	}
}

func TestWaitsForWhatHasFailed(t *testing.T) {
	b := newBench(t)
	fixed := filepath.Join(b.dir, "fixed")
	b.add(pack.Pack{Name: "web", Needs: []string{"db"}, Processes: []pack.Process{{Name: "d", Command: sh("exec sleep 1000")}}})
	b.add(pack.Pack{Name: "db", Title: "Database", Processes: []pack.Process{{Name: "d", Command: sh("test -e " + fixed + " && exec sleep 1000; exit 1"), Ready: pack.Ready{Command: sh("test -e " + fixed)}}}})
	b.add(pack.Pack{Name: "other", Processes: []pack.Process{{Name: "d", Command: sh("exec sleep 1000")}}})
	b.start("web", "db", "other")
	s := b.until("web", func(s initapi.Service) bool { return s.Waiting == "Database, which has failed" })
	if s.State != Starting || s.Error != "" {
		t.Errorf("the one that waits: %+v", s)
	}
	if err := b.ready("other"); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(fixed, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if s := b.Snapshot()[0]; s.Waiting != "" {
		t.Errorf("still waits for %q", s.Waiting)
	}
}

// TestWordsFromElsewhere: what a process sends to /dev/log counts as its last words.
func TestWordsFromElsewhere(t *testing.T) {
	b := newBench(t)
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{Name: "d", Command: sh("sleep 1000 & echo $!; wait")}}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	pid := b.Snapshot()[0].Processes[0].PID
	b.Heard(pid, "slapd[1]: the main process says")
	b.Heard(os.Getpid(), "nobody of ours says")
	if b.tree != nil {
		g, err := b.tree.Group("services/a/d")
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if len(g.PIDs()) > 1 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, child := range g.PIDs() {
			if child != pid {
				b.Heard(child, "slapd[2]: a child says")
			}
		}
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s := b.until("a", func(s initapi.Service) bool { return s.Error != "" })
	if !strings.Contains(s.Error, "the main process says") || strings.Contains(s.Error, "nobody") || b.tree != nil && !strings.Contains(s.Error, "a child says") {
		t.Errorf("Error = %q", s.Error)
	}
}

func TestRemove(t *testing.T) {
	b := newBench(t)
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{Name: "d", Command: sh("exec sleep 1000")}}})
	b.start("a")
	if err := b.Remove("a"); err == nil {
		t.Error("a running service was removed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := b.Stop(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove("a"); err != nil || len(b.Snapshot()) != 0 {
		t.Errorf("Remove = %v; left %+v", err, b.Snapshot())
	}
}
