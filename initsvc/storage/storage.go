// Package storage runs the server's disk set: it reads disks, records on the labels what happens to the set before it happens, has the
// array assembled, checked and mounted, and watches it: a member that is lost is recorded as ejected at once, a blank disk
// in a bay is taken in and rebuilt.
//
// The order of durable steps is this package's subject, and the same for real arrays (package md) and the lab's (package fakemd): both
// are only the hands, behind the interface hands. Which set may start is not decided here but by roles.Decide.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/storage/fakemd"
	"sayasystems.com/atlas/initsvc/storage/md"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// Writer says who writes labels.
type Writer struct {
	Server string // name of the server
	Image  string // version of the image
}

// Store is the disk set of a server. Its methods may be called from several goroutines.
type Store interface {
	// Disks reads every disk but the system disk and the install stick, with labels and superblocks. It writes nothing.
	Disks(ctx context.Context) ([]roles.Disk, error)
	// Start records d.Eject and the new generation on the labels of d.Members, assembles exactly those, checks the filesystem
	// and mounts it at layout.SetDir.
	Start(ctx context.Context, d roles.Decision, w Writer) error
	// Set returns the started set as it is now, or array.ErrNotStarted.
	Set(ctx context.Context) (initapi.Set, error)
	// Watch keeps the started set and its labels right until ctx ends. A finding is told again when its text changes.
	Watch(ctx context.Context, found func(initapi.Finding), resolved func(id string))
	// Nudge makes Watch look now: a disk has come or gone.
	Nudge()
	// Add takes the disk in a bay into the set and starts to rebuild it; Watch does the rest.
	Add(ctx context.Context, r initapi.AddRequest) error
	// Stop flushes, unmounts and stops the array. Without a started set it does nothing.
	Stop(ctx context.Context) error
	// Create makes a set, mounted at layout.SetDir, and destroys what was on its disks.
	Create(ctx context.Context, c CreateSpec) (roles.Label, error)
}

// CreateSpec is a disk set to make.
type CreateSpec struct {
	Disks []roles.Disk // in slot order
	// Label has Site, SiteName, Role, Level, Image and Server filled; Create makes the rest.
	Label roles.Label
	// Progress is told each step, in words. May be nil.
	Progress func(string)
	// Fill puts the first content onto the mounted filesystem, before the labels are written. Until they are, the disks count as
	// blank: whatever is interrupted before the end can be run again without confirming anything. May be nil.
	Fill func(ctx context.Context, setDir string, l roles.Label) error
}

// Open returns the store of this machine: md on hardware, directories in the namespace lab.
func Open(h handover.Handover, log *slog.Logger) (Store, error) {
	switch h.Kind {
	case handover.Namespace:
		f, err := fakemd.New(fakemd.Config{Bays: h.FakeBays, Arrays: h.FakeArrays, Mount: layout.SetDir})
		if err != nil {
			return nil, err
		}
		return newKeeper(f, layout.SetDir, log), nil
	case handover.Hardware:
		bays, err := serverBays(layout.StateDir)
		if err != nil {
			log.Warn("bays of server.yaml are not used", "error", err)
		}
		m := md.New(md.Config{
			Skip:  []string{h.SystemDisk, h.Stick, h.ESP, h.State},
			Bays:  bays,
			Mount: layout.SetDir,
			Log:   log,
		})
		return newKeeper(m, layout.SetDir, log), nil
	}
	return nil, fmt.Errorf("open storage: unknown kind of machine %q", h.Kind)
}

// serverBays reads the bays that server.yaml names. While installing there is none yet.
func serverBays(stateDir string) ([]siteconf.Bay, error) {
	s, err := siteconf.LoadServer(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.Bays, nil
}
