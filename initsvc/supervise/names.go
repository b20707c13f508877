package supervise

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/logfile"
)

// find returns the service that name means, and those of its processes that it means: none for the whole service. A pack's name
// comes first, then the names of units, then those of processes. What a unit's name means all processes of, it means the whole of.
func (s *Supervisor) find(name string) (*Service, []*process, error) {
	name = strings.TrimSuffix(name, ".service")
	all := s.list()
	for _, v := range all {
		if v.pack.Name == name {
			return v, nil, nil
		}
	}
	for _, named := range []func(*Service, string) []*process{(*Service).byUnit, (*Service).byProcess} {
		for _, v := range all {
			if list := named(v, name); len(list) == len(v.procs) && len(list) > 0 {
				return v, nil, nil
			} else if len(list) > 0 {
				return v, list, nil
			}
		}
	}
	return nil, nil, &NotFoundError{Name: name}
}

func (s *Service) byUnit(name string) (out []*process) {
	for _, p := range s.procs {
		if slices.Contains(p.def.UnitNames(), name) {
			out = append(out, p)
		}
	}
	return out
}

func (s *Service) byProcess(name string) (out []*process) {
	for _, p := range s.procs {
		if p.def.Name == name {
			out = append(out, p)
		}
	}
	return out
}

// Start starts what name means and does not wait for it. What it needs must be started too, or it waits. A single process of a
// service that does not run is started with the whole service.
func (s *Supervisor) Start(name string) error {
	v, list, err := s.find(name)
	if err != nil {
		return err
	}
	if list == nil || !v.running() {
		v.start()
		return nil
	}
	v.beginHeld(list)
	return nil
}

// Stop stops what name means in order and returns when its last process is gone. With a single process, those of its service
// that come after it are stopped too.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	v, list, err := s.find(name)
	if err != nil {
		return err
	}
	if list == nil {
		return v.stop(ctx)
	}
	return v.stopOnly(ctx, list)
}

// Restart stops and starts what name means. With a single process, those of its service that come after it are restarted too.
func (s *Supervisor) Restart(ctx context.Context, name string) error {
	v, list, err := s.find(name)
	if err != nil {
		return err
	}
	if list != nil && v.running() {
		return v.restartOnly(ctx, list)
	}
	if err := v.stop(ctx); err != nil {
		return err
	}
	v.start()
	return nil
}

// Reload makes what name means read its configuration again: processes with a reload signal get it, those with a command have it
// run, after their templates have been written anew.
func (s *Supervisor) Reload(ctx context.Context, name string) error {
	v, list, err := s.find(name)
	if err != nil {
		return err
	}
	if list == nil {
		list = v.procs
	}
	return v.reload(ctx, list, name)
}

// missing says which of the needed services are not ready, "" if none. Those that nobody added are not waited for: the site does
// not run them.
func (s *Supervisor) missing(needs []string) string {
	var out []string
	for _, v := range s.list() {
		if !slices.Contains(needs, v.pack.Name) {
			continue
		}
		switch st := v.snapshot(); st.State {
		case Ready:
		case Failed:
			out = append(out, title(v)+", which has failed")
		case Stopped:
			out = append(out, title(v)+", which is stopped")
		default:
			out = append(out, title(v))
		}
	}
	return strings.Join(out, "; ")
}

func title(v *Service) string {
	if v.pack.Title == "" {
		return v.pack.Name
	}
	return v.pack.Title
}

// Heard takes what process pid said elsewhere than in its output, at /dev/log: its service keeps it as if it had printed it.
// It does nothing if pid belongs to no service.
func (s *Supervisor) Heard(pid int, text string) {
	if pid <= 0 {
		return
	}
	parts := strings.Split(path.Clean(cgroup.Of(pid)), "/")
	for _, v := range s.list() {
		for _, p := range v.procs {
			if len(parts) >= 3 && parts[1] == v.pack.Name && parts[2] == p.def.Name || p.was(pid) {
				p.say(text)
				return
			}
		}
		if len(parts) >= 3 && parts[1] == v.pack.Name { // a step
			_, _ = v.log.Write(logfile.Stamp(time.Now(), strings.TrimPrefix(parts[2], "step-"), text))
			return
		}
	}
}

// was tells whether pid is or was the main process.
func (p *process) was(pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last == pid
}
