package logfile

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"
	"time"
)

// Ring keeps the last lines, of bounded length each. It is safe for concurrent use.
type Ring struct {
	mu    sync.Mutex
	lines []string
	next  int
	full  bool
}

// MaxLine is the length in bytes at which a line is cut.
const MaxLine = 4096

// NewRing keeps the last n lines.
func NewRing(n int) *Ring { return &Ring{lines: make([]string, n)} }

// Add appends one line.
func (r *Ring) Add(line string) {
	if len(line) > MaxLine {
		line = line[:MaxLine]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines[r.next] = line
	if r.next++; r.next == len(r.lines) {
		r.next, r.full = 0, true
	}
}

// Last returns up to n of the last lines, oldest first; n <= 0 means all.
func (r *Ring) Last(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	if r.full {
		out = append(out, r.lines[r.next:]...)
	}
	out = append(out, r.lines[:r.next]...)
	if n > 0 && len(out) > n {
		out = out[len(out)-n:]
	}
	return out
}

// Clear forgets all lines.
func (r *Ring) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.lines)
	r.next, r.full = 0, false
}

// Lines reads r until its end and hands every line, cut at MaxLine and without control characters, to each.
func Lines(r io.Reader, each func(line string)) error {
	br := bufio.NewReaderSize(r, MaxLine)
	for {
		b, more, err := br.ReadLine()
		if len(b) > 0 {
			each(Clean(string(b)))
		}
		for more && err == nil { // the rest of an overlong line
			_, more, err = br.ReadLine()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Clean replaces what could move the cursor of a terminal, and bytes that are not UTF-8.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Stamp is a log file's line: time, name and text.
func Stamp(now time.Time, name, line string) []byte {
	return []byte(now.UTC().Format("2006-01-02T15:04:05.000Z") + " " + name + ": " + line + "\n")
}
