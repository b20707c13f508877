// Package mounts makes the file systems that init needs, and takes all of them down again at the end. It knows nothing of disk
// sets: those are initsvc/storage's and initsvc/tree's.
package mounts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one file system to mount.
type Mount struct {
	Source, Target, Type string
	Flags                uintptr
	Data                 string
	// Optional: a failure is not told; the kernel or a lab's machine may not have it.
	Optional bool
}

// Early are the file systems of a machine, in order. What is mounted already (by the initramfs) stays.
func Early() []Mount {
	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return []Mount{
		{Source: "proc", Target: "/proc", Type: "proc", Flags: safe},
		{Source: "sysfs", Target: "/sys", Type: "sysfs", Flags: safe},
		{Source: "devtmpfs", Target: "/dev", Type: "devtmpfs", Flags: unix.MS_NOSUID, Data: "mode=0755"},
		{Source: "devpts", Target: "/dev/pts", Type: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "gid=5,mode=0620,ptmxmode=0666"},
		{Source: "tmpfs", Target: "/dev/shm", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777"},
		{Source: "tmpfs", Target: "/run", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=0755"},
		{Source: "tmpfs", Target: "/tmp", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777"},
		{Source: "efivarfs", Target: "/sys/firmware/efi/efivars", Type: "efivarfs", Flags: safe, Optional: true},
		{Source: "securityfs", Target: "/sys/kernel/security", Type: "securityfs", Flags: safe, Optional: true},
	}
}

// DevLinks makes the names below dev that programs and scripts expect and the kernel does not make (udev's static nodes, in other systems).
func DevLinks(dev string) error {
	var errs []error
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "core": "/proc/kcore",
	} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			errs = append(errs, fmt.Errorf("make %s: %w", filepath.Join(dev, name), err))
		}
	}
	return errors.Join(errs...)
}

// All mounts each of list that is not a mount point yet, and returns the errors together.
func All(list []Mount) error {
	here, err := points()
	if err != nil && len(list) > 0 && list[0].Target != "/proc" {
		return err
	}
	var errs []error
	for _, m := range list {
		if here[m.Target] {
			continue
		}
		if err := os.MkdirAll(m.Target, 0o755); err != nil {
			if !m.Optional {
				errs = append(errs, fmt.Errorf("mount %s: %w", m.Target, err))
			}
			continue
		}
		if err := unix.Mount(m.Source, m.Target, m.Type, m.Flags, m.Data); err != nil && !m.Optional {
			errs = append(errs, fmt.Errorf("mount %s: %w", m.Target, err))
		}
	}
	return errors.Join(errs...)
}

// Bind shows the tree at from also at to, without what is mounted below from.
func Bind(from, to string) error {
	here, err := points()
	if err != nil {
		return err
	}
	if here[to] {
		return nil
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("bind %s: %w", to, err)
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s at %s: %w", from, to, err)
	}
	return nil
}

// Private keeps what is mounted here out of other mount namespaces and the other way round.
func Private() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

// Entry is one line of /proc/self/mountinfo.
type Entry struct {
	ID       int
	Point    string
	Type     string
	Source   string
	ReadOnly bool
}

// List returns what is mounted, in order of mounting.
func List() ([]Entry, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	return parse(f)
}

// parse reads the format of proc_pid_mountinfo(5).
func parse(r io.Reader) ([]Entry, error) {
	var out []Entry
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		left, right, ok := strings.Cut(s.Text(), " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 6 || len(g) < 2 {
			continue
		}
		id, err := strconv.Atoi(f[0])
		if err != nil {
			continue
		}
		e := Entry{ID: id, Point: unescape(f[4]), Type: g[0], Source: unescape(g[1])}
		e.ReadOnly = f[5] == "ro" || strings.HasPrefix(f[5], "ro,")
		out = append(out, e)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return out, nil
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func points() (map[string]bool, error) {
	list, err := List()
	out := map[string]bool{}
	for _, e := range list {
		out[e.Point] = true
	}
	return out, err
}

// kept are file systems that hold nothing that could be lost; they stay to the end since init works with them.
var kept = map[string]bool{
	"proc": true, "sysfs": true, "devtmpfs": true, "devpts": true, "tmpfs": true, "cgroup2": true, "cgroup": true,
	"efivarfs": true, "securityfs": true, "squashfs": true, "iso9660": true, "rootfs": true, "ramfs": true, "mqueue": true,
}

// Down unmounts everything that lies on a disk, last mounted first, and makes read-only what cannot be unmounted. It returns
// what is still writable.
func Down() []string {
	for range 3 { // a mount that is stacked on another frees the lower one
		list, err := List()
		if err != nil {
			return []string{"?"}
		}
		n := 0
		for _, l := range slices.Backward(list) {
			if e := l; e.Point != "/" && !kept[e.Type] && unix.Unmount(e.Point, 0) == nil {
				n++
			}
		}
		if n == 0 {
			break
		}
	}
	unix.Sync()
	list, err := List()
	if err != nil {
		return []string{"?"}
	}
	var left []string
	for _, e := range slices.Backward(list) {

		if kept[e.Type] || e.ReadOnly {
			continue
		}
		if unix.Mount("", e.Point, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") != nil {
			left = append(left, e.Point)
		}
	}
	return left
}

// Device mounts a block device at dir, which is made.
func Device(dev, dir, fstype string, flags uintptr, data string) error {
	if err := os.MkdirAll(filepath.Clean(dir), 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", dev, err)
	}
	if err := unix.Mount(dev, dir, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", dev, dir, err)
	}
	return nil
}
