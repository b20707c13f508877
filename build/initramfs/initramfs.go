// Package initramfs makes the appliance's initramfs with u-root: ATLAS's early init, a few commands for the rescue shell, and the
// drivers that lead to the root: storage, USB, file systems. Network and everything else is loaded from the root.
package initramfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/gobusybox/src/pkg/golang"
	"github.com/u-root/mkuimage/cpio"
	"github.com/u-root/mkuimage/uimage"
	"github.com/u-root/uio/llog"

	"sayasystems.com/atlas/initsvc/modalias"
)

// Early is the package of the initramfs's init.
const Early = "sayasystems.com/atlas/initsvc/early"

// Commands lists the programs of the rescue shell.
func Commands() []string {
	names := []string{
		"cat", "chroot", "cp", "dd", "dmesg", "find", "gosh", "grep", "hexdump", "insmod", "ip", "ls", "lsmod", "mkdir", "more", "mount", "mv", "ps", "rm",
		"shutdown", "sync", "tail", "umount",
	}
	for i, n := range names {
		names[i] = "github.com/u-root/u-root/cmds/core/" + n
	}
	return names
}

// dirs are directories of modules that go in whole, below kernel/.
func dirs() []string {
	return []string{
		"drivers/ata", "drivers/cdrom", "drivers/hid", "drivers/nvme/host", "drivers/nvme/common", "drivers/scsi/megaraid", "drivers/scsi/mpt3sas", "drivers/scsi/mpi3mr",
		"drivers/scsi/smartpqi", "drivers/scsi/libsas", "drivers/usb/host", "drivers/usb/storage", "drivers/usb/core", "drivers/usb/common", "drivers/virtio", "fs/efivarfs", "fs/ext4",
		"fs/fat", "fs/isofs", "fs/jbd2", "fs/squashfs",
	}
}

// names are single modules; those that a kernel has built in, or has not, are passed over. md and the network are missing here on
// purpose: the root lies on neither, and init has every module at hand.
func names() []string {
	return []string{
		"loop", "virtio_blk", "virtio_scsi", "virtio_pci", "nls_cp437", "nls_ascii", "nls_utf8", "nls_iso8859_1", "crc32c", "crc32c_generic", "crc32c_intel", "crc32c_cryptoapi", "crc16", "libcrc32c",
		"sd_mod", "sr_mod", "scsi_mod", "aacraid", "arcmsr", "hpsa", "hptiop", "isci", "mvsas", "pm80xx", "vmw_pvscsi", "hv_storvsc", "hv_vmbus", "xen_blkfront",
		"mmc_block", "sdhci_pci", "sdhci_acpi", "atkbd", "i8042", "serio_raw", "hyperv_keyboard", "vmd",
	}
}

// hidKept are the drivers of keyboards that go in from drivers/hid, which else is gamepads and light strips.
func hidKept(name string) bool {
	switch name {
	case "hid", "hid_generic", "usbhid", "hid_apple", "hid_cherry", "hid_logitech", "hid_logitech_dj", "hid_microsoft", "usbkbd":
		return true
	}
	return false
}

// Build makes the initramfs: compressed by zstd, the same bytes for the same input. moduleRoot is the directory of ATLAS's go.mod, root the
// Debian tree with the modules of kernel kver, tmp a directory for intermediate files.
func Build(ctx context.Context, moduleRoot, root, kver, tmp string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	base, err := archive(root, kver)
	if err != nil {
		return nil, err
	}
	// u-root would take it from this program, which does not know it when it was built with -trimpath.
	told, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("initramfs: go env GOROOT: %w", err)
	}
	goroot := strings.TrimSpace(string(told))
	out := filepath.Join(tmp, "initramfs.cpio")
	var log bytes.Buffer
	// u-root finds packages from the working directory, which must be inside the module.
	back, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	if err := os.Chdir(moduleRoot); err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	defer func() { _ = os.Chdir(back) }()
	err = uimage.Create(llog.New(slog.LevelWarn, llog.WritePrintf(&log)),
		uimage.WithReplaceEnv(golang.Default(golang.DisableCGO(), golang.WithGOARCH("amd64"), golang.WithGOOS("linux"), golang.WithGOROOT(goroot))),
		uimage.WithBusyboxCommands(append(Commands(), Early)...),
		// gobusybox forces a rebuild of everything (-a): over a minute each time, for the same bytes.
		uimage.WithBusyboxBuildOpts(&golang.BuildOpts{ExtraArgs: []string{"-a=false", "-buildvcs=false"}}),
		uimage.WithBaseArchive(base),
		uimage.WithInit("early"),
		uimage.WithShell("gosh"),
		uimage.WithTempDir(tmp),
		uimage.WithCPIOOutput(out),
	)
	if err != nil {
		return nil, fmt.Errorf("initramfs: u-root: %w\n%s", err, log.String())
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	return compress(data)
}

