package product

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"sayasystems.com/atlas/build/aptsource"
	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/profile"
	"sayasystems.com/atlas/build/programs"
	"sayasystems.com/atlas/build/rootfs"
	"sayasystems.com/atlas/build/steps"
	"sayasystems.com/atlas/build/toolsroot"
)

// without lists packages that a release does not have, of those that the packs and every image ask for: no image can be made of such a release, but
// its daemons can be asked what they know. In Debian 11 samba holds the domain controller, and no package that is wanted asks for systemd's tools.
func without(release string) []string {
	if release == "11" {
		return []string{"dhcpcd-base", "samba-ad-dc", "samba-ad-provision", "systemd-standalone-sysusers", "systemd-standalone-tmpfiles"}
	}
	return nil
}

// Tree makes the Debian tree of a release with the packages of the standard profile's packs, for asking it: where the release is the
// profile's, it is the image's own and kept with it.
func Tree(ctx context.Context, release string, stdout io.Writer) (string, error) {
	module, err := programs.ModuleRoot()
	if err != nil {
		return "", err
	}
	work, err := cache.Dir()
	if err != nil {
		return "", err
	}
	m := &maker{Options: Options{Stdout: stdout, Work: filepath.Join(work, "build")}, module: module}
	if m.profile, err = profile.Load(filepath.Join(module, DefaultProfile)); err != nil {
		return "", err
	}
	if m.packs, err = loadPacks(filepath.Join(module, "image/packs"), m.profile); err != nil {
		return "", err
	}
	m.profile.Release = release
	if _, ok := aptsource.Codename(release); !ok {
		return "", fmt.Errorf("debian %s is not known: add its name to Codename in build/aptsource", release)
	}
	if err := m.specify(ctx); err != nil {
		return "", err
	}
	if gone := without(release); gone != nil {
		m.spec.Leave, m.spec.Bare = gone, true
		m.spec.Packages = slices.DeleteFunc(m.spec.Packages, func(p string) bool { return p == m.profile.Kernel || slices.Contains(gone, p) })
	}
	if m.run, err = steps.New(stdout, m.Work); err != nil {
		return "", err
	}
	if m.tools, err = toolsroot.Ensure(ctx, func(s string) { m.run.Say("    %s", s) }); err != nil {
		return "", err
	}
	dir, err := m.run.Keep(ctx, "debian", m.spec.Key(), func(ctx context.Context, dir string) error {
		return m.nameSource(rootfs.Debian(ctx, m.tools, m.spec, dir))
	})
	return filepath.Join(dir, "root"), err
}
