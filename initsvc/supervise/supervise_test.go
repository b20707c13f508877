package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/launch"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/sentry/initapi"
)

// TestMain lets the test binary play the daemons of these tests: TEST_DAEMON says which.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == launch.Verb { // the test binary is its own launch helper
		fmt.Fprintln(os.Stderr, launch.Main(os.Args[2]))
		os.Exit(1)
	}
	if kind := os.Getenv("TEST_DAEMON"); kind != "" {
		os.Exit(daemon(kind))
	}
	os.Exit(m.Run())
}

func daemon(kind string) int {
	fmt.Println("daemon starts:", kind)
	switch kind {
	case "notify":
		c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		_, _ = c.Write([]byte("STATUS=loading\n"))
		time.Sleep(50 * time.Millisecond)
		_, _ = c.Write([]byte("READY=1\nSTATUS=up"))
	case "talker": // tells more than a socket's queue holds, before and after it is asked to stop
		c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, unix.SIGTERM)
		_, _ = c.Write([]byte("READY=1"))
		<-stop
		for i := range 2000 {
			_, _ = fmt.Fprintf(c, "STATUS=stopping %d", i)
		}
		fmt.Println("all told")
		return 0
	case "tcp":
		if _, err := net.Listen("tcp", os.Getenv("ADDRESS")); err != nil {
			fmt.Println(err)
			return 1
		}
	case "late socket":
		time.Sleep(300 * time.Millisecond)
		if _, err := net.Listen("unix", os.Getenv("ADDRESS")); err != nil {
			fmt.Println(err)
			return 1
		}
	case "socket":
		if _, err := net.Listen("unix", os.Getenv("ADDRESS")); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	time.Sleep(time.Hour)
	return 0
}

// testCgroup is a tree of its own where this machine has a writable cgroup2, else nil: supervision then works with sessions.
func testCgroup(t *testing.T) *cgroup.Tree {
	t.Helper()
	for _, m := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(m, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		if dir, err := os.MkdirTemp(m, "atlas-test-"); err == nil {
			t.Cleanup(func() {
				tree := cgroup.At(dir)
				if g, err := tree.Group(""); err == nil {
					_ = g.Kill(context.Background())
					_ = g.Remove()
				}
			})
			return cgroup.At(dir)
		}
	}
	return nil
}

type bench struct {
	*Supervisor
	t    *testing.T
	dir  string
	tree *cgroup.Tree
}

func newBench(t *testing.T) *bench {
	t.Helper()
	tree := testCgroup(t)
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: dir, tree: tree, Supervisor: New(Options{
		Cgroup: tree, RunDir: filepath.Join(dir, "notify"), Root: dir, Log: slog.New(slog.DiscardHandler),
		Expand: func(s string, v pack.Vars) (string, error) {
			if strings.Contains(s, "{{.Bad}}") {
				return "", errors.New("no such field")
			}
			return strings.ReplaceAll(s, "{{.Hostname}}", v.Hostname), nil
		},
		Policy:    RestartPolicy{Min: 20 * time.Millisecond, Max: 100 * time.Millisecond, HalfLife: time.Second},
		StepRetry: 50 * time.Millisecond, Helper: []string{exe, launch.Verb},
	})}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := b.StopAll(ctx); err != nil {
			t.Errorf("StopAll: %v", err)
		}
	})
	return b
}

