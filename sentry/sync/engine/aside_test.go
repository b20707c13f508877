package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAside: a folder goes away on the primary that holds, on the secondary, a file that no history has. It is told where that is kept, and kept
// for its time.
func TestAside(t *testing.T) {
	left, right := siteOf(t, plan{prepare: func(s *server) { write(s.t, s.path("etc/d/a"), "one\n") }})
	eventually(t, "in step", func() bool { return right.engine.Status().InStep })
	write(t, right.path("etc/d/notes.swp"), "mine\n") // ignored: see facts
	must(t, os.RemoveAll(left.path("etc/d")))
	eventually(t, "told", func() bool { return right.finding("sync-aside") })
	dir := right.engine.applier.AsideDir()
	for _, f := range right.engine.Status().Findings {
		if f.ID == "sync-aside" && (!strings.Contains(f.What, "/etc/d/notes.swp") || !strings.Contains(f.Next, filepath.Dir(dir))) {
			t.Errorf("it tells %+v", f)
		}
	}
	kept := func(dir string) (found string) {
		must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if filepath.Base(path) == "notes.swp" {
				found = path
			}
			return err
		}))
		return found
	}
	eventually(t, "in step again", func() bool { return right.engine.Status().InStep })
	if kept(filepath.Dir(dir)) == "" {
		t.Error("it is not kept until the next change")
	}
	write(t, left.path("etc/hosts"), "new\n")
	eventually(t, "the next change", func() bool { return right.read("etc/hosts") == "new\n" && right.engine.Status().InStep })
	if data, err := os.ReadFile(kept(dir)); err != nil || string(data) != "mine\n" {
		t.Errorf("kept is %q, %v", data, err)
	}
	if n, err := right.engine.applier.EmptyAside(time.Now().Add(-time.Hour)); n != 0 || err != nil || kept(dir) == "" {
		t.Errorf("deleted before its time: %d, %v", n, err)
	}
	if n, err := right.engine.applier.EmptyAside(time.Now().Add(time.Hour)); n != 1 || err != nil || kept(dir) != "" {
		t.Errorf("not deleted after its time: %d, %v", n, err)
	}
	right.seen("sync-aside")
}
