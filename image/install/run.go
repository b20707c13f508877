package install

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// Run installs: it checks a against the disks that are there now, then writes the system disk, makes the server's keys, founds or
// joins the site, makes and fills the disk set, and last makes the server bootable. Until the check has passed nothing is
// written. After an error or a power cut it can be run again from the start: until its last step the disks are recognised as an
// unfinished installation, and nothing boots from them.
func Run(ctx context.Context, e Env, a Answers) (Summary, error) {
	if e.System == nil {
		e.System = realDisk{}
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.hash == nil {
		e.hash = hashes
	}
	r := &run{Env: e, a: a, id: uuid.NewString(), sum: Summary{Server: a.Server}}
	err := r.phases(ctx)
	if cerr := r.close(context.WithoutCancel(ctx)); cerr != nil {
		err = errors.Join(err, cerr)
	}
	return r.sum, err
}

// run is one installation under way.
type run struct {
	Env
	a     Answers
	plan  Plan
	parts Parts
	mark  systemdisk.Mark
	id    string // server UUID
	mgmt  netip.Addr
	site  site
	sum   Summary

	stateMounted, setStarted bool
	step, of                 int
	phase                    string
}

// site is what founding and joining both come to.
type site struct {
	JoinReply
	conf *siteconf.Site // nil when joining: SiteYAML is taken as it is
}

func (r *run) phases(ctx context.Context) error {
	all := []struct {
		name string
		skip bool
		do   func(context.Context) error
	}{
		{"check", false, r.check},
		{"system disk", r.NoSystemDisk, r.systemDisk},
		{"state", !r.NoSystemDisk, r.stateDir},
		{"keys", false, r.keys},
		{"site", false, r.foundOrJoin},
		{"disk set", len(r.a.Set.Disks) == 0, r.diskSet},
		{"server", false, r.configureServer},
		{"join code", r.a.New == nil, r.joinCode},
		{"boot loader", r.NoSystemDisk, r.bootLoader},
		{"finish", false, r.finish},
	}
	for _, p := range all {
		if !p.skip {
			r.of++
		}
	}
	for _, p := range all {
		if p.skip {
			continue
		}
		r.step++
		r.phase = p.name
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("install: %s: %w", p.name, err)
		}
		if err := p.do(ctx); err != nil {
			return fmt.Errorf("install: %s: %w", p.name, err)
		}
		if r.after != nil {
			if err := r.after(p.name); err != nil {
				return fmt.Errorf("install: %s: %w", p.name, err)
			}
		}
	}
	return nil
}

func (r *run) say(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(Progress{Step: r.step, Of: r.of, Phase: r.phase, Text: fmt.Sprintf(format, args...)})
	}
}

func (r *run) did(format string, args ...any) {
	r.sum.Did = append(r.sum.Did, fmt.Sprintf(format, args...))
}

func (r *run) warn(format string, args ...any) {
	r.sum.Warnings = append(r.sum.Warnings, fmt.Sprintf(format, args...))
}

func (r *run) check(ctx context.Context) error {
	r.say("comparing the answers with the disks that are here")
	disks, err := r.Disks(ctx)
	if err != nil {
		return err
	}
	r.plan, err = Check(r.a, disks, Limits{NoSystemDisk: r.NoSystemDisk})
	if err != nil {
		return err
	}
	if r.NoSystemDisk {
		if err := r.checkState(); err != nil {
			return err
		}
	} else if err := checkStick(r.StickDir); err != nil {
		return err
	}
	r.sum.Warnings = append(r.sum.Warnings, r.plan.Warnings...)
	return nil
}

// checkStick looks for all that bootLoader copies, before anything is written.
func checkStick(dir string) error {
	for _, f := range []string{layout.BootLoader, layout.LoaderConf, filepath.Join(layout.SlotUKIDir, "slot-a.efi")} {
		if !exists(dir, f) {
			return fmt.Errorf("%s is missing on the install stick; write the stick again", f)
		}
	}
	return nil
}

func (r *run) systemDisk(ctx context.Context) error {
	dev := r.plan.System.Dev
	r.mark = systemdisk.Mark{Server: r.a.Server, Begun: r.Now().UTC()}
	// A failed attempt in this same boot may have left it mounted.
	if err := r.System.UnmountState(r.StateDir); err != nil {
		return err
	}
	r.say("partitioning %s", r.plan.System.Name())
	var err error
	if r.parts, err = r.System.Prepare(ctx, dev, r.mark); err != nil {
		return err
	}
	bar := func(text string) systemdisk.Progress {
		return func(done, total int64) {
			if r.Progress != nil {
				r.Progress(Progress{Step: r.step, Of: r.of, Phase: r.phase, Text: text, Done: done, Total: total})
			}
		}
	}
	if err := r.System.CopyRoot(ctx, r.Root, r.parts.RootA, bar("copying the system"), bar("reading it back")); err != nil {
		return err
	}
	r.say("making the state filesystem")
	if err := r.System.MakeState(ctx, r.parts.State); err != nil {
		return err
	}
	if err := r.System.MountState(r.parts.State, r.StateDir); err != nil {
		return err
	}
	r.stateMounted = true
	r.did("system disk: %s, image %s", r.plan.System.Name(), r.Version)
	return nil
}

