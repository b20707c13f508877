package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/sentry/initapi"
)

// Options of Up. Zero values mean the defaults.
type Options struct {
	Kind      string            // folder.VM (default), folder.Namespace, or "auto": vm where KVM works, else namespace
	Servers   int               // 2 (default) or 3
	Image     string            // atlas-VERSION.img; the newest in ./out
	Others    map[string]string // image of a server that runs another one, by its name
	Disks     int               // in each set; 2
	DiskSize  int64             // bytes; 1 GiB
	MemoryMiB int               // 1024
	CPUs      int               // of a virtual machine
	Services  []string          // packs that the site runs; those that are on by default if empty, "all" for all
	Blank     bool              // make the servers, but install nothing and leave them off
	Keep      bool              // leave everything running when something fails
	Progress  io.Writer
}

const diskModel = "Lab disk"

// servers of a lab, by position on the rack.
func names() []string { return []string{"left", "right", "middle"} }

// Up makes the lab, installs its servers from the image one after the other, and boots them; or, where there is a lab already,
// finishes that and switches its servers on.
func (l *Lab) Up(ctx context.Context, o Options) (err error) {
	p := newProgress(o.Progress)
	state, err := l.Folder.Load()
	if errors.Is(err, folder.ErrNoLab) {
		if err := l.create(ctx, o, p); err != nil {
			return err
		}
		state, err = l.Folder.Load()
	} else if err == nil && o.Image != "" && filepath.Base(o.Image) != state.Image {
		return fmt.Errorf("the lab in %s was made from %s; remove it first: lab down --dir %s", l.Folder.Dir, state.Image, l.Folder.Dir)
	}
	if err != nil {
		return err
	}
	if err := p.step("network", l.Office.Up); err != nil {
		return err
	}
	if o.Blank {
		return nil
	}
	defer func() {
		if err != nil && !o.Keep {
			err = errors.Join(err, l.each(context.WithoutCancel(ctx), func(s Server, _ folder.Server) error { return s.Cut(context.WithoutCancel(ctx)) }))
		}
	}()
	for i, s := range state.Servers {
		if !s.Installed {
			if err := p.step("install "+s.Name, func() error { return l.Install(ctx, s.Name) }); err != nil {
				return err
			}
		}
		if err := p.step("boot "+s.Name, func() error {
			if err := l.PowerOn(ctx, s.Name, ""); err != nil {
				return err
			}
			return l.waitBoot(ctx, state, i)
		}); err != nil {
			return err
		}
	}
	return p.step("forward ports", func() error { return l.Forward(ctx) })
}

// waitBoot waits for what a freshly switched on server becomes: the first ones have sets, a third has none and holds. After a
// swap the roles have changed places, so any role is good.
func (l *Lab) waitBoot(ctx context.Context, state folder.Lab, i int) error {
	limit := 15 * time.Minute
	if state.Kind == folder.Namespace {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := state.Servers[i]
	if err := l.WaitFor(ctx, s.Name, "up"); err != nil {
		return l.withConsole(s.Name, err)
	}
	for {
		h, err := l.Health(ctx, s)
		if err == nil && (h.Ready || h.State == initapi.Holding) {
			disks, derr := l.Folder.Disks(s.Name)
			if derr != nil {
				return derr
			}
			if h.State == initapi.Holding && len(disks) > 0 {
				return l.withConsole(s.Name, fmt.Errorf("%s holds: it starts no disk set; its page or console says why", s.Name))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return l.withConsole(s.Name, fmt.Errorf("%s has booted, but is not ready in time", s.Name))
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Down ends the lab: everything that runs, the network, and, unless keep, all its disks. keep shuts the servers down in order.
func (l *Lab) Down(ctx context.Context, keep bool) error {
	if _, err := l.Folder.Load(); err != nil {
		return err
	}
	err := l.each(ctx, func(s Server, chassis folder.Server) error {
		if keep && s.On() {
			short, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			if err := s.PowerOff(short); err == nil {
				return nil
			}
		}
		return s.Cut(ctx)
	})
	if err := errors.Join(err, l.stopForward(ctx), l.Office.Down()); err != nil {
		return err
	}
	if keep {
		return nil
	}
	return l.Folder.Remove()
}

// Save keeps the lab's state under a name (or at a path, to share it between labs); all servers must be off.
func (l *Lab) Save(ctx context.Context, name string) error {
	if err := l.allOff(ctx); err != nil {
		return err
	}
	return l.Folder.Snapshot(ctx, l.Folder.SnapshotPath(name))
}

// Restore brings a saved state back, into this folder, which may be empty; all servers must be off.
func (l *Lab) Restore(ctx context.Context, name string) error {
	if err := l.allOff(ctx); err != nil && !errors.Is(err, folder.ErrNoLab) {
		return err
	}
	return l.Folder.Restore(ctx, l.Folder.SnapshotPath(name))
}

func (l *Lab) allOff(ctx context.Context) error {
	return l.each(ctx, func(s Server, chassis folder.Server) error {
		if s.On() {
			return fmt.Errorf("%s is on; shut it down first: lab power off %s", chassis.Name, chassis.Name)
		}
		return nil
	})
}
