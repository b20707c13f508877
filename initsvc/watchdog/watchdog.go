// Package watchdog keeps the machine's hardware watchdog fed as long as init works: when PID 1 hangs, or the kernel does, the
// board resets itself. The device is chosen by identity, since a board often has one that cannot reset it. The feeding itself is
// u-root's watchdogd.
package watchdog

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/u-root/u-root/pkg/watchdogd"
	"golang.org/x/sys/unix"
)

// Timeout is how long init may be silent before the board resets, Interval the pause between two keepalives.
const (
	Timeout  = 60 * time.Second
	Interval = 10 * time.Second
)

// Device is a watchdog of this machine.
type Device struct {
	Path     string // "/dev/watchdog0"
	Identity string // "i6300ESB timer"
}

// rank orders devices by how far they can be trusted to reset the board: a management controller first, then timers of their
// own, then the chipset's (which firmware often disables), the kernel's own timer last.
func rank(identity string) int {
	id := strings.ToLower(identity)
	for i, part := range []string{"ipmi", "i6300esb", "sp5100", "hpwdt", "itco", "", "software", "softdog"} {
		if part != "" && strings.Contains(id, part) {
			return i
		}
	}
	return 5
}

// ErrNone tells that the machine has no watchdog.
var ErrNone = errors.New("no hardware watchdog")

// Choose returns the best watchdog below class ("/sys/class/watchdog").
func Choose(class, dev string) (Device, error) {
	names, err := filepath.Glob(filepath.Join(class, "watchdog*"))
	if err != nil {
		return Device{}, fmt.Errorf("watchdog: %w", err)
	}
	var best Device
	for _, n := range names {
		id, err := os.ReadFile(filepath.Join(n, "identity"))
		if err != nil {
			continue
		}
		d := Device{Path: filepath.Join(dev, filepath.Base(n)), Identity: strings.TrimSpace(string(id))}
		if best.Path == "" || rank(d.Identity) < rank(best.Identity) {
			best = d
		}
	}
	if best.Path == "" {
		return best, ErrNone
	}
	return best, nil
}

// setTimeout tells the device how long to wait for a keepalive. (u-root's SetTimeout hands nanoseconds to the kernel.)
func setTimeout(f *os.File, d time.Duration) error {
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, int(d.Seconds())); err != nil {
		return fmt.Errorf("set time limit: %w", err)
	}
	return nil
}

// Feed keeps d fed until ctx ends and disarms it then. healthy is asked before each keepalive: while it returns an error,
// nothing is fed.
func Feed(ctx context.Context, d Device, healthy func() error, log *slog.Logger) error {
	stdlog.SetOutput(io.Discard) // watchdogd talks about every step
	w := watchdogd.NewDaemon(&watchdogd.DaemonOpts{
		Dev: d.Path, Timeout: -1, PreTimeout: -1, KeepAlive: Interval, Monitors: []func() error{healthy},
	})
	if r := w.ArmWatchdog(); r != watchdogd.OpResultOk {
		return fmt.Errorf("watchdog %s (%s): cannot be armed", d.Path, d.Identity)
	}
	if err := setTimeout(w.CurrentWd.File, Timeout); err != nil {
		log.Warn("watchdog keeps its own time limit", "device", d.Path, "err", err)
	}
	log.Info("watchdog armed", "device", d.Path, "identity", d.Identity)
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		if err := w.DoPetting(); err != nil {
			log.Error("watchdog not fed", "err", err)
		}
		select {
		case <-ctx.Done():
			if err := w.CurrentWd.MagicClose(); err != nil {
				return fmt.Errorf("watchdog %s: disarm: %w", d.Path, err)
			}
			return nil
		case <-tick.C:
		}
	}
}
