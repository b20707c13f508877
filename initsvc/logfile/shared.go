package logfile

import (
	"os"
	"time"
)

// NewShared is New for a file that logrotate and people rename, remove or cut short besides: a second later at most, lines go into a
// new file of the name, so that no postrotate script is needed. New files belong to group gid.
func NewShared(path string, limit int64, keep, gid int) *File {
	l := New(path, limit, keep)
	l.shared, l.gid = true, gid
	return l
}

// look lets go of a shared file that does not have its name any more.
func (l *File) look() {
	if !l.shared || l.f == nil || time.Since(l.looked) < time.Second {
		return
	}
	l.looked = time.Now()
	is, err := os.Stat(l.path)
	if err != nil {
		l.close()
		return
	}
	mine, err := l.f.Stat()
	if err != nil || !os.SameFile(is, mine) {
		l.close()
		return
	}
	l.size = mine.Size()
}
