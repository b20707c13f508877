package pid1

import (
	"context"
	"log/slog"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/initsvc/supervise"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// State is everything that is known now. It asks nobody and returns at once.
func (s *Server) State(context.Context) initapi.State {
	sup := s.supervisor()
	services, off := sup.Snapshot(), s.off()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := initapi.State{
		Server: s.st.server.Name, Kind: s.o.Handover.Kind, State: s.st.state, Phase: s.st.phase,
		Version: s.o.Handover.Version, Release: s.o.Release, Slot: s.o.Handover.Slot, SlotGood: s.st.slotGood,
		Set: s.st.set, Disks: append([]roles.Disk{}, s.st.disks...), DisksKnown: s.st.disksKnown, Seen: append([]roles.Holding{}, s.st.seen...),
		Reasons: s.st.reasons, Services: services, Off: off, Findings: s.findings.list(), Forms: s.st.dataForms, Started: s.o.Started, MemoryKiB: residentKiB(),
	}
	if s.st.setStarted || (s.st.state == initapi.Booting && s.st.decision.Action == roles.Start) {
		st.Role = s.st.decision.Role
	}
	if s.st.management.Address.IsValid() {
		st.Addresses.Management = s.st.management.Address.String()
	}
	if s.st.addressUp {
		st.Addresses.Service, st.Addresses.ServiceMAC = s.st.site.Service.Address, s.st.site.Service.MAC
		st.Addresses.Service6 = s.st.site.Service.Address6
		st.Addresses.Announced = s.st.announced
	}
	st.Ready = st.State == initapi.Serving
	for _, v := range services {
		if v.State != supervise.Ready {
			st.Ready = false
		}
	}
	for _, v := range services {
		if v.State == supervise.Failed && !s.data.refused(v.Name) { // that has a finding of its own
			st.Findings = append(st.Findings, serviceFinding(v, st.Server))
		}
	}
	if !st.SlotGood && st.State != initapi.Booting && s.st.state != initapi.Installing && s.o.Handover.Slot != "" {
		st.Findings = append(st.Findings, initapi.Finding{
			ID: "slot-not-good", Severity: "info", Where: st.Server, Since: s.o.Started,
			What: "This start of the system is not confirmed yet: slot " + s.o.Handover.Slot + " counts as tried, not as good.",
			Next: "Wait until all services are ready; then it is confirmed by itself.",
		})
	}
	return st
}

func serviceFinding(v initapi.Service, server string) initapi.Finding {
	title := v.Title
	if title == "" {
		title = v.Name
	}
	what := title + " does not run"
	if v.Error != "" {
		what += ": " + v.Error
	}
	return initapi.Finding{
		ID: "service-failed-" + v.Name, Severity: "critical", What: what, Where: server + " " + v.Name, Since: v.Since,
		Next: "It is started again by itself. Look into /var/log/atlas/" + v.Name + ".log; after mending it: atlas service restart " + v.Name + ".",
	}
}

// residentKiB is the resident size of this process.
func residentKiB() int {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for l := range strings.SplitSeq(string(data), "\n") {
		if v, ok := strings.CutPrefix(l, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")))
			return n
		}
	}
	return 0
}

// refresh keeps set and disks in the state fresh while a set is started. Disks are read when one came or went, when the set is not whole,
// and now and then: to read them all costs a busy machine more than the rest.
func (s *Server) refresh(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		all := n%12 == 0
		select {
		case <-ctx.Done():
			return
		case <-s.refreshing:
			all = true
		case <-tick.C:
		}
		s.mu.Lock()
		started := s.st.setStarted
		all = all || s.st.set == nil || s.st.set.Degraded
		s.mu.Unlock()
		if started {
			s.look(ctx, all)
		}
	}
}

// look reads the set, and if all is set or the set has changed, the disks' labels, which sentry attests from.
func (s *Server) look(ctx context.Context, all bool) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	set, err := s.store.Set(ctx)
	if err == nil {
		s.mu.Lock()
		all = all || s.st.set == nil || s.st.set.Generation != set.Generation || s.st.set.Degraded != set.Degraded
		s.st.set = &set
		s.mu.Unlock()
	} else if ctx.Err() == nil {
		s.log.Warn("state of the disk set", "err", err)
	}
	if !all {
		return
	}
	disks, err := s.store.Disks(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("reading disks", "err", err)
		}
		return
	}
	s.mu.Lock()
	s.st.disks = disks
	id, name := s.st.decision.Set, s.st.server.Name
	s.mu.Unlock()
	// Labels that the watch of the set has written meanwhile: a member that left starts a new lineage.
	var newest *roles.Label
	for _, d := range disks {
		if l := d.Label; l != nil && l.Set == id && l.Server == name && l.GivenUp == "" && (newest == nil || l.Generation > newest.Generation) {
			newest = l
		}
	}
	if newest != nil && s.isNews(*newest) {
		if err := s.remember(*newest, true); err != nil {
			s.log.Warn("label not remembered", "err", err)
		}
	}
}

// findings are what init itself has found, each once.
type findings struct {
	log *slog.Logger
	mu  sync.Mutex
	all map[string]initapi.Finding
}

func newFindings(log *slog.Logger) *findings {
	return &findings{log: log, all: map[string]initapi.Finding{}}
}

func (f *findings) set(n initapi.Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, ok := f.all[n.ID]
	switch {
	case ok && old.Since.Before(n.Since) || n.Since.IsZero() && ok:
		n.Since = old.Since
	case n.Since.IsZero():
		n.Since = time.Now()
	}
	f.all[n.ID] = n
	if !ok || old.Severity != n.Severity { // a rebuild's finding changes its words all the time
		f.log.Warn("finding", "finding", n.ID, "severity", n.Severity, "what", n.What, "where", n.Where)
	}
}

func (f *findings) clear(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.all[id]; ok {
		delete(f.all, id)
		f.log.Info("finding resolved", "finding", id)
	}
}

// list returns the findings, the worst first.
func (f *findings) list() []initapi.Finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]initapi.Finding, 0, len(f.all))
	for _, n := range f.all {
		out = append(out, n)
	}
	rank := map[string]int{"critical": 0, "warning": 1, "info": 2}
	sort.Slice(out, func(i, j int) bool {
		if a, b := rank[out[i].Severity], rank[out[j].Severity]; a != b {
			return a < b
		}
		return out[i].ID < out[j].ID
	})
	return out
}

// slug makes a name part of a finding's ID.
func slug(s string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, s), "-")
}
