// Command init is process 1 of an appliance, and the helpers that process 1 runs as short-lived processes of the same binary, so
// that its own memory stays small:
//
//	init                     as process 1: boots, serves, ends (package pid1)
//	init install …           the installer, on the consoles
//	init inventory           prints the hardware and how it differs from the baseline, as JSON
//	init launch SPEC         becomes a service's program, with directories and limits of its own (package launch)
//	init prepare SET IMAGE VERSION   makes a set's /etc ready for an image of another release of Debian; prints what it did, as JSON
//	init modprobe [ALIAS…]   loads drivers: of all devices, or those of the given modaliases
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/devices"
	"sayasystems.com/atlas/initsvc/installer"
	"sayasystems.com/atlas/initsvc/launch"
	"sayasystems.com/atlas/initsvc/reap"
)

// The main goroutine must be on the main thread from the start: orphans are given to that thread, see package reap.
func init() {
	if os.Getpid() == 1 {
		reap.Lock()
	}
}

func main() {
	if os.Getpid() == 1 {
		os.Exit(process1())
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := run(ctx, os.Args, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
}

// run is init as a helper.
func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if filepath.Base(args[0]) == "modprobe" { // called by the kernel: modprobe -q -- NAME
		var names []string
		for _, a := range args[1:] {
			if !strings.HasPrefix(a, "-") {
				names = append(names, a)
			}
		}
		if len(names) == 0 {
			return errors.New("modprobe: no module named")
		}
		return devices.Cold(ctx, names, io.Discard, slog.Default())
	}
	if len(args) < 2 {
		return errors.New("is not process 1 here; known are init install, inventory, modprobe and prepare")
	}
	switch args[1] {
	case "install":
		return installer.Main(ctx, args[2:], stdin, stdout)
	case "inventory":
		return inventory(ctx, args[2:], stdout)
	case prepareVerb:
		return prepare(ctx, args[2:], stdout)
	case "modprobe":
		return devices.Cold(ctx, args[2:], stdout, slog.Default())
	case launch.Verb:
		if len(args) != 3 {
			return errors.New("launch: takes one specification; only process 1 calls this")
		}
		return launch.Main(args[2])
	}
	return fmt.Errorf("unknown command %q; known are install, inventory, modprobe and prepare", args[1])
}
