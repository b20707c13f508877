package pid1

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/boot"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/launch"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/initsvc/network"
	"sayasystems.com/atlas/initsvc/supervise"
	"sayasystems.com/atlas/sentry/initapi"
)

// base are the phases that make the server reachable, whatever disks it has.
func (s *Server) base() []boot.Phase {
	hardware := func() string {
		if s.namespace() {
			return "the lab's machine has none"
		}
		return ""
	}
	booting := func() string {
		if s.o.Handover.Mode == handover.Install {
			return "installing"
		}
		return ""
	}
	const reinstall = "Restart the server. If it happens again, boot the other slot or install again: the disk set is not touched by that."
	return []boot.Phase{
		{
			Name: "mounts", Title: "Mounting what the system needs", Timeout: 20 * time.Second, Policy: boot.Hold, Next: reinstall,
			Run: func(ctx context.Context) (string, error) { return "", s.p.Mounts(ctx) },
		},
		{
			Name: "cgroup", Title: "Preparing control groups", Timeout: 10 * time.Second, Next: reinstall,
			Run: func(context.Context) (string, error) { return "", s.startGroups() },
		},
		{
			Name: "devices", Title: "Loading drivers", Timeout: 3 * time.Minute, Skip: hardware,
			Next: "Look into the log for the driver that failed. Devices that it drives are missing.",
			Run:  s.p.Coldplug,
		},
		{
			Name: "state", Title: "Opening this server's own settings", Timeout: 2 * time.Minute, Policy: boot.Hold, Skip: booting,
			Next: "The system disk may be failing. Check its cables, restart; then replace it and install again: the disk set keeps all data.",
			Run:  s.openState,
		},
		{
			Name: "inventory", Title: "Looking at the hardware", Timeout: time.Minute, Skip: booting,
			Next: "The server works without it. Restart it when it suits; if this stays, send the log to the vendor.",
			Run:  s.takeInventory,
		},
		{
			Name: "network", Title: "Bringing up the management network", Timeout: 75 * time.Second, Skip: booting,
			Next: "Check the network cable and the management address of this server.",
			Run:  s.raiseManagement,
		},
		{
			Name: "access", Title: "Starting remote login and Sentry", Timeout: 30 * time.Second, Skip: booting, Next: reinstall,
			Run: s.startAccess,
		},
	}
}

func (s *Server) startGroups() error {
	t, err := s.p.Cgroup()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree = t
	s.sup = supervise.New(supervise.Options{
		Cgroup: t, RunDir: filepath.Join(s.o.Dirs.Run, "notify"), Guard: s.guard, Log: s.log, Expand: s.p.Expand, Version: s.o.Handover.Version,
		Helper: s.launchHelper(), Before: s.dataReady,
	})
	return err
}

func (s *Server) openState(ctx context.Context) (string, error) {
	note, err := s.p.MountState(ctx)
	if err != nil {
		return note, err
	}
	server, err := siteconf.LoadServer(s.o.Dirs.State)
	if err != nil {
		return note, boot.Advise(fmt.Errorf("this server's settings cannot be read: %w", err),
			"Log in at the console (key s) and correct the file, or install again: the disk set is not touched by that.")
	}
	peers, err := siteconf.LoadPeers(s.o.Dirs.State)
	if err != nil {
		return note, boot.Advise(fmt.Errorf("the list of the site's servers cannot be read: %w", err),
			"Log in at the console (key s) and correct the file, or install again: the disk set is not touched by that.")
	}
	seen, err := loadMemory(s.o.Dirs.State)
	if err != nil { // labels and peers still decide
		s.log.Warn("memory of labels is not used", "err", err)
	}
	s.mu.Lock()
	s.st.server, s.st.peers, s.st.seen = server, peers, seen
	s.mu.Unlock()
	if err := s.p.Hostname(server.Name); err != nil {
		s.log.Warn("host name", "err", err)
	}
	if good, err := s.p.Slot(ctx); err != nil {
		s.log.Warn("whether this slot is good is not known", "err", err)
	} else {
		s.mu.Lock()
		s.st.slotGood = good
		s.mu.Unlock()
	}
	return note, nil
}

func (s *Server) takeInventory(ctx context.Context) (string, error) {
	inv, err := s.p.Inventory(ctx)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.st.inventory = inv.Raw
	s.mu.Unlock()
	for _, f := range inv.Findings {
		f.Where = s.name()
		s.findings.set(f)
	}
	if n := len(inv.Findings); n > 0 {
		return fmt.Sprintf("%d findings", n), nil
	}
	return "", nil
}

