package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// events wakes up when the kernel tells of a device (uevents over netlink), so that waiting needs no sleeping.
type events struct{ fd int }

func newEvents() *events {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return &events{fd: -1}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		_ = unix.Close(fd)
		return &events{fd: -1}
	}
	return &events{fd: fd}
}

// wait returns after something happened and it has been quiet for a moment, or at the latest after limit.
func (e *events) wait(limit time.Duration) {
	if e.fd < 0 {
		time.Sleep(limit)
		return
	}
	end := time.Now().Add(limit)
	quiet := limit
	buf := make([]byte, 8192)
	for left := limit; left > 0; left = min(time.Until(end), quiet) {
		p := []unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(left.Milliseconds())+1)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		for { // take all that wait
			if _, _, err := unix.Recvfrom(e.fd, buf, unix.MSG_DONTWAIT); err != nil {
				break
			}
		}
		quiet = 20 * time.Millisecond
	}
}

func (e *events) close() {
	if e.fd >= 0 {
		_ = unix.Close(e.fd)
	}
}