// compress packs with one thread, as several need not give the same bytes.
func compress(data []byte) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4<<20))
	if err != nil {
		return nil, fmt.Errorf("compress initramfs: %w", err)
	}
	return enc.EncodeAll(data, nil), nil
}

// archive is what lies in the initramfs besides commands.
func archive(root, kver string) (*cpio.Archive, error) {
	var r []cpio.Record
	for _, d := range []string{"bin", "dev", "etc", "lib", "lib/modules", "lib/modules/" + kver, "newroot", "proc", "run", "state", "sys"} {
		r = append(r, cpio.Directory(d, 0o755))
	}
	r = append(r, cpio.Directory("tmp", 0o777),
		cpio.CharDev("dev/console", 0o600, 5, 1), cpio.CharDev("dev/null", 0o666, 1, 3), cpio.CharDev("dev/kmsg", 0o600, 1, 11), cpio.CharDev("dev/tty", 0o666, 5, 0))
	files, err := modules(root, kver)
	if err != nil {
		return nil, err
	}
	made := map[string]bool{}
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		full := "lib/modules/" + kver + "/" + n
		var up []string
		for d := path.Dir(full); d != "lib/modules/"+kver && !made[d]; d = path.Dir(d) {
			made[d] = true
			up = append(up, d)
		}
		for _, d := range slices.Backward(up) {
			r = append(r, cpio.Directory(d, 0o755))
		}
		r = append(r, cpio.StaticFile(full, string(files[n]), 0o644))
	}
	return cpio.ArchiveFromRecords(r)
}

// modules picks the drivers and everything that they depend on, and cuts the indexes down to them. Keys are paths below
// /lib/modules/<release>.
func modules(root, kver string) (map[string][]byte, error) {
	dir := filepath.Join(root, "usr/lib/modules", kver)
	index, err := modalias.Open(dir)
	if err != nil {
		return nil, err
	}
	want := map[string]bool{}
	for _, d := range dirs() {
		err := filepath.WalkDir(filepath.Join(dir, "kernel", d), func(p string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // built in, or not in this release
			}
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(filepath.Join(dir, "kernel"), p)
			if err != nil {
				return err
			}
			name := modalias.NameOf(p)
			if strings.HasSuffix(p, ".ko") && (!strings.HasPrefix(rel, "drivers/hid/") || hidKept(name)) {
				want[name] = true
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("pick modules: %w", err)
		}
	}
	for _, n := range names() {
		want[n] = true
	}
	files := map[string][]byte{}
	have := map[string]bool{}
	for _, n := range slices.Sorted(maps.Keys(want)) {
		list, err := index.Resolve(n)
		if _, ok := errors.AsType[*modalias.NotFoundError](err); ok {
			continue // named here for another kernel
		}
		if err != nil {
			return nil, fmt.Errorf("pick modules: %w", err)
		}
		for _, m := range list {
			if have[m.Name] {
				continue
			}
			rel, err := filepath.Rel(dir, m.File)
			if err != nil {
				return nil, fmt.Errorf("pick modules: %w", err)
			}
			if files[rel], err = os.ReadFile(m.File); err != nil {
				return nil, fmt.Errorf("pick modules: %w", err)
			}
			have[m.Name] = true
		}
	}
	for _, f := range []string{"modules.dep", "modules.alias", "modules.softdep", "modules.builtin"} {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pick modules: %w", err)
		}
		files[f] = cut(f, data, have)
	}
	return files, nil
}

// cut keeps the lines of an index that speak of modules in have.
func cut(file string, data []byte, have map[string]bool) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		keep := true
		switch {
		case len(f) == 0 || f[0][0] == '#':
			keep = false
		case file == "modules.dep":
			keep = have[modalias.NameOf(strings.TrimSuffix(f[0], ":"))]
		case file == "modules.alias":
			keep = len(f) == 3 && have[modalias.NameOf(f[2])]
		case file == "modules.softdep":
			keep = len(f) > 2 && have[modalias.NameOf(f[1])]
		}
		if keep {
			out.WriteString(line)
		}
	}
	return out.Bytes()
}
