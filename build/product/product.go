// Package product makes an image and what lies beside it, from a profile: it is the order of the builder's steps and what each
// needs of the others.
//
//	profile, packs → Debian tree ─┐
//	Go sources → programs ────────┼→ root.squashfs ─┐
//	Go sources → initramfs → unified kernel images ─┴→ NAME-VERSION.img, manifest, bill of materials, sums, signature
package product

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/build/aptsource"
	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/hosttool"
	"sayasystems.com/atlas/build/profile"
	"sayasystems.com/atlas/build/programs"
	"sayasystems.com/atlas/build/rootfs"
	"sayasystems.com/atlas/build/sbom"
	"sayasystems.com/atlas/build/steps"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/manifest"
	"sayasystems.com/atlas/image/pack"
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
	Size     int64 // of the image, in bytes
	Root     int64 // of the root in it
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
	mirrors aptsource.Mirrors
	tree    rootfs.Tree
	layer   rootfs.Layer
	info    manifest.Manifest
	debs    []sbom.Deb
	mods    []programs.Module
	temp    string // directory to remove at the end
}

// Make makes an image.
func Make(ctx context.Context, o Options) (Result, error) {
	m := &maker{Options: o}
	defer func() {
		if m.temp != "" {
			_ = os.RemoveAll(m.temp)
		}
	}()
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
	m.mirrors = mirrors
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
