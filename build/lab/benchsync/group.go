package benchsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// group is what the kernel counts together: control groups (v2), with all processes that were started in them and what these have started,
// also those that have ended meanwhile and for which nobody waited.
type group struct{ dirs []string }

// mounted is where control groups are.
func mounted() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", errors.New("this machine has no control groups (cgroup2) mounted, and processor time is counted with them; mount -t cgroup2 cgroup2 /sys/fs/cgroup")
}

// groupOf is the group that a process is in.
func groupOf(pid int) (string, error) {
	root, err := mounted()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && path != "/" {
			return filepath.Join(root, path), nil
		}
	}
	return "", fmt.Errorf("process %d is in no control group of its own", pid)
}

// newGroup makes a group. end kills what is left in it and removes it.
func newGroup(name string) (g group, end func() error, err error) {
	root, err := mounted()
	if err != nil {
		return g, nil, err
	}
	dir := filepath.Join(root, fmt.Sprintf("atlas-bench-%d-%s", os.Getpid(), name))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return g, nil, fmt.Errorf("make a control group to count processor time with: %w", err)
	}
	g = group{dirs: []string{dir}}
	return g, func() error {
		var err error
		for range 50 { // processes take a moment to go
			if err = syscall.Rmdir(dir); err == nil {
				return nil
			}
			for _, pid := range g.pids() {
				_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is as good
			}
			time.Sleep(20 * time.Millisecond)
		}
		return fmt.Errorf("remove %s: %w", dir, err)
	}, nil
}

// command is one that runs in the group.
func (g group) command(ctx context.Context, env []string, args ...string) (*exec.Cmd, func(), error) {
	dir, err := os.Open(g.dirs[0])
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return cmd, func() { _ = dir.Close() }, nil
}

// run runs a command to its end.
func (g group) run(ctx context.Context, env []string, args ...string) error {
	cmd, started, err := g.command(ctx, env, args...)
	if err != nil {
		return err
	}
	defer started()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// start starts a daemon.
func (g group) start(ctx context.Context, env []string, args ...string) (end func() error, err error) {
	cmd, started, err := g.command(ctx, env, args...)
	if err != nil {
		return nil, err
	}
	defer started()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.Join(args, " "), err)
	}
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // gone already is as good
		_ = cmd.Wait()                          // ended by the signal, as it should
		return nil
	}, nil
}

// used is the processor time, user's and system's, of all that ever was in the group.
func (g group) used() time.Duration {
	var sum time.Duration
	for _, dir := range g.dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "usage_usec" {
				v, _ := strconv.ParseInt(f[1], 10, 64)
				sum += time.Duration(v) * time.Microsecond
			}
		}
	}
	return sum
}

// pids are the processes in the group now, also in groups below it.
func (g group) pids() []int {
	var out []int
	for _, dir := range g.dirs {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "cgroup.procs" {
				return nil
			}
			text, _ := os.ReadFile(path) // a group that went meanwhile has none
			for f := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(f); err == nil {
					out = append(out, pid)
				}
			}
			return nil
		})
	}
	return out
}

// memory is what the processes hold, in KiB; of what several share each has its part (PSS).
func (g group) memory() int {
	sum := 0
	for _, pid := range g.pids() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				v, _ := strconv.Atoi(f[1])
				sum += v
			}
		}
	}
	return sum
}
