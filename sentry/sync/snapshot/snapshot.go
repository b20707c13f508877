// Package snapshot reads live files into state.Entry, and puts entries back: with owner by name, mode, links, extended attributes,
// capabilities and ACLs.
//
// Data flow: a Tree stands for a directory that is a filesystem's root (the server's, a staging place, a test's). Read tells what one path
// is now and hands its bytes to the caller while it hashes them; Scan yields every path below some roots in the order of the paths, with
// hard links resolved. The other way, Make builds an entry under a temporary name in the directory where it belongs, durable and with all
// its attributes, and New.Replace renames it into place.
//
// Paths come from people and from other servers, and directories below the root may belong to people who are no administrators. So every
// directory on the way is opened without following links (openat2: RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS), and a file is opened only as
// what it was seen to be: nobody can make root read or write /etc/shadow by putting a link in the way.
//
// It keeps no history, decides nothing about what is tracked, and sends nothing. FIFOs, sockets, devices and mount points are no
// configuration: they come back as *NotKeptError.
package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// TempPrefix begins the names under which Make builds. Scan passes such names over; IsTemp tells them.
const TempPrefix = ".atlas-new-"

// Default limits of Options.
const (
	DefaultMaxFile    = 256 << 20
	DefaultMaxEntries = 200_000
)

// Options of a Tree. The zero value is usable.
type Options struct {
	Names      *Names // owners; nil: those of the tree's own etc/passwd and etc/group
	MaxFile    int64  // largest file that is kept, in bytes; 0: DefaultMaxFile
	MaxEntries int    // most entries of one scan; 0: DefaultMaxEntries
	// NoSync leaves out the fsync of every file that Make builds; the caller calls Tree.Sync before it relies on them.
	NoSync bool
}

// Tree is a filesystem's root that entries are read from and written to. It may be used by several goroutines at once.
type Tree struct {
	root  *os.File
	name  string
	names *Names
	opts  Options
}

// Open opens the directory root, which may be reached through links itself.
func Open(root string, o Options) (*Tree, error) {
	if o.MaxFile == 0 {
		o.MaxFile = DefaultMaxFile
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	f, err := os.OpenFile(root, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the tree: %w", err)
	}
	if o.Names == nil {
		o.Names = NewNames(root)
	}
	return &Tree{root: f, name: root, names: o.Names, opts: o}, nil
}

// Close closes the tree.
func (t *Tree) Close() error { return t.root.Close() }

// Sync makes everything on the filesystem of the directory p durable; "" stands for the root.
func (t *Tree) Sync(p state.Path) error {
	d, err := t.dir(p)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("make %s durable: %w", t.path(p), err)
	}
	return nil
}

// path words p for messages.
func (t *Tree) path(p state.Path) string { return filepath.Join(t.name, string(p)) }

const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// dir opens the directory p, "" for the root, without following a link.
func (t *Tree) dir(p state.Path) (*os.File, error) {
	if p == "" {
		p = "."
	} else if err := p.Check(); err != nil {
		return nil, err
	}
	return openDir(int(t.root.Fd()), string(p), t.path(p))
}

// openDir opens the directory name below the directory at.
func openDir(at int, name, full string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: beneath}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(at, name, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), full), nil
		}
		// EAGAIN: something was renamed meanwhile, so that the kernel could not be sure that we stay beneath (openat2(2)).
		if (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) && try < 100 {
			continue
		}
		return nil, fmt.Errorf("open directory %s: %w", full, err)
	}
}

// Stamp changes whenever a file's content or attributes change, as far as the kernel's clock can tell. The zero Stamp stands for a file
// that was changed so shortly before that a later change might have the same times: it is not to be relied on.
type Stamp struct {
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64 // ns since 1970
}

// Item is an entry with its path and what tells whether it is still the same file.
type Item struct {
	Path  state.Path
	Entry state.Entry
	Stamp Stamp
	Inode Inode
	Links uint32 // names of the file, tracked or not
}

// Inode names a file apart from its paths.
type Inode struct{ Dev, Ino uint64 }

// meta is what statx tells that matters here.
type meta struct {
	unix.Statx_t
	now time.Time
}

const wanted = unix.STATX_BASIC_STATS

func statAt(dir int, name string, flags int) (meta, error) {
	m := meta{now: time.Now()}
	err := unix.Statx(dir, name, flags|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, wanted, &m.Statx_t)
	return m, err
}

func (m *meta) inode() Inode { return Inode{unix.Mkdev(m.Dev_major, m.Dev_minor), m.Ino} }
func (m *meta) mount() bool  { return m.Attributes&m.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 }
func (m *meta) kind() uint16 { return m.Mode & unix.S_IFMT }

// fresh is longer than the step of the clock that files are stamped with (a tick of at most 10 ms).
const fresh = 20 * time.Millisecond

func (m *meta) stamp() Stamp {
	s := m.exact()
	if m.now.UnixNano()-max(s.Ctime, s.Mtime) < int64(fresh) {
		return Stamp{}
	}
	return s
}

func (m *meta) exact() Stamp {
	return Stamp{
		m.inode().Dev, m.Ino, int64(m.Size), int64(m.Mtime.Sec)*1e9 + int64(m.Mtime.Nsec), int64(m.Ctime.Sec)*1e9 + int64(m.Ctime.Nsec),
	}
}
