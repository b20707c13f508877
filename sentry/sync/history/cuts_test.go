package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// TestRandomPowerCuts cuts the power again and again in the middle of a commit and of what goes on in the background: the disk has all that was
// acknowledged, and any part of the record that was being written.
func TestRandomPowerCuts(t *testing.T) {
	steps := 150
	if s := os.Getenv("ATLAS_HISTORY_STEPS"); s != "" {
		if _, err := fmt.Sscan(s, &steps); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	dir := filepath.Join(root, "0")
	c := newClock()
	opt := Options{Now: c.now, journal: 1 << 15}
	r := mustOpen(t, dir, opt)
	m := newModel(77)
	cuts := 0
	for i := range steps {
		amend := m.rng.IntN(4) == 0
		got, changed, err := r.Record(state.Site, m.step(), Meta{Amend: amend})
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		m.note(got, changed, amend)
		if m.rng.IntN(200) == 0 {
			if err := r.Pack(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if m.rng.IntN(10) > 0 {
			continue
		}
		cuts++
		r.wmu.Lock() // the copy is to be of one moment
		next := filepath.Join(root, fmt.Sprint(cuts))
		copyTree(t, dir, next)
		end := r.journal.end
		r.wmu.Unlock()
		// What the next commit would have written, up to any byte.
		if _, _, err := r.Record(state.Site, []Edit{folder("torn"), file("torn/f", m.content())}, Meta{}); err != nil {
			t.Fatal(err)
		}
		r.wmu.Lock()
		b, err := os.ReadFile(filepath.Join(dir, "journal"))
		torn := b[min(end, int64(len(b))):min(max(r.journal.end-1, end), int64(len(b)))]
		r.wmu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		torn = torn[:m.rng.IntN(len(torn)+1)]
		f, err := os.OpenFile(filepath.Join(next, "journal"), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(torn, end)
		if err := errors.Join(err, f.Close(), r.Close(), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
		dir = next
		r = mustOpen(t, dir, opt)
		if len(m.ids) > 0 && head(t, r) != m.ids[len(m.ids)-1] {
			t.Fatalf("after cut %d: the newest commit is %s; want %s", cuts, head(t, r), m.ids[len(m.ids)-1])
		}
	}
	if cuts == 0 {
		t.Fatal("the power was never cut")
	}
	m.check(t, r, state.Site)
	if err := r.Settle(); err != nil {
		t.Fatal(err)
	}
	git(t, r, "fsck", "--full", "--strict")
	t.Logf("%d commits, %d power cuts", len(m.ids), cuts)
}
