package cgroup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testTree makes a tree of its own where this machine has a writable cgroup2, else skips.
func testTree(t *testing.T) *Tree {
	t.Helper()
	for _, m := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(m, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(m, "atlas-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = (&Group{dir: dir}).Remove() })
		return At(dir)
	}
	t.Skip("no cgroup2 that can be written here")
	return nil
}

func TestKillReachesEveryDescendant(t *testing.T) {
	g, err := testTree(t).Group("services/a/b")
	if err != nil {
		t.Fatal(err)
	}
	f, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A shell that leaves children in sessions of their own, ignoring TERM.
	cmd := exec.Command("/bin/sh", "-c", `trap '' TERM; setsid sleep 1000 & setsid setsid sleep 1000 & wait`)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(waited) }()
	for range 200 {
		if len(g.PIDs()) >= 3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := len(g.PIDs()); n < 3 {
		t.Errorf("%d processes in the group; want 3", n)
	}
	if g.Empty() {
		t.Error("Empty() with processes in the group")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	<-waited
	if !g.Empty() || len(g.PIDs()) != 0 {
		t.Errorf("left in the group: %v", g.PIDs())
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.dir); !os.IsNotExist(err) {
		t.Errorf("group is still there: %v", err)
	}
	if err := g.Kill(ctx); err != nil {
		t.Errorf("Kill of a group that is gone: %v", err)
	}
}

// TestRenewedGroupTakesProcesses is about kernels that kill whatever is started in a group that was killed before.
func TestRenewedGroupTakesProcesses(t *testing.T) {
	g, err := testTree(t).Group("a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i := range 3 {
		f, err := g.Open()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
		err = cmd.Start()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select {
		case <-ended:
			t.Errorf("life %d ended at once: %v", i, cmd.ProcessState)
		case <-time.After(100 * time.Millisecond):
		}
		if err := g.Renew(ctx); err != nil {
			t.Fatal(err)
		}
		<-ended
	}
}

func TestNilGroup(t *testing.T) {
	var tree *Tree
	g, err := tree.Group("x")
	if g != nil || err != nil {
		t.Errorf("Group of no tree = %v, %v", g, err)
	}
	if err := g.Kill(context.Background()); err != nil || !g.Empty() || g.PIDs() != nil || g.Remove() != nil || g.Add(1) != nil {
		t.Error("a nil Group must do nothing")
	}
}

func TestFindNothing(t *testing.T) {
	if _, err := Find(filepath.Join(t.TempDir(), "none"), t.TempDir()); err == nil {
		t.Error("Find in directories that are no cgroup2 must fail")
	}
}
