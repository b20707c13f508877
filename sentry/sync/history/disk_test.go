package history

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// TestCheckFiles damages each kind of file, a byte at a time, while the history is open: it is noticed without opening it anew, and not when the
// byte is right again. What is in memory meanwhile says nothing.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{settleAt: -1})
	mustRecord(t, r, state.Site, Meta{}, folder("etc"), file("etc/a", "one\n"))
	if err := r.Settle(); err != nil {
		t.Fatal(err)
	}
	mustRecord(t, r, state.Site, Meta{}, file("etc/a", "two\n"))
	ctx := context.Background()
	if err := r.CheckFiles(ctx); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(dir, "repo.git/objects/pack/*"))
	if err != nil || len(packs) != 2 {
		t.Fatalf("packs: %q, %v", packs, err)
	}
	for _, path := range append(packs, filepath.Join(dir, "journal"), filepath.Join(dir, "repo.git/packed-refs")) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := len(data) / 2
		switch filepath.Base(path) {
		case "journal":
			at = int(r.journal.end) - 5
		case "packed-refs":
			at = 50 // in a commit's name
		}
		flip := func() {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			data[at] ^= 1
			if _, err := f.WriteAt(data[at:at+1], int64(at)); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		flip()
		err = r.CheckFiles(ctx)
		if _, ok := errors.AsType[*DamagedError](err); !ok {
			t.Errorf("%s damaged: %v", filepath.Base(path), err)
		}
		flip()
		if err := r.CheckFiles(ctx); err != nil {
			t.Errorf("%s whole again: %v", filepath.Base(path), err)
		}
	}
	if err := r.Pack(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.CheckFiles(ctx); err != nil {
		t.Error(err)
	}
}
