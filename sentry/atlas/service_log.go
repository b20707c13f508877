package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// followPause is the time between two looks at a log that is followed.
const followPause = 300 * time.Millisecond

func (a *app) serviceLogCommand() *cobra.Command {
	var n int
	var follow bool
	c := &cobra.Command{
		Use: "log NAME", Short: "The end of a service's log: what its processes printed and sent to syslog; times are UTC", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := a.init.State(cmd.Context())
			if err != nil {
				return err
			}
			svc, process, ok := st.Find(args[0])
			if !ok {
				return fmt.Errorf("no service %s; `atlas service list` lists those of this server", args[0])
			}
			only := ""
			if process >= 0 && len(svc.Processes) > 1 {
				only = svc.Processes[process].Name
			}
			l := logReader{path: svc.Log, only: only}
			lines, at, err := l.last(n)
			if err != nil {
				return err
			}
			for _, line := range lines {
				fmt.Fprintln(a.out, line)
			}
			if !follow {
				return nil
			}
			return l.follow(cmd.Context(), at, a.out)
		},
	}
	c.Flags().IntVarP(&n, "lines", "n", 40, "how many lines")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing what comes, until interrupted")
	return c
}

// logReader reads a log that init rotates: path, and path.1, path.2, … which are older.
type logReader struct {
	path string
	only string // lines of this process; "" = all
}

func (l logReader) wants(line string) bool {
	if l.only == "" {
		return true
	}
	_, rest, _ := strings.Cut(line, " ")
	return strings.HasPrefix(rest, l.only+": ")
}

// last returns the last n lines, and how far the newest file has been read.
func (l logReader) last(n int) (lines []string, at int64, err error) {
	for i := 0; len(lines) < n; i++ {
		path := l.path
		if i > 0 {
			path = fmt.Sprintf("%s.%d", l.path, i)
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read log: %w", err)
		}
		some, read, err := l.lines(f)
		_ = f.Close()
		if err != nil {
			return nil, 0, fmt.Errorf("read log %s: %w", path, err)
		}
		if i == 0 {
			at = read
		}
		lines = append(some[max(0, len(some)-(n-len(lines))):], lines...)
	}
	return lines, at, nil
}

// lines reads whole lines and returns how many bytes they and those that were not wanted have.
func (l logReader) lines(r io.Reader) (out []string, read int64, err error) {
	b := bufio.NewReader(r)
	for {
		line, err := b.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return out, read, nil // the rest of a line comes later
		}
		if err != nil {
			return out, read, err
		}
		read += int64(len(line))
		if line = strings.TrimSuffix(line, "\n"); l.wants(line) {
			out = append(out, line)
		}
	}
}

// follow prints what is added after at, through rotations, until ctx ends.
func (l logReader) follow(ctx context.Context, at int64, out io.Writer) error {
	var open *os.File
	defer func() {
		if open != nil {
			_ = open.Close()
		}
	}()
	for {
		if open == nil {
			if f, err := os.Open(l.path); err == nil {
				open = f
			}
		}
		if open != nil {
			rotated := !sameFile(open, l.path) // asked before reading: what is written in between is read
			if _, err := open.Seek(at, io.SeekStart); err != nil {
				return fmt.Errorf("read log: %w", err)
			}
			some, read, err := l.lines(open)
			if err != nil {
				return fmt.Errorf("read log: %w", err)
			}
			at += read
			for line := range slices.Values(some) {
				fmt.Fprintln(out, line)
			}
			if rotated {
				_ = open.Close()
				open, at = nil, 0
				continue
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followPause):
		}
	}
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