func (r *run) keys(context.Context) error {
	r.say("making the server's key, which never leaves it")
	if err := r.NewKey(r.StateDir, r.id); err != nil {
		return err
	}
	r.did("server: %s, key made on this server", r.a.Server)
	return nil
}

func (r *run) diskSet(ctx context.Context) error {
	label := roles.Label{
		Site: r.site.Site, SiteName: r.site.SiteName, Role: r.a.Set.Role, Level: r.a.Set.Level, Image: r.Version, Server: r.a.Server,
	}
	disks := make([]roles.Disk, len(r.plan.Members))
	for i, d := range r.plan.Members {
		disks[i] = d.Disk
	}
	r.say("making the %s disk set, %s of %d disks", label.Role, label.Level, len(disks))
	r.setStarted = true // also when CreateSet gives up half-way
	err := r.CreateSet(ctx, NewSet{Disks: disks, Label: label, Say: func(s string) { r.say("%s", s) }, Fill: r.fillSet})
	if err != nil {
		return err
	}
	for _, d := range r.plan.Members {
		r.did("%s disk set (%s): %s", label.Role, label.Level, d.Name())
	}
	return nil
}

func (r *run) fillSet(_ context.Context, setDir string) error {
	r.say("copying the first content of etc, var, srv, home and root")
	if err := r.Tree(setDir, r.ImageDir, r.Version); err != nil {
		return err
	}
	r.say("writing the site's configuration")
	return r.configureSet(setDir)
}

func (r *run) joinCode(context.Context) error {
	r.say("making a join code for the next server")
	var err error
	if r.sum.JoinCode, err = r.JoinCode(r.StateDir); err != nil {
		return err
	}
	if !r.mgmt.IsValid() {
		r.warn("the management address comes by DHCP and is not known yet: join the next server with the address and code on this server's console")
		return nil
	}
	j := Join{Site: r.site.Site, Name: r.site.SiteName, Address: r.mgmt.String(), Code: r.sum.JoinCode}
	if err := siteconf.Save(filepath.Join(r.StickDir, layout.JoinFile), j, 0o600); err != nil {
		// A CD, say. The code is shown as well.
		r.warn("%s cannot be written to the install medium (%v): type the code on the next server", layout.JoinFile, err)
		return nil
	}
	r.sum.JoinOnFile = true
	r.did("join code for the next server: on the stick, file %s, valid for a day", layout.JoinFile)
	return nil
}

func (r *run) bootLoader(ctx context.Context) error {
	r.say("making the server bootable")
	stick := func(name string) string { return filepath.Join(r.StickDir, name) }
	files := []esp.File{
		{Path: layout.BootLoader, From: stick(layout.BootLoader)},
		{Path: layout.LoaderConf, From: stick(layout.LoaderConf)},
	}
	if exists(r.StickDir, layout.ManifestFile) {
		files = append(files, esp.File{Path: layout.ManifestFile, From: stick(layout.ManifestFile)})
	}
	files = append(files, esp.File{
		Path: filepath.Join(layout.UKIDir, layout.UKIName(r.Version, "a", 3)),
		From: stick(filepath.Join(layout.SlotUKIDir, "slot-a.efi")),
	})
	if err := r.System.WriteESP(ctx, r.parts.ESP, files); err != nil {
		return err
	}
	r.did("boot loader: slot a, image %s", r.Version)
	return nil
}

// finish makes all durable, then takes the mark away: from here on it is a server.
func (r *run) finish(ctx context.Context) error {
	r.say("writing everything to the disks")
	for _, dir := range []string{r.StateDir, r.StickDir} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	if err := r.close(ctx); err != nil {
		return err
	}
	if r.NoSystemDisk {
		if err := os.Remove(filepath.Join(r.StateDir, unfinishedFile)); err != nil {
			return fmt.Errorf("end installation: %w", err)
		}
	} else if err := r.System.ClearMark(r.plan.System.Dev); err != nil {
		return err
	}
	if r.a.Join != nil && r.a.Join.File {
		// Used up. A medium that cannot be written keeps it, which does no harm: the code is refused from now on.
		_ = os.Remove(filepath.Join(r.StickDir, layout.JoinFile))
	}
	return nil
}

// syncDir makes the whole filesystem of dir durable. The set's own is made so when it stops.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// close stops and unmounts what is in use, once.
func (r *run) close(ctx context.Context) error {
	var errs []error
	if r.setStarted {
		r.setStarted = false
		if err := r.StopSet(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop the disk set: %w", err))
		}
	}
	if r.stateMounted {
		r.stateMounted = false
		errs = append(errs, r.System.UnmountState(r.StateDir))
	}
	return errors.Join(errs...)
}
