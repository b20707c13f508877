package product

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/imgfile"
	"sayasystems.com/atlas/build/initramfs"
	"sayasystems.com/atlas/build/programs"
	"sayasystems.com/atlas/build/sbom"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/manifest"
	"sayasystems.com/atlas/image/uki"
)

// cmdline is the kernel's for a slot. The serial line comes last and so is /dev/console.
func (m *maker) cmdline(slot string) string {
	return fmt.Sprintf("%s=%s %s=%s console=tty1 console=ttyS0,115200 panic=10 quiet loglevel=4 transparent_hugepage=madvise", layout.CmdSlot, slot, layout.CmdVersion, m.profile.Version)
}

// kernels makes the unified kernel images and returns their directory: a.efi, b.efi, install.efi.
func (m *maker) kernels(ctx context.Context) (string, error) {
	_, files, err := programs.Sources(ctx, m.module, initramfs.Early, "sayasystems.com/atlas/build/initramfs")
	if err != nil {
		return "", err
	}
	parts := []string{m.spec.Key(), m.tree.Date.String(), m.profile.Title, m.profile.Version, m.tools.Path, m.info.Go, strings.Join(initramfs.Commands(), " ")}
	for _, f := range append(files, filepath.Join(m.module, "go.mod")) {
		sum, err := manifest.SumFile(f)
		if err != nil {
			return "", err
		}
		parts = append(parts, sum)
	}
	initrdDir, err := m.run.Keep(ctx, "initramfs", cache.Key(parts...), func(ctx context.Context, dir string) error {
		tmp := filepath.Join(dir, "tmp")
		if err := os.MkdirAll(tmp, 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		data, err := initramfs.Build(ctx, m.module, m.tree.Dir, m.tree.KVer, tmp)
		if err != nil {
			return err
		}
		return errors.Join(os.WriteFile(filepath.Join(dir, "initrd"), data, 0o644), os.RemoveAll(tmp))
	})
	if err != nil {
		return "", err
	}
	dir := filepath.Join(initrdDir, "kernels")
	return dir, m.run.Do(ctx, "kernel images", func(context.Context) error { return m.writeKernels(initrdDir, dir) })
}

func (m *maker) writeKernels(initrdDir, dir string) error {
	p := uki.Parts{OSRel: uki.OSRelease(m.profile.Title, m.profile.Version), Uname: m.tree.KVer}
	for file, into := range map[string]*[]byte{
		m.tools.File(toolsroot.Stub): &p.Stub, m.tree.Kernel: &p.Linux, filepath.Join(initrdDir, "initrd"): &p.Initrd,
	} {
		var err error
		if *into, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("kernel images: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("kernel images: %w", err)
	}
	for _, slot := range []string{"a", "b", "install"} {
		p.Cmdline = m.cmdline(slot)
		img, err := uki.Build(p)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, slot+".efi"), img, 0o644); err != nil {
			return fmt.Errorf("kernel images: %w", err)
		}
	}
	return nil
}

// loaderConf is systemd-boot's, on the stick and, copied by the installer, on system disks: the newest image that still has tries, at
// once, with no editor for passers-by. The stick's only entry is the installer.
const loaderConf = "timeout 0\ndefault atlas-*\neditor no\nauto-entries no\nauto-firmware no\n"

func (m *maker) release(ctx context.Context, root, kernels string) (Result, error) {
	r := Result{Manifest: m.info, Date: m.tree.Date}
	info, err := m.info.Marshal()
	if err != nil {
		return r, err
	}
	name := manifest.ImageFile(m.profile.Name, m.profile.Version)
	r.Image = filepath.Join(m.Out, name)
	stem := strings.TrimSuffix(name, ".img")
	err = m.run.Do(ctx, "image", func(ctx context.Context) error {
		digest, err := manifest.SumFile(root)
		if err != nil {
			return err
		}
		tmp := r.Image + ".new"
		defer func() { _ = os.Remove(tmp) }()
		if err := imgfile.Write(tmp, imgfile.Content{
			Root: root, When: m.tree.Date, Volume: "ATLAS", Seed: digest,
			ESP: []esp.File{
				{Path: layout.BootLoader, From: m.tools.File(toolsroot.SystemdBoot)},
				{Path: layout.LoaderConf, Data: []byte(loaderConf)},
				{Path: layout.InstallUKI, From: filepath.Join(kernels, "install.efi")},
				{Path: layout.SlotUKIDir + "/slot-a.efi", From: filepath.Join(kernels, "a.efi")},
				{Path: layout.SlotUKIDir + "/slot-b.efi", From: filepath.Join(kernels, "b.efi")},
				{Path: layout.ManifestFile, Data: info},
			},
		}); err != nil {
			return err
		}
		bill, err := sbom.Document{
			Name: m.profile.Name, Version: m.profile.Version, Release: m.profile.Release, Date: m.tree.Date, Digest: digest, Debs: m.debs, Modules: m.mods,
		}.Marshal()
		if err != nil {
			return err
		}
		for n, data := range map[string][]byte{stem + ".manifest.json": info, stem + ".spdx.json": bill} {
			if err := os.WriteFile(filepath.Join(m.Out, n), data, 0o644); err != nil {
				return fmt.Errorf("write results: %w", err)
			}
		}
		if err := os.Rename(tmp, r.Image); err != nil { // whoever has the old one open keeps it
			return fmt.Errorf("write results: %w", err)
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	if err := m.run.Do(ctx, "check", func(ctx context.Context) error { return m.check(ctx, r.Image) }); err != nil {
		return r, err
	}
	for file, size := range map[string]*int64{r.Image: &r.Size, root: &r.Root} {
		st, err := os.Stat(file)
		if err != nil {
			return r, fmt.Errorf("sizes: %w", err)
		}
		*size = st.Size()
	}
	r.Files = []string{name, stem + ".manifest.json", stem + ".spdx.json"}
	if err := m.run.Do(ctx, "sums, signature", func(context.Context) error { return manifest.Seal(m.Out, r.Files, m.key) }); err != nil {
		return r, err
	}
	r.Steps = m.run.All()
	return r, nil
}

// check has others' tools look at the image: the partition table and the ESP must be clean.
func (m *maker) check(ctx context.Context, image string) error {
	out, err := m.tools.Command(ctx, "sgdisk", "-v", image).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("No problems found")) {
		return fmt.Errorf("sgdisk finds the image's partition table wrong: %w\n%s", err, out)
	}
	return m.tools.Run(ctx, "sh", "-c", `set -e
t=$(mktemp)
trap 'rm -f "$t"' EXIT
start=$(sgdisk -i 1 "$1" | sed -n 's/^First sector: \([0-9]*\).*/\1/p')
size=$(sgdisk -i 1 "$1" | sed -n 's/^Partition size: \([0-9]*\).*/\1/p')
dd if="$1" of="$t" bs=1M skip=$((start / 2048)) count=$((size / 2048)) status=none
fsck.vfat -n "$t"`, "check", image)
}
