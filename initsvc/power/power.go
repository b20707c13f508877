// Package power hears the power button and switches the machine off or restarts it at the very end. What has to be stopped
// before is initsvc/pid1's to know.
package power

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/guard"
)

// Codes of linux/input-event-codes.h.
const (
	evKey    = 0x01
	keyPower = 116
)

// eventSize is that of struct input_event on 64-bit machines: two longs, two shorts, one int.
const eventSize = 24

// pressed tells whether a record of an event device says that the power key went down.
func pressed(b []byte) bool {
	return len(b) >= eventSize && binary.NativeEndian.Uint16(b[16:]) == evKey &&
		binary.NativeEndian.Uint16(b[18:]) == keyPower && binary.NativeEndian.Uint32(b[20:]) == 1
}

// hasPowerKey reads a capability bitmap of sysfs ("10000000000000 0"): words of 64 bits, the highest first.
func hasPowerKey(bitmap string) bool {
	words := strings.Fields(bitmap)
	i := len(words) - 1 - keyPower/64
	if i < 0 {
		return false
	}
	w, err := strconv.ParseUint(words[i], 16, 64)
	return err == nil && w&(1<<(keyPower%64)) != 0
}

// Buttons returns the event devices with a power key.
func Buttons(sys, dev string) []string {
	files, err := filepath.Glob(filepath.Join(sys, "class/input/event*/device/capabilities/key"))
	if err != nil {
		return nil
	}
	var out []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && hasPowerKey(string(b)) {
			name := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(f))))
			out = append(out, filepath.Join(dev, "input", name))
		}
	}
	return out
}

// Listen calls press whenever a power button is pressed, until ctx ends. Buttons that appear later are found within seconds.
func Listen(ctx context.Context, g guard.Guard, log *slog.Logger, press func()) {
	var mu sync.Mutex
	open := map[string]bool{}
	for {
		for _, path := range Buttons("/sys", "/dev") {
			mu.Lock()
			known := open[path]
			open[path] = true
			mu.Unlock()
			if known {
				continue
			}
			g.Go("power button "+path, func() {
				defer func() {
					mu.Lock()
					delete(open, path)
					mu.Unlock()
				}()
				if err := read(ctx, path, press); err != nil && !errors.Is(err, os.ErrNotExist) {
					log.Warn("power button", "device", path, "err", err)
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
	}
}

func read(ctx context.Context, path string, press func()) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	buf := make([]byte, 64*eventSize)
	for {
		n, err := f.Read(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, unix.ENODEV) {
				return nil
			}
			return err
		}
		for b := buf[:n]; len(b) >= eventSize; b = b[eventSize:] {
			if pressed(b) {
				press()
			}
		}
	}
}

// End switches the machine off ("off") or restarts it ("reboot"). It returns only with an error.
func End(action string) error {
	cmd := unix.LINUX_REBOOT_CMD_POWER_OFF
	if action == "reboot" {
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	unix.Sync()
	if err := unix.Reboot(cmd); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}

// CtrlAltDel makes the keys send SIGINT to init, instead of resetting the machine at once.
func CtrlAltDel() {
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
}
