// Package product makes an image and what lies beside it, from a profile: it is the order of the builder's steps and what each
// needs of the others.
//
//	profile, packs → Debian tree ─┐
//	Go sources → programs ────────┼→ root.squashfs ─┐
//	Go sources → initramfs → unified kernel images ─┴→ NAME-VERSION.img, manifest, bill of materials, sums, signature
package product

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/build/aptsource"
	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/hosttool"
	"sayasystems.com/atlas/build/imgfile"
	"sayasystems.com/atlas/build/initramfs"
	"sayasystems.com/atlas/build/profile"
	"sayasystems.com/atlas/build/programs"
	"sayasystems.com/atlas/build/rootfs"
	"sayasystems.com/atlas/build/sbom"
	"sayasystems.com/atlas/build/steps"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/manifest"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/uki"
)

// Options say what to make and where.
type Options struct {
	Profile string            // file; the standard one if empty
	Out     string            // directory for the results
	Key     string            // file of the signing key; made beside Out if empty and not there
	Work    string            // directory of kept results; in the cache if empty
	Epoch   int64             // SOURCE_DATE_EPOCH; 0: the date of the Debian archive
	Refresh bool              // make the Debian tree anew, to take up Debian's updates
	Replace map[string]string // program name → file to take instead: for tests with programs that fail on purpose
	Stdout  io.Writer
}

// Result names what was made.
type Result struct {
	Image    string // file
	Manifest manifest.Manifest
	Files    []string // beside it
	Date     time.Time
	Steps    []steps.Done
}

// KeyFile is the signing key that is made when none is given, in the directory that holds the output directory.
const KeyFile = ".atlas-signing-key.pem"

// DefaultProfile is the standard profile's file, relative to the sources.
const DefaultProfile = "build/profiles/atlas.yaml"

// maker is one run.
type maker struct {
	Options
	module  string // directory of the sources
	profile profile.Profile
	packs   []pack.Pack
	key     ed25519.PrivateKey
	run     *steps.Runner
	tools   toolsroot.Root
	spec    rootfs.Spec
	tree    rootfs.Tree
	layer   rootfs.Layer
	info    manifest.Manifest
	debs    []sbom.Deb
	mods    []programs.Module
}

// Make makes an image.
func Make(ctx context.Context, o Options) (Result, error) {
	m := &maker{Options: o}
	if err := m.prepare(ctx); err != nil {
		return Result{}, err
	}
	if err := m.run.Do(ctx, "tools", func(ctx context.Context) (err error) {
		m.tools, err = toolsroot.Ensure(ctx, func(s string) { m.run.Say("    %s", s) })
		return err
	}); err != nil {
		return Result{}, err
	}
	if err := m.debian(ctx); err != nil {
		return Result{}, err
	}
	bins, err := m.programs(ctx)
	if err != nil {
		return Result{}, err
	}
	root, err := m.root(ctx, bins)
	if err != nil {
		return Result{}, err
	}
	kernels, err := m.kernels(ctx)
	if err != nil {
		return Result{}, err
	}
	return m.release(ctx, root, kernels)
}

func (m *maker) prepare(ctx context.Context) error {
	var err error
	if err = hosttool.Need("mmdebstrap", "unshare", "mount", "chroot"); err != nil {
		return err
	}
	if m.module, err = programs.ModuleRoot(); err != nil {
		return err
	}
	if m.Profile == "" {
		m.Profile = filepath.Join(m.module, DefaultProfile)
	}
	if m.profile, err = profile.Load(m.Profile); err != nil {
		return err
	}
	if m.packs, err = loadPacks(filepath.Join(m.module, "image/packs"), m.profile); err != nil {
		return err
	}
	if m.Out, err = filepath.Abs(m.Out); err != nil {
		return fmt.Errorf("output directory: %w", err)
	}
	if err := os.MkdirAll(m.Out, 0o755); err != nil {
		return fmt.Errorf("output directory: %w", err)
	}
	if m.Work == "" {
		dir, err := cache.Dir()
		if err != nil {
			return err
		}
		m.Work = filepath.Join(dir, "build")
	}
	if m.run, err = steps.New(m.Stdout, m.Work); err != nil {
		return err
	}
	if m.Key == "" {
		m.Key = filepath.Join(filepath.Dir(m.Out), KeyFile)
	}
	made := false
	if m.key, made, err = manifest.LoadOrMakeKey(m.Key); err != nil {
		return err
	}
	if made {
		m.run.Say("  made a signing key: %s (keep it; images signed with another are not accepted as updates)", m.Key)
	}
	m.run.Say("%s %s on Debian %s, from %s", m.profile.Name, m.profile.Version, m.profile.Release, m.Profile)
	return m.specify(ctx)
}