func (b *bench) add(p pack.Pack) {
	b.t.Helper()
	v := pack.Vars{Hostname: "office", Service: "127.0.0.1"}
	if err := b.Add(p, v, logfile.New(filepath.Join(b.dir, "log", p.Name+".log"), 0, 0)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) start(names ...string) {
	b.t.Helper()
	for _, n := range names {
		if err := b.Start(n); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) ready(names ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return b.WaitReady(ctx, names...)
}

// until waits until the service looks as f wants.
func (b *bench) until(name string, f func(initapi.Service) bool) initapi.Service {
	b.t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		ch := b.Changed()
		for _, s := range b.Snapshot() {
			if s.Name == name && f(s) {
				return s
			}
		}
		select {
		case <-ch:
		case <-deadline:
			b.t.Fatalf("%s does not get there: %+v", name, b.Snapshot())
		}
	}
}

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func helper(name, kind string, env ...string) pack.Process {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return pack.Process{Name: name, Command: []string{exe}, Env: append([]string{"TEST_DAEMON=" + kind}, env...)}
}

func TestReadiness(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	sock := filepath.Join(t.TempDir(), "d.sock")
	mark := filepath.Join(t.TempDir(), "mark")

	notify := helper("d", "notify")
	notify.Ready = pack.Ready{Notify: true}
	tcp := helper("d", "tcp", "ADDRESS=127.0.0.1:"+strconv.Itoa(port))
	tcp.Ready = pack.Ready{TCP: port}
	socket := helper("d", "socket", "ADDRESS="+sock)
	socket.Ready = pack.Ready{Socket: sock}
	command := pack.Process{Name: "d", Command: sh("sleep 0.2; touch " + mark + "; sleep 1000"), Ready: pack.Ready{Command: []string{"/usr/bin/test", "-e", mark}}}
	nothing := pack.Process{Name: "d", Command: sh("sleep 1000")}

	for name, p := range map[string]pack.Process{"notify": notify, "tcp": tcp, "socket": socket, "command": command, "nothing": nothing} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.add(pack.Pack{Name: name, Processes: []pack.Process{p}})
			b.start(name)
			if err := b.ready(); err != nil {
				t.Fatal(err)
			}
			s := b.Snapshot()[0]
			if s.Restarts != 0 || s.Processes[0].PID == 0 || s.Error != "" {
				t.Errorf("state %+v", s)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := b.Stop(ctx, name); err != nil {
				t.Fatal(err)
			}
			if s := b.Snapshot()[0]; s.State != Stopped || s.Processes[0].PID != 0 || s.Processes[0].State != Stopped {
				t.Errorf("after Stop: %+v", s)
			}
		})
	}
}

func TestTalkingToTheEnd(t *testing.T) {
	b := newBench(t)
	p := helper("d", "talker")
	p.Ready = pack.Ready{Notify: true}
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{p}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Stop(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	var data []byte
	for range 500 { // what it printed last may still be on its way into the log
		if data, _ = os.ReadFile(filepath.Join(b.dir, "log", "a.log")); strings.Contains(string(data), "all told") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the daemon did not come to its end: %s", data)
}

func TestRestartAndLastWords(t *testing.T) {
	b := newBench(t)
	count := filepath.Join(b.dir, "count")
	b.add(pack.Pack{Name: "crash", Title: "Crasher", Processes: []pack.Process{{
		Name: "d", Command: sh(`echo x >> ` + count + `; echo dying of grief; [ $(wc -l < ` + count + `) -ge 4 ] && exec sleep 1000; exit 3`),
		Ready: pack.Ready{Command: sh("[ $(wc -l < " + count + ") -ge 4 ]")},
	}}})
	b.start("crash")
	s := b.until("crash", func(s initapi.Service) bool { return s.State == Failed })
	if want := "d: ended by itself: exit status 3: dying of grief"; s.Error != want {
		t.Errorf("Error = %q; want %q", s.Error, want)
	}
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if s := b.Snapshot()[0]; s.Restarts != 3 || s.Error != "" {
		t.Errorf("%d restarts, error %q; want 3 and none", s.Restarts, s.Error)
	}
	var data []byte
	var err error
	for range 100 { // the last life's words may come after its readiness
		if data, err = os.ReadFile(filepath.Join(b.dir, "log", "crash.log")); strings.Count(string(data), "dying") == 4 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || strings.Count(string(data), " d: dying of grief\n") != 4 {
		t.Errorf("log file: %v\n%s", err, data)
	}
}

func TestNotReadyInTime(t *testing.T) {
	b := newBench(t)
	b.add(pack.Pack{Name: "slow", Processes: []pack.Process{{
		Name: "d", Command: sh("echo still loading; exec sleep 1000"), Ready: pack.Ready{Socket: "/nonexistent", Timeout: "200ms"},
	}}})
	b.start("slow")
	s := b.until("slow", func(s initapi.Service) bool { return s.State == Failed })
	if s.Error != "d: not ready after 200ms: still loading" || s.Restarts != 0 || s.Processes[0].PID == 0 {
		t.Errorf("after its time limit: %+v; want it told, and running", s)
	}
	s = b.until("slow", func(s initapi.Service) bool { return s.Restarts == 1 })
	if !strings.HasPrefix(s.Error, "d: not ready after 1s (dial unix /nonexistent") || !strings.HasSuffix(s.Error, ": still loading") {
		t.Errorf("Error = %q", s.Error)
	}
}

func TestSlowButReadyInTheEnd(t *testing.T) {
	b := newBench(t)
	mark := filepath.Join(b.dir, "mark")
	b.add(pack.Pack{Name: "slow", Processes: []pack.Process{{
		Name: "d", Command: sh("sleep 0.5; touch " + mark + "; exec sleep 1000"),
		Ready: pack.Ready{Command: []string{"/usr/bin/test", "-e", mark}, Timeout: "150ms"},
	}}})
	b.start("slow")
	b.until("slow", func(s initapi.Service) bool { return s.State == Failed })
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if s := b.Snapshot()[0]; s.Restarts != 0 || s.Error != "" {
		t.Errorf("state %+v", s)
	}
}

func TestCannotStart(t *testing.T) {
	b := newBench(t)
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{Name: "d", Command: []string{"/nonexistent/daemon"}}}})
	b.add(pack.Pack{Name: "b", Processes: []pack.Process{{Name: "d", Command: sh("sleep 1000"), User: "no-such-user"}}})
	b.start("a", "b")
	for name, want := range map[string]string{"a": "no such file", "b": "no-such-user"} {
		if s := b.until(name, func(s initapi.Service) bool { return s.State == Failed }); !strings.Contains(s.Error, want) {
			t.Errorf("%s: Error = %q; want it to tell of %q", name, s.Error, want)
		}
	}
}

