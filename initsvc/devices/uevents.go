// Package devices makes the kernel's drivers and init meet: cold plug of everything that is there at boot, and the kernel's
// messages about what comes and goes afterwards. Matching and loading are initsvc/modalias's, and are done in short-lived
// processes of this same binary, since the index of a full kernel is larger than all of PID 1.
package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Event is one kernel message about a device (Linux lib/kobject_uevent.c).
type Event struct {
	Action    string // "add", "remove", "change", "bind"…
	Path      string // below /sys
	Subsystem string // "block", "net", "pci"…
	DevName   string // "vda"
	DevType   string // "disk", "partition"
	Modalias  string
}

// Parse reads one message: "add@/devices/…", then KEY=VALUE strings, each ended by a zero byte. Messages of udevd, which start
// otherwise, are refused.
func Parse(msg []byte) (Event, error) {
	fields := bytes.Split(bytes.TrimRight(msg, "\x00"), []byte{0})
	action, path, ok := strings.Cut(string(fields[0]), "@")
	if !ok || action == "" || !strings.HasPrefix(path, "/") {
		return Event{}, errors.New("no kernel message about a device")
	}
	e := Event{Action: action, Path: path}
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(string(f), "=")
		switch k {
		case "SUBSYSTEM":
			e.Subsystem = v
		case "DEVNAME":
			e.DevName = v
		case "DEVTYPE":
			e.DevType = v
		case "MODALIAS":
			e.Modalias = v
		}
	}
	return e, nil
}

// Listen hands every message of the kernel to each until ctx ends. lost is called when messages were lost: then everything may
// have changed.
func Listen(ctx context.Context, each func(Event), lost func(), log *slog.Logger) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("device events: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return fmt.Errorf("device events: %w", err)
	}
	// A time limit on each read is the simplest way to notice that ctx has ended, which it does with the server.
	tv := unix.NsecToTimeval(int64(20 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return fmt.Errorf("device events: %w", err)
	}
	buf := make([]byte, 8192)
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			log.Warn("device events were lost")
			lost()
			continue
		case err != nil:
			return fmt.Errorf("device events: %w", err)
		}
		if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
			continue // not from the kernel
		}
		if e, err := Parse(buf[:n]); err == nil {
			each(e)
		}
	}
	return nil
}
