package check

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Opaque is the attribute of a directory of a layer of which nothing below shows.
const Opaque = "trusted.overlay.opaque"

// lay mounts the candidate over the live directory. What is mounted below it (the image's own files) is put back on top.
func (l Layer) lay(noOverlay bool) error {
	below, err := mountsBelow(l.At)
	if err != nil {
		return err
	}
	var pieces []piece
	for _, p := range below {
		s, err := take(p)
		if err != nil {
			return fmt.Errorf("what is mounted at %s: %w", p, err)
		}
		pieces = append(pieces, s)
	}
	err = unix.ENODEV
	if !noOverlay {
		err = l.overlay()
	}
	if err != nil { // a kernel without overlay, or one that does not lay one over this filesystem
		if cerr := l.copied(); cerr != nil {
			return errors.Join(err, cerr)
		}
	}
	for _, s := range pieces {
		if err := s.put(); err != nil && !errors.Is(err, unix.EROFS) { // the candidate has no such name: then nothing shows there
			return fmt.Errorf("what is mounted at %s: %w", s.path, err)
		}
	}
	return nil
}

// overlay has no upper directory: the staged files must stay as they are, whatever a checker does.
func (l Layer) overlay() error {
	upper, err := unix.Open(l.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(upper) }()
	lower, err := unix.Open(l.At, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(lower) }()
	// Descriptors, since a colon or a comma in a path would end it here.
	options := fmt.Sprintf("lowerdir=/proc/self/fd/%d:/proc/self/fd/%d", upper, lower)
	return unix.Mount("overlay", l.At, "overlay", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, options)
}

// mountsBelow lists mount points below dir, outer ones first. A mount inside another comes along with that one.
func mountsBelow(dir string) ([]string, error) {
	points, err := MountPoints()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range points { // sorted: what is inside comes later
		inside := slices.ContainsFunc(out, func(q string) bool { return strings.HasPrefix(p, q+"/") })
		if strings.HasPrefix(p, dir+"/") && !inside {
			out = append(out, p)
		}
	}
	return out, nil
}

// MountPoints lists where something is mounted in this process's view, sorted, each once. A mount point that another mount has been laid
// over is none any more: nobody gets there.
func MountPoints() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return visible(string(data)), nil
}

// visible reads the lines of proc_pid_mountinfo(5).
func visible(text string) []string {
	type mount struct{ id, parent, at string }
	var all []mount
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 4 {
			all = append(all, mount{f[0], f[1], filepath.Clean(unescape(f[4]))})
		}
	}
	hidden := map[string]bool{} // by id
	for again := true; again; {
		again = false
		for _, m := range all {
			if hidden[m.id] {
				continue
			}
			if hidden[m.parent] || slices.ContainsFunc(all, func(over mount) bool {
				return over.parent == m.parent && over.id != m.id && strings.HasPrefix(m.at, over.at+"/")
			}) {
				hidden[m.id], again = true, true
			}
		}
	}
	var out []string
	for _, m := range all {
		if !hidden[m.id] {
			out = append(out, m.at)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// unescape undoes mountinfo's \040.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// copied does what overlay does where the kernel cannot: the live tree and then the layer are copied into memory.
func (l Layer) copied() error {
	const scratch = "/tmp"
	if err := unix.Mount("tmpfs", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=512m"); err != nil {
		return fmt.Errorf("copy the tree: %w", err)
	}
	err := copyInto(l.At, scratch, false)
	if err == nil {
		err = copyInto(l.Dir, scratch, true)
	}
	if err == nil {
		err = unix.Mount(scratch, l.At, "", unix.MS_BIND, "")
	}
	if err = errors.Join(err, unix.Unmount(scratch, unix.MNT_DETACH)); err != nil {
		return fmt.Errorf("copy the tree: %w", err)
	}
	return nil
}

// copyInto copies a tree over another; a layer's marks of removal are obeyed, not copied.
func copyInto(from, to string, layer bool) error {
	var root unix.Stat_t
	if err := unix.Lstat(from, &root); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Dev != root.Dev && d.IsDir() {
			return fs.SkipDir // another mount: it is put back later
		}
		return copyOne(path, filepath.Join(to, rel), st, layer)
	})
}

func copyOne(from, to string, st unix.Stat_t, layer bool) error {
	var was unix.Stat_t
	there := unix.Lstat(to, &was) == nil
	if there && (st.Mode&unix.S_IFMT != unix.S_IFDIR || was.Mode&unix.S_IFMT != unix.S_IFDIR || layer && isOpaque(from)) {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		there = false
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if !there {
			err = os.Mkdir(to, 0o700)
		}
	case unix.S_IFREG:
		err = copyFile(from, to)
	case unix.S_IFLNK:
		var target string
		if target, err = os.Readlink(from); err == nil {
			err = os.Symlink(target, to)
		}
	default:
		return nil // marks of removal; sockets and devices are no configuration
	}
	if err != nil {
		return err
	}
	if err := os.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	return copyACL(from, to)
}

func isOpaque(dir string) bool {
	b := make([]byte, 1)
	n, err := unix.Lgetxattr(dir, Opaque, b)
	return err == nil && n == 1 && b[0] == 'y'
}

// copyACL copies what decides who may read a file; memory keeps no other attributes on older kernels, and no checker asks for them.
func copyACL(from, to string) error {
	for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		b := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(from, name, b)
		if err != nil {
			continue
		}
		if err := unix.Lsetxattr(to, name, b[:n], 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
