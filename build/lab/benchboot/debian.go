package benchboot

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/build/aptsource"
	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/hosttool"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/manifest"
	"sayasystems.com/atlas/image/uki"
)

//go:embed customize.sh
var customize []byte

// packages of the tree: all of the image, with systemd where the image has stand-ins for parts of it, and Debian's own initramfs.
func packages(info manifest.Manifest) []string {
	out := []string{"systemd-sysv", "libpam-systemd", "dbus", "initramfs-tools"}
	for name := range info.Packages {
		if !strings.HasPrefix(name, "systemd-standalone-") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// debian returns the directory of a Debian tree with the image's packages and systemd, made once and kept in the cache.
func debian(ctx context.Context, tools toolsroot.Root, info manifest.Manifest, out io.Writer) (string, error) {
	if err := hosttool.Need("mmdebstrap"); err != nil {
		return "", err
	}
	mirrors, err := aptsource.Host("/")
	if err != nil {
		return "", err
	}
	lines, err := mirrors.Lines(info.Release, nil)
	if err != nil {
		return "", err
	}
	dir, err := cache.Dir()
	if err != nil {
		return "", err
	}
	list := packages(info)
	root := filepath.Join(dir, "bench-"+cache.Key(append([]string{info.Release, string(customize)}, list...)...))
	if _, err := os.Stat(filepath.Join(root, ".complete")); err == nil {
		return root, nil
	}
	unlock, err := cache.Lock(ctx, "bench")
	if err != nil {
		return "", err
	}
	defer unlock()
	fmt.Fprintf(out, "making Debian %s with systemd and the %d packages of the image (once, a few minutes)\n", info.Release, len(info.Packages))
	began := time.Now()
	if err := errors.Join(os.RemoveAll(root), os.RemoveAll(root+".new")); err != nil {
		return "", fmt.Errorf("remove an unfinished tree: %w", err)
	}
	hook := root + ".sh"
	if err := os.WriteFile(hook, customize, 0o755); err != nil {
		return "", fmt.Errorf("write the tree's hook: %w", err)
	}
	defer os.Remove(hook)
	args := []string{
		"--variant=essential", "--format=directory", "--mode=root", "--include=" + strings.Join(list, ","), `--aptopt=APT::Install-Recommends "false"`,
		// As in the image.
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/lib/*/libLLVM*", "--dpkgopt=path-exclude=/usr/lib/postgresql/*/lib/llvmjit*",
		"--customize-hook=" + hook + ` "$1"`,
		info.Codename, root + ".new",
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, lines...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		text := strings.Split(strings.TrimSpace(said.String()), "\n")
		return "", fmt.Errorf("make Debian with systemd: mmdebstrap: %w\n%s", err, strings.Join(text[max(0, len(text)-30):], "\n"))
	}
	if err := os.WriteFile(filepath.Join(root+".new", ".complete"), nil, 0o644); err != nil {
		return "", fmt.Errorf("make Debian with systemd: %w", err)
	}
	if err := os.Rename(root+".new", root); err != nil {
		return "", fmt.Errorf("make Debian with systemd: %w", err)
	}
	fmt.Fprintf(out, "made in %.0f s\n", time.Since(began).Seconds())
	return root, nil
}

// espMiB is the size of the boot partition; the rest of the disk is the root's.
const espMiB = 256

// partition lays out a disk with the boot partition and the root. $1 disk, $2 tree, $3 unified kernel image, $4 size of the boot partition
// in MiB. mkfs.ext4 copies the tree without mounting anything.
const partition = `set -e
sgdisk -Z "$1" >/dev/null
sgdisk -n "1:1M:+${4}M" -t 1:ef00 -n 2:0:0 -t 2:8304 "$1" >/dev/null
truncate -s "${4}M" "$1.esp"
mkfs.vfat -F 32 "$1.esp" >/dev/null
mmd -i "$1.esp" ::/EFI ::/EFI/BOOT
mcopy -i "$1.esp" "$3" ::/EFI/BOOT/BOOTX64.EFI
dd if="$1.esp" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
rm "$1.esp"
size=$(stat -c %s "$1")
start=$((1 + $4))
mkfs.ext4 -q -L bench -d "$2" -E "offset=$((start << 20)),lazy_itable_init=0" "$1" "$(((size >> 10) - (start << 10) - 1024))k"
`

// disk fills a server's system disk with the tree, its address and the lab's key.
func disk(ctx context.Context, tools toolsroot.Root, tree string, info manifest.Manifest, image, address, key string) error {
	work, err := os.MkdirTemp(filepath.Dir(image), "bench-")
	if err != nil {
		return fmt.Errorf("make the disk with systemd: %w", err)
	}
	defer os.RemoveAll(work)
	efi, err := kernelImage(tools, tree, info)
	if err != nil {
		return err
	}
	kernel := filepath.Join(work, "kernel.efi")
	if err := os.WriteFile(kernel, efi, 0o644); err != nil {
		return fmt.Errorf("make the disk with systemd: %w", err)
	}
	pub, err := os.ReadFile(key)
	if err != nil {
		return fmt.Errorf("make the disk with systemd: %w", err)
	}
	// The tree is kept for other labs, so address and key go into a copy.
	copied := filepath.Join(work, "tree")
	if out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", tree, copied).CombinedOutput(); err != nil {
		return fmt.Errorf("make the disk with systemd: copy the tree: %w\n%s", err, out)
	}
	files := map[string]string{
		"root/.ssh/authorized_keys":          string(pub),
		"etc/systemd/network/10-lan.network": "[Match]\nType=ether\n[Network]\nAddress=" + address + "/24\nGateway=10.7.0.1\n",
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(copied, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make the disk with systemd: %w", err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			return fmt.Errorf("make the disk with systemd: %w", err)
		}
	}
	return tools.Run(ctx, "sh", "-c", partition, "partition", image, copied, kernel, strconv.Itoa(espMiB))
}

// kernelImage joins the tree's kernel and initramfs as the image's own kernels are, with the same arguments.
func kernelImage(tools toolsroot.Root, tree string, info manifest.Manifest) ([]byte, error) {
	stub, err := os.ReadFile(tools.File(toolsroot.Stub))
	if err != nil {
		return nil, fmt.Errorf("kernel with systemd: %w", err)
	}
	linux, err := os.ReadFile(filepath.Join(tree, "boot", "vmlinuz-"+info.Kernel))
	if err != nil {
		return nil, fmt.Errorf("kernel with systemd: the image's kernel is not in the tree: %w", err)
	}
	initrd, err := os.ReadFile(filepath.Join(tree, "boot", "initrd.img-"+info.Kernel))
	if err != nil {
		return nil, fmt.Errorf("kernel with systemd: %w", err)
	}
	return uki.Build(uki.Parts{
		Stub: stub, Linux: linux, Initrd: initrd, OSRel: uki.OSRelease("bench", "1"), Uname: info.Kernel,
		Cmdline: "root=LABEL=bench ro console=tty1 console=ttyS0,115200 panic=10 quiet loglevel=4 transparent_hugepage=madvise",
	})
}
