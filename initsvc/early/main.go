// Command early is the initramfs's init: it loads the drivers that this machine's devices ask for, finds the disk that it was
// booted from and the slot on it, mounts that slot's root read-only, and hands over to the real init there with a note of what it
// found (package handover). It writes to no disk. What goes wrong ends in a page on the console that says what to do, never in a
// kernel panic; left alone, the page reboots after a minute, so that boot counting can fall back to the other slot.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/u-root/u-root/pkg/cmdline"
	"github.com/u-root/u-root/pkg/mount"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/modalias"
)

// deviceTimeout is how long the boot disk may take to appear: USB hubs and SAS expanders can need half a minute.
const deviceTimeout = 60 * time.Second

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "early: this is the initramfs's init; it does nothing unless it is process 1")
		os.Exit(1)
	}
	log.SetOutput(io.Discard) // u-root's packages talk while switching roots
	b := &boot{consoles: openConsoles()}
	// run returns only when it failed.
	b.rescue(b.protected(context.Background()))
}

// boot is what is known so far.
type boot struct {
	consoles *consoles
	plug     *modalias.Plug
	handover handover.Handover
}

// failure is an error with advice for the person at the console.
type failure struct {
	err    error
	advice string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// protected turns a panic of ours into a failure: process 1 must not die.
func (b *boot) protected(ctx context.Context) error {
	return b.protectedRun(func() error { return b.run(ctx) })
}

func (b *boot) protectedRun(run func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &failure{fmt.Errorf("a mistake in ATLAS's start-up code: %v\n%s", r, debug.Stack()), "Write down or photograph this page for the vendor."}
		}
	}()
	return run()
}

func (b *boot) run(ctx context.Context) error {
	if err := b.step("mounts", func() error { return mounts() }); err != nil {
		return err
	}
	b.consoles.reopen() // /dev is there now
	b.handover.Kind, b.handover.Mode = handover.Hardware, handover.Boot
	b.handover.KernelTime = uptime()
	b.handover.Version, _ = cmdline.Flag(layout.CmdVersion)
	slot, _ := cmdline.Flag(layout.CmdSlot)
	name, root := "", ""
	switch slot {
	case "a":
		b.handover.Slot, name = slot, layout.RootA
	case "b":
		b.handover.Slot, name = slot, layout.RootB
	case "install":
		b.handover.Mode, name = handover.Install, layout.InstallRoot
	default:
		return &failure{fmt.Errorf("the kernel was started with %s=%q; known are a, b and install", layout.CmdSlot, slot), "Start the server from its own disk or from the install stick."}
	}
	b.consoles.printf("\nATLAS %s is starting (%s)\n", b.handover.Version, map[bool]string{true: "installer", false: "slot " + slot}[slot == "install"])
	if err := b.step("modules", func() error { return b.modules(ctx) }); err != nil {
		return err
	}
	if err := b.step("find root", func() error {
		var err error
		root, err = b.findRoot(ctx, name)
		return err
	}); err != nil {
		return err
	}
	if err := b.step("mount root", func() error { return mountRoot(root) }); err != nil {
		return err
	}
	if err := handover.Write(layout.HandoverDir, b.handover); err != nil {
		return err
	}
	if err := checkInit(); err != nil {
		return err
	}
	// It execs with an empty environment and no arguments, which is why everything to tell is in the handover.
	return &failure{mount.SwitchRoot(newRoot, initPath), "The image on this disk is damaged. Boot the other slot or install again."}
}

// newRoot is where the slot is mounted; initPath is the next process 1, in it.
const (
	newRoot  = "/newroot"
	initPath = layout.LibDir + "/init"
)

func (b *boot) step(name string, f func() error) error {
	start := time.Now()
	err := f()
	b.handover.Steps = append(b.handover.Steps, handover.Step{Name: name, Duration: time.Since(start)})
	if err != nil {
		if _, ok := errors.AsType[*failure](err); ok {
			return err
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// modules loads what no device asks for by name, then the drivers of all devices.
func (b *boot) modules(ctx context.Context) error {
	dir, err := modalias.Dir("/")
	if err != nil {
		return err
	}
	index, err := modalias.Open(dir)
	if err != nil {
		return &failure{err, "The kernel and its drivers do not belong together. Boot the other slot or install again."}
	}
	b.plug = &modalias.Plug{Index: index, Loader: modalias.Kernel{}, Log: slog.New(slog.DiscardHandler)}
	if _, err := b.plug.Load(ctx, Preload()...); err != nil {
		return err
	}
	efiVariables()
	_, err = b.plug.Run(ctx)
	return err
}

// Preload lists the modules that are needed although no device's modalias names them.
func Preload() []string {
	return []string{"loop", "squashfs", "isofs", "vfat", "nls_cp437", "nls_ascii", "nls_utf8", "ext4", "crc32c", "crc32c_generic", "sd_mod", "sr_mod", "efivarfs"}
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	d, err := time.ParseDuration(strings.SplitN(string(data), " ", 2)[0] + "s")
	if err != nil {
		return 0
	}
	return d
}