// TestStopKillsEverything stops a daemon that ignores its signal and has children in sessions of their own.
func TestStopKillsEverything(t *testing.T) {
	b := newBench(t)
	if b.tree == nil {
		t.Skip("no cgroup2 that can be written here")
	}
	b.add(pack.Pack{Name: "stubborn", Processes: []pack.Process{{
		Name: "d", StopTimeout: "300ms", Command: sh(`trap '' TERM; setsid sleep 1000 & echo children; while :; do sleep 1; done`),
	}}})
	b.start("stubborn")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	g, err := b.tree.Group("services/stubborn/d")
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if len(g.PIDs()) >= 3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Stop(ctx, "stubborn"); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 300*time.Millisecond || d > 5*time.Second {
		t.Errorf("Stop took %s; want its time limit of 300ms and little more", d)
	}
	if !g.Empty() {
		t.Errorf("left behind: %v", g.PIDs())
	}
}

// TestLeftoversAreKilledBeforeRestart: a child that holds a port would keep the next life from starting.
func TestLeftoversAreKilledBeforeRestart(t *testing.T) {
	b := newBench(t)
	if b.tree == nil {
		t.Skip("no cgroup2 that can be written here")
	}
	lock := filepath.Join(b.dir, "lock")
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{
		Name: "d", Command: sh(`flock -n ` + lock + ` true || { echo locked; exit 1; }; setsid flock ` + lock + ` sleep 1000 & exec sleep 1000`),
	}}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	pid := b.Snapshot()[0].Processes[0].PID
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("a", func(s initapi.Service) bool { return s.State == Ready && s.Processes[0].PID != pid })
	time.Sleep(100 * time.Millisecond)
	if s := b.Snapshot()[0]; s.Restarts != 1 || s.State != Ready {
		t.Errorf("after one kill: %+v", s)
	}
}

func TestOrder(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "order")
	daemon := func(name string, after ...string) pack.Process {
		return pack.Process{
			Name: name, After: after, Ready: pack.Ready{Command: sh("grep -q '^up " + name + "$' " + file)},
			Command: sh(`trap 'echo down ` + name + ` >> ` + file + `; exit 0' TERM; sleep 0.1; echo up ` + name + ` >> ` + file + `; while :; do sleep 0.02; done`),
		}
	}
	// Added and started in the wrong order on purpose.
	b.add(pack.Pack{Name: "web", Needs: []string{"db", "unknown-here"}, Processes: []pack.Process{daemon("php", "httpd"), daemon("httpd")}})
	b.add(pack.Pack{
		Name: "db", Init: []pack.Step{{Name: "make", Unless: "/made", Command: sh("echo init db >> " + file + "; touch " + filepath.Join(b.dir, "made"))}},
		Processes: []pack.Process{daemon("dbd")},
		TestData:  []pack.Step{{Name: "rows", Command: sh("echo rows >> " + file)}},
	})
	b.start("web", "db")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if data, _ := os.ReadFile(file); strings.Contains(string(data), "rows") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.StopAll(ctx); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(data), "rows\n", "")), "\n")
	want := []string{"init db", "up dbd", "up httpd", "up php", "down php", "down httpd", "down dbd"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if strings.Count(string(data), "rows\n") != 1 {
		t.Errorf("test data made %d times; want once", strings.Count(string(data), "rows\n"))
	}
	// A second start does not initialise again.
	b.start("web", "db")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(file); strings.Count(string(data), "init db") != 1 {
		t.Error("the first-time step ran twice")
	}
}

