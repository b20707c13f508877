package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Scan reads the tree below root.
func Scan(root string) (Tree, error) {
	t := Tree{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		n, err := node(path)
		if err != nil {
			return err
		}
		t[filepath.ToSlash(rel)] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", root, err)
	}
	return t, nil
}

func node(path string) (Node, error) {
	var n Node
	st, err := os.Lstat(path)
	if err != nil {
		return n, err
	}
	sys := st.Sys().(*syscall.Stat_t)
	n.Attrs = Attrs{Mode: sys.Mode & 0o7777, UID: sys.Uid, GID: sys.Gid}
	switch {
	case st.Mode().IsRegular():
		n.Content.Kind = "file"
		if n.Content.Data, err = hash(path); err != nil {
			return n, err
		}
	case st.IsDir():
		n.Content.Kind = "dir"
	case st.Mode()&fs.ModeSymlink != 0:
		n.Content.Kind = "link"
		if n.Content.Data, err = os.Readlink(path); err != nil {
			return n, err
		}
	default:
		n.Content = Content{Kind: "other", Data: fmt.Sprintf("%o %d", sys.Mode&syscall.S_IFMT, sys.Rdev)}
	}
	x, err := xattrs(path)
	if err != nil || len(x) == 0 {
		return n, err
	}
	h := sha256.New()
	for _, a := range x {
		fmt.Fprintf(h, "%d:%s%d:%s", len(a.name), a.name, len(a.value), a.value)
	}
	n.Attrs.Xattrs = hex.EncodeToString(h.Sum(nil))
	return n, nil
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type xattr struct {
	name  string
	value []byte
}

// xattrs reads extended attributes in the order of their names; ACLs and capabilities are among them.
func xattrs(path string) ([]xattr, error) {
	size, err := unix.Llistxattr(path, nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes of %s: %w", path, err)
	}
	b := make([]byte, size)
	if size, err = unix.Llistxattr(path, b); err != nil {
		return nil, fmt.Errorf("list attributes of %s: %w", path, err)
	}
	var out []xattr
	for name := range strings.SplitSeq(string(b[:size]), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Lgetxattr(path, name, v)
		if err != nil {
			return nil, fmt.Errorf("read attribute %s of %s: %w", name, path, err)
		}
		out = append(out, xattr{name, bytes.Clone(v[:n])})
	}
	slices.SortFunc(out, func(a, b xattr) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// copyTree copies a tree with owners, modes, ACLs, extended attributes, hard links and times.
func copyTree(from, to string) error {
	cp := "/bin/cp"
	if _, err := os.Stat(cp); err != nil {
		cp = "cp"
	}
	c := exec.Command(cp, "-a", "-T", "--reflink=auto", from, to)
	c.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s to %s: %w: %s", from, to, err, bytes.TrimSpace(out))
	}
	return nil
}

// apply does one step of a merge to dir.
func apply(dir, imageDir string, s Step) error {
	ours, image := filepath.Join(dir, s.Path), filepath.Join(imageDir, s.Path)
	switch {
	case s.Aside:
		return replace(image, ours+Suffix)
	case s.Content == None:
		if err := os.Remove(ours); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	case s.Content == Image && s.Attrs == Image:
		return replace(image, ours)
	case s.Content == Image:
		old, err := copyAttrsOf(ours)
		if err != nil {
			return err
		}
		if err := replace(image, ours); err != nil {
			return err
		}
		return old.set(ours)
	case s.Attrs == Image:
		a, err := copyAttrsOf(image)
		if err != nil {
			return err
		}
		return a.set(ours)
	}
	return nil
}

// replace puts a copy of one file, link or (empty) directory at to, over whatever is there.
func replace(from, to string) error {
	st, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if st.IsDir() {
		if old, err := os.Lstat(to); err != nil || !old.IsDir() {
			if err := os.RemoveAll(to); err != nil {
				return err
			}
			if err := os.Mkdir(to, 0o700); err != nil {
				return err
			}
		}
		a, err := copyAttrsOf(from)
		if err != nil {
			return err
		}
		return a.set(to)
	}
	tmp := to + building
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := copyOne(from, tmp, st); err != nil {
		return err
	}
	if old, err := os.Lstat(to); err == nil && old.IsDir() {
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	return os.Rename(tmp, to)
}

// copyOne copies what is no directory. A conversion replaces hundreds of files: a process for each would take most of its time.
func copyOne(from, to string, st fs.FileInfo) error {
	switch {
	case st.Mode().IsRegular():
		if err := copyFile(from, to); err != nil {
			return err
		}
	case st.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, to); err != nil {
			return err
		}
	default:
		return copyTree(from, to)
	}
	a, err := copyAttrsOf(from)
	if err != nil {
		return err
	}
	if err := a.set(to); err != nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	return os.Chtimes(to, time.Time{}, st.ModTime())
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		return errors.Join(fmt.Errorf("copy %s: %w", from, err), dst.Close())
	}
	return dst.Close()
}

// attrs is what is attached to a file, to be attached to another.
type attrs struct {
	mode     uint32
	link     bool
	uid, gid int
	xattrs   []xattr
}

func copyAttrsOf(path string) (attrs, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return attrs{}, err
	}
	sys := st.Sys().(*syscall.Stat_t)
	a := attrs{mode: sys.Mode & 0o7777, link: st.Mode()&fs.ModeSymlink != 0, uid: int(sys.Uid), gid: int(sys.Gid)}
	a.xattrs, err = xattrs(path)
	return a, err
}

// set attaches a to path: owner first, since changing it drops setuid and capabilities.
func (a attrs) set(path string) error {
	if err := os.Lchown(path, a.uid, a.gid); err != nil {
		return err
	}
	if st, err := os.Lstat(path); err == nil && !a.link && st.Mode()&fs.ModeSymlink == 0 {
		if err := unix.Chmod(path, a.mode); err != nil {
			return fmt.Errorf("chmod %s: %w", path, err)
		}
	}
	have, err := xattrs(path)
	if err != nil {
		return err
	}
	for _, x := range have {
		if !slices.ContainsFunc(a.xattrs, func(y xattr) bool { return y.name == x.name }) {
			if err := unix.Lremovexattr(path, x.name); err != nil {
				return fmt.Errorf("remove attribute %s of %s: %w", x.name, path, err)
			}
		}
	}
	for _, x := range a.xattrs {
		if err := unix.Lsetxattr(path, x.name, x.value, 0); err != nil {
			return fmt.Errorf("set attribute %s of %s: %w", x.name, path, err)
		}
	}
	return nil
}

// syncFS makes everything on the filesystem of path durable. A link has no descriptor of its own: its directory stands for it.
func syncFS(path string) error {
	if st, err := os.Lstat(path); err == nil && !st.IsDir() {
		path = filepath.Dir(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the filesystem of %s: %w", path, err)
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
