package history

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// TestDiskTrouble takes writing away from the journal: nothing is acknowledged from then on, nothing is lost, and it says what to do.
func TestDiskTrouble(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	r := mustOpen(t, dir, Options{settleAt: -1})
	c := mustRecord(t, r, state.Site, Meta{}, folder("etc"))
	good := r.journal.f
	broken, err := os.Open(r.journal.path)
	if err != nil {
		t.Fatal(err)
	}
	r.journal.f = broken
	for range 2 {
		_, changed, err := r.Record(state.Site, []Edit{file("etc/a", "x")}, Meta{})
		if err == nil || changed || !strings.Contains(err.Error(), "opened anew") {
			t.Errorf("Record = %v, %v; want an error that says what to do", changed, err)
		}
		if head(t, r) != c.ID {
			t.Error("readers see what was not recorded")
		}
	}
	if err := r.Settle(); err == nil {
		t.Error("Settle worked with a journal that nobody can rely on")
	}
	if err := errors.Join(r.Close(), good.Close()); err != nil {
		t.Fatal(err)
	}
	r = mustOpen(t, dir, Options{})
	if head(t, r) != c.ID {
		t.Error("what was acknowledged is gone")
	}
	mustRecord(t, r, state.Site, Meta{}, file("etc/a", "x"))
}

// TestSlowPeer has a peer that never ends its pack: recording goes on meanwhile.
func TestSlowPeer(t *testing.T) {
	from, c := threeStates(t)
	pack := export(t, from, nil, c[3].ID)
	to := mustOpen(t, t.TempDir(), Options{})
	pr, pw := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := to.Import(pr, lots, state.Site, c[3].ID, ImportOptions{})
		done <- err
	}()
	if _, err := pw.Write(pack[:len(pack)/2]); err != nil {
		t.Fatal(err)
	}
	mustRecord(t, to, state.Live, Meta{}, folder("etc"), file("etc/hosts", "one\ntwo\nthree\n"))
	if err := to.Pack(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := pw.Write(pack[len(pack)/2:]); err != nil {
		t.Fatal(err)
	}
	_ = pw.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := to.Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestPackDropsAmended(t *testing.T) {
	r := mustOpen(t, t.TempDir(), Options{})
	mustRecord(t, r, state.Site, Meta{}, folder("etc"), file("etc/keep", "kept\n"))
	was := mustRecord(t, r, state.Site, Meta{}, file("etc/a", "dropped\n"))
	now := mustRecord(t, r, state.Site, Meta{Amend: true}, file("etc/a", "kept as well\n"))
	if _, _, err := r.Lookup(was.ID, "etc/a"); err != nil {
		t.Errorf("before Pack an amended commit cannot be read: %v", err)
	}
	if err := r.Pack(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, _, _, ok := r.store.find(plumbing.NewHash(was.ID)); ok {
		t.Error("Pack kept an amended commit")
	}
	if _, _, _, ok := r.store.find(plumbing.NewHash(now.ID)); !ok {
		t.Error("Pack dropped the newest commit")
	}
	if err := r.Verify(context.Background()); err != nil {
		t.Error(err)
	}
}
