package folder

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lab(t *testing.T) Folder {
	t.Helper()
	f, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := Lab{Kind: Namespace, Servers: []Server{{Name: "left"}, {Name: "right"}}}
	if err := f.Save(l); err != nil {
		t.Fatal(err)
	}
	for serial, at := range map[string]struct {
		server string
		bay    int
	}{"LAB-L1": {"left", 1}, "LAB-L2": {"left", 2}, "LAB-R1": {"right", 1}} {
		if err := f.NewDisk(Disk{Serial: serial, Model: "m", Size: 1 << 20}, true); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Insert(at.server, at.bay, serial); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.Bay(at.server, at.bay), "label"), []byte(serial), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// where tells which disk is in which bay, by the content that came with it.
func where(t *testing.T, f Folder) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, s := range []string{"left", "right"} {
		disks, err := f.Disks(s)
		if err != nil {
			t.Fatal(err)
		}
		for bay, d := range disks {
			content, err := os.ReadFile(filepath.Join(f.Bay(s, bay), "label"))
			if err != nil {
				t.Fatal(err)
			}
			if string(content) != d.Serial {
				t.Errorf("disk %s carries the content of %s", d.Serial, content)
			}
			m[s+string(rune('0'+bay))] = d.Serial
		}
	}
	shelf, err := f.OnShelf()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range shelf {
		m["shelf "+d.Serial] = d.Serial
	}
	return m
}

func TestMoves(t *testing.T) {
	f := lab(t)
	if err := f.Swap("left", "right"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"left1": "LAB-R1", "right1": "LAB-L1", "right2": "LAB-L2"}, where(t, f)); diff != "" {
		t.Errorf("after a swap (-want +got):\n%s", diff)
	}
	if _, err := f.Pull("right", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Insert("left", 3, "LAB-L2"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"left1": "LAB-R1", "right1": "LAB-L1", "left3": "LAB-L2"}, where(t, f)); diff != "" {
		t.Errorf("after moving a disk (-want +got):\n%s", diff)
	}
	for i := range 2 { // twice is as it was
		if err := f.Swap("left", "right"); err != nil {
			t.Fatalf("swap %d: %v", i, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"left1": "LAB-R1", "right1": "LAB-L1", "left3": "LAB-L2"}, where(t, f)); diff != "" {
		t.Errorf("after two swaps (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	f := lab(t)
	tests := []struct {
		name string
		do   func() error
		want string
	}{
		{"pull an empty bay", func() error { _, err := f.Pull("right", 2); return err }, "bay 2 of right is empty"},
		{"insert into a full bay", func() error { _, err := f.Insert("left", 1, "LAB-X"); return err }, "holds disk LAB-L1; pull it first"},
		{"insert what is not on the shelf", func() error { _, err := f.Insert("right", 2, "LAB-L1"); return err }, "not on the shelf"},
		{"no such bay", func() error { _, err := f.Insert("right", 5, "LAB-L1"); return err }, "bays are 1 to 4"},
		{"bad serial", func() error { return f.NewDisk(Disk{Serial: "../x"}, false) }, "capital letters"},
		{"swap with itself", func() error { return f.Swap("left", "left") }, "itself"},
	}
	before := where(t, f)
	for _, tt := range tests {
		if err := tt.do(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v; want one with %q", tt.name, err, tt.want)
		}
	}
	if diff := cmp.Diff(before, where(t, f)); diff != "" {
		t.Errorf("refused moves moved something (-before +after):\n%s", diff)
	}
}

func TestNoLab(t *testing.T) {
	f, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); !errors.Is(err, ErrNoLab) {
		t.Errorf("Load of an empty folder: %v; want ErrNoLab", err)
	}
}

func TestFreshSerial(t *testing.T) {
	f := lab(t)
	l, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"LAB-N1", "LAB-N2"} {
		got, err := f.FreshSerial(l)
		if err != nil || got != want {
			t.Fatalf("FreshSerial() = %q, %v; want %q", got, err, want)
		}
		if err := f.NewDisk(Disk{Serial: got}, false); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChange(t *testing.T) {
	f := lab(t)
	done := make(chan error)
	for range 8 {
		go func() { done <- f.Change(func(l *Lab) { l.CPUs++ }) }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if l, err := f.Load(); err != nil || l.CPUs != 8 {
		t.Errorf("after 8 changes CPUs = %d, %v; want 8", l.CPUs, err)
	}
}
