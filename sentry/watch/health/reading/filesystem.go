package reading

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Space of a filesystem. Bytes that only root may use do not count as free.
type Space struct {
	Size       uint64 `json:"size"`
	Free       uint64 `json:"free"`
	Inodes     uint64 `json:"inodes,omitempty"` // 0: it makes them as it needs them
	InodesFree uint64 `json:"inodes_free,omitempty"`
}

// Statfs asks the system for the space of the filesystem that path is on.
func Statfs(path string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Space{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	return Space{Size: s.Blocks * uint64(s.Bsize), Free: s.Bavail * uint64(s.Bsize), Inodes: s.Files, InodesFree: s.Ffree}, nil
}

// Mount is what is mounted at a place.
type Mount struct {
	Point    string
	Type     string
	Source   string // "/dev/md127"
	Device   string // major:minor
	ReadOnly bool   // the mount, or the filesystem under it
}

// Mounts reads /proc/self/mountinfo (proc_pid_mountinfo(5)); the later of two at one place, which hides the other, wins.
func (r Root) Mounts() (map[string]Mount, error) {
	s, err := r.text("proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(s), nil
}

func parseMounts(s string) map[string]Mount {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	out := map[string]Mount{}
	for line := range strings.Lines(s) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 {
			continue
		}
		m := Mount{Point: unescape.Replace(f[4]), Device: f[2], Type: g[0], Source: unescape.Replace(g[1])}
		m.ReadOnly = hasOption(f[5], "ro") || hasOption(g[2], "ro")
		out[m.Point] = m
	}
	return out
}

func hasOption(list, want string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// Ext4Errors is how many errors the filesystem of m has found in itself since it was made or last mended (Documentation/ABI/testing/sysfs-fs-ext4).
func (r Root) Ext4Errors(m Mount) uint64 {
	name, ok := strings.CutPrefix(m.Source, "/dev/")
	if m.Type != "ext4" || !ok || strings.Contains(name, "/") {
		return 0
	}
	return r.count("sys/fs/ext4", name, "errors_count")
}

// Partition finds the device node of a partition by its name in the GPT, as the kernel tells it: "/dev/sda1".
func (r Root) Partition(name string) (string, error) {
	for _, n := range r.names("sys/class/block") {
		for line := range strings.Lines(r.word("sys/class/block", n, "uevent")) {
			if strings.TrimSpace(line) == "PARTNAME="+name {
				return "/dev/" + n, nil
			}
		}
	}
	return "", fmt.Errorf("partition %s: %w", name, ErrAbsent)
}
