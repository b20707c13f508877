// Package reap collects the orphans that the kernel gives to PID 1, and nothing else, so that every other package of init may
// use os/exec as anywhere.
//
// The difficulty: wait4(-1) also takes the exit status of children that os/exec is about to wait for. The way out is that on
// Linux a child belongs to the *thread* that made it. Orphans are given to the thread-group leader (find_new_reaper in
// kernel/exit.c), whereas os/exec forks on whichever thread its goroutine runs. So init's main goroutine locks itself to the
// leader in an init function, starts no process itself, and waits with __WNOTHREAD: it then sees orphans only. No table of
// known children, no polling, no race.
package reap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// wNoThread is __WNOTHREAD of linux/wait.h: only children of the calling thread.
const wNoThread = 0x20000000

// ErrNotLeader is returned by Run when it is not called on the thread-group leader.
var ErrNotLeader = errors.New("reaper does not run on the main thread")

// Lock locks the calling goroutine to its thread for good. Package main calls it in an init function, which is the documented
// way to have main run on the thread-group leader.
func Lock() { runtime.LockOSThread() }

// Run reaps orphans until ctx ends. It must be called by the main goroutine after Lock; no process may be started by it.
func Run(ctx context.Context, log *slog.Logger) error {
	if unix.Gettid() != os.Getpid() {
		return ErrNotLeader
	}
	chld := make(chan os.Signal, 1)
	signal.Notify(chld, unix.SIGCHLD)
	defer signal.Stop(chld)
	// SIGCHLDs merge and may come before Notify: look once at the start and now and then.
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		if err := collect(log); err != nil && log != nil {
			log.Warn("reap orphans", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-chld:
		case <-tick.C:
		}
	}
}

// collect reaps every orphan that has ended.
func collect(log *slog.Logger) error {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG|wNoThread, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return fmt.Errorf("wait4: %w", err)
		case pid == 0:
			return nil
		}
		if log != nil {
			log.Debug("reaped orphan", "pid", pid, "status", int(ws))
		}
	}
}
