package apply

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// openBeneath opens a directory below another; rel never leads through a link or over a mount, whatever others do at the same time.
func openBeneath(dir *os.File, rel string) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(int(dir.Fd()), rel, &how)
		if (errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN)) && try < 100 { // a rename elsewhere at the same time
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), rel), nil
	}
}

// openPath opens a live directory.
func (a *Applier) openPath(p state.Path) (*os.File, error) {
	pl, rel, err := a.place(p)
	if err != nil {
		return nil, err
	}
	return openBeneath(a.places[pl].dir, rel)
}

// parent opens the directory that a path lies in. Its errors are *ParentError.
func (a *Applier) parent(p state.Path) (*os.File, string, error) {
	pl, rel, err := a.place(p)
	if err != nil {
		return nil, "", err
	}
	d, err := openBeneath(a.places[pl].dir, path.Dir(rel))
	dir := p.Dir()
	switch {
	case err == nil:
		return d, path.Base(rel), nil
	case errors.Is(err, unix.ENOENT):
		return nil, "", &ParentError{p, fmt.Sprintf("the directory %s is not there", dir)}
	case errors.Is(err, unix.ELOOP):
		return nil, "", &ParentError{p, fmt.Sprintf("%s is, or leads through, a symbolic link", dir)}
	case errors.Is(err, unix.ENOTDIR):
		return nil, "", &ParentError{p, fmt.Sprintf("%s is, or leads through, something that is not a directory", dir)}
	case errors.Is(err, unix.EXDEV):
		return nil, "", &ParentError{p, fmt.Sprintf("%s lies on a mount of its own", dir)}
	}
	return nil, "", a.named(p, err)
}

// ident is what tells whether a file has been changed meanwhile. Ino 0 means that it is not there.
type ident struct {
	Ino   uint64
	Mtime int64
	Ctime int64
	Size  int64
	mode  uint32
	nlink uint64
}

func (i ident) isDir() bool  { return i.mode&unix.S_IFMT == unix.S_IFDIR }
func (i ident) isFile() bool { return i.mode&unix.S_IFMT == unix.S_IFREG }

// lstat looks at a name in a directory.
func lstat(dir *os.File, name string) (ident, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return ident{}, nil
	}
	if err != nil {
		return ident{}, err
	}
	return ident{Ino: st.Ino, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(), Size: st.Size, mode: st.Mode, nlink: st.Nlink}, nil
}

// move renames within the filesystem; flags as in renameat2(2).
func (a *Applier) move(from *os.File, name string, to *os.File, as string, flags uint) error {
	if err := a.cut("rename", name+" "+as); err != nil {
		return err
	}
	return unix.Renameat2(int(from.Fd()), name, int(to.Fd()), as, flags)
}

func (a *Applier) sync(f *os.File, what string) error {
	if err := a.cut("sync", what); err != nil {
		return err
	}
	return f.Sync()
}

// named is an open file or directory, with its name for people.
type named struct {
	*os.File
	name string
}

// flush makes several files and directories durable at once: a filesystem with a journal writes that out once for all of them, where one after
// the other each would wait for a round of its own.
func (a *Applier) flush(list []named) error {
	for _, f := range list {
		if err := a.cut("sync", f.name); err != nil {
			return err
		}
	}
	for _, f := range list { // blocks that are yet to be found for a file must not miss the round; whether it works tells what follows
		_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	errs := make([]error, len(list))
	var work sync.WaitGroup
	for i, f := range list {
		work.Go(func() { errs[i] = a.named(state.Path(f.name), f.Sync()) })
	}
	work.Wait()
	return errors.Join(errs...)
}

func (a *Applier) syncAll() error {
	if err := a.cut("syncfs", ""); err != nil {
		return err
	}
	return unix.Syncfs(int(a.staging.Fd()))
}

// openDir opens a directory, which may not be a link, in another.
func openDir(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// copyAttributes gives an open directory owner, mode, ACLs and attributes of another, and does nothing where they are the same. Owner first,
// since that clears setgid; the mode after the ACL, which sets a part of it.
func (a *Applier) copyAttributes(from, to *os.File) error {
	var st, old unix.Stat_t
	if err := errors.Join(unix.Fstat(int(from.Fd()), &st), unix.Fstat(int(to.Fd()), &old)); err != nil {
		return err
	}
	want, err := attributes(from)
	if err != nil {
		return err
	}
	have, err := attributes(to)
	if err != nil {
		return err
	}
	if st.Uid == old.Uid && st.Gid == old.Gid && st.Mode == old.Mode && maps.EqualFunc(want, have, bytes.Equal) {
		return nil
	}
	if err := a.cut("attributes", to.Name()); err != nil {
		return err
	}
	if err := to.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	for name := range have {
		if _, ok := want[name]; ok {
			continue
		}
		if err := a.cut("attribute", name); err != nil {
			return err
		}
		if err := unix.Fremovexattr(int(to.Fd()), name); err != nil && !errors.Is(err, unix.ENODATA) {
			return err
		}
	}
	for name, value := range want {
		if err := a.cut("attribute", name); err != nil {
			return err
		}
		if err := unix.Fsetxattr(int(to.Fd()), name, value, 0); err != nil {
			return err
		}
	}
	if err := a.cut("mode", to.Name()); err != nil {
		return err
	}
	return unix.Fchmod(int(to.Fd()), st.Mode&0o7777)
}

// attributes reads those that a state keeps.
func attributes(f *os.File) (map[string][]byte, error) {
	b := make([]byte, 64<<10)
	n, err := unix.Flistxattr(int(f.Fd()), b)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(string(b[:n]), "\x00") {
		if !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "system.posix_acl_") && name != "security.capability" {
			continue
		}
		v := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(int(f.Fd()), name, v)
		if err != nil {
			return nil, err
		}
		out[name] = v[:n]
	}
	return out, nil
}

// walk lists everything below a directory, names joined to prefix, without following links or leaving the mount.
func walk(dir *os.File, prefix state.Path, found func(state.Path, os.DirEntry)) error {
	list, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range list {
		p := prefix + "/" + state.Path(e.Name())
		found(p, e)
		if !e.IsDir() {
			continue
		}
		sub, err := openDir(dir, e.Name())
		if err != nil {
			return err
		}
		err = walk(sub, p, found)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
