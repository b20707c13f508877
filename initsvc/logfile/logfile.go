// Package logfile keeps what processes print: whole lines with time and name, appended to files that rotate before they grow
// large, and the last lines in memory for error messages. Nothing here blocks on a full or broken disk: lines that cannot be
// written are dropped and counted, since the writer is PID 1.
package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// File is an append-only file that is renamed to path.1 … path.keep when it grows over its limit. The zero value is not usable.
type File struct {
	path   string
	max    int64
	keep   int
	shared bool // others rename and remove it too
	gid    int  // group of new files

	mu      sync.Mutex
	f       *os.File
	size    int64
	dropped int
	looked  time.Time // when a shared file's name was last looked at
}

// Defaults of New.
const (
	DefaultMax  = 4 << 20
	DefaultKeep = 3
)

// New returns a rotating file; it and its directory are made at the first write. limit and keep of 0 take the defaults.
func New(path string, limit int64, keep int) *File {
	if limit <= 0 {
		limit = DefaultMax
	}
	if keep <= 0 {
		keep = DefaultKeep
	}
	return &File{path: path, max: limit, keep: keep}
}

// Path is where the lines go.
func (l *File) Path() string { return l.path }

// Write appends p, which should be whole lines. It reports success even if the bytes had to be dropped: see Dropped.
func (l *File) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(p); err != nil {
		l.dropped++
		l.close()
	}
	return len(p), nil
}

func (l *File) write(p []byte) error {
	l.look()
	if l.f == nil {
		if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return err
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return err
		}
		l.f, l.size = f, st.Size()
		if l.gid != 0 && l.size == 0 {
			_ = f.Chown(0, l.gid) // readable for fewer people where it fails
		}
	}
	if l.size > 0 && l.size+int64(len(p)) > l.max {
		if err := l.rotate(); err != nil {
			return err
		}
		return l.write(p)
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return err
}

func (l *File) rotate() error {
	l.close()
	for i := l.keep; i > 1; i-- {
		_ = os.Rename(fmt.Sprintf("%s.%d", l.path, i-1), fmt.Sprintf("%s.%d", l.path, i))
	}
	return os.Rename(l.path, l.path+".1")
}

func (l *File) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

// Close closes the file; a later Write opens it again.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.close()
	return nil
}

// Dropped tells how many writes could not be kept.
func (l *File) Dropped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}
