package logfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestShared(t *testing.T) {
	name := filepath.Join(t.TempDir(), "syslog")
	l := NewShared(name, 0, 0, 0)
	put := func(s string) {
		t.Helper()
		l.looked = time.Time{} // a second has passed
		if _, err := l.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(file, text string) {
		t.Helper()
		got, err := os.ReadFile(file)
		if err != nil || string(got) != text {
			t.Errorf("%s has %q, %v; want %q", filepath.Base(file), got, err, text)
		}
	}
	put("one\n")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	put("two\n")
	want(name+".1", "one\n")
	want(name, "two\n")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	put("three\n")
	want(name, "three\n")
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	put("four\n")
	want(name, "four\n")
}
