package history

import (
	"errors"
	"fmt"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Errors that callers tell apart.
var (
	// ErrNotFound: the commit, path or content asked for is not in this history.
	ErrNotFound = errors.New("not in the history")
	// ErrNoParent: an edit adds something to a directory that is not recorded.
	ErrNoParent = errors.New("the directory that it lies in is not recorded; record that as well")
	// ErrTooLarge: a file exceeds Options.MaxFile, or what was received exceeds the limit.
	ErrTooLarge = errors.New("larger than allowed")
	// ErrInUse: another process has this history open.
	ErrInUse = errors.New("another process has this history open; stop that one first")
	// ErrMalformed: what was received from outside is not a history of ours. Nothing of it was kept.
	ErrMalformed = errors.New("not a well-formed history")
)

// DamagedError tells that something recorded cannot be read back. The folder is to be set aside (SetAside), and recording begins anew
// with the files as they are now; the folder set aside is kept for a person, or for git, to get older states from.
type DamagedError struct {
	Where string // file or object
	What  string
	Err   error
}

func (e *DamagedError) Error() string {
	s := fmt.Sprintf("history is damaged: %s: %s", e.Where, e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s + "; set the folder aside and record anew (older states stay readable in it with git), and check the disks"
}

func (e *DamagedError) Unwrap() error { return e.Err }

// NotShownError tells why the lines of a file are not shown.
type NotShownError struct {
	Path state.Path
	Why  string
}

func (e *NotShownError) Error() string {
	return fmt.Sprintf("the lines of %s: %s", e.Path.Word(), e.Why)
}

// DivergedError tells that a received line does not continue the one here.
type DivergedError struct {
	Branch     string
	Have, Want string // commits
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("the received line %s does not continue the line %q here, which is at %s; "+
		"both changed apart: compare them, then let the received one replace it", short(e.Want), e.Branch, short(e.Have))
}

// ReplayedError tells that a received line ends before the one here: an old state, played again.
type ReplayedError struct {
	Branch     string
	Have, Want string
	At         time.Time // of Want
}

func (e *ReplayedError) Error() string {
	return fmt.Sprintf("the received state %s of %s is older than what is here already (%s of line %q); it was not taken",
		short(e.Want), e.At.UTC().Format("2006-01-02 15:04:05"), short(e.Have), e.Branch)
}

func short(id string) string {
	if len(id) > 10 {
		return id[:10]
	}
	return id
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
