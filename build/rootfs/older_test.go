package rootfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOlder makes the small root of a real tree and starts the server of the older release in it: nothing of the new one is there to help.
func TestOlder(t *testing.T) {
	trees := os.Getenv("ATLAS_TREES")
	if trees == "" {
		t.Skip("ATLAS_TREES names no directory with tree12")
	}
	l, bytes, err := Older(filepath.Join(trees, "tree12"), "12", []string{"/var/lib/postgresql"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d MB", len(l), bytes/1e6)
	if bytes > 100e6 {
		t.Errorf("%d MB is more than a slot has room for", bytes/1e6)
	}
	dir := os.Getenv("ATLAS_OLDER") // kept for others' tests
	if dir == "" {
		dir = t.TempDir()
	}
	if err := l.apply(dir); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to chroot")
	}
	root := filepath.Join(dir, "usr/lib/atlas/older/12")
	out, err := exec.CommandContext(t.Context(), "chroot", root, "/usr/lib/postgresql/15/bin/postgres", "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), " 15.") {
		t.Errorf("postgres --version: %v: %s", err, out)
	}
	if _, _, err := Older(t.TempDir(), "12", nil); err == nil {
		t.Error("a tree without PostgreSQL makes a root")
	}
}
