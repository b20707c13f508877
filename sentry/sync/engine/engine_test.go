package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/state"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "check-helper":
			os.Exit(check.Main(os.Args[2:]))
		case "edit-helper":
			os.Exit(editMain(os.Args[2:]))
		case "scribble-helper":
			os.Exit(scribble(os.Args[2]))
		}
	}
	if os.Getuid() == 0 && os.Getenv(inside) == "" {
		os.Exit(apart())
	}
	os.Exit(m.Run())
}

const inside = "ATLAS_ENGINE_TEST_INSIDE"

// apart runs the tests with a view of the mounts of their own: else whatever is started beside them keeps the disks that they mount in use.
func apart() int {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the signal comes when this thread ends
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestCarried(t *testing.T) {
	left, right := site(t)
	write(t, left.path("etc/hosts"), "127.0.0.1 localhost\n10.0.0.5 printer\n")
	eventually(t, "hosts on right", func() bool { return strings.Contains(right.read("etc/hosts"), "printer") })
	pause()
	if got := right.read("etc/machine-id"); got != "right\n" {
		t.Errorf("machine-id of right is %q; it is its own", got)
	}
	must(t, os.MkdirAll(left.path("etc/new/deep"), 0o750))
	write(t, left.path("etc/new/deep/a"), "a")
	must(t, os.Chown(left.path("etc/new/deep/a"), 33, 33))
	must(t, os.Symlink("a", left.path("etc/new/deep/l")))
	eventually(t, "new tree on right", func() bool {
		st, err := os.Stat(right.path("etc/new/deep/a"))
		l, _ := os.Readlink(right.path("etc/new/deep/l"))
		return err == nil && l == "a" && owner(st) == 33
	})
	pause()
	must(t, os.RemoveAll(left.path("etc/new")))
	eventually(t, "tree gone on right", func() bool { _, err := os.Stat(right.path("etc/new")); return os.IsNotExist(err) })
	pause()
	write(t, left.path("etc/web/site.conf"), "listen 8080\n")
	eventually(t, "service told", func() bool { return right.told("reload web") })
	eventually(t, "in step", func() bool {
		st := left.engine.Status()
		return len(st.Peers) == 1 && st.Peers[0].State == "in step" && st.Peers[0].Behind == 0 && right.engine.Status().InStep
	})
	events, err := left.engine.Events(state.Query{Path: "etc/hosts"})
	must(t, err)
	if len(events) != 2 || events[0].Title != "changed etc/hosts" {
		t.Errorf("history of etc/hosts: %+v", events)
	}
}

// TestInStepIsToldOnce: a server at rest has no news, until there is a finding.
func TestInStepIsToldOnce(t *testing.T) {
	left, right := site(t)
	inStep := func() bool {
		ps := left.engine.Status().Peers
		return len(ps) == 1 && ps[0].State == "in step" && ps[0].Behind == 0
	}
	eventually(t, "in step", inStep)
	told := func() uint64 { return right.engine.cfg.Receiver.Progress().N }
	n := told()
	time.Sleep(2500 * time.Millisecond)
	if now := told(); now != n {
		t.Errorf("told %d times that nothing is new", now-n)
	}
	right.findings.Set(initapiFinding{ID: "sync-watch", Severity: "warning", Where: "right", What: "late"})
	eventually(t, "the finding on left", func() bool {
		list := left.engine.cfg.Sender.Status()["right"].Findings
		return len(list) == 1 && list[0].ID == "sync-watch" && inStep()
	})
}

// TestRememberedSoon: nobody waits for what both sides remember of a plain change, and still they do.
func TestRememberedSoon(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	write(t, left.path("etc/hosts"), "new\n")
	eventually(t, "hosts on right", func() bool { return right.read("etc/hosts") == "new\n" })
	eventually(t, "remembered", func() bool {
		return left.engine.remembered(allowedFile) == left.head(t) && right.engine.remembered(appliedFile) == left.head(t)
	})
}

func TestHeldAndRolledBack(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	write(t, left.path("etc/web/site.conf"), "broken\n")
	eventually(t, "held", func() bool { return left.engine.Status().Held != nil })
	if h := left.engine.Status().Held; h.Service != "web" || !strings.Contains(h.Words, "broken") || !slices.Contains(h.Paths, "etc/web/site.conf") {
		t.Errorf("held: %+v", h)
	}
	pause()
	write(t, left.path("etc/hosts"), "later\n") // waits behind it
	time.Sleep(300 * time.Millisecond)
	if got := right.read("etc/web/site.conf") + right.read("etc/hosts"); strings.Contains(got, "broken") || strings.Contains(got, "later") {
		t.Errorf("right has %q", got)
	}
	got, err := left.engine.Rollback(context.Background(), state.Rollback{Path: "etc/web/site.conf"}, state.Who{Program: "atlas", User: "root"})
	must(t, err)
	if got.Commit == nil || len(got.Files) != 1 || left.read("etc/web/site.conf") != "listen 80\n" || !left.told("reload web") {
		t.Errorf("rolled back: %+v; file %q", got, left.read("etc/web/site.conf"))
	}
	eventually(t, "released", func() bool { return left.engine.Status().Held == nil && !left.finding("sync-held") })
	eventually(t, "the later change on right", func() bool {
		return right.read("etc/hosts") == "later\n" && right.read("etc/web/site.conf") == "listen 80\n"
	})
}

func TestHeldOrders(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	ctx, root := context.Background(), state.Who{Program: "atlas", User: "root"}
	if _, err := left.engine.Release(ctx, "", root); !Stands(err) {
		t.Errorf("release of nothing: %v", err)
	}
	if _, err := right.engine.Rollback(ctx, state.Rollback{Path: "etc/hosts"}, root); !Stands(err) {
		t.Errorf("rollback on the secondary: %v", err)
	}
	if _, err := right.engine.Release(ctx, "", root); !Stands(err) {
		t.Errorf("release on the secondary: %v", err)
	}
	write(t, left.path("etc/web/site.conf"), "broken\n")
	eventually(t, "held", func() bool { return left.engine.Status().Held != nil })
	held := left.engine.Status().Held
	pause()
	write(t, left.path("etc/hosts"), "unrelated\n")
	eventually(t, "the later change is judged too", func() bool { h := left.engine.Status().Held; return h != nil && h.Commit != held.Commit })
	if _, err := left.engine.Release(ctx, held.Commit, root); !Stands(err) {
		t.Errorf("release of what has changed since it was seen: %v", err)
	}
	if _, err := left.engine.Rollback(ctx, state.Rollback{Path: "etc/web/site.conf", To: "HEAD"}, root); !Stands(err) {
		t.Errorf("rollback to what is: %v", err)
	}
	plan, err := left.engine.Rollback(ctx, state.Rollback{Held: true, Try: true}, root)
	must(t, err)
	if len(plan.Files) != 2 || !slices.Contains(plan.Services, "web") || !strings.Contains(string(plan.Patch), "-broken\n+listen 80\n") || left.read("etc/web/site.conf") != "broken\n" {
		t.Errorf("plan: %+v", plan)
	}
	if _, err := left.engine.Release(ctx, left.engine.Status().Held.Commit, root); err != nil {
		t.Error(err)
	}
	// The other server's checkers still look at it.
	eventually(t, "right refuses", func() bool { return right.finding("sync-refused") })
	if got := right.read("etc/web/site.conf"); got != "listen 80\n" {
		t.Errorf("right took %q", got)
	}
}

func TestPrimaryWins(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	write(t, right.path("etc/hosts"), "mine\n")
	eventually(t, "put back", func() bool {
		return right.read("etc/hosts") == left.read("etc/hosts") && right.finding("sync-local-change")
	})
	events, err := right.engine.Events(state.Query{Path: "etc/hosts", Local: true})
	must(t, err)
	if len(events) < 2 {
		t.Fatalf("own line of right: %+v", events)
	}
	found := false
	for _, e := range events {
		s, err := right.engine.Show(e.ID, "etc/hosts")
		must(t, err)
		found = found || strings.Contains(string(s.Patch), "+mine")
	}
	if !found {
		t.Errorf("what was overwritten is not in the history: %+v", events)
	}
}
