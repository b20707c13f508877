package mounts

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPoints(t *testing.T) {
	const info = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:25 / /run/atlas/set rw - ext4 /dev/md0 rw
31 22 0:25 /etc/1 /with\040space rw - ext4 /dev/md0 rw
short line
`
	if diff := cmp.Diff([]string{"/", "/run/atlas/set", "/with space"}, points(info)); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
}

func TestHoldersNamesWhoUsesAFilesystem(t *testing.T) {
	dir := t.TempDir()
	c := exec.Command("sleep", "60")
	c.Dir = dir
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	has := func() bool {
		return slices.ContainsFunc(holders("/proc", dir), func(s string) bool { return strings.HasPrefix(s, "sleep (") })
	}
	for start := time.Now(); !has(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			t.Fatalf("holders of %s = %v; want sleep among them", dir, holders("/proc", dir))
		}
	}
}

func TestUnmountOfNothing(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("unmounting needs root")
	}
	if err := Unmount(context.Background(), dir, time.Second); err != nil {
		t.Errorf("Unmount of a plain directory = %v; want nothing to happen", err)
	}
	if err := Unmount(context.Background(), filepath.Join(dir, "no"), time.Second); err != nil {
		t.Errorf("Unmount of nothing = %v", err)
	}
}
