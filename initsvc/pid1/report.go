package pid1

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/initapi"
)

// keepReports is how many boot reports stay on the server.
const keepReports = 50

// Boot is the report of this boot so far.
func (s *Server) Boot(context.Context) initapi.BootReport {
	reports := s.runner.Reports()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := initapi.BootReport{
		Server: s.st.server.Name, Version: s.o.Handover.Version, Slot: s.o.Handover.Slot, Started: s.o.Started,
		Firmware: s.o.Firmware, Kernel: s.o.Handover.KernelTime, Phases: reports, Outcome: s.st.outcome, Total: s.st.total,
	}
	if !s.st.booted {
		r.Total = s.sinceKernel()
	}
	return r
}

// sinceKernel is the time since the kernel (namespace: init) started.
func (s *Server) sinceKernel() time.Duration {
	if s.namespace() {
		return time.Since(s.o.Started)
	}
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Since(s.o.Started)
	}
	up, _, _ := strings.Cut(string(data), " ")
	d, err := time.ParseDuration(up + "s")
	if err != nil {
		return time.Since(s.o.Started)
	}
	return d
}

// finish notes how the boot came out, and keeps the report on the server. A hold that is resolved later writes it again.
func (s *Server) finish(_ context.Context, outcome string) {
	s.mu.Lock()
	changed := s.st.outcome != outcome
	if changed {
		s.st.outcome, s.st.total, s.st.booted = outcome, s.sinceKernel(), true
	}
	s.mu.Unlock()
	if !changed {
		return
	}
	s.weighAll()
	s.guard.Go("memory", func() { s.slim(s.lifetime) })
	s.log.Info("boot finished", "outcome", outcome, "total", s.sinceKernel().Round(time.Millisecond))
	if err := s.saveReport(); err != nil {
		s.log.Warn("boot report not kept", "err", err)
	}
}

// Shares of the processor.
const (
	everyone     = 100
	whileBooting = 20 // of sentry: there is little to verify before services run
)

// weigh gives a service its share of a busy processor.
func (s *Server) weigh(name string, share int) {
	s.mu.Lock()
	t := s.tree
	s.mu.Unlock()
	if t == nil {
		return
	}
	if g, err := t.Group("services/" + name); err == nil {
		g.Weight(share)
	}
}

// weighAll gives every service the same share, when the boot is over.
func (s *Server) weighAll() {
	s.weigh(sentryName, everyone)
	for _, p := range s.sitePacks() {
		s.weigh(p.Name, everyone)
	}
}

func (s *Server) saveReport() error {
	dir := filepath.Join(s.o.Dirs.State, "boot")
	if s.name() == "" { // the state partition is not there
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep boot report: %w", err)
	}
	data, err := json.MarshalIndent(s.Boot(context.Background()), "", "  ")
	if err != nil {
		return fmt.Errorf("keep boot report: %w", err)
	}
	name := s.o.Started.UTC().Format("20060102T150405.000Z") + ".json"
	if err := siteconf.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		return fmt.Errorf("keep boot report: %w", err)
	}
	names, err := reportNames(dir)
	if err != nil {
		return err
	}
	for len(names) > keepReports {
		_ = os.Remove(filepath.Join(dir, names[0]))
		names = names[1:]
	}
	return nil
}

// reportNames lists the kept reports, oldest first.
func reportNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("boot reports: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Boots returns the kept boot reports, newest first. Those that cannot be read are left out.
func (s *Server) Boots(context.Context) ([]initapi.BootReport, error) {
	dir := filepath.Join(s.o.Dirs.State, "boot")
	names, err := reportNames(dir)
	if err != nil {
		return nil, err
	}
	out := []initapi.BootReport{}
	for _, n := range slices.Backward(names) {
		data, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			continue
		}
		var r initapi.BootReport
		if json.Unmarshal(data, &r) == nil {
			out = append(out, r)
		}
	}
	return out, nil
}
