package supervise

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/sentry/initapi"
)

// Service is one pack under supervision.
type Service struct {
	sup    *Supervisor
	pack   pack.Pack
	vars   pack.Vars
	log    *logfile.File
	procs  []*process
	folder folder
	starts int // since init runs; guarded by mu until live begins

	ops  sync.Mutex // around begin and end of processes
	open bool       // processes may be begun and ended; guarded by ops

	mu      sync.Mutex
	cancel  context.CancelFunc // nil: not running
	done    chan struct{}      // closed when the last process has ended
	want    string             // what the service is about, apart from its processes: Starting, Stopping, Stopped
	waiting string             // for what it needs: "Database, which has failed"
	again   chan struct{}      // asked to start while Before has failed
	armed   bool               // prepared: its processes run, or it has none
	err     string             // why steps before or after the processes failed
	since   time.Time
	state   string // last state told, for since

	reloading int       // orders to reload that are being carried out
	reloaded  time.Time // when the last of them had been

	used   int64 // bytes of memory, at usedAt
	usedAt time.Time
}

// memory is what the service's processes use, looked at anew every few seconds: the state is asked for all the time.
func (s *Service) memory() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.usedAt) > 5*time.Second {
		s.used, s.usedAt = s.sup.opts.Cgroup.Memory("services/"+s.pack.Name), time.Now()
	}
	return s.used
}

func newService(sup *Supervisor, p pack.Pack, v pack.Vars, log *logfile.File) (*Service, error) {
	s := &Service{sup: sup, pack: p, vars: v, log: log, want: Stopped, state: Stopped, since: time.Now(), again: make(chan struct{}, 1)}
	for _, d := range p.Processes {
		if len(d.Command) == 0 {
			return nil, fmt.Errorf("process %s has no command", d.Name)
		}
		for _, name := range []string{d.Stop, d.Reload} {
			if _, err := signalNumber(name, 0); err != nil {
				return nil, fmt.Errorf("process %s: %w", d.Name, err)
			}
		}
		for _, after := range d.After {
			if !slices.ContainsFunc(p.Processes, func(q pack.Process) bool { return q.Name == after && q.Name != d.Name }) {
				return nil, fmt.Errorf("process %s: after: no process %q", d.Name, after)
			}
		}
		var err error
		if d, err = s.expandProcess(d); err != nil {
			return nil, fmt.Errorf("process %s: %w", d.Name, err)
		}
		s.procs = append(s.procs, newProcess(s, d))
	}
	return s, nil
}

func (s *Service) expandAll(in []string) ([]string, error) {
	out := make([]string, len(in))
	for i, a := range in {
		var err error
		if out[i], err = s.sup.opts.Expand(a, s.vars); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) expandProcess(d pack.Process) (pack.Process, error) {
	var err error
	if d.Command, err = s.expandAll(d.Command); err != nil {
		return d, err
	}
	if d.Env, err = s.expandAll(d.Env); err != nil {
		return d, err
	}
	if d.StopCommand, err = s.expandAll(d.StopCommand); err != nil {
		return d, err
	}
	if d.ReloadCommand, err = s.expandAll(d.ReloadCommand); err != nil {
		return d, err
	}
	d.Ready.Command, err = s.expandAll(d.Ready.Command)
	return d, err
}

// address is where the service's ports are asked.
func (s *Service) address() string {
	if s.pack.Scope == "server" {
		if s.vars.Management == "" {
			return "127.0.0.1"
		}
		return s.vars.Management
	}
	if s.vars.Address != "" {
		return s.vars.Address
	}
	return s.vars.Service
}

func (s *Service) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancel != nil
}

func (s *Service) fail(err error) {
	s.mu.Lock()
	s.err = ""
	if err != nil {
		s.err = err.Error()
	}
	s.mu.Unlock()
	s.touch()
}

// touch notes the time of a change of the whole service's state and tells those who wait.
func (s *Service) touch() {
	now := s.snapshot()
	s.mu.Lock()
	if now.State != s.state {
		s.state, s.since = now.State, time.Now()
	}
	s.mu.Unlock()
	s.sup.tell()
}

func (s *Service) snapshot() initapi.Service {
	s.mu.Lock()
	out := initapi.Service{
		Name: s.pack.Name, Title: s.pack.Title, State: s.want, Since: s.since, Error: s.err, Waiting: s.waiting,
		Enabled: true, Log: s.log.Path(), Processes: []initapi.Process{}, Reloading: s.reloading > 0, Reloaded: s.reloaded,
	}
	armed := s.armed
	s.mu.Unlock()
	ready, held := 0, 0
	for _, p := range s.procs {
		p.mu.Lock()
		out.Processes = append(out.Processes, initapi.Process{
			Name: p.def.Name, PID: p.pid, State: p.state, Units: p.def.UnitNames(), Reloads: p.reloads(), Error: p.err,
		})
		out.Restarts += p.restarts
		switch {
		case p.held:
			held++
		case p.state == Ready:
			ready++
		case p.state == Failed && out.State == Starting:
			out.State = Failed
		}
		if p.err != "" && out.Error == "" {
			out.Error = p.err
		}
		p.mu.Unlock()
	}
	switch {
	case out.State != Starting:
	case out.Error != "" && (!armed || ready+held < len(s.procs)):
		out.State = Failed
	case armed && ready == len(s.procs):
		out.State = Ready
	case armed && ready+held == len(s.procs): // whole but for what a person has stopped
		out.State = Stopped
	}
	return out
}
