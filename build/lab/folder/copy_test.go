package folder

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestCopyKeepsHoles(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "sub", "to")
	const size = 64 << 20
	if err := Sparse(from, size); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(from, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 10 << 20, size - 5} {
		if _, err := f.WriteAt([]byte("atlas"), at); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	if err := Copy(context.Background(), from, to); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(from)
	b, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(a, b) {
		t.Fatalf("the copy differs (%v)", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(to, &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("the copy takes %d bytes (%v); want the holes left out", st.Blocks*512, err)
	}
}

func TestSnapshot(t *testing.T) {
	ctx := context.Background()
	f := lab(t)
	if err := os.MkdirAll(filepath.Join(f.Dir, "image"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.Dir, "image", "a.img"), []byte("image"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := where(t, f)
	at := f.SnapshotPath("installed")
	if err := f.Snapshot(ctx, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Snapshot(ctx, at); err == nil {
		t.Error("a snapshot is overwritten without a word")
	}
	if err := f.Swap("left", "right"); err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(ctx, at); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, where(t, f)); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	other, err := Open(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Restore(ctx, at); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, where(t, other)); diff != "" {
		t.Errorf("restored elsewhere (-want +got):\n%s", diff)
	}
	if got, err := os.ReadFile(filepath.Join(other.Dir, "image", "a.img")); err != nil || string(got) != "image" {
		t.Errorf("image restored elsewhere: %q, %v", got, err)
	}
}

func TestRemoveLeavesOthersFiles(t *testing.T) {
	f := lab(t)
	mine := filepath.Join(f.Dir, "notes.txt")
	if err := os.WriteFile(mine, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(f.Dir)
	if err != nil || len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("left in the folder: %v, %v; want notes.txt only", left, err)
	}
	if err := f.Remove(); err == nil {
		t.Error("Remove of a folder that holds no lab; want a refusal")
	}
}

func TestBegin(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "lab"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first try was cut off
		if err := f.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := f.NewDisk(Disk{Serial: "LAB-L1"}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Finish(Lab{Kind: VM}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err != nil {
		t.Error(err)
	}
	foreign, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(foreign.Dir, "servers", "important")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := foreign.Begin(); err == nil {
		t.Error("Begin in a folder with somebody's servers directory; want a refusal")
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error("Begin removed what is not a lab's:", err)
	}
}
