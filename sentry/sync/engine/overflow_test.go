package engine

import (
	"fmt"
	"os"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestOverflow has the kernel's queue of events really overflow: nobody reads it while far more is changed than it holds. That is noticed, all is
// compared, nothing is lost, and what comes after it is seen at once again.
func TestOverflow(t *testing.T) {
	if testing.Short() {
		t.Skip("some 20,000 files")
	}
	limit := 16384
	if data, err := os.ReadFile("/proc/sys/fs/fanotify/max_queued_events"); err == nil {
		if _, err := fmt.Sscan(string(data), &limit); err == nil && limit > 100_000 {
			t.Skipf("the kernel keeps %d events: too many to overflow here", limit)
		}
	}
	read := make(chan struct{})
	left, right := siteOf(t, plan{
		prepare: func(s *server) {
			for i := range 200 {
				write(t, s.path(fmt.Sprintf("etc/old/%d", i)), "old\n")
			}
			write(t, s.path("etc/burst/first"), "")
			write(t, s.path("etc/moved/a/b"), "")
		},
		config: func(s *server, c *Config) {
			if s.name == "left" {
				c.late = func() { <-read }
			}
		},
	})
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	for i := range limit + 1000 {
		must(t, os.WriteFile(left.path(fmt.Sprintf("etc/burst/%d", i)), []byte("x"), 0o644))
	}
	// From here on the events are lost.
	for i := range limit + 1000 {
		if i%100 != 0 {
			must(t, os.Remove(left.path(fmt.Sprintf("etc/burst/%d", i))))
		}
	}
	for i := range 200 {
		path := left.path(fmt.Sprintf("etc/old/%d", i))
		switch i % 4 {
		case 0:
			must(t, os.Remove(path))
		case 1:
			write(t, path, "new\n")
		case 2:
			must(t, os.Chmod(path, 0o600))
		}
	}
	must(t, os.Rename(left.path("etc/moved"), left.path("etc/elsewhere")))
	write(t, left.path("etc/late/in/f"), "")
	if left.engine.watcher.Stats().Overflows != 0 {
		t.Fatal("it was read: this shows nothing")
	}
	close(read)
	eventually(t, "an overflow", func() bool { return left.engine.watcher.Stats().Overflows > 0 })
	eventually(t, "both sides equal", func() bool {
		return right.read("etc/old/1") == "new\n" && right.engine.Status().InStep && len(differ(walk(t, left.root), walk(t, right.root))) == 0
	})
	compared := false
	list, err := left.engine.repo.Log(state.Site, history.LogOptions{})
	must(t, err)
	for _, c := range list {
		compared = compared || c.Note == "found by comparing everything"
	}
	if !compared {
		t.Error("no change was found by comparing everything")
	}
	pause()
	write(t, left.path("etc/late/in/f"), "seen\n")
	at := time.Now()
	eventually(t, "a change in a directory that came meanwhile", func() bool { return right.read("etc/late/in/f") == "seen\n" })
	t.Logf("%+v; afterwards a change took %s", left.engine.watcher.Stats(), time.Since(at).Round(time.Millisecond))
	if f := append(left.engine.Status().Findings, right.engine.Status().Findings...); len(f) > 0 {
		t.Errorf("told: %v", f)
	}
	must(t, left.engine.repo.Verify(t.Context()))
}