// specify works out what the Debian tree is made of.
func (m *maker) specify(context.Context) error {
	p := m.profile
	mirrors := aptsource.Mirrors{Main: p.Mirror, Security: p.SecurityMirror}
	if p.Mirror == "" {
		var err error
		if mirrors, err = aptsource.Host("/"); err != nil {
			return err
		}
	}
	lines, err := mirrors.Lines(p.Release, p.Components)
	if err != nil {
		return err
	}
	suite, _ := aptsource.Codename(p.Release)
	m.spec = rootfs.Spec{
		Release: p.Release, Suite: suite, Sources: lines, Packages: append([]string{p.Kernel}, p.Packages...),
		ModulesExclude: p.ModulesExclude, Epoch: m.Epoch,
	}
	for _, k := range m.packs {
		m.spec.Packages = append(m.spec.Packages, k.Packages...)
		for _, r := range k.PackagesFor {
			if r.Release == p.Release {
				m.spec.Packages = append(m.spec.Packages, r.Packages...)
			}
		}
		m.spec.Accounts = append(m.spec.Accounts, k.Accounts...)
	}
	return nil
}

func (m *maker) debian(ctx context.Context) error {
	key := m.spec.Key()
	if m.Refresh {
		if err := os.RemoveAll(filepath.Join(m.Work, "debian-"+key)); err != nil {
			return fmt.Errorf("refresh: %w", err)
		}
	}
	dir, err := m.run.Keep(ctx, "debian", key, func(ctx context.Context, dir string) error {
		return rootfs.Debian(ctx, m.tools, m.spec, dir)
	})
	if err != nil {
		return err
	}
	if m.tree, err = rootfs.Open(dir); err != nil {
		return err
	}
	status, err := os.ReadFile(filepath.Join(m.tree.Dir, "var/lib/dpkg/status"))
	if err != nil {
		return fmt.Errorf("read the package database: %w", err)
	}
	m.debs = sbom.ParseStatus(string(status))
	return nil
}

// programs compiles, and returns the files by program name.
func (m *maker) programs(ctx context.Context) (map[string]string, error) {
	dir := filepath.Join(m.Work, "programs")
	out := map[string]string{}
	err := m.run.Do(ctx, "programs", func(ctx context.Context) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		var all []string
		for _, p := range programs.All() {
			all = append(all, p.Package)
			if f := m.Replace[p.Name]; f != "" {
				out[p.Name] = f
				continue
			}
			out[p.Name] = filepath.Join(dir, p.Name)
			if err := programs.Build(ctx, m.module, p, out[p.Name]); err != nil {
				return err
			}
		}
		if len(m.Replace) > 0 {
			all = nil
		}
		var err error
		m.mods, _, err = programs.Sources(ctx, m.module, append(append(all, initramfs.Early), initramfs.Commands()...)...)
		return err
	})
	return out, err
}

