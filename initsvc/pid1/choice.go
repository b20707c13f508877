package pid1

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/settings"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/socket"
	"sayasystems.com/atlas/sentry/initapi"
)

// leftOutID begins the IDs of findings about entries of site.yaml's services.
const leftOutID = "site-services-"

// tellLeftOut makes a finding of every entry of the site's services that is left out, and forgets those of before.
func (s *Server) tellLeftOut(c pack.Choice, f *settings.File) {
	told := map[string]bool{}
	for _, p := range c.Problems {
		id := leftOutID + slug(p.Pack)
		told[id] = true
		s.findings.clear(id) // its words may have changed
		s.findings.set(initapi.Finding{
			ID: id, Severity: "critical", Where: s.name(), What: f.Errorf(p.Key, "%s", p.Msg).Error(),
			Next: "This entry is left out, all others run. Correct the file, then: atlas service apply.",
		})
	}
	for _, old := range s.findings.list() {
		if strings.HasPrefix(old.ID, leftOutID) && !told[old.ID] {
			s.findings.clear(old.ID)
		}
	}
}

// ReloadSite reads the site's settings again and applies their list of services. A file with any mistake is refused whole.
func (s *Server) ReloadSite(ctx context.Context) (string, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	site, f, err := s.readSettings()
	if err != nil {
		return "", err
	}
	c := s.chooseFor(site)
	var errs []error
	for _, p := range c.Problems {
		errs = append(errs, f.Errorf(p.Key, "%s", p.Msg))
	}
	if len(errs) > 0 {
		return "", &socket.Refusal{Status: http.StatusUnprocessableEntity, Msg: errors.Join(errs...).Error() + "\nNothing was changed."}
	}
	return s.apply(ctx, site, c, f)
}

// readSettings reads site.yaml while a set serves.
func (s *Server) readSettings() (siteconf.Site, *settings.File, error) {
	s.mu.Lock()
	serving, old := s.st.state == initapi.Serving, s.st.site
	s.mu.Unlock()
	if !serving {
		return siteconf.Site{}, nil, socket.Refuse("no disk set serves on this server, so the site's settings are not at hand; start a set first")
	}
	site, f, err := siteconf.ReadSite(s.o.Dirs.Etc)
	if err == nil && site.Site != old.Site {
		err = f.Errorf("site", "is not the site of this disk set, %s", old.Site)
	}
	if err != nil {
		return site, f, &socket.Refusal{Status: http.StatusUnprocessableEntity, Msg: err.Error() + "\nNothing was changed."}
	}
	return site, f, nil
}

func (s *Server) chooseFor(site siteconf.Site) pack.Choice {
	s.mu.Lock()
	packs := s.st.packs
	s.mu.Unlock()
	return pack.Choose(packs, site)
}

// choose switches a pack on or off for good: in the settings, and now.
func (s *Server) choose(ctx context.Context, name string, on bool) (string, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	site, f, err := s.readSettings()
	if err != nil {
		return "", err
	}
	if name, err = s.packOf(name, on); err != nil {
		return "", err
	}
	s.mu.Lock()
	packs := s.st.packs
	s.mu.Unlock()
	var services, added []string
	if on {
		services, added, err = pack.Enable(packs, site, name)
	} else {
		services, err = pack.Disable(packs, site, name)
	}
	path := filepath.Join(s.o.Dirs.Etc, siteconf.SiteFile)
	if err != nil {
		return "", socket.Refuse("%v (%s)", err, path)
	}
	running := slices.ContainsFunc(s.sitePacks(), func(p pack.Pack) bool { return p.Name == name })
	if slices.Equal(services, site.Services) && running == on {
		return name + " is " + map[bool]string{true: "on", false: "off"}[on] + " already", nil
	}
	if !slices.Equal(services, site.Services) {
		if err := siteconf.SetServices(s.o.Dirs.Etc, services); err != nil {
			return "", err
		}
		if site, f, err = siteconf.ReadSite(s.o.Dirs.Etc); err != nil {
			return "", err
		}
	}
	note, err := s.apply(ctx, site, s.chooseFor(site), f)
	if len(added) > 1 {
		note = name + " needs " + strings.Join(added[1:], " and ") + ", switched on too. " + note
	}
	return note, err
}

