package reap

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { Lock() }

// TestMain runs the tests beside the reaper, which needs the main thread; the test binary becomes a subreaper, so that orphans
// come to it as they come to PID 1.
func TestMain(m *testing.M) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "become subreaper:", err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() {
		code <- m.Run()
		cancel()
	}()
	if err := Run(ctx, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(<-code)
}

func TestRunElsewhereIsRefused(t *testing.T) {
	if err := Run(context.Background(), nil); err != ErrNotLeader { //nolint:errorlint // returned as it is
		t.Errorf("Run off the main thread = %v; want ErrNotLeader", err)
	}
}

// TestExitStatusesAreNotStolen starts many children through os/exec, each leaving an orphan, while the reaper works.
func TestExitStatusesAreNotStolen(t *testing.T) {
	var wg sync.WaitGroup
	orphans := make(chan int, 1000)
	for w := range 4 {
		wg.Go(func() {
			for i := range 25 {
				want := (w*25 + i) % 200
				var out bytes.Buffer
				cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("sleep 0.05 >/dev/null 2>&1 & echo $!; exit %d", want))
				cmd.Stdout = &out
				err := cmd.Run()
				if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
					t.Errorf("exit status = %v (%v); want %d", cmd.ProcessState, err, want)
				}
				if pid, err := strconv.Atoi(strings.TrimSpace(out.String())); err == nil {
					orphans <- pid
				}
			}
		})
	}
	wg.Wait()
	close(orphans)
	n := 0
	for pid := range orphans {
		n++
		if !gone(pid) {
			t.Errorf("orphan %d was not reaped", pid)
		}
	}
	if n != 100 {
		t.Errorf("%d orphans; want 100", n)
	}
}

// TestLateWait keeps a dead child unwaited for a while: it must still be there.
func TestLateWait(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "exit 7")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	_ = cmd.Wait()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("late Wait: %v; want exit status 7", cmd.ProcessState)
	}
}

func gone(pid int) bool {
	for range 200 {
		if unix.Kill(pid, 0) != nil {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}
