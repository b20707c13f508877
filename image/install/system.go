package install

import (
	"context"
	"time"

	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/image/layout"
)

// realDisk is a disk of this machine.
type realDisk struct{}

func (realDisk) Prepare(ctx context.Context, dev string, m systemdisk.Mark) (Parts, error) {
	var p Parts
	if err := systemdisk.Begin(dev, m); err != nil {
		return p, err
	}
	if err := systemdisk.Partition(dev); err != nil {
		return p, err
	}
	for name, part := range map[string]*string{layout.ESP: &p.ESP, layout.RootA: &p.RootA, layout.RootB: &p.RootB, layout.State: &p.State} {
		var err error
		if *part, err = systemdisk.Find(ctx, dev, name); err != nil {
			return p, err
		}
	}
	// What a former installation left in these would still boot.
	for _, part := range []string{p.ESP, p.RootA, p.RootB} {
		if err := systemdisk.Wipe(part); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (realDisk) CopyRoot(ctx context.Context, from, to string, copied, verified systemdisk.Progress) error {
	_, err := systemdisk.CopyRoot(ctx, from, to, copied, verified)
	return err
}

func (realDisk) MakeState(ctx context.Context, part string) error {
	return systemdisk.MakeState(ctx, part)
}
func (realDisk) MountState(part, dir string) error { return systemdisk.MountState(part, dir) }
func (realDisk) UnmountState(dir string) error     { return systemdisk.UnmountState(dir) }
func (realDisk) WriteESP(_ context.Context, part string, files []esp.File) error {
	return systemdisk.WriteESP(part, files, time.Now())
}
func (realDisk) SetMark(dev string, m systemdisk.Mark) error { return systemdisk.SetMark(dev, m) }
func (realDisk) ClearMark(dev string) error                  { return systemdisk.ClearMark(dev) }