// packOf finds the pack that name, perhaps of a unit, means.
func (s *Server) packOf(name string, on bool) (string, error) {
	svc, process, ok := s.State(context.Background()).Find(name)
	if !ok {
		return strings.TrimSuffix(name, ".service"), nil // the error comes with the names of all
	}
	if process >= 0 && len(svc.Processes) > 1 && !on {
		return "", socket.Refuse("%s is a part of %s and cannot be switched off alone; for all of it: atlas service disable %s; until the next start: atlas service stop %s", name, svc.Name, svc.Name, name)
	}
	return svc.Name, nil
}

// apply makes the server run what c says. The caller holds changing. The note tells what was started and stopped.
func (s *Server) apply(ctx context.Context, site siteconf.Site, c pack.Choice, f *settings.File) (string, error) {
	// Whoever asked may go away: a change that was begun is ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	old := s.sitePacks()
	gone, come := without(old, c.Packs), without(c.Packs, old)
	s.mu.Lock()
	before := s.st.site
	s.st.site.Services, s.st.site.Addresses, s.st.chosen = site.Services, site.Addresses, c.Packs
	s.mu.Unlock()
	s.tellLeftOut(c, f)
	var notes []string
	var errs []error
	sup := s.supervisor()
	if len(gone) > 0 {
		errs = append(errs, sup.StopAll(ctx, names(gone)...))
		for _, p := range gone {
			errs = append(errs, sup.Remove(p.Name))
		}
		notes = append(notes, "stopped "+strings.Join(names(gone), ", "))
	}
	if len(gone)+len(come) > 0 {
		errs = append(errs, s.openFor(ctx, append(gone, come...)))
	}
	for _, p := range come {
		errs = append(errs, s.startSiteService(p))
	}
	if len(come) > 0 {
		notes = append(notes, "started "+strings.Join(names(come), ", "))
	}
	if s.differs(before, site, c) {
		notes = append(notes, "other changes of the site's settings take effect when the server is started next")
	}
	if len(notes) == 0 {
		notes = []string{"nothing to change"}
	}
	return strings.Join(notes, "; "), errors.Join(errs...)
}

// differs tells whether the settings differ in what is not applied to a running server.
func (s *Server) differs(before, now siteconf.Site, c pack.Choice) bool {
	for _, p := range c.Packs {
		if before.AddressOf(p.Name, true) != "" && before.AddressOf(p.Name, true) != now.AddressOf(p.Name, true) {
			return true
		}
	}
	before.Services, before.Addresses, now.Services, now.Addresses = nil, nil, nil, nil
	return fmt.Sprintf("%+v", before) != fmt.Sprintf("%+v", now)
}

// openFor opens the fence for what runs now. Packs with an address of their own need it raised or lowered too, for which the
// service address goes away for a moment.
func (s *Server) openFor(ctx context.Context, changed []pack.Pack) error {
	s.mu.Lock()
	raised := s.st.raised
	s.mu.Unlock()
	if !raised {
		return nil
	}
	if slices.ContainsFunc(changed, func(p pack.Pack) bool { return p.Address == pack.AddressOwn }) {
		_, err := s.raiseAddress(ctx)
		return err
	}
	if err := s.p.Fence(ctx, s.plan()); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return nil
}

// without returns those of list that are not in other.
func without(list, other []pack.Pack) []pack.Pack {
	return slices.DeleteFunc(slices.Clone(list), func(p pack.Pack) bool {
		return slices.ContainsFunc(other, func(q pack.Pack) bool { return q.Name == p.Name })
	})
}

func names(list []pack.Pack) []string {
	out := make([]string, 0, len(list))
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}
