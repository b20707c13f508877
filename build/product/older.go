package product

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sayasystems.com/atlas/build/aptsource"
	"sayasystems.com/atlas/build/rootfs"
	"sayasystems.com/atlas/build/sbom"
	"sayasystems.com/atlas/image/pack"
)

// older adds the programs of older releases that bring their data forward: those of packs whose data only their own release reads.
func (m *maker) older(ctx context.Context) error {
	var packs []pack.Pack
	var mounts []string
	for _, p := range m.packs {
		for _, f := range p.Formats {
			if f.Kind == pack.FormatPostgreSQL {
				packs, mounts = append(packs, p), append(mounts, f.Path)
			}
		}
	}
	if len(packs) == 0 {
		return nil
	}
	for _, release := range m.profile.Older {
		spec, err := m.olderSpec(release, packs)
		if err != nil {
			return err
		}
		dir, err := m.run.Keep(ctx, "older-"+release, spec.Key(), func(ctx context.Context, dir string) error {
			return rootfs.Debian(ctx, m.tools, spec, dir)
		})
		if err != nil {
			return fmt.Errorf("programs of Debian %s that bring its data forward (leave them out by `older: []` in the profile): %w", release, err)
		}
		tree := filepath.Join(dir, "root")
		layer, bytes, err := rootfs.Older(tree, release, mounts)
		if err != nil {
			return err
		}
		if err := m.olderBill(tree, release, layer); err != nil {
			return err
		}
		m.layer = append(m.layer, layer...)
		m.run.Say("    programs of Debian %s for data of before: %d files, %d MB", release, len(layer), bytes/1e6)
	}
	return nil
}

// olderSpec is a tree of an older release with the packages of packs. What the profile adds for this release may not be there; languages are
// taken over, since databases are sorted by them.
func (m *maker) olderSpec(release string, packs []pack.Pack) (rootfs.Spec, error) {
	lines, err := m.mirrors.Lines(release, m.profile.Components)
	if err != nil {
		return rootfs.Spec{}, err
	}
	suite, _ := aptsource.Codename(release)
	spec := rootfs.Spec{Release: release, Suite: suite, Sources: lines, Epoch: m.Epoch, Bare: true, Leave: without(release)}
	for _, p := range packs {
		spec.Packages = append(spec.Packages, p.Packages...)
		for _, r := range p.PackagesFor {
			if r.Release == release {
				spec.Packages = append(spec.Packages, r.Packages...)
			}
		}
		spec.Accounts = append(spec.Accounts, p.Accounts...)
	}
	for _, p := range m.profile.Packages {
		if p == "locales-all" {
			spec.Packages = append(spec.Packages, p)
		}
	}
	return spec, nil
}

// olderBill adds the packages whose files are taken to the bill of materials.
func (m *maker) olderBill(tree, release string, layer rootfs.Layer) error {
	status, err := os.ReadFile(filepath.Join(tree, "var/lib/dpkg/status"))
	if err != nil {
		return fmt.Errorf("read the package database: %w", err)
	}
	taken := map[string]bool{}
	for _, e := range layer {
		if rel, err := filepath.Rel(tree, e.From); err == nil && e.From != "" {
			taken["/"+rel] = true
			taken["/"+strings.TrimPrefix(rel, "usr/")] = true // as packages of before the merger of /usr name it
		}
	}
	for _, d := range sbom.ParseStatus(string(status)) {
		for _, name := range []string{d.Name, d.Name + ":" + d.Architecture} {
			list, err := os.ReadFile(filepath.Join(tree, "var/lib/dpkg/info", name+".list"))
			if err != nil {
				continue
			}
			if slices.ContainsFunc(strings.Split(string(list), "\n"), func(f string) bool { return taken[f] }) {
				d.Release = release
				m.debs = append(m.debs, d)
			}
			break
		}
	}
	return nil
}
