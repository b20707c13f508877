package check

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// view makes what the checker sees, and looks up the account that it runs as.
func (o order) view() (*syscall.Credential, error) {
	// Private, not slave: this view lives for one check, and nothing that happens outside should change it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("mounts of the check: %w", err)
	}
	keep, err := o.shown()
	if err != nil {
		return nil, err
	}
	for _, l := range o.Layers {
		if err := l.lay(o.NoOverlay); err != nil {
			return nil, fmt.Errorf("show the candidate at %s: %w", l.At, err)
		}
	}
	cred, err := account(o.User)
	if err != nil {
		return nil, err
	}
	// Devices too: a disk could be written by its node although every filesystem is read-only.
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr); err != nil {
		return nil, fmt.Errorf("make the system read-only for the check: %w", err)
	}
	if err := devices(); err != nil {
		return nil, fmt.Errorf("devices of the check: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("/proc of the check: %w", err)
	}
	for _, dir := range []struct {
		path string
		mode int
	}{{"/tmp", 0o1777}, {"/var/tmp", 0o1777}, {"/run", 0o755}} {
		if err := fresh(dir.path, dir.mode, nil); err != nil {
			return nil, err
		}
	}
	for _, s := range keep {
		if err := s.put(); err != nil {
			return nil, fmt.Errorf("show %s to the checker: %w", s.path, err)
		}
	}
	for _, dir := range o.Fresh {
		if !strings.HasPrefix(dir, "/run/") && !strings.HasPrefix(dir, "/tmp/") {
			if err := replaced(dir, cred); err != nil {
				return nil, err
			}
			continue
		}
		if err := errors.Join(os.MkdirAll(dir, 0o755), give(dir, cred)); err != nil {
			return nil, fmt.Errorf("empty directory %s: %w", dir, err)
		}
	}
	return cred, nil
}

// replaced mounts an empty directory over one that the checker may want to read: that is at Was then.
func replaced(dir string, cred *syscall.Credential) error {
	s, err := take(dir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("empty directory %s: %w", dir, err)
	}
	if err := fresh(dir, 0o755, cred); err != nil {
		return err
	}
	s.path = Was + dir
	if err := s.put(); err != nil {
		return fmt.Errorf("directory %s for reading: %w", dir, err)
	}
	return nil
}

// fresh mounts an empty directory. What is not there on this server needs none.
func fresh(dir string, mode int, cred *syscall.Credential) error {
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		return nil
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=%o,size=64m", mode)); err != nil {
		return fmt.Errorf("empty directory %s: %w", dir, err)
	}
	return give(dir, cred)
}

func give(dir string, cred *syscall.Credential) error {
	if cred == nil {
		return nil
	}
	return os.Chown(dir, int(cred.Uid), int(cred.Gid))
}

// devices mounts a /dev with nothing but what every program may use, and the way to the system's log: some checkers tell their findings
// there only.
func devices() error {
	names := []string{"null", "zero", "full", "random", "urandom", "log"}
	fds := map[string]int{}
	for _, n := range names {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+n, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_NODEV}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			return err
		}
		fds[n] = fd
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=16m"); err != nil {
		return err
	}
	for n, fd := range fds {
		if err := os.WriteFile("/dev/"+n, nil, 0o600); err != nil {
			return err
		}
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, "/dev/"+n, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return err
		}
	}
	if err := os.Mkdir("/dev/shm", 0o777); err != nil {
		return err
	}
	if err := unix.Chmod("/dev/shm", 0o1777); err != nil {
		return err
	}
	for n, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, "/dev/"+n); err != nil {
			return err
		}
	}
	return nil
}

// piece is a part of the tree that was taken up before something was mounted over it.
type piece struct {
	path string
	dir  bool
	fd   int
}

// shown takes up what of /run the checker must see.
func (o order) shown() ([]piece, error) {
	var out []piece
	for _, p := range o.Show {
		if p != filepath.Clean(p) || !strings.HasPrefix(p, "/run/") {
			return nil, fmt.Errorf("show %s to the checker: only paths below /run need that", p)
		}
		s, err := take(p)
		if errors.Is(err, unix.ENOENT) {
			continue // the service does not run yet
		}
		if err != nil {
			return nil, fmt.Errorf("show %s to the checker: %w", p, err)
		}
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID}
		if err := unix.MountSetattr(s.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return nil, fmt.Errorf("show %s to the checker: %w", p, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func take(path string) (piece, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return piece{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return piece{}, err
	}
	return piece{path: path, dir: st.Mode&unix.S_IFMT == unix.S_IFDIR, fd: fd}, nil
}

// put puts it where it was; a place is made for it if it has none.
func (s piece) put() error {
	defer func() { _ = unix.Close(s.fd) }()
	if _, err := os.Lstat(s.path); err != nil {
		if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
			return err
		}
		if s.dir {
			err = os.Mkdir(s.path, 0o755)
		} else {
			err = os.WriteFile(s.path, nil, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return unix.MoveMount(s.fd, "", unix.AT_FDCWD, s.path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}
