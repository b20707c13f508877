package product

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/initramfs"
	"sayasystems.com/atlas/build/programs"
	"sayasystems.com/atlas/build/rootfs"
	"sayasystems.com/atlas/build/sbom"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/manifest"
	"sayasystems.com/atlas/sentry/atlas/habits"
)

func (m *maker) debian(ctx context.Context) error {
	key := m.spec.Key()
	if m.Refresh {
		if err := os.RemoveAll(filepath.Join(m.Work, "debian-"+key)); err != nil {
			return fmt.Errorf("refresh: %w", err)
		}
	}
	dir, err := m.run.Keep(ctx, "debian", key, func(ctx context.Context, dir string) error {
		return m.nameSource(rootfs.Debian(ctx, m.tools, m.spec, dir))
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

// noPackage is how apt tells that the release has no such package.
var noPackage = regexp.MustCompile(`(?m)^E: (?:Unable to locate package|Package '?)\s*'?([a-z0-9][a-z0-9+.-]+)`)

// nameSource adds to apt's error about a package which pack or key of the profile asks for it.
func (m *maker) nameSource(err error) error {
	if err == nil {
		return nil
	}
	found := noPackage.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	name := found[1]
	for _, k := range m.packs {
		if i := slices.Index(k.Packages, name); i >= 0 {
			return fmt.Errorf("%w\n%w", k.Errorf(fmt.Sprintf("packages[%d]", i), "Debian %s has no package %s; correct the name, or put it under packages_for the releases that have it", m.profile.Release, name), err)
		}
		for i, r := range k.PackagesFor {
			if j := slices.Index(r.Packages, name); j >= 0 && r.Release == m.profile.Release {
				return fmt.Errorf("%w\n%w", k.Errorf(fmt.Sprintf("packages_for[%d].packages[%d]", i, j), "Debian %s has no package %s; correct the name", m.profile.Release, name), err)
			}
		}
	}
	if i := slices.Index(m.profile.Packages, name); i >= 0 {
		return fmt.Errorf("%w\n%w", m.profile.Errorf(fmt.Sprintf("packages[%d]", i), "Debian %s has no package %s; correct the name", m.profile.Release, name), err)
	}
	return err
}

// programs compiles, and returns the files by program name.
func (m *maker) programs(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	dir, err := os.MkdirTemp(m.Work, "programs-") // its own: two builds may run at once
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	m.temp = dir
	err = m.run.Do(ctx, "programs", func(ctx context.Context) error {
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
	for _, l := range habits.Links() {
		to, err := filepath.Rel(filepath.Dir(l), filepath.Join(layout.LibDir, "atlas"))
		if err != nil {
			return "", fmt.Errorf("link %s: %w", l, err)
		}
		m.layer = append(m.layer, rootfs.Entry{Path: l, Link: to})
	}
	m.layer = append(m.layer, rootfs.Entry{Path: "/usr/lib/lsb/init-functions.d/40-atlas", Data: []byte(habits.LSBHook), Mode: 0o644})
	if m.layer, err = m.layer.Packs(m.packs); err != nil {
		return "", err
	}
	if err := m.older(ctx); err != nil {
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
