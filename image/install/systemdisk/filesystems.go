package systemdisk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/layout"
)

// WriteESP makes a new FAT32 on part and puts files into it.
func WriteESP(part string, files []esp.File, when time.Time) error {
	f, err := os.OpenFile(part, os.O_RDWR|unix.O_EXCL, 0) // exclusive: a mounted block device is refused
	if err != nil {
		return fmt.Errorf("write ESP: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("write ESP %s: %w", part, err)
	}
	if err := esp.Write(f, 0, size, "ATLAS-ESP", files, when); err != nil {
		return fmt.Errorf("write ESP %s: %w", part, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write ESP %s: %w", part, err)
	}
	return nil
}

// MakeState makes a new state filesystem on part.
func MakeState(ctx context.Context, part string) error {
	return run(ctx, "mkfs.ext4", "-q", "-F", "-L", layout.State, "-m", "1", part)
}

// MountState mounts the state filesystem of part at dir; when it was left dirty, the journal mends it.
func MountState(part, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("mount state: %w", err)
	}
	if err := unix.Mount(part, dir, "ext4", unix.MS_NOATIME|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount state %s: %w", part, err)
	}
	return nil
}

// UnmountState unmounts what MountState mounted; nothing mounted there is not an error.
func UnmountState(dir string) error {
	err := unix.Unmount(dir, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount state: %w", err)
	}
	return nil
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
