package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/slots"
	"sayasystems.com/atlas/initsvc/console"
	"sayasystems.com/atlas/initsvc/devices"
	"sayasystems.com/atlas/initsvc/devlog"
	"sayasystems.com/atlas/initsvc/guard"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/initsvc/mounts"
	"sayasystems.com/atlas/initsvc/pid1"
	"sayasystems.com/atlas/initsvc/power"
	"sayasystems.com/atlas/initsvc/reap"
	"sayasystems.com/atlas/initsvc/socket"
	"sayasystems.com/atlas/initsvc/watchdog"
	"sayasystems.com/atlas/sentry/initapi"
)

// exitReboot is the status with which a namespace's process 1 asks the lab to start it again.
const exitReboot = 3

// process1 is the whole life of process 1. On hardware it does not return. The calling goroutine is on the main thread and does
// nothing but reap: see package reap.
func process1() int {
	// A small heap matters more here than the collector's work.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(64 << 20)
	// Huge pages make every small heap two megabytes; databases advise against them too.
	_ = os.WriteFile("/sys/kernel/mm/transparent_hugepage/enabled", []byte("madvise"), 0o644)
	sigs := catch()
	unix.Umask(0o022)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 512 << 10}) // for all that is started; as Debian's programs know it
	started := time.Now()
	_ = mounts.All(mounts.Early()) // again, with its errors told, in the phase mounts

	ring := logfile.NewRing(400)
	con := &lateConsole{}
	lh := pid1.Handler(con.line, ring, slog.LevelInfo)
	log := slog.New(lh)
	slog.SetDefault(log)

	h, err := handover.Read(layout.HandoverDir)
	if err != nil {
		log.Error("nothing is known about how this machine was booted", "err", err)
		h = handover.Handover{Kind: handover.Hardware, Mode: handover.Boot}
	}
	ctx, cancel := context.WithCancel(context.Background())
	code := 0
	go func() {
		defer cancel()
		g := guard.Guard{Log: log}
		if err := g.Do("process 1", func() error { code = life(ctx, h, started, log, lh, ring, con, sigs); return nil }); err != nil {
			emergency(h, err)
		}
	}()
	if err := reap.Run(ctx, log); err != nil {
		log.Error("orphans are not reaped", "err", err)
		<-ctx.Done()
	}
	return code
}

// life boots, serves and ends.
func life(ctx context.Context, h handover.Handover, started time.Time, log *slog.Logger, lh *pid1.LogHandler, ring *logfile.Ring, con *lateConsole, sigs <-chan os.Signal) int {
	namespace := h.Kind == handover.Namespace
	installing := h.Mode == handover.Install
	s := pid1.New(pid1.Options{
		Handover: h, Dirs: pid1.Real(), Parts: parts(h, log), Log: log, Ring: ring, Release: release(), Started: started, Firmware: firmwareTime(), Quick: namespace,
	})
	s.LogTo(lh)
	g := s.Guard()
	signals(ctx, g, s, sigs, namespace)

	g.Keep(ctx, "init socket", func(ctx context.Context) {
		for ctx.Err() == nil {
			if err := socket.Serve(ctx, layout.InitSocket, s, log); err != nil {
				time.Sleep(time.Second)
			}
		}
	})
	g.Keep(ctx, "syslog", func(ctx context.Context) {
		for ctx.Err() == nil {
			if err := devlog.Serve(ctx, "/dev/log", s.Syslog); err != nil {
				log.Warn("syslog", "err", err)
				time.Sleep(5 * time.Second)
			}
		}
	})
	if !namespace { // a namespace has no kernel of its own
		kernel := devlog.Kernel{Path: "/dev/kmsg", Wait: s.LogsOnSet}
		g.Keep(ctx, "kernel log", func(ctx context.Context) {
			for ctx.Err() == nil {
				if err := kernel.Follow(ctx, s.Syslog); err != nil {
					log.Warn("kernel log", "err", err)
					time.Sleep(5 * time.Second)
				}
			}
		})
	}
	wdCtx, stopWatchdog := context.WithCancel(ctx)
	defer stopWatchdog()
	if !namespace {
		power.CtrlAltDel()
		_ = os.WriteFile("/proc/sys/kernel/printk", []byte("4 4 1 7"), 0o644)
		g.Keep(ctx, "power button", func(ctx context.Context) {
			power.Listen(ctx, g, log, func() { s.Ask(initapi.PowerRequest{Action: "off", Reason: "power button"}) })
		})
		g.Keep(wdCtx, "watchdog", func(ctx context.Context) { feed(ctx, s, log) })
	}
	if !installing {
		o := console.Options{
			View: func() console.View { return view(s) }, Ring: ring, Guard: g, Log: log,
			Password: func(pw string) error { return s.CheckPassword(pw, bcrypt.CompareHashAndPassword) },
			Power:    func(action, reason string) { s.Ask(initapi.PowerRequest{Action: action, Reason: reason}) },
		}
		var c *console.Console
		if namespace {
			c = console.On(o, os.Stdin)
		} else {
			c = console.Open(o)
		}
		con.set(c)
		c.Run(ctx)
	} else {
		g.Go("installer", func() { runInstaller(ctx, s, log) })
	}

	g.Keep(ctx, "memory", giveBack)
	req := s.Run(ctx)
	if namespace {
		killAll()
		if req.Action == "reboot" {
			return exitReboot
		}
		return 0
	}
	end(req, log)
	return 1
}