// root lays ATLAS over Debian and packs it.
func (m *maker) root(ctx context.Context, bins map[string]string) (string, error) {
	var err error
	if m.info, err = m.describe(ctx, bins); err != nil {
		return "", err
	}
	info, err := m.info.Marshal()
	if err != nil {
		return "", err
	}
	pub, err := manifest.MarshalPublic(m.key.Public().(ed25519.PublicKey))
	if err != nil {
		return "", err
	}
	for _, p := range programs.All() {
		m.layer = append(m.layer, rootfs.Entry{Path: filepath.Join(layout.LibDir, p.Name), From: bins[p.Name], Mode: 0o755})
	}
	m.layer = append(m.layer,
		rootfs.Entry{Path: "/usr/bin/atlas", Link: "../lib/atlas/atlas"},
		rootfs.Entry{Path: layout.ImageInfo, Data: info, Mode: 0o644},
		rootfs.Entry{Path: filepath.Join(layout.LibDir, "vendor.pub"), Data: pub, Mode: 0o644},
	)
	if m.layer, err = m.layer.Packs(m.packs); err != nil {
		return "", err
	}
	layerKey, err := m.layer.Key()
	if err != nil {
		return "", err
	}
	key := cache.Key(m.spec.Key(), m.tree.Date.String(), layerKey, strconv.Itoa(m.profile.Compression), m.tools.Path)
	dir, err := m.run.Keep(ctx, "root", key, func(ctx context.Context, dir string) error {
		return rootfs.Pack(ctx, m.tools, m.tree, m.layer, m.profile.Compression, filepath.Join(dir, "root.squashfs"))
	})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "root.squashfs")
	st, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("root: %w", err)
	}
	if st.Size() > layout.RootSize {
		return "", fmt.Errorf("the root is %d MiB; a slot holds %d MiB: take packages or packs out of the profile, or raise compression", st.Size()>>20, layout.RootSize>>20)
	}
	return file, nil
}

func (m *maker) describe(ctx context.Context, bins map[string]string) (manifest.Manifest, error) {
	version, err := programs.Version(ctx)
	if err != nil {
		return manifest.Manifest{}, err
	}
	info := manifest.Manifest{
		Format: manifest.Format, Name: m.profile.Name, Title: m.profile.Title, Version: m.profile.Version, Release: m.profile.Release,
		Codename: m.spec.Suite, Kernel: m.tree.KVer, Date: m.tree.Date.UTC(), Go: version, Packages: map[string]string{}, Binaries: map[string]string{},
	}
	for _, p := range m.packs {
		info.Packs = append(info.Packs, p.Name)
	}
	for _, d := range m.debs {
		info.Packages[d.Name] = d.Version
	}
	for n, f := range bins {
		if info.Binaries[n], err = manifest.SumFile(f); err != nil {
			return manifest.Manifest{}, err
		}
	}
	return info, nil
}

// cmdline is the kernel's for a slot. The serial line comes last and so is /dev/console.
func (m *maker) cmdline(slot string) string {
	return fmt.Sprintf("%s=%s %s=%s console=tty1 console=ttyS0,115200 panic=10 quiet loglevel=4", layout.CmdSlot, slot, layout.CmdVersion, m.profile.Version)
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

// loaderConf is systemd-boot's on the stick: the installer, at once, with no editor for passers-by.
const loaderConf = "timeout 0\ndefault atlas-install.efi\neditor no\nauto-entries no\nauto-firmware no\n"

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

// loadPacks reads the packs that the profile wants.
func loadPacks(standard string, p profile.Profile) ([]pack.Pack, error) {
	var all []pack.Pack
	for _, dir := range append([]string{standard}, p.PackDirs...) {
		l, err := pack.LoadAll(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, l...)
	}
	if len(p.Packs) == 0 {
		return all, nil
	}
	by := map[string]pack.Pack{}
	for _, k := range all {
		by[k.Name] = k
	}
	var out []pack.Pack
	for _, n := range p.Packs {
		k, ok := by[n]
		if !ok {
			return nil, fmt.Errorf("profile %s: packs: no pack is called %s: %w", p.Name, n, fs.ErrNotExist)
		}
		out = append(out, k)
	}
	return out, nil
}
