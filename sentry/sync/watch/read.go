package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// batch is what one read gave.
type batch struct {
	at     time.Time
	events []event
	by     []author // of each; the key is empty for those that are not to be told
	err    error    // no more can be read
}

// haste is the priority (nice value) of the reading thread where it cannot be a real-time one: it sleeps nearly always, and what it comes
// late for is gone from /proc.
const haste = -20

// read reads events and finds out at once who made them, until ctx ends. It has a thread of its own.
func (w *Watcher) read(ctx context.Context, out chan<- batch) {
	runtime.LockOSThread() // and never unlocked: the thread ends with its priority
	if unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), haste)
	}
	send := func(b batch) bool {
		select {
		case <-ctx.Done():
			return false
		case out <- b:
			return true
		}
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		send(batch{err: fmt.Errorf("make a wake-up call: %w", err)})
		return
	}
	end := os.NewFile(uintptr(wake), "eventfd")
	defer end.Close()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); _, _ = end.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0}) })
	defer func() {
		if !stop() {
			<-stopped
		}
	}()
	who := newAuthors(w.opts.Proc, w.opts.User)
	// Many events come with a pidfd each: the buffer bounds how many are open at once.
	buf := make([]byte, 16<<10)
	polled := []unix.PollFd{{Fd: int32(w.kernel.fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	if w.kernel.exec >= 0 {
		polled = append(polled, unix.PollFd{Fd: int32(w.kernel.exec), Events: unix.POLLIN})
	}
	for ctx.Err() == nil {
		w.programs(who, buf)
		n, err := unix.Read(w.kernel.fd, buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if _, err := unix.Poll(polled, -1); err != nil && !errors.Is(err, unix.EINTR) {
				send(batch{err: fmt.Errorf("wait for events: %w", err)})
				return
			}
		case errors.Is(err, unix.EINTR):
		case err != nil:
			send(batch{err: fmt.Errorf("read events: %w", err)})
			return
		default:
			if b := w.attribute(who, buf[:n]); !send(b) || b.err != nil {
				return
			}
		}
	}
}

// programs takes in the programs that were started: they are about to change something, perhaps.
func (w *Watcher) programs(who *authors, buf []byte) {
	if w.kernel.exec < 0 {
		return
	}
	n, err := unix.Read(w.kernel.exec, buf)
	if err != nil {
		return
	}
	events, _ := parse(buf[:n]) // what is lost of these is no harm
	for _, e := range events {
		if e.name != "" {
			now := time.Now()
			who.runs(e.pid, e.name, now)
			w.noteStart(who, e.pid, e.name, now)
		}
	}
}

// attribute parses events and names their authors, all before anything else is done: processes end.
func (w *Watcher) attribute(who *authors, raw []byte) batch {
	b := batch{at: time.Now()}
	b.events, b.err = parse(raw)
	b.by = make([]author, len(b.events))
	for i, e := range b.events {
		if e.pid != w.self || w.opts.Own {
			b.by[i] = who.of(e.pid, e.reaped, b.at)
		}
	}
	for _, e := range b.events {
		if e.pidfd >= 0 {
			_ = unix.Close(e.pidfd)
		}
	}
	return b
}
