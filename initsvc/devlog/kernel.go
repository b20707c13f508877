package devlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/logfile"
)

// record is one of the kernel's messages with its number.
type record struct {
	seq uint64
	msg Message
}

// parseKernel reads a record of /dev/kmsg (the kernel's Documentation/ABI/testing/dev-kmsg): "priority,number,µs since boot,flags;text"
// and lines of details, which are left out.
func parseKernel(b []byte, booted time.Time) (record, bool) {
	head, text, ok := strings.Cut(string(b), ";")
	f := strings.Split(head, ",")
	if !ok || len(f) < 3 {
		return record{}, false
	}
	pri, err1 := strconv.ParseUint(f[0], 10, 16)
	seq, err2 := strconv.ParseUint(f[1], 10, 64)
	usec, err3 := strconv.ParseInt(f[2], 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return record{}, false
	}
	text, _, _ = strings.Cut(text, "\n")
	text = strings.TrimSpace(logfile.Clean(text))
	if text == "" {
		return record{}, false
	}
	if len(text) > logfile.MaxLine {
		text = text[:logfile.MaxLine]
	}
	m := Message{Facility: int(pri >> 3), Severity: int(pri & 7), At: booted.Add(time.Duration(usec) * time.Microsecond), Text: text}
	if m.Facility == facKernel {
		m.Text = "kernel: " + text
	}
	return record{seq, m}, true
}

// Kernel is the kernel's log. It remembers what it has handed on.
type Kernel struct {
	Path string      // "/dev/kmsg"
	Wait func() bool // tells whether there is a place for the messages; the kernel keeps them meanwhile

	next uint64
}

// Follow hands each message to write, those since the boot too, until ctx ends.
func (k *Kernel) Follow(ctx context.Context, write func(Message)) error {
	for k.Wait != nil && !k.Wait() {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	f, err := os.OpenFile(k.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("kernel log: %w", err)
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer stop()
	buf := make([]byte, 9<<10) // a record is at most 8 KiB
	for {
		n, err := f.Read(buf)
		switch {
		case errors.Is(err, unix.EPIPE): // overwritten before it was read
			continue
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("kernel log: %w", err)
		}
		var up unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
			return fmt.Errorf("kernel log: %w", err)
		}
		r, ok := parseKernel(buf[:n], time.Now().Add(-time.Duration(up.Nano())))
		if !ok || r.seq < k.next {
			continue
		}
		k.next = r.seq + 1
		write(r.msg)
	}
}
