package snapshot

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the name that git gives to content
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Sink returns where the bytes of a file of the given size go. It is called anew for each attempt to read the file, and what an earlier
// attempt wrote is void then; it may return nil if the bytes are not wanted.
type Sink func(size int64) (io.Writer, error)

// Read tells what is at p now. The bytes of a file go to sink (nil: nowhere) while they are hashed. Entry.Hard is left empty: one path
// alone does not tell it; see Item.Inode and Item.Links.
//
// Errors: fs.ErrNotExist where nothing is; *NotKeptError, *TooLargeError; ErrBusy (wrapped) if it changed at each of several attempts.
func (t *Tree) Read(p state.Path, sink Sink) (Item, error) {
	if err := p.Check(); err != nil {
		return Item{}, err
	}
	d, err := t.dir(p.Dir())
	if err != nil {
		return Item{Path: p}, err
	}
	defer d.Close()
	return t.readAt(d, p, t.names.Now(), sink, nil)
}

// ReadBytes is Read for small files.
func (t *Tree) ReadBytes(p state.Path) (Item, []byte, error) {
	var b *bytes.Buffer
	it, err := t.Read(p, func(size int64) (io.Writer, error) {
		b = bytes.NewBuffer(make([]byte, 0, size+1))
		return b, nil
	})
	if err != nil || b == nil {
		return it, nil, err
	}
	return it, b.Bytes(), nil
}

const attempts = 4

// readAt reads the entry p whose directory is d. known may tell the hash of a file that was read before.
func (t *Tree) readAt(d *os.File, p state.Path, names Table, sink Sink, known func(state.Path, Stamp) state.Hash) (Item, error) {
	for n := 1; ; n++ {
		it, err := t.once(int(d.Fd()), p, names, sink, known)
		if err == nil || !errors.Is(err, ErrBusy) || n == attempts {
			return it, err
		}
		time.Sleep(pause(n))
	}
}

func (t *Tree) once(dir int, p state.Path, names Table, sink Sink, known func(state.Path, Stamp) state.Hash) (Item, error) {
	it := Item{Path: p}
	m, err := statAt(dir, p.Base(), 0)
	if err != nil {
		return it, fmt.Errorf("read /%s: %w", p, err)
	}
	if what := notKept(m.Mode); what != "" {
		return it, &NotKeptError{Path: p, What: what}
	}
	it.Inode, it.Links = m.inode(), m.Nlink
	it.Entry = state.Entry{Mode: uint32(m.Mode) & 0o7777, Owner: names.User(m.Uid), Group: names.Group(m.Gid)}
	switch m.kind() {
	case unix.S_IFLNK:
		it.Stamp = m.stamp()
		it.Entry.Kind, it.Entry.Mode = state.Link, 0o777
		if it.Entry.Target, err = readlink(dir, p.Base()); err != nil {
			return it, changed(p, err)
		}
		return it, nil
	case unix.S_IFDIR:
		it.Entry.Kind = state.Dir
	default:
		if m.mount() {
			return it, &NotKeptError{Path: p, What: "mounted from elsewhere (it belongs to the image)"}
		}
		it.Entry.Kind, it.Entry.Size = state.File, int64(m.Size)
		if it.Entry.Size > t.opts.MaxFile {
			return it, &TooLargeError{Path: p, Size: it.Entry.Size, Limit: t.opts.MaxFile}
		}
	}
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY
	fd, err := unix.Openat(dir, p.Base(), flags, 0)
	if err != nil {
		return it, changed(p, err)
	}
	defer func() { _ = unix.Close(fd) }()
	return it, t.opened(fd, &it, m, names, sink, known)
}

// opened reads what needs the open file, and checks that it is, and stays, the one that m describes.
func (t *Tree) opened(fd int, it *Item, m meta, names Table, sink Sink, known func(state.Path, Stamp) state.Hash) error {
	before, err := statAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("read /%s: %w", it.Path, err)
	}
	if before.exact() != m.exact() || before.Mode != m.Mode || before.Uid != m.Uid || before.Gid != m.Gid {
		if it.Entry.Kind == state.File || before.kind() != m.kind() || before.inode() != m.inode() {
			return fmt.Errorf("read /%s: %w", it.Path, ErrBusy)
		}
	}
	if it.Entry.Xattrs, err = readXattrs(fd, names); err != nil {
		return fmt.Errorf("read /%s: %w", it.Path, err)
	}
	it.Stamp = before.stamp()
	if it.Entry.Kind != state.File {
		return nil
	}
	if known != nil && it.Stamp != (Stamp{}) {
		it.Entry.Data = known(it.Path, it.Stamp)
	}
	if it.Entry.Data == "" {
		if it.Entry.Data, err = content(fd, it.Path, it.Entry.Size, sink); err != nil {
			return err
		}
	}
	after, err := statAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("read /%s: %w", it.Path, err)
	}
	if after.exact() != before.exact() {
		return fmt.Errorf("read /%s: %w", it.Path, ErrBusy)
	}
	return nil
}

// content hashes exactly size bytes as git does, and hands them on. Another number of bytes means that the file changes.
func content(fd int, p state.Path, size int64, sink Sink) (state.Hash, error) {
	var w io.Writer
	if sink != nil {
		var err error
		if w, err = sink(size); err != nil {
			return "", fmt.Errorf("read /%s: %w", p, err)
		}
	}
	h := sha1.New() //nolint:gosec // see above
	h.Write(append(strconv.AppendInt([]byte("blob "), size, 10), 0))
	buf := make([]byte, min(size+1, 128<<10)) // one more, so that a short file takes one read to see its end
	var got int64
	for {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read /%s: %w", p, err)
		}
		if got += int64(n); n == 0 || got > size {
			break
		}
		h.Write(buf[:n])
		if w != nil {
			if _, err := w.Write(buf[:n]); err != nil {
				return "", fmt.Errorf("take in /%s: %w", p, err)
			}
		}
		if got == size && n < len(buf) {
			break // the time stamps tell if it has grown
		}
	}
	if got != size {
		return "", fmt.Errorf("read /%s: %w", p, ErrBusy)
	}
	return state.Hash(hex.EncodeToString(h.Sum(nil))), nil
}

func readlink(dir int, name string) (string, error) {
	buf := make([]byte, 4097) // PATH_MAX and one more
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// changed words an error of opening what was just seen: most of them mean that it was replaced meanwhile.
func changed(p state.Path, err error) error {
	for _, e := range []error{unix.ENOENT, unix.ELOOP, unix.ENOTDIR, unix.ENXIO, unix.EINVAL, unix.EAGAIN} {
		if errors.Is(err, e) {
			return fmt.Errorf("read /%s: %w (%w)", p, ErrBusy, err)
		}
	}
	return fmt.Errorf("read /%s: %w", p, err)
}
