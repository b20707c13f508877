package snapshot

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// IsTemp tells names that Make builds under; what is left of them after a power cut may be removed.
func IsTemp(name string) bool { return strings.HasPrefix(name, TempPrefix) }

// New is an entry that was built and is not in place yet. Exactly one of Replace and Discard must be called.
type New struct {
	dir  *os.File
	tmp  string
	path state.Path
	e    state.Entry
	t    *Tree
}

// Make builds e under a temporary name in the directory that p lies in, which must be there, with all its attributes, and makes it durable
// (see Options.NoSync; the name is durable only after Replace). content must yield e.Size bytes; it is used for files only, and not for
// those with e.Hard: they are linked to what is at that path now. Holes are made where content has long runs of zero bytes.
//
// Errors: *UnknownNameError for an owner, group or name in an ACL that the accounts do not have; fs.ErrNotExist where the directory is
// missing; those of the system. Nothing is left behind then.
func (t *Tree) Make(p state.Path, e state.Entry, content io.Reader) (*New, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	names := t.names.Now()
	if _, _, err := owner(p, e, names); err != nil && e.Hard == "" {
		return nil, err
	}
	d, err := t.dir(p.Dir())
	if err != nil {
		return nil, err
	}
	n := &New{dir: d, tmp: TempPrefix + rand.Text(), path: p, e: e, t: t}
	if err := n.build(content, names); err != nil {
		n.Discard()
		return nil, err
	}
	return n, nil
}

func (n *New) at() int { return int(n.dir.Fd()) }

func (n *New) build(content io.Reader, names Table) error {
	switch {
	case n.e.Hard != "":
		return n.link()
	case n.e.Kind == state.Link:
		uid, gid, err := owner(n.path, n.e, names)
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(n.e.Target, n.at(), n.tmp); err != nil {
			return fmt.Errorf("make the link /%s: %w", n.path, err)
		}
		return chownLink(n.at(), n.tmp, n.path, int(uid), int(gid))
	case n.e.Kind == state.Dir:
		if err := unix.Mkdirat(n.at(), n.tmp, 0o700); err != nil {
			return fmt.Errorf("make directory /%s: %w", n.path, err)
		}
		f, err := openDir(n.at(), n.tmp, n.t.path(n.path))
		if err != nil {
			return err
		}
		defer f.Close()
		return n.finish(f, names)
	case n.e.Kind == state.File:
		return n.file(content, names)
	}
	return fmt.Errorf("write /%s: kind %q is not known", n.path, n.e.Kind)
}

func (n *New) file(content io.Reader, names Table) error {
	fd, err := unix.Openat(n.at(), n.tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make file /%s: %w", n.path, err)
	}
	f := os.NewFile(uintptr(fd), n.t.path(n.path))
	defer f.Close()
	if content == nil {
		content = bytes.NewReader(nil)
	}
	size, err := sparseCopy(f, io.LimitReader(content, n.e.Size+1))
	if err != nil {
		return fmt.Errorf("write /%s: %w", n.path, err)
	}
	if size != n.e.Size {
		return fmt.Errorf("write /%s: the content has %d bytes or more; %d were announced", n.path, size, n.e.Size)
	}
	return n.finish(f, names)
}

// finish sets the attributes after the content, since writing clears setuid bits and capabilities.
func (n *New) finish(f *os.File, names Table) error {
	if err := setAttrs(int(f.Fd()), n.path, n.e, names); err != nil {
		return err
	}
	if n.t.opts.NoSync {
		return nil
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("make /%s durable: %w", n.path, err)
	}
	return nil
}

// link makes another name of what is at e.Hard, if that is a file.
func (n *New) link() error {
	if err := n.e.Hard.Check(); err != nil {
		return err
	}
	from, err := n.t.dir(n.e.Hard.Dir())
	if err != nil {
		return err
	}
	defer from.Close()
	if err := unix.Linkat(int(from.Fd()), n.e.Hard.Base(), n.at(), n.tmp, 0); err != nil {
		return fmt.Errorf("link /%s to /%s: %w", n.path, n.e.Hard, err)
	}
	m, err := statAt(n.at(), n.tmp, 0)
	if err == nil && m.kind() != unix.S_IFREG && m.kind() != unix.S_IFLNK {
		err = fmt.Errorf("it is %s", notKept(m.Mode))
	}
	if err != nil {
		return fmt.Errorf("link /%s to /%s: %w", n.path, n.e.Hard, err)
	}
	return nil
}

// Discard removes what was built.
func (n *New) Discard() {
	flags := 0
	if n.e.Kind == state.Dir && n.e.Hard == "" {
		flags = unix.AT_REMOVEDIR
	}
	_ = unix.Unlinkat(n.at(), n.tmp, flags)
	n.dir.Close()
}

