// Package reading reads what the kernel, the sensors, the disks and some files tell of a server's health, into plain numbers. It judges nothing
// (package health does) and changes nothing.
//
// Everything is read below Root, so that recorded trees can stand in for /proc, /sys, /etc and /var; only sizes of filesystems and smartctl are
// asked of the system, through functions that are handed in. What is not there is told as ErrAbsent; what is there and makes no sense is left out
// or is an error, never a number: all of it comes from firmware and devices that may be broken just now.
package reading

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrAbsent says that this server does not have, or does not tell, what was asked for.
var ErrAbsent = errors.New("not there")

// Root is where /proc, /sys and the rest are read; "" = /.
type Root string

// maxFile is the most that is read of one file: nothing that is read here is larger, but for a certificate with a long chain.
const maxFile = 256 << 10

func (r Root) path(elem ...string) string {
	return filepath.Join(append([]string{string(r) + "/"}, elem...)...)
}

// text returns a file without white space around it.
func (r Root) text(elem ...string) (string, error) {
	p := r.path(elem...)
	f, err := os.Open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", p, ErrAbsent)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", p, err)
	}
	return strings.TrimSpace(strings.Trim(string(b), "\x00")), nil
}

// word is text of what may be absent: "" then, or when it cannot be read, as with a sensor that does not answer.
func (r Root) word(elem ...string) string {
	s, err := r.text(elem...)
	if err != nil {
		return ""
	}
	return s
}

// number is a whole number of what may be absent.
func (r Root) number(elem ...string) (int64, bool) {
	n, err := strconv.ParseInt(r.word(elem...), 10, 64)
	return n, err == nil
}

// count is a counter of what may be absent: 0 then.
func (r Root) count(elem ...string) uint64 {
	n, err := strconv.ParseUint(r.word(elem...), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// names lists a directory; none if it is absent.
func (r Root) names(elem ...string) []string {
	entries, err := os.ReadDir(r.path(elem...))
	if err != nil {
		return nil
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name()
	}
	return out
}

func (r Root) exists(elem ...string) bool {
	_, err := os.Stat(r.path(elem...))
	return err == nil
}
