package installer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/network"
	"sayasystems.com/atlas/initsvc/storage"
	"sayasystems.com/atlas/initsvc/tree"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
)

// joinPatience covers a first server that is just starting its services.
const joinPatience = 2 * time.Minute

// wire puts the parts of this machine together.
func wire(h handover.Handover, stickDir string, consoles []*console, log *slog.Logger) (*session, error) {
	store, err := storage.Open(h, log)
	if err != nil {
		return nil, err
	}
	namespace := h.Kind == handover.Namespace
	stateDir := layout.StateDir
	if namespace {
		stateDir = h.State
	}
	find := func(ctx context.Context) (hardware, error) {
		disks, err := store.Disks(ctx)
		if err != nil {
			return hardware{}, err
		}
		inv, err := hwcheck.Take(ctx, hwcheck.Options{})
		if err != nil {
			// Half an inventory is better than no installation; disks do not depend on it.
			log.Warn("take inventory", "error", err)
		}
		mark := func(dev string) (systemdisk.Mark, bool) { return readMark(dev, log) }
		hw := hardware{inv: inv, disks: gather(disks, inv, h.Stick, mark)}
		if namespace {
			if m, ok := install.ReadMark(stateDir); ok {
				own(hw.disks, m.Site)
			}
		}
		return hw, nil
	}
	env := install.Env{
		Version: h.Version, NoSystemDisk: namespace, Root: h.Root,
		StateDir: stateDir, StickDir: stickDir, ImageDir: imageDir(),
		Disks: func(ctx context.Context) ([]install.Disk, error) {
			hw, err := find(ctx)
			return hw.disks, err
		},
		CreateSet: func(ctx context.Context, s install.NewSet) error {
			_, err := store.Create(ctx, storage.CreateSpec{
				Disks: s.Disks, Label: s.Label, Progress: s.Say,
				Fill: func(ctx context.Context, setDir string, _ roles.Label) error { return s.Fill(ctx, setDir) },
			})
			return err
		},
		StopSet: store.Stop,
		Tree: func(setDir, imageDir, version string) error {
			_, err := tree.Prepare(context.Background(), setDir, imageDir, version, tree.Conversion{}) // the set is new
			return err
		},
		Network: func(ctx context.Context, m siteconf.Management) (netip.Prefix, error) {
			up, err := network.BringUp(ctx, m, log)
			return up.Address, err
		},
		NewKey: peers.NewKey,
		JoinCode: func(dir string) (string, error) {
			o, err := peers.NewOffers(dir, nil).Show(true)
			return o.Code, err
		},
		Join:     join,
		Patience: joinPatience,
	}
	return &session{
		version: h.Version, namespace: namespace, stickDir: stickDir, consoles: consoles, find: find,
		checkCode: func(s string) error {
			_, err := peers.ParseCode(s)
			return err
		},
		install: func(ctx context.Context, a install.Answers, p func(install.Progress)) (install.Summary, error) {
			e := env
			e.Progress = p
			return install.Run(ctx, e, a)
		},
		power: func(ctx context.Context, action string) error {
			err := initapi.NewClient(layout.InitSocket).Power(ctx, initapi.PowerRequest{Action: action, Reason: "installed"})
			if err != nil {
				return fmt.Errorf("installed, but the power request %q failed: %w; switch the server off and on by hand", action, err)
			}
			return nil
		},
	}, nil
}

// join is peers.Join in image/install's words.
func join(ctx context.Context, address, code string, me install.JoinRequest) (install.JoinReply, error) {
	r, err := peers.Join(ctx, address, code, peers.JoinRequest{ID: me.ID, Name: me.Name, Address: me.Address, Cert: me.Cert})
	if err != nil {
		// A server that is still starting its set says so, and can be asked again; every other no is final.
		var no *peers.Refusal
		if errors.Is(err, peers.ErrCode) || errors.As(err, &no) && !errors.Is(err, peers.ErrNoSet) && !errors.Is(err, peers.ErrCannotTell) {
			err = fmt.Errorf("%w: %w", install.ErrRefused, err)
		}
		return install.JoinReply{}, err
	}
	out := install.JoinReply{
		Site: r.Site, SiteName: r.SiteName, SiteYAML: r.SiteYAML, Admin: r.Admin, SSHKeys: r.SSHKeys, Peers: r.Peers,
		NTHash: r.NTHash, Verify: r.Verify, Secret: r.Secret,
	}
	for _, s := range r.Shadow {
		switch s.User {
		case "root":
			out.RootHash = s.Hash
		case install.AdminUser:
			out.AdminHash = s.Hash
		}
	}
	return out, nil
}

func readMark(dev string, log *slog.Logger) (systemdisk.Mark, bool) {
	if st, err := os.Stat(dev); err != nil || st.IsDir() {
		return systemdisk.Mark{}, false // the lab's disks are directories
	}
	m, ok, err := systemdisk.ReadMark(dev)
	if err != nil {
		log.Warn("read mark", "disk", dev, "error", err)
	}
	return m, ok
}

// imageDir is where the image's root is seen: init's bind, else the root itself, over which nothing is bound while installing.
func imageDir() string {
	if _, err := os.Stat(filepath.Join(layout.ImageDir, layout.ImageInfo)); err == nil {
		return layout.ImageDir
	}
	return "/"
}
