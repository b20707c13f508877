package snapshot

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// ErrBusy is wrapped by the error about a file that was changed whenever it was read. Try again when it was left alone for a while.
var ErrBusy = errors.New("the file is being changed while it is read")

// NotKeptError is about something that is no configuration and is not kept.
type NotKeptError struct {
	Path state.Path
	What string // "a FIFO (named pipe)"
}

func (e *NotKeptError) Error() string {
	return fmt.Sprintf("/%s is %s, which is neither kept nor sent to other servers", e.Path, e.What)
}

// TooLargeError is about a file above the limit.
type TooLargeError struct {
	Path        state.Path
	Size, Limit int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("/%s has %d bytes; files above %d bytes are not kept: move it away, or leave its directory out", e.Path, e.Size, e.Limit)
}

// TooManyError is about more entries than the limit. The scan ends with it.
type TooManyError struct {
	Limit int
	Dir   state.Path // the directory that holds most of those seen
	Held  int        // entries directly in Dir, as far as seen
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("there are more than %d files to keep, most (%d or more) directly in /%s: move them away, or leave that directory out",
		e.Limit, e.Held, e.Dir)
}

// UnknownNameError is about an owner or group that the tree's accounts do not have.
type UnknownNameError struct {
	Path  state.Path
	Name  string
	Group bool
}

func (e *UnknownNameError) Error() string {
	what, where := "account", "passwd"
	if e.Group {
		what, where = "group", "group"
	}
	if e.Path == "" {
		return fmt.Sprintf("there is no %s %q in /etc/%s", what, e.Name, where)
	}
	return fmt.Sprintf("/%s belongs to the %s %q, which is not in /etc/%s here", e.Path, what, e.Name, where)
}

// NotEmptyError is about a directory in the way of a file, which still holds something.
type NotEmptyError struct{ Path state.Path }

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("the directory /%s is in the way and is not empty", e.Path)
}

// notKept tells what is not kept about a kind of file; "" for what is.
func notKept(mode uint16) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
		return ""
	case unix.S_IFIFO:
		return "a FIFO (named pipe)"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "a device"
	}
	return "of an unknown kind"
}