func (s *Server) raiseManagement(ctx context.Context) (string, error) {
	s.mu.Lock()
	cfg := s.st.server.Management
	s.mu.Unlock()
	m, err := s.p.Network(ctx, cfg, s.log)
	if m.Address.IsValid() {
		s.mu.Lock()
		s.st.management = m
		s.mu.Unlock()
		s.guard.Keep(s.lifetime, "management network", func(ctx context.Context) { s.keepManagement(ctx, m) })
		if s.p.Conflicts != nil {
			s.guard.Keep(s.lifetime, "management address", func(ctx context.Context) { s.watchManagement(ctx, m) })
		}
	}
	if errors.Is(err, network.ErrNoLink) && m.Address.IsValid() {
		return "", boot.Advise(err, "Check the network cable; the address works as soon as there is a link.")
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s on %s", m.Address, m.Interface), nil
}

// keepManagement keeps the address that DHCP gave.
func (s *Server) keepManagement(ctx context.Context, m network.Management) {
	if err := s.p.Keep(ctx, m, s.log); err != nil && ctx.Err() == nil {
		s.findings.set(initapi.Finding{
			ID: "management-address", Severity: "warning", Where: s.name(), What: "The management address is not sure any more: " + err.Error(),
			Next: "Give this server a fixed address, in the DHCP server or in its own settings, and restart it.",
		})
	}
}

// watchManagement tells who else has the management address.
func (s *Server) watchManagement(ctx context.Context, m network.Management) {
	err := s.p.Conflicts(ctx, m, func(c network.ErrConflict) {
		s.findings.set(initapi.Finding{
			ID: "management-conflict", Severity: "warning", Where: s.name(),
			What: fmt.Sprintf("The management address %s is in use by %s as well", c.Address, c.Who()),
			Next: "Give one of the two another address. Until then this server's page, remote login and the other servers may reach the wrong machine.",
		})
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("management address is not watched", "err", err)
	}
}

// vars are what pack p may refer to, as far as it is known.
func (s *Server) vars(p pack.Pack) pack.Vars {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := pack.Vars{
		Hostname: s.st.server.Name, Server: s.st.server.Name, Site: s.st.peers.Site, SiteName: s.st.peers.SiteName,
		StateDir: s.o.Dirs.State, Kind: s.o.Handover.Kind, Role: string(s.st.decision.Role), Release: s.o.Release,
	}
	if a := s.st.management.Address; a.IsValid() {
		v.Management = a.Addr().String()
	}
	var peers []string
	for _, q := range s.st.peers.Peers {
		peers = append(peers, q.Address)
	}
	v.Peers = strings.Join(peers, " ")
	return v.WithSite(s.st.site, p)
}

// startAccess starts what runs on every server whether it serves or not: remote login and sentry.
func (s *Server) startAccess(context.Context) (string, error) {
	packs, err := s.p.Packs(s.packsDir())
	if err != nil {
		err = fmt.Errorf("service packs of the image: %w", err)
	}
	s.mu.Lock()
	s.st.packs = packs
	s.mu.Unlock()
	var errs []error
	if err != nil {
		errs = append(errs, err)
	}
	s.weigh(sentryName, whileBooting)
	own := slices.DeleteFunc(slices.Clone(packs), func(p pack.Pack) bool { return p.Scope != "server" })
	own = append(own, sentryPack(s.o.Dirs.Lib))
	for _, p := range own {
		if err := s.startService(p, logfile.New(filepath.Join(s.o.Dirs.RunLog, p.Name+".log"), 1<<20, 1)); err != nil {
			errs = append(errs, err)
		}
	}
	return "", errors.Join(errs...)
}

func (s *Server) startService(p pack.Pack, log *logfile.File) error {
	p = p.On(s.o.Handover.Kind)
	if err := s.supervisor().Add(p, s.vars(p), log); err != nil {
		return err
	}
	return s.supervisor().Start(p.Name)
}

const sentryName = "sentry"

// sentryPack is sentry as the supervisor sees it. It is part of every image, so it is no folder among the packs.
func sentryPack(lib string) pack.Pack {
	return pack.Pack{
		Name: sentryName, Title: "Sentry", Scope: "server",
		Processes: []pack.Process{{
			Name: "sentry", Command: []string{filepath.Join(lib, "sentry"), "daemon"},
			Ready: pack.Ready{TCP: layout.DashboardPort, Timeout: "90s"}, StopTimeout: "10s",
		}},
	}
}

func (s *Server) supervisor() *supervise.Supervisor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sup == nil { // before its phase, or after that failed
		s.sup = supervise.New(supervise.Options{RunDir: filepath.Join(s.o.Dirs.Run, "notify"), Guard: s.guard, Log: s.log, Expand: s.p.Expand, Helper: s.launchHelper(), Before: s.dataReady})
	}
	return s.sup
}

// launchHelper is init's own binary as initsvc/launch.
func (s *Server) launchHelper() []string {
	return []string{filepath.Join(s.o.Dirs.Lib, "init"), launch.Verb}
}
