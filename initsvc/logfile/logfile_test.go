package logfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "a.log")
	f := New(path, 10, 2)
	for _, s := range []string{"one\n", "two\n", "three\n", "four\n", "five\n", "a line longer than the limit\n", "end\n"} {
		if n, err := f.Write([]byte(s)); err != nil || n != len(s) {
			t.Fatalf("Write(%q) = %d, %v", s, n, err)
		}
	}
	_ = f.Close()
	want := map[string]string{"a.log": "end\n", "a.log.1": "a line longer than the limit\n", "a.log.2": "four\nfive\n"}
	got := map[string]string{}
	entries, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		data, _ := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		got[e.Name()] = string(data)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWriteNeverFails(t *testing.T) {
	f := New("/proc/nowhere/x.log", 0, 0)
	if n, err := f.Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("Write = %d, %v; want 1, nil", n, err)
	}
	if f.Dropped() != 1 {
		t.Errorf("Dropped = %d; want 1", f.Dropped())
	}
}

func TestRing(t *testing.T) {
	r := NewRing(3)
	for _, s := range []string{"a", "b", "c", "d"} {
		r.Add(s)
	}
	if d := cmp.Diff([]string{"b", "c", "d"}, r.Last(0)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"d"}, r.Last(1)); d != "" {
		t.Error(d)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 3*MaxLine)
	var got []string
	if err := Lines(strings.NewReader("a\n\n\x1b[2Jb\tc\xff\n"+long+"\nend"), func(l string) { got = append(got, l) }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a", "[2Jb c?", long[:MaxLine], "end"}, got); d != "" {
		t.Error(d)
	}
}
