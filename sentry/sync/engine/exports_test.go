package engine

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestDumpDuringRollback: what a database held before a rollback is told by a slow dump after it, and must not be recorded as a change.
func TestDumpDuringRollback(t *testing.T) {
	left, _ := siteOf(t, plan{config: database(`text=$(cat $1); while [ -e $1.wait ]; do echo >$1.waits; sleep 0.05; done; echo "$text"`, goodLoad)})
	const path = state.Path("@db/web/roles")
	newest := func() []state.Commit {
		list, err := left.engine.repo.Log(state.Site, history.LogOptions{Path: path})
		must(t, err)
		return list
	}
	eventually(t, "one is recorded", func() bool { return len(newest()) == 1 })
	write(t, left.path("db/roles"), "two\n")
	eventually(t, "two is recorded", func() bool { return len(newest()) == 2 })
	write(t, left.path("db/roles.wait"), "")
	eventually(t, "a dump has read", func() bool { return left.read("db/roles.waits") != "" })
	got, err := left.engine.Rollback(context.Background(), state.Rollback{Path: path}, state.Who{Program: "atlas", User: "root"})
	must(t, err)
	if got.Commit == nil || left.read("db/roles") != "one\n" {
		t.Fatalf("rolled back: %+v; the database has %q", got, left.read("db/roles"))
	}
	must(t, os.Remove(left.path("db/roles.wait")))
	pause()
	if list := newest(); len(list) != 3 || list[0].ID != got.Commit.ID {
		t.Errorf("%d changes are recorded, the newest is %q; want 3, the newest the rollback", len(list), list[0].Title)
	}
}

// TestDatabaseGoesBack: what came with a state that a probe of the secondary fails with is taken out of the database again.
func TestDatabaseGoesBack(t *testing.T) {
	t.Parallel()
	dumps := database(`cat $1`, goodLoad)
	left, right, _, p := probedSite(t, dumps)
	eventually(t, "one on right", func() bool { return right.read("db/roles") == "one\n" && right.engine.Status().InStep })
	p.set(Good, func(context.Context) Found {
		if strings.Contains(right.read("db/roles"), "two") {
			return Bad
		}
		return Good
	})
	write(t, left.path("db/roles"), "two\n")
	eventually(t, "refused", func() bool { return right.finding("sync-refused") })
	eventually(t, "one again", func() bool { return right.read("db/roles") == "one\n" })
	if right.finding("sync-local-change") {
		t.Error("the way back is taken for a change by somebody")
	}
	pause()
	write(t, left.path("db/roles"), "three\n")
	eventually(t, "three on right", func() bool {
		return right.read("db/roles") == "three\n" && right.engine.Status().InStep && !right.finding("sync-refused")
	})
}

// TestCorrectedInTheDatabase: what was held back is not sent when the probes are good again because of a correction that is still being dumped.
func TestCorrectedInTheDatabase(t *testing.T) {
	t.Parallel()
	left, right, p, _ := probedSite(t, database(`text=$(cat $1); while [ -e $1.wait ]; do sleep 0.05; done; echo "$text"`, `cat >$1.new; cat $1.new >>$1.loads; mv $1.new $1`))
	eventually(t, "one on right", func() bool { return right.read("db/roles") == "one\n" && right.engine.Status().InStep })
	p.set(Good, func(context.Context) Found {
		if strings.Contains(left.read("db/roles"), "two") {
			return Bad
		}
		return Good
	})
	write(t, left.path("db/roles"), "two\n")
	eventually(t, "held back", func() bool { return left.engine.Status().Held != nil })
	write(t, left.path("db/roles.wait"), "")
	write(t, left.path("db/roles"), "three\n")
	time.Sleep(1500 * time.Millisecond) // the probes are asked meanwhile, and are good
	must(t, os.Remove(left.path("db/roles.wait")))
	eventually(t, "three on right", func() bool { return right.read("db/roles") == "three\n" && left.engine.Status().Held == nil })
	if loads := right.read("db/roles.loads"); strings.Contains(loads, "two") {
		t.Errorf("what was held back was loaded on right: %q", loads)
	}
}
