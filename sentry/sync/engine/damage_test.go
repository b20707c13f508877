package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// spoil breaks what lies deep in a server's history, while it runs: an older state, which nothing reads now.
func spoil(s *server) {
	must(s.t, s.engine.repo.Settle())
	packs, err := filepath.Glob(s.path("sync/history/repo.git/objects/pack/*.pack"))
	must(s.t, err)
	done := false
	for _, p := range packs {
		data, err := os.ReadFile(p)
		must(s.t, err)
		if len(data) < 1<<20 {
			continue
		}
		f, err := os.OpenFile(p, os.O_RDWR, 0)
		must(s.t, err)
		_, err = f.WriteAt([]byte("a bad disk does this"), int64(len(data)/2))
		must(s.t, err)
		must(s.t, f.Close())
		done = true
	}
	if !done {
		s.t.Fatal("nothing to spoil")
	}
}

// TestDamageNoticed: damage that is not in the way of anything is noticed at the next start, while changes are recorded and carried on; with the
// start after that a new history is begun, as was told.
func TestDamageNoticed(t *testing.T) {
	left, right := siteOf(t, plan{sender: quick})
	write(t, left.path("etc/large"), string(noise(2<<20)))
	eventually(t, "large file on right", func() bool { return right.read("etc/large") == left.read("etc/large") && right.engine.Status().InStep })
	pause()
	write(t, left.path("etc/large"), "small\n")
	eventually(t, "small file on right", func() bool { return right.read("etc/large") == "small\n" && right.engine.Status().InStep })
	spoil(left)
	left.stop()
	left.start()
	eventually(t, "told", func() bool { return left.finding("sync-history-trouble") })
	for _, f := range left.engine.Status().Findings {
		if f.ID == "sync-history-trouble" && (!strings.Contains(f.What, "checksum") || !strings.Contains(f.Next, "atlas service restart sentry") || !strings.Contains(f.Next, "atlas resync")) {
			t.Errorf("it tells %+v", f)
		}
	}
	write(t, left.path("etc/hosts"), "goes on\n")
	eventually(t, "a change on right", func() bool { return right.read("etc/hosts") == "goes on\n" })
	left.stop()
	left.start()
	eventually(t, "begun anew", func() bool { return left.finding("sync-history-damaged") && !left.finding("sync-history-trouble") })
	eventually(t, "right is apart", func() bool { return told(right, "sync-diverged") })
	_, err := left.engine.Resync(t.Context(), state.Resync{}, state.Who{User: "anna"})
	must(t, err)
	eventually(t, "in step", func() bool {
		return right.engine.Status().InStep && !told(right, "sync-diverged") && !left.finding("sync-peer-right")
	})
	left.stop()
	left.start() // it is over
	eventually(t, "at work", func() bool { return left.engine.Status().Commits > 0 })
	if left.finding("sync-history-trouble") {
		t.Error("told again")
	}
}

// TestDamageInTheWay: what is to be carried cannot be read. That is told at once, and not only when somebody looks at everything.
func TestDamageInTheWay(t *testing.T) {
	left, right := siteOf(t, plan{sender: quick})
	eventually(t, "in step", func() bool { return right.engine.Status().InStep })
	right.stop()
	write(t, left.path("etc/small"), "does not get there\n")
	eventually(t, "right is away", func() bool {
		p := left.engine.cfg.Sender.Status()["right"]
		return !p.Up && p.Lag.Commits > 0
	})
	time.Sleep(time.Second) // no greeting is answered, so nothing is gathered for it
	write(t, left.path("etc/large"), string(noise(2<<20)))
	eventually(t, "recorded", func() bool {
		ev, err := left.engine.Events(state.Query{Path: "etc/large"})
		return err == nil && len(ev) == 1
	})
	spoil(left)
	right.start()
	eventually(t, "told", func() bool { return left.finding("sync-history-trouble") })
	write(t, left.path("etc/large"), "small\n") // recording goes on
	eventually(t, "recorded", func() bool {
		ev, err := left.engine.Events(state.Query{Path: "etc/large"})
		return err == nil && len(ev) > 1
	})
}
