package rootfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"sayasystems.com/atlas/build/toolsroot"
)

// kernel takes the kernel image out of the tree (it travels in the unified kernel images) and makes the modules ready: those
// not wanted are left out, the others unpacked, since unpacking xz in Go costs the boot ten seconds and more, and indexed, since
// Debian's packages leave that to the installation's depmod.
func kernel(ctx context.Context, tools toolsroot.Root, dir, root string, exclude []string) error {
	kver, err := kernelVersion(root)
	if err != nil {
		return err
	}
	image := filepath.Join(root, "boot", "vmlinuz-"+kver)
	data, err := os.ReadFile(image)
	if err != nil {
		return fmt.Errorf("kernel image: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vmlinuz"), data, 0o644); err != nil {
		return fmt.Errorf("kernel image: %w", err)
	}
	modules := filepath.Join(root, "usr/lib/modules", kver)
	for _, e := range exclude {
		if err := os.RemoveAll(filepath.Join(modules, "kernel", e)); err != nil {
			return fmt.Errorf("leave out modules: %w", err)
		}
	}
	const unpack = `set -e
find "$1" -name '*.ko.xz' -print0 | xargs -0 -r -P 4 -n 64 xz -d
find "$1" -name '*.ko.zst' -print0 | xargs -0 -r -P 4 -n 64 zstd -q -d --rm
depmod -b "$2" -F "$2/boot/System.map-$3" "$3"`
	if err := tools.Run(ctx, "sh", "-c", unpack, "unpack", modules, root, kver); err != nil {
		return fmt.Errorf("unpack modules: %w", err)
	}
	for _, pattern := range []string{"boot/*", "usr/lib/modules/" + kver + "/build", "usr/lib/modules/" + kver + "/source", "usr/lib/modules/" + kver + "/vmlinuz"} {
		m, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return fmt.Errorf("tidy up the kernel: %w", err)
		}
		for _, f := range m {
			if err := os.RemoveAll(f); err != nil {
				return fmt.Errorf("tidy up the kernel: %w", err)
			}
		}
	}
	return nil
}

func kernelVersion(root string) (string, error) {
	m, err := filepath.Glob(filepath.Join(root, "usr/lib/modules/*/kernel"))
	if err != nil {
		return "", fmt.Errorf("find the kernel's modules: %w", err)
	}
	if len(m) != 1 {
		return "", fmt.Errorf("find the kernel's modules: %d kernels in the root; want exactly one", len(m))
	}
	return filepath.Base(filepath.Dir(m[0])), nil
}