// end is the very last on hardware: nothing writes any more, every file system is clean.
func end(req initapi.PowerRequest, log *slog.Logger) {
	killAll()
	if left := mounts.Down(); len(left) > 0 {
		log.Error("still mounted for writing", "left", left)
	}
	for { // there is nothing to go back to
		if err := power.End(req.Action); err != nil {
			log.Error("end", "err", err)
		}
		time.Sleep(10 * time.Second)
	}
}

// killAll ends every other process, with a moment for those that want to finish.
func killAll() {
	_ = unix.Kill(-1, unix.SIGTERM)
	time.Sleep(500 * time.Millisecond)
	_ = unix.Kill(-1, unix.SIGKILL)
	time.Sleep(200 * time.Millisecond)
	unix.Sync()
}

// emergency is for a mistake in init that nothing caught earlier: the other slot may do better.
func emergency(h handover.Handover, err error) {
	fmt.Fprintf(os.Stderr, "\nATLAS: init itself failed: %v\nThe server restarts in one minute. If this comes again, the other version is started by itself after three times.\n", err)
	if h.Kind == handover.Namespace {
		return
	}
	time.Sleep(time.Minute)
	killAll()
	mounts.Down()
	_ = power.End("reboot")
}

// catch takes every signal that would end a Go program, so that nobody's kill, nor a console that is gone, can end process 1.
// They are caught and not ignored, since what is ignored would be ignored by all that init starts.
func catch() chan os.Signal {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE,
		unix.SIGUSR1, unix.SIGSEGV, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGTERM, unix.SIGSTKFLT, unix.SIGXCPU,
		unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGPROF, unix.SIGIO, unix.SIGPWR, unix.SIGSYS)
	return ch
}

// giveBack returns memory that the boot has used to the kernel, from time to time.
func giveBack(ctx context.Context) {
	for pause := 30 * time.Second; ; pause = 5 * time.Minute {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		debug.FreeOSMemory()
	}
}

// signals are how the lab, ctrl-alt-del and lxc-like tools ask for an end.
func signals(ctx context.Context, g guard.Guard, s *pid1.Server, ch <-chan os.Signal, namespace bool) {
	g.Keep(ctx, "signals", func(ctx context.Context) {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-ch:
				switch sig {
				case unix.SIGPWR:
					s.Ask(initapi.PowerRequest{Action: "off", Reason: "signal"})
				case unix.SIGINT:
					s.Ask(initapi.PowerRequest{Action: "reboot", Reason: "ctrl-alt-del"})
				case unix.SIGTERM:
					if namespace {
						s.Ask(initapi.PowerRequest{Action: "off", Reason: "signal"})
					}
				}
			}
		}
	})
}

// feed finds the watchdog, which may need its driver first, and feeds it.
func feed(ctx context.Context, s *pid1.Server, log *slog.Logger) {
	for range 60 {
		d, err := watchdog.Choose("/sys/class/watchdog", "/dev")
		if err == nil {
			if err := watchdog.Feed(ctx, d, s.Healthy, log); err != nil {
				log.Warn("watchdog", "err", err)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
	}
	log.Info("this machine has no hardware watchdog")
}

// runInstaller runs the installer, which uses the consoles by itself and asks for the restart over the socket.
func runInstaller(ctx context.Context, s *pid1.Server, log *slog.Logger) {
	select {
	case <-s.Based():
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, filepath.Join(layout.LibDir, "init"), "install")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		err := cmd.Run()
		if err == nil {
			return // it has asked for what comes next
		}
		log.Error("installer", "err", err)
		fmt.Fprintln(os.Stdout, "The installation did not end well; the installer starts again.")
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}

// view is what the console's page is made from.
func view(s *pid1.Server) console.View {
	ctx := context.Background()
	v := console.View{State: s.State(ctx), Boot: s.Boot(ctx), SiteName: s.SiteName()}
	if sum, err := initapi.ReadSummary(""); err == nil {
		v.Summary = &sum
	}
	for _, c := range s.Choices() {
		v.Choices = append(v.Choices, console.Choice{Text: c.Text, Do: func() error { return s.Choose(c) }})
	}
	return v
}

// release is the Debian release of this root, "13".
func release() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for l := range strings.SplitSeq(string(data), "\n") {
		if v, ok := strings.CutPrefix(l, "VERSION_ID="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

// firmwareTime is how long firmware and boot loader took, as systemd-boot tells; 0 where it does not.
func firmwareTime() time.Duration {
	data, err := os.ReadFile(slots.EFIVars + "/LoaderTimeExecUSec-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
	if err != nil || len(data) < 4 {
		return 0
	}
	var digits strings.Builder // UTF-16 after four bytes of attributes
	for i := 4; i < len(data); i += 2 {
		if data[i] >= '0' && data[i] <= '9' {
			digits.WriteByte(data[i])
		}
	}
	d, err := time.ParseDuration(digits.String() + "us")
	if err != nil {
		return 0
	}
	return d
}

// uevents hands device events on: drivers are loaded for what came, changed is called when a disk came or went.
func uevents(ctx context.Context, log *slog.Logger, g guard.Guard, changed func()) {
	hot := &devices.Hotplug{Helper: []string{filepath.Join(layout.LibDir, "init"), "modprobe"}, Log: log}
	g.Keep(ctx, "hot plug", hot.Run)
	each := func(e devices.Event) {
		hot.Event(e)
		if e.Subsystem == "block" && e.DevType == "disk" && (e.Action == "add" || e.Action == "remove") {
			changed()
		}
	}
	for ctx.Err() == nil {
		if err := devices.Listen(ctx, each, changed, log); err != nil {
			log.Warn("device events", "err", err)
			time.Sleep(time.Second)
		}
	}
}
