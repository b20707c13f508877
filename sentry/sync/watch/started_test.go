package watch

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// TestStarted starts programs of interest and others, and asks who did.
func TestStarted(t *testing.T) {
	const client = "/opt/database/bin/client"
	prepare := func(root string) {
		etc(root)
		must(t, os.MkdirAll(root+"/opt/database/bin", 0o755))
		sleep, err := os.ReadFile("/bin/sleep")
		must(t, err)
		for _, name := range []string{"client", "other"} {
			must(t, os.WriteFile(root+"/opt/database/bin/"+name, sleep, 0o755))
		}
	}
	run := func(b *bench, name string, session bool) *exec.Cmd {
		cmd := exec.Command(b.p("opt/database/bin/"+name), "3")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: session}
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	asked := func(b *bench, since time.Time, want bool) state.Who {
		t.Helper()
		var who state.Who
		ok := !want
		for end := time.Now().Add(3 * time.Second); ok != want && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			who, ok = b.w.Started([]string{client}, since)
		}
		if ok != want {
			t.Fatalf("Started = %+v, %v; want %v", who, ok, want)
		}
		return who
	}
	began := time.Now()
	b := watching(t, []state.Path{"etc"}, prepare, func(o *Options) { o.Own, o.Clients = true, []string{client} })
	run(b, "other", false)
	time.Sleep(100 * time.Millisecond)
	asked(b, began, false)
	first := run(b, "client", false)
	if who := asked(b, began, true); who.Program != "client" || who.PID != first.Process.Pid || who.User == "" {
		t.Errorf("started by %+v; want client, %d", who, first.Process.Pid)
	}
	asked(b, time.Now(), false)
	run(b, "client", true) // by somebody else
	asked(b, began, false)

	ours := watching(t, []state.Path{"etc"}, prepare, func(o *Options) { o.Own, o.Clients = false, []string{client} })
	run(ours, "client", false)
	time.Sleep(100 * time.Millisecond)
	asked(ours, began, false)
}
