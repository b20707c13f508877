// Package mounts mounts and unmounts for the store and for the set's tree: unmounting waits for the last user and names those that do
// not go. It never unmounts lazily: a filesystem that is still in use would go on being written behind a stopped array's back.
package mounts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bind mounts src over dst, files or directories.
func Bind(src, dst string) error {
	if err := unix.Mount(src, dst, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s at %s: %w", src, dst, err)
	}
	return nil
}

// Points lists all mount points that this process sees, in the order of mounting.
func Points() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return points(string(data)), nil
}

// points lists the mount points of a mountinfo file (proc_pid_mountinfo(5)), in order.
func points(mountinfo string) []string {
	var out []string
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 4 {
			out = append(out, unescape.Replace(f[4]))
		}
	}
	return out
}

// BusyError tells who keeps a filesystem from being unmounted.
type BusyError struct {
	Path string
	Who  []string // "sshd (412)"
}

// Error implements error.
func (e *BusyError) Error() string {
	if len(e.Who) == 0 {
		return fmt.Sprintf("unmount %s: in use", e.Path)
	}
	return fmt.Sprintf("unmount %s: in use by %s", e.Path, strings.Join(e.Who, ", "))
}

// Unwrap makes a BusyError an EBUSY.
func (e *BusyError) Unwrap() error { return unix.EBUSY }

// Unmount unmounts what is on top at path, waiting for its last user until ctx ends, or for wait. Nothing mounted is no error.
func Unmount(ctx context.Context, path string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY):
			return fmt.Errorf("unmount %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return &BusyError{Path: path, Who: holders("/proc", path)}
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// holders lists processes with a working directory, root, program, open file or mapping below path.
func holders(proc, path string) []string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return nil
	}
	uses := func(link string) bool {
		var s unix.Stat_t
		return unix.Stat(link, &s) == nil && s.Dev == st.Dev
	}
	dirs, _ := os.ReadDir(proc)
	var out []string
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		base := filepath.Join(proc, d.Name())
		links := []string{base + "/cwd", base + "/root", base + "/exe"}
		for _, sub := range []string{"fd", "map_files"} {
			entries, _ := os.ReadDir(filepath.Join(base, sub))
			for _, e := range entries {
				links = append(links, filepath.Join(base, sub, e.Name()))
			}
		}
		if slices.ContainsFunc(links, uses) {
			name, _ := os.ReadFile(base + "/comm")
			out = append(out, fmt.Sprintf("%s (%s)", strings.TrimSpace(string(name)), d.Name()))
		}
	}
	return out
}
