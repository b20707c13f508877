package md

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Events calls changed when the kernel says that an array has changed (a member failed, a rebuild began or ended), until ctx ends. A
// program that has read /proc/mdstat is told by poll(2) when it is to be read again (md_new_event in drivers/md/md.c).
func (m *MD) Events(ctx context.Context, changed func()) error {
	f, err := os.Open(filepath.Join(m.proc, "mdstat"))
	if err != nil {
		return fmt.Errorf("events of arrays: %w", err)
	}
	defer f.Close()
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
	for ctx.Err() == nil {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("events of arrays: %w", err)
		}
		if _, err := io.Copy(io.Discard, f); err != nil {
			return fmt.Errorf("events of arrays: %w", err)
		}
		// ctx ends with the server: looking after it now and then is enough.
		n, err := unix.Poll(fds, int((30 * time.Second).Milliseconds()))
		if err != nil && err != unix.EINTR { //nolint:errorlint // as it comes from the kernel
			return fmt.Errorf("events of arrays: %w", err)
		}
		if n > 0 {
			changed()
		}
	}
	return nil
}
