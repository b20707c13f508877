package pid1

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/boot"
	"sayasystems.com/atlas/initsvc/network"
	"sayasystems.com/atlas/initsvc/storage"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// serve decides, waits while the answer is to hold, starts the set and watches it, until ctx ends.
func (s *Server) serve(ctx context.Context) {
	if s.p.Uevents != nil {
		s.guard.Keep(ctx, "device events", func(ctx context.Context) { s.p.Uevents(ctx, s.disksChanged) })
	}
	s.guard.Keep(ctx, "slot", s.blessWhenGood)
	s.guard.Keep(ctx, "state", s.refresh)
	s.guard.Keep(ctx, "peers", s.watchPeers)
	for ctx.Err() == nil {
		_, err := s.runner.Run(ctx, s.deciding())
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.holdFor(err)
		}
		if s.decided() != roles.Start || err != nil {
			s.finish(ctx, "holding")
			s.waitForChange(ctx, err != nil)
			continue
		}
		if s.startSet(ctx) {
			return
		}
	}
}

// startSet runs the serving phases and then watches. A phase that fails is tried again, and those after it, until ctx ends or
// (while the set itself has not started) something changes that needs a new decision: then it returns false.
func (s *Server) startSet(ctx context.Context) bool {
	phases := s.serving()
	watching := false
	for at := 0; ; {
		n, err := s.runner.Run(ctx, phases[at:])
		if ctx.Err() != nil {
			return true
		}
		s.mu.Lock()
		started := s.st.setStarted
		s.mu.Unlock()
		if started && !watching {
			watching = true
			s.guard.Keep(ctx, "disk set", func(ctx context.Context) {
				s.store.Watch(ctx, s.findings.set, s.findings.clear)
			})
		}
		if err == nil {
			s.setState(initapi.Serving)
			s.mu.Lock()
			s.st.reasons = nil
			role := s.st.decision.Role
			s.mu.Unlock()
			s.finish(ctx, string(role))
			s.guard.Go("late services", func() {
				if s.supervisor().WaitReady(ctx) == nil { // those that took longer than the boot waited
					s.findings.clear("boot-services")
				}
			})
			<-ctx.Done()
			return true
		}
		at += n
		s.holdFor(err)
		s.finish(ctx, "holding")
		s.waitForChange(ctx, true)
		if !started {
			return false
		}
	}
}

// serving are the phases that start a set that was decided for. They are the same for both roles.
func (s *Server) serving() []boot.Phase {
	const swap = "If this stays, the other disk set can be put into this server, or this set into another one."
	return []boot.Phase{
		{
			Name: "assemble", Title: "Starting the disk set", Timeout: 15 * time.Minute, Policy: boot.Hold, // fsck of a big file system
			Next: "Check that all disks of the set sit firmly in their bays, then restart. " + swap, Run: s.assemble,
		},
		{
			Name: "etc", Title: "Bringing configuration and data into place", Timeout: 10 * time.Minute, Policy: boot.Hold,
			Next: "Look into the log. " + swap, Run: s.bindTree,
		},
		{
			Name: "site", Title: "Reading the site's settings", Timeout: 20 * time.Second, Policy: boot.Hold,
			Next: "Log in at the console (key s), correct the file that is named and restart.", Run: s.readSite,
		},
		{
			Name: "address", Title: "Raising the fence and the service address", Timeout: time.Minute, Policy: boot.Hold,
			Next: "Check the network cable; find out who else uses the service address.", Run: s.raiseAddress,
		},
		{
			Name: "data", Title: "Bringing data into the form of this release", Timeout: time.Minute,
			Next: "Look at the service that is named: only it does not start, and its data are as they were.", Run: s.bringData,
		},
		{
			Name: "services", Title: "Starting services", Timeout: 6 * time.Minute,
			Next: "Look at the service that failed: its last words are here, its log is in /var/log/atlas.", Run: s.startServices,
		},
	}
}

func (s *Server) assemble(ctx context.Context) (string, error) {
	s.mu.Lock()
	d := s.st.decision
	w := storage.Writer{Server: s.st.server.Name, Image: s.o.Handover.Version}
	s.mu.Unlock()
	next, ok := d.NextLabel(w.Server, w.Image, time.Now())
	_, itself := s.store.(rememberer)
	if ok && !itself {
		if err := s.remember(next, false); err != nil {
			return "", err
		}
	}
	if err := s.store.Start(ctx, d, w); err != nil {
		return "", err
	}
	if ok && !itself {
		if err := s.remember(next, true); err != nil {
			s.log.Warn("label not remembered", "err", err)
		}
	}
	s.mu.Lock()
	s.st.setStarted = true
	s.st.order = nil // for one boot
	s.mu.Unlock()
	s.look(ctx, true)
	note := fmt.Sprintf("%s set, %d disks", d.Role, len(d.Members))
	if d.Degraded {
		note += ", degraded"
	}
	return note, nil
}

func (s *Server) bindTree(ctx context.Context) (string, error) {
	done, err := s.p.PrepareTree(ctx, s.o.Dirs.Set, s.o.Dirs.Image, s.o.Handover.Version, s.say)
	note := done.Note
	if err != nil {
		return note, err
	}
	s.tellPrepared(done)
	if err := ctx.Err(); err != nil {
		return note, err
	}
	if err := s.p.BindTree(s.o.Dirs.Set, s.o.Dirs.Image); err != nil {
		return note, err
	}
	s.mu.Lock()
	s.st.bound = true
	s.mu.Unlock()
	s.logs.toSet()
	return note, nil
}

