package pid1

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// slimAfter is how long after a boot its memory is given back: what services that start late ask for is still to come before.
const slimAfter = 5 * time.Second

// slim gives back the memory that only booting needed: the heap's free pages, and the pages of the program itself. Those that are used on
// are read again from the image.
func (s *Server) slim(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(slimAfter):
	}
	debug.FreeOSMemory()
	if err := dropProgram(); err != nil {
		s.log.Warn("memory of the program not given back", "err", err)
	}
}

// dropProgram tells the kernel that the pages of the own program that cannot be written are not needed now.
func dropProgram() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the own program: %w", err)
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("look at the own memory: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		from, to, ok := programPages(lines.Text(), self)
		if !ok {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_PAGEOUT); errno != 0 {
			return fmt.Errorf("give back the program's pages: %w", errno)
		}
	}
	return nil
}

// programPages gives the range of a line of /proc/PID/maps, if it is of the file exe and cannot be written.
func programPages(line, exe string) (from, to uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) != 6 || f[5] != exe || len(f[1]) != 4 || f[1][1] == 'w' {
		return 0, 0, false
	}
	if n, err := fmt.Sscanf(f[0], "%x-%x", &from, &to); n != 2 || err != nil || from >= to {
		return 0, 0, false
	}
	return from, to, true
}
