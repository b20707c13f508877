package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mounts makes the file systems that everything needs. They move along into the new root.
func mounts() error {
	for _, m := range []struct {
		fstype, dir, data string
		flags             uintptr
	}{
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
		{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", m.dir, err)
		}
		if err := unix.Mount(m.fstype, m.dir, m.fstype, m.flags, m.data); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return nil
}

func mountRoot(dev string) error {
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", newRoot, err)
	}
	if err := unix.Mount(dev, newRoot, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return &failure{fmt.Errorf("mount the image from %s: %w", dev, err), "The image on this disk is damaged. Boot the other slot or install again."}
	}
	return nil
}

// checkInit makes sure that there is something to hand over to: after switching roots there is no way back.
func checkInit() error {
	st, err := os.Stat(newRoot + initPath)
	if err == nil && (!st.Mode().IsRegular() || st.Mode().Perm()&0o100 == 0) {
		err = errors.New("is no program")
	}
	if err != nil {
		return &failure{fmt.Errorf("the image has no init: %w", err), "The image on this disk is damaged. Boot the other slot or install again."}
	}
	return nil
}

// efiVariables mounts them, where the firmware is UEFI; its driver is a module in Debian's kernels. Without them the boot goes
// on: the system disk is then found by name.
func efiVariables() {
	const dir = "/sys/firmware/efi/efivars"
	if _, err := os.Stat(dir); err != nil {
		return
	}
	_ = unix.Mount("efivarfs", dir, "efivarfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}