// Replace puts the entry in place of whatever is there, in one step, and makes the name durable (see Options.NoSync). Where a directory is
// to replace a directory, the one that is there gets the attributes and keeps what it holds. A directory in the way of something else is
// removed if it is empty; else the error is a *NotEmptyError and nothing has changed.
func (n *New) Replace() error {
	defer n.Discard()
	base := n.path.Base()
	m, err := statAt(n.at(), base, 0)
	there := err == nil
	isDir := n.e.Kind == state.Dir && n.e.Hard == ""
	switch {
	case there && m.kind() == unix.S_IFDIR && isDir:
		return n.t.SetAttrs(n.path, n.e)
	case there && (m.kind() == unix.S_IFDIR) != isDir:
		if err := n.exchange(base, m.kind() == unix.S_IFDIR); err != nil {
			return err
		}
	default:
		if err := unix.Renameat(n.at(), n.tmp, n.at(), base); err != nil {
			return fmt.Errorf("put /%s in place: %w", n.path, err)
		}
	}
	return n.syncDir()
}

// exchange swaps two of different kinds, which rename(2) refuses, and removes the old one.
func (n *New) exchange(base string, oldIsDir bool) error {
	swap := func() error { return unix.Renameat2(n.at(), n.tmp, n.at(), base, unix.RENAME_EXCHANGE) }
	if err := swap(); err != nil {
		return fmt.Errorf("put /%s in place: %w", n.path, err)
	}
	flags := 0
	if oldIsDir {
		flags = unix.AT_REMOVEDIR
	}
	err := unix.Unlinkat(n.at(), n.tmp, flags)
	if err == nil {
		return nil
	}
	if back := swap(); back != nil {
		return fmt.Errorf("put /%s in place: %w; and back: %w", n.path, err, back)
	}
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return &NotEmptyError{Path: n.path}
	}
	return fmt.Errorf("put /%s in place: %w", n.path, err)
}

func (n *New) syncDir() error {
	if n.t.opts.NoSync {
		return nil
	}
	if err := n.dir.Sync(); err != nil {
		return fmt.Errorf("make /%s durable: %w", n.path.Dir(), err)
	}
	return nil
}

// SetAttrs gives the file or directory at p the owner, mode, ACLs and attributes of e, in place; of a link, the owner. What is there must
// be of e's kind.
func (t *Tree) SetAttrs(p state.Path, e state.Entry) error {
	if err := p.Check(); err != nil {
		return err
	}
	d, err := t.dir(p.Dir())
	if err != nil {
		return err
	}
	defer d.Close()
	names := t.names.Now()
	m, err := statAt(int(d.Fd()), p.Base(), 0)
	if err != nil {
		return fmt.Errorf("set attributes of /%s: %w", p, err)
	}
	kinds := map[state.Kind]uint16{state.File: unix.S_IFREG, state.Dir: unix.S_IFDIR, state.Link: unix.S_IFLNK}
	if m.kind() != kinds[e.Kind] {
		return fmt.Errorf("set attributes of /%s: it is of another kind now: %w", p, ErrBusy)
	}
	if e.Kind == state.Link {
		uid, gid, err := owner(p, e, names)
		if err != nil {
			return err
		}
		return chownLink(int(d.Fd()), p.Base(), p, int(uid), int(gid))
	}
	fd, err := unix.Openat(int(d.Fd()), p.Base(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return changed(p, err)
	}
	f := os.NewFile(uintptr(fd), t.path(p))
	defer f.Close()
	now, err := statAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil || now.inode() != m.inode() {
		return fmt.Errorf("set attributes of /%s: %w", p, errors.Join(ErrBusy, err))
	}
	if err := setAttrs(fd, p, e, names); err != nil {
		return err
	}
	if t.opts.NoSync {
		return nil
	}
	return f.Sync()
}

// chownLink gives the symbolic link name in dir to an owner, and nothing that might be there under its name by now.
func chownLink(dir int, name string, p state.Path, uid, gid int) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return changed(p, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if m, err := statAt(fd, "", unix.AT_EMPTY_PATH); err != nil || m.kind() != unix.S_IFLNK {
		return fmt.Errorf("give the link /%s to its owner: %w", p, errors.Join(ErrBusy, err))
	}
	if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("give the link /%s to its owner: %w", p, err)
	}
	return nil
}

// Remove removes what is at p: a file, a link (not what it leads to), anything else without content, or an empty directory. Nothing there
// is no error. A directory that holds something is a *NotEmptyError.
func (t *Tree) Remove(p state.Path) error {
	if err := p.Check(); err != nil {
		return err
	}
	d, err := t.dir(p.Dir())
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	err = unix.Unlinkat(int(d.Fd()), p.Base(), 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(int(d.Fd()), p.Base(), unix.AT_REMOVEDIR)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST):
		return &NotEmptyError{Path: p}
	case err != nil:
		return fmt.Errorf("remove /%s: %w", p, err)
	case t.opts.NoSync:
		return nil
	}
	return d.Sync()
}

const block = 64 << 10

// sparseCopy copies and leaves holes for blocks of zeros.
func sparseCopy(f *os.File, r io.Reader) (size int64, err error) {
	buf, zero := make([]byte, block), make([]byte, block)
	hole := false
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if hole = n == block && bytes.Equal(buf, zero); !hole {
				if _, err := f.WriteAt(buf[:n], size); err != nil {
					return size, err
				}
			}
			size += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			if hole {
				return size, f.Truncate(size)
			}
			return size, nil
		case err != nil:
			return size, err
		}
	}
}