func TestFailingStepIsTriedAgain(t *testing.T) {
	b := newBench(t)
	try := filepath.Join(b.dir, "try")
	b.add(pack.Pack{
		Name: "a", Init: []pack.Step{{Name: "make", Command: sh("echo x >> " + try + "; echo no luck; [ $(wc -l < " + try + ") -ge 3 ]")}},
		Processes: []pack.Process{{Name: "d", Command: sh("sleep 1000")}},
	})
	b.start("a")
	s := b.until("a", func(s initapi.Service) bool { return s.State == Failed })
	if want := "step make: /bin/sh: exit status 1: no luck"; s.Error != want {
		t.Errorf("Error = %q; want %q", s.Error, want)
	}
	if err := b.ready(); err != nil {
		t.Error(err)
	}
}

func TestPackWithoutProcesses(t *testing.T) {
	b := newBench(t)
	b.add(pack.Pack{Name: "app", Init: []pack.Step{{Name: "slow", Command: sh("sleep 0.3")}}})
	b.start("app")
	if s := b.Snapshot()[0]; s.State == Ready {
		t.Errorf("ready before its steps have run: %+v", s)
	}
	if err := b.ready(); err != nil {
		t.Error(err)
	}
}

func TestTemplatesAndReload(t *testing.T) {
	// Under nohup the services would inherit that SIGHUP is ignored, and a shell cannot trap it then.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGHUP)
	defer signal.Stop(caught)
	b := newBench(t)
	packDir := t.TempDir()
	if err := os.WriteFile(filepath.Join(packDir, "conf"), []byte("host {{.Hostname}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := filepath.Join(b.dir, "got")
	b.add(pack.Pack{
		Name: "a", Dir: packDir,
		Files: []pack.File{{From: "conf", To: "/etc/a.conf", Mode: "0640", Template: true}, {From: "missing", To: "/x"}},
		Processes: []pack.Process{
			{Name: "d", Reload: "HUP", Ready: pack.Ready{Command: []string{"/usr/bin/test", "-e", got + ".armed"}}, Command: sh(`trap 'echo hup >> ` + got + `' HUP; touch ` + got + `.armed; while :; do sleep 0.02; done`)},
			{Name: "cannot", Command: sh("sleep 1000")},
		},
	})
	b.add(pack.Pack{Name: "none", Processes: []pack.Process{{Name: "d", Command: sh("sleep 1000")}}})
	if err := b.Reload(t.Context(), "a"); err == nil {
		t.Error("Reload of a stopped service must fail")
	}
	b.start("a", "none")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(b.dir, "etc/a.conf")
	data, err := os.ReadFile(conf)
	if err != nil || string(data) != "host office\n" {
		t.Errorf("template: %q, %v", data, err)
	}
	if st, err := os.Stat(conf); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("template's mode: %v, %v", st, err)
	}
	if err := os.WriteFile(conf, []byte("changed by hand"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := b.Snapshot()[0]; s.Reloading || !s.Reloaded.IsZero() {
		t.Errorf("before Reload: %v, %v", s.Reloading, s.Reloaded)
	}
	from := time.Now()
	if err := b.Reload(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if s := b.Snapshot()[0]; s.Reloading || s.Reloaded.Before(from) || s.Reloaded.After(time.Now()) {
		t.Errorf("after Reload: %v, %v; want the time of it", s.Reloading, s.Reloaded)
	}
	if data, _ := os.ReadFile(conf); string(data) != "host office\n" {
		t.Errorf("after Reload: %q", data)
	}
	for range 100 {
		if _, err = os.Stat(got); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Error("the signal did not arrive")
	}
	if err := b.Reload(t.Context(), "none"); err == nil || !strings.Contains(err.Error(), "restart it") {
		t.Errorf("Reload of what cannot = %v", err)
	}
}

func TestUserAndRunDir(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	b := newBench(t)
	run := filepath.Join(t.TempDir(), "run")
	if err := os.Chmod(filepath.Dir(filepath.Dir(run)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(run), 0o755); err != nil {
		t.Fatal(err)
	}
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{{
		Name: "d", User: "daemon", RunDirs: []pack.RunDir{{Path: run, User: "daemon", Mode: "2750"}},
		Command: sh(`{ id -u; id -G; echo $HOME $USER; } > ` + run + `/id; mv ` + run + `/id ` + run + `/done; exec sleep 1000`),
		Ready:   pack.Ready{Command: []string{"/usr/bin/test", "-e", run + "/done"}},
	}}})
	b.start("a")
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	want, err := exec.Command("/bin/sh", "-c", "id -u daemon; id -G daemon").Output()
	if err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(filepath.Join(run, "done"))
	if !strings.HasPrefix(string(data), string(want)) || !strings.Contains(string(data), " daemon") {
		t.Errorf("runs as %q; want %q", data, want)
	}
	st, err := os.Stat(run)
	if err != nil || st.Mode().Perm() != 0o750 || st.Mode()&os.ModeSetgid == 0 {
		t.Errorf("run directory: %v, %v; want 2750", st.Mode(), err)
	}
}

func TestAddRefuses(t *testing.T) {
	d := pack.Process{Name: "d", Command: sh("sleep 1000")}
	with := func(f func(*pack.Process)) pack.Pack {
		p := d
		f(&p)
		return pack.Pack{Name: "bad", Processes: []pack.Process{p}}
	}
	for want, p := range map[string]pack.Pack{
		"has no command":     with(func(p *pack.Process) { p.Command = nil }),
		"unknown signal":     with(func(p *pack.Process) { p.Stop = "NOPE" }),
		`no process "ghost"`: with(func(p *pack.Process) { p.After = []string{"ghost"} }),
		"no such field":      with(func(p *pack.Process) { p.Command = sh("{{.Bad}}") }),
	} {
		b := newBench(t)
		err := b.Add(p, pack.Vars{}, logfile.New(filepath.Join(b.dir, "x.log"), 0, 0))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Add = %v; want %q", err, want)
		}
	}
	b := newBench(t)
	b.add(pack.Pack{Name: "a", Processes: []pack.Process{d}})
	b.start("a")
	if err := b.Add(pack.Pack{Name: "a"}, pack.Vars{}, nil); err == nil {
		t.Error("Add over a running service must fail")
	}
	var nf *NotFoundError
	if err := b.Start("ghost"); !errors.As(err, &nf) || nf.Name != "ghost" {
		t.Errorf("Start(ghost) = %v", err)
	}
}

// TestUses: a service starts without what it merely uses, and stops before it.
func TestUses(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "order")
	open := filepath.Join(b.dir, "go")
	daemon := func(name, ready string) []pack.Process {
		return []pack.Process{{
			Name: name, Ready: pack.Ready{Command: sh(ready)},
			Command: sh(`trap 'sleep 0.1; echo down ` + name + ` >> ` + file + `; exit 0' TERM; while :; do sleep 0.02; done`),
		}}
	}
	b.add(pack.Pack{Name: "db", Processes: daemon("dbd", "test -e "+open)})
	b.add(pack.Pack{Name: "web", Uses: []string{"db", "unknown-here"}, Processes: daemon("httpd", "true")})
	b.start("web", "db")
	if err := b.ready("web"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.ready(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.StopAll(ctx); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "down httpd\ndown dbd\n" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestBefore: what has to be done before a service may fail, and is then tried again only when a person starts it; all others start.
func TestBefore(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	tries, err := 0, errors.New("data do not fit")
	b.opts.Before = func(_ context.Context, p pack.Pack) error {
		if p.Name != "db" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		tries++
		return err
	}
	d := []pack.Process{{Name: "d", Command: sh("sleep 1000"), Ready: pack.Ready{Started: true}}}
	b.add(pack.Pack{Name: "db", Processes: d})
	b.add(pack.Pack{Name: "web", Processes: d})
	b.add(pack.Pack{Name: "wiki", Needs: []string{"db"}, Processes: d})
	b.start("db", "web", "wiki")
	if err := b.ready("web"); err != nil {
		t.Error(err)
	}
	if s := b.until("db", func(s initapi.Service) bool { return s.State == Failed }); s.Error != "data do not fit" {
		t.Errorf("Error = %q", s.Error)
	}
	time.Sleep(200 * time.Millisecond) // some pauses of StepRetry
	mu.Lock()
	if tries != 1 {
		t.Errorf("tried %d times by itself; want once", tries)
	}
	err = nil
	mu.Unlock()
	b.start("db")
	if err := b.ready(); err != nil {
		t.Error(err)
	}
}
