package apply

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// NoSpaceError tells that the disk is too full. Nothing live was changed.
type NoSpaceError struct {
	Where   string // directory on the filesystem that is full
	Missing int64  // bytes, or files if Files
	Files   bool
}

func (e *NoSpaceError) Error() string {
	if e.Files {
		return fmt.Sprintf("no room in %s: the filesystem can hold %d files less than are needed; remove files that are not needed", e.Where, e.Missing)
	}
	return fmt.Sprintf("no room in %s: %d MiB are missing; free that much, the change is then made by itself", e.Where, (e.Missing+1<<20-1)>>20)
}

// LockedError names a path that may not be changed, and how to allow it.
type LockedError struct {
	Path   state.Path
	Why    string
	Remedy string
}

func (e *LockedError) Error() string { return fmt.Sprintf("%s %s; %s", e.Path, e.Why, e.Remedy) }

// ParentError tells that the directory of a path is not what it should be.
type ParentError struct {
	Path state.Path
	Why  string
}

func (e *ParentError) Error() string {
	return fmt.Sprintf("%s cannot be reached: %s; compare this server's whole tree with the wanted state", e.Path, e.Why)
}

// ContentError tells that the bytes got are not those that the state names.
type ContentError struct {
	Path state.Path
	Why  string
}

func (e *ContentError) Error() string {
	return fmt.Sprintf("the content of %s is damaged or incomplete: %s; have it sent again", e.Path, e.Why)
}

// ClashError lists what was changed on this server, where that may not be overwritten.
type ClashError struct{ Clashes []Clash }

func (e *ClashError) Error() string {
	s := fmt.Sprintf("%s was changed on this server", e.Clashes[0].Path)
	if n := len(e.Clashes) - 1; n > 0 {
		s += fmt.Sprintf(", and %d more paths", n)
	}
	return s + "; take the change over or drop it"
}

// JournalError tells that a journal cannot be read. Its generation may be half done; it is left as it is.
type JournalError struct {
	File string
	Err  error
}

func (e *JournalError) Error() string {
	return fmt.Sprintf("the journal %s is damaged: %v; compare this server's whole tree with the wanted state, "+
		"and remove the folder that the journal is in", e.File, e.Err)
}

func (e *JournalError) Unwrap() error { return e.Err }

// ErrUnfinished is wrapped by errors after which the live tree may be half changed, or changed and not known to be: call Recover.
var ErrUnfinished = errors.New("the change was neither finished nor taken back; it is decided at the next try or start")

// ErrNothing tells that there is no generation to go back from.
var ErrNothing = errors.New("there is no applied generation to go back from")

// named gives an error of a system call on a path its words.
func (a *Applier) named(p state.Path, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return &NoSpaceError{Where: a.o.Staging, Missing: 1 << 20}
	case errors.Is(err, unix.EROFS):
		return &LockedError{p, "lies on a filesystem that is read-only", "look for disk faults in the system's log (dmesg), then restart the server"}
	case errors.Is(err, fs.ErrPermission):
		return &LockedError{p, "may not be changed (" + err.Error() + ")", "look at its flags and those of its directory with lsattr"}
	case errors.Is(err, unix.EBUSY):
		return &LockedError{p, "has something mounted on it", "unmount it"}
	}
	return fmt.Errorf("%s: %w", p, err)
}
