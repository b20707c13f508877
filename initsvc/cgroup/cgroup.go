// Package cgroup gives every service a control group of its own (cgroup v2), so that all its processes can be found and killed
// together, whatever they forked. It also works on a tree without controllers, as lab machines have; limits are best effort.
// Source: Linux Documentation/admin-guide/cgroup-v2.rst.
package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is the part of the cgroup2 file system that belongs to this init.
type Tree struct{ dir string }

// Group is one control group. A nil Group stands for a machine without cgroup2: its methods do nothing.
type Group struct{ dir string }

// Find returns the tree below the calling process's own group in the first of the mount points that is a cgroup2 file system.
// See Open for where the calling process ends up.
func Find(mountPoints ...string) (*Tree, error) {
	for _, m := range mountPoints {
		var st unix.Statfs_t
		if unix.Statfs(m, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir := m
		if own, err := ownGroup(); err == nil && !strings.HasPrefix(own, "/..") {
			// After a restart of the same process (exec) it still sits in the group that it made.
			own = strings.TrimSuffix(own, "/init")
			if _, err := os.Stat(filepath.Join(m, own)); err == nil {
				dir = filepath.Join(m, own)
			}
		}
		return Open(dir)
	}
	return nil, fmt.Errorf("no cgroup2 file system at %s", strings.Join(mountPoints, " or "))
}

// At makes dir, a group, the root of a Tree, and moves nobody.
func At(dir string) *Tree { return &Tree{dir: dir} }

// Open makes dir, a group, the root of a Tree, and moves the calling process into its child "init", so that controllers can be
// enabled for the others.
func Open(dir string) (*Tree, error) {
	t := At(dir)
	g, err := t.Group("init")
	if err != nil {
		return nil, err
	}
	if err := g.Add(os.Getpid()); err != nil {
		return nil, err
	}
	// Controllers may be missing, or be in use by cgroup v1: then there are no limits, but groups all the same.
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("cgroup controllers: %w", err)
	}
	for c := range strings.FieldsSeq(string(data)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644)
	}
	return t, nil
}

func ownGroup() (string, error) {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if p, ok := strings.CutPrefix(s.Text(), "0::"); ok {
			return p, nil
		}
	}
	return "", errors.New("no cgroup2 entry in /proc/self/cgroup")
}

// Group makes and returns the group with the given path, "services/apache". Those on the way pass memory and process limits on.
func (t *Tree) Group(path string) (*Group, error) {
	if t == nil {
		return nil, nil
	}
	dir := filepath.Join(t.dir, path)
	if _, err := os.Stat(dir); err == nil {
		return &Group{dir: dir}, nil
	}
	at := t.dir
	for part := range strings.SplitSeq(path, "/") {
		if at != t.dir { // Open has done it for the tree itself
			_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+memory"), 0o644)
			_ = os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+pids"), 0o644)
		}
		at = filepath.Join(at, part)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return nil, fmt.Errorf("make cgroup %s: %w", path, err)
		}
	}
	return &Group{dir: dir}, nil
}

// Memory is how much memory the group with the given path and those below it use, in bytes; 0 where that is not known.
func (t *Tree) Memory(path string) int64 {
	if t == nil {
		return 0
	}
	data, err := os.ReadFile(filepath.Join(t.dir, path, "memory.current"))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n
}

// Of returns the path of the group that process pid is or was in, as Group takes it; "" if it is none of the services' or the
// process is gone altogether.
func Of(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			if _, rest, ok := strings.Cut(strings.TrimSuffix(strings.TrimSpace(p), " (deleted)"), "/services/"); ok {
				return "services/" + rest
			}
		}
	}
	return ""
}

// Weight gives the group its share of the processor when there is not enough for all: 1 to 10000, 100 is everyone's. It is best effort, as
// limits are.
func (g *Group) Weight(share int) {
	if g == nil {
		return
	}
	if f, err := os.OpenFile(filepath.Join(g.dir, "cpu.weight"), os.O_WRONLY, 0); err == nil { // not there without the controller
		_, _ = f.WriteString(strconv.Itoa(share))
		_ = f.Close()
	}
}

// Limit bounds the group: memory as "512M" or "2G", processes by number; "" and 0 bound nothing. Where the machine has no
// controller for it, there is no bound.
func (g *Group) Limit(memory string, processes int) error {
	if g == nil || memory == "" && processes == 0 {
		return nil
	}
	var errs []error
	set := func(file, value string) {
		if _, err := os.Stat(filepath.Join(g.dir, file)); err != nil {
			return // no such controller here
		}
		if err := os.WriteFile(filepath.Join(g.dir, file), []byte(value), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("limit %s of cgroup %s: %w", file, filepath.Base(g.dir), err))
		}
	}
	if memory != "" {
		set("memory.max", memory)
	}
	if processes > 0 {
		set("pids.max", strconv.Itoa(processes))
	}
	return errors.Join(errs...)
}

// Open opens the group's directory for SysProcAttr.CgroupFD.
func (g *Group) Open() (*os.File, error) {
	f, err := os.OpenFile(g.dir, unix.O_DIRECTORY|unix.O_PATH, 0)
	if err != nil {
		return nil, fmt.Errorf("open cgroup: %w", err)
	}
	return f, nil
}

// Add moves a process into the group.
func (g *Group) Add(pid int) error {
	if g == nil {
		return nil
	}
	if err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("move process %d into cgroup %s: %w", pid, filepath.Base(g.dir), err)
	}
	return nil
}

// PIDs returns the processes in the group and in those below it.
func (g *Group) PIDs() []int {
	if g == nil {
		return nil
	}
	var pids []int
	_ = filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return nil
		}
		data, _ := os.ReadFile(path)
		for w := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(w); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// Empty tells whether no process is left in the group and below it.
func (g *Group) Empty() bool {
	if g == nil {
		return true
	}
	data, err := os.ReadFile(filepath.Join(g.dir, "cgroup.events"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return strings.Contains(string(data), "populated 0")
}

// Kill sends SIGKILL to every process of the group and those below it and waits until all are gone, or ctx ends.
func (g *Group) Kill(ctx context.Context) error {
	if g == nil {
		return nil
	}
	wait := 2 * time.Millisecond
	for !g.Empty() {
		if err := os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0o644); err != nil {
			for _, pid := range g.PIDs() { // kernels before 5.14
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill cgroup %s: processes %v do not end: %w", filepath.Base(g.dir), g.PIDs(), ctx.Err())
		case <-time.After(wait):
		}
		wait = min(2*wait, 100*time.Millisecond)
	}
	return nil
}

// Renew empties the group and makes it anew, for the next life of a service. A group that was killed cannot be used again: since
// Linux 6.14 (and stable kernels with "cgroup: fix race between fork and cgroup.kill") clone3 with CLONE_INTO_CGROUP compares the
// target's count of kills with that of the caller's own group, and kills the child when they differ.
func (g *Group) Renew(ctx context.Context) error {
	if g == nil {
		return nil
	}
	if err := g.Kill(ctx); err != nil {
		return err
	}
	if err := g.Remove(); err != nil {
		return err
	}
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		return fmt.Errorf("make cgroup %s: %w", filepath.Base(g.dir), err)
	}
	return nil
}

// Remove removes the group and those below it; they must be empty.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	entries, err := os.ReadDir(g.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := (&Group{dir: filepath.Join(g.dir, e.Name())}).Remove(); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(g.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}