func (s *Server) readSite(context.Context) (string, error) {
	site, file, err := siteconf.ReadSite(s.o.Dirs.Etc)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	packs, label := s.st.packs, s.st.decision.Label
	s.mu.Unlock()
	choice := pack.Choose(packs, site)
	s.mu.Lock()
	s.st.site, s.st.chosen = site, choice.Packs
	s.mu.Unlock()
	s.tellLeftOut(choice, file)
	if label != nil && site.Site != label.Site {
		return "", fmt.Errorf("/etc/%s is of site %s, the disk set of site %s", siteconf.SiteFile, site.Site, label.Site)
	}
	if err := s.p.Hostname(site.Hostname); err != nil {
		return "", err
	}
	return site.Hostname, nil
}

// plan is what the serving network is raised from.
func (s *Server) plan() network.Plan {
	packs := s.sitePacks()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := network.Plan{Role: s.st.decision.Role, Service: s.st.site.Service, Addresses: s.st.site.Addresses, Management: s.st.management, Packs: packs}
	for _, q := range s.st.peers.Peers {
		if a, err := netip.ParseAddr(q.Address); err == nil {
			p.Peers = append(p.Peers, a)
		}
	}
	return p
}

func (s *Server) raiseAddress(ctx context.Context) (string, error) {
	p := s.plan()
	// From here on something is up that has to be taken down at the end, whatever Raise says.
	s.mu.Lock()
	s.st.raised = true
	s.mu.Unlock()
	if err := s.p.Raise(ctx, p, s.log); err != nil {
		if c, ok := errors.AsType[network.ErrConflict](err); ok {
			return "", boot.Advise(err, fmt.Sprintf("Find %s and give it another address, or switch it off. If it is the other server of this site, only one of the two may hold a primary set. This server tries again by itself.", c.Who()))
		}
		return "", err
	}
	s.mu.Lock()
	s.st.addressUp, s.st.announced = true, p.Role == roles.Primary
	s.mu.Unlock()
	defending, cancel := context.WithCancel(s.lifetime)
	s.mu.Lock()
	if s.st.undefend != nil {
		s.st.undefend()
	}
	s.st.undefend = cancel
	s.mu.Unlock()
	s.guard.Keep(defending, "service address", func(ctx context.Context) { s.defend(ctx, p) })
	if p.Role == roles.Primary {
		return p.Service.Address + " announced", nil
	}
	return p.Service.Address + " behind the fence", nil
}

// defend keeps the service address ours and tells who else claims it.
func (s *Server) defend(ctx context.Context, p network.Plan) {
	err := s.p.Defend(ctx, p, s.log, func(c network.ErrConflict) {
		s.findings.set(initapi.Finding{
			ID: "address-conflict", Severity: "critical", Where: s.name(), What: c.Error(),
			Next: fmt.Sprintf("Find %s and give it another address, or switch it off.", c.Who()),
		})
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("service address is not watched", "err", err)
	}
}

// sitePacks are the packs that run where a set serves, by the site's choice.
func (s *Server) sitePacks() []pack.Pack {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.chosen
}

// backgroundAfter is how long what clients can wait for waits for the services that they cannot.
const backgroundAfter = time.Minute

func (s *Server) startServices(ctx context.Context) (string, error) {
	s.setState(initapi.Serving) // from here on sentry may probe
	names, err := s.startSite(false)
	if len(names) > 0 {
		first, cancel := context.WithTimeout(ctx, backgroundAfter)
		if wait := s.withData(names); len(wait) > 0 {
			_ = s.supervisor().WaitReady(first, wait...) // it is asked again below
		}
		cancel()
	}
	later, errLater := s.startSite(true)
	names = append(names, later...)
	err = errors.Join(err, errLater)
	if len(names) == 0 {
		return "none", err
	}
	wait := s.withData(names)
	if len(wait) == 0 {
		return fmt.Sprintf("%d", len(names)), err
	}
	return fmt.Sprintf("%d", len(names)), errors.Join(err, s.supervisor().WaitReady(ctx, wait...))
}

// startSite starts the site's services that are or are not in the background, and returns their names. One that cannot be started does not keep
// the others from it.
func (s *Server) startSite(background bool) ([]string, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	var names []string
	var errs []error
	packs := s.sitePacks()
	for _, p := range packs {
		if inBackground(p, packs) != background {
			continue
		}
		s.weigh(p.Name, bootShare(p, packs))
		if err := s.startSiteService(p); err != nil {
			errs = append(errs, err)
			continue
		}
		names = append(names, p.Name)
	}
	return names, errors.Join(errs...)
}

// inBackground tells whether no client can wait for a pack: it has no port, and no other pack needs or uses it.
func inBackground(p pack.Pack, all []pack.Pack) bool {
	return len(p.Ports) == 0 && !slices.ContainsFunc(all, func(q pack.Pack) bool { return slices.Contains(q.Along(), p.Name) })
}

// bootShare is a pack's share of the processor while the server boots: those that others wait for go first. Nobody gets much less than others: who
// waits for the processor while pages of the image are read for it keeps all others from these pages.
func bootShare(p pack.Pack, all []pack.Pack) int { return everyone * (1 + dependants(p, all)) }

// dependants counts the packs that need p, directly or by others.
func dependants(p pack.Pack, all []pack.Pack) int {
	need := map[string]bool{p.Name: true}
	for grown := true; grown; {
		grown = false
		for _, q := range all {
			if !need[q.Name] && slices.ContainsFunc(q.Needs, func(n string) bool { return need[n] }) {
				need[q.Name], grown = true, true
			}
		}
	}
	return len(need) - 1
}
