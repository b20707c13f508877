// Package installer is `init install`: it finds the hardware, takes the answers from install.yaml on the stick or asks for them on
// the consoles (a serial line as well as a screen), has image/install do the work, and restarts the server. It knows screens and
// questions; what may be written where is image/install's to decide.
package installer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/handover"
)

// Main runs the installer. With no consoles given it uses the kernel's consoles, and stdin and stdout where there are none.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	fs := flag.NewFlagSet("install", flag.ContinueOnError)
	fs.SetOutput(stdout)
	early := fs.String("early", layout.HandoverDir, "directory of the handover")
	stdio := fs.Bool("stdio", false, "ask on standard input and output only")
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("install: unknown argument %q", fs.Arg(0))
	}
	if os.Getenv("PATH") == "" { // started by a process 1 that was given no environment
		if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
			return fmt.Errorf("install: %w", err)
		}
	}
	h, err := handover.Read(*early)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if h.Mode != handover.Install {
		return errors.New("install: this server was not booted from the install stick")
	}
	if h.Version == "" {
		return errors.New("install: the handover does not tell the image's version")
	}
	var consoles []*console
	if h.Kind == handover.Hardware && !*stdio {
		consoles = activeConsoles("/sys", "/dev")
	}
	if len(consoles) == 0 {
		consoles = []*console{newConsole("standard input", stdin, stdout)}
	}
	stick, unmount, err := mountStick(h)
	if err != nil {
		screens(consoles).failed(err)
		return fmt.Errorf("install: %w", err)
	}
	defer unmount()
	s, err := wire(h, stick, consoles, slog.Default())
	if err != nil {
		screens(consoles).failed(err)
		return fmt.Errorf("install: %w", err)
	}
	power := s.power
	s.power = func(ctx context.Context, action string) error {
		unmount()
		return power(ctx, action)
	}
	return s.run(ctx)
}

// mountStick makes the files of the install stick's ESP available.
func mountStick(h handover.Handover) (dir string, unmount func(), err error) {
	if h.Kind != handover.Hardware {
		return h.Stick, func() {}, nil
	}
	dir = layout.StickDir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, fmt.Errorf("mount install stick: %w", err)
	}
	if _, err := os.Stat(dir + "/" + layout.BootLoader); err == nil {
		return dir, func() {}, nil // init has mounted it
	}
	const opts = "iocharset=ascii"
	err = unix.Mount(h.Stick, dir, "vfat", unix.MS_NOATIME, opts)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		err = unix.Mount(h.Stick, dir, "vfat", unix.MS_NOATIME|unix.MS_RDONLY, opts) // a CD
	}
	if err != nil {
		return "", nil, fmt.Errorf("mount install stick %s: %w; take another stick or port", h.Stick, err)
	}
	mounted := true
	return dir, func() {
		if mounted {
			mounted = false
			unix.Sync()
			if err := unix.Unmount(dir, 0); err != nil {
				slog.Warn("unmount install stick", "error", err)
			}
		}
	}, nil
}
