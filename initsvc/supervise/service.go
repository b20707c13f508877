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
	sup   *Supervisor
	pack  pack.Pack
	vars  pack.Vars
	log   *logfile.File
	procs []*process

	mu     sync.Mutex
	cancel context.CancelFunc // nil: not running
	done   chan struct{}      // closed when the last process has ended
	want   string             // what the service is about, apart from its processes: Starting, Stopping, Stopped
	armed  bool               // prepared: its processes run, or it has none
	err    string             // why steps before or after the processes failed
	since  time.Time
	state  string // last state told, for since
}

func newService(sup *Supervisor, p pack.Pack, v pack.Vars, log *logfile.File) (*Service, error) {
	s := &Service{sup: sup, pack: p, vars: v, log: log, want: Stopped, state: Stopped, since: time.Now()}
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
		s.procs = append(s.procs, &process{svc: s, def: d, ring: logfile.NewRing(50), state: Stopped})
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
	return s.vars.Service
}

func (s *Service) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancel != nil
}

// start begins the service's life unless it has begun already.
func (s *Service) start() {
	s.mu.Lock()
	if s.cancel != nil {
		s.mu.Unlock()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done, s.want, s.err, s.armed = cancel, make(chan struct{}), Starting, "", false
	done := s.done
	s.mu.Unlock()
	for _, p := range s.procs {
		p.mu.Lock()
		p.state, p.err, p.pid, p.restarts = Stopped, "", 0, 0
		p.first, p.once = make(chan struct{}), &sync.Once{}
		p.mu.Unlock()
	}
	s.touch()
	s.sup.opts.Guard.Go("service "+s.pack.Name, func() {
		defer func() {
			s.mu.Lock()
			s.cancel, s.want = nil, Stopped
			s.mu.Unlock()
			_ = s.log.Close()
			close(done)
			s.touch()
		}()
		s.live(ctx)
	})
}

// live is the service's life: wait for what it needs, prepare, run its processes until ctx ends, then stop them in reverse.
func (s *Service) live(ctx context.Context) {
	if s.sup.waitFor(ctx, s.pack.Needs) != nil {
		return
	}
	for {
		err := s.prepare(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.mu.Lock()
			s.armed = true
			s.mu.Unlock()
		}
		s.fail(err)
		if err == nil {
			break
		}
		s.sup.opts.Log.Error("service cannot be prepared", "service", s.pack.Name, "err", err, "again_in", s.sup.opts.StepRetry)
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.sup.opts.StepRetry):
		}
	}
	// Each process has its own context, so that they can be stopped one after the other.
	type life struct {
		cancel context.CancelFunc
		ended  chan struct{}
	}
	lives := map[string]life{}
	for _, p := range s.procs {
		pctx, cancel := context.WithCancel(context.Background())
		l := life{cancel: cancel, ended: make(chan struct{})}
		lives[p.def.Name] = l
		s.sup.opts.Guard.Go("process "+p.def.Name, func() {
			defer close(l.ended)
			defer p.set(Stopped, 0)
			if !s.waitFirst(pctx, p.def.After) {
				return
			}
			run := func(ctx context.Context) error {
				var err error
				if perr := s.sup.opts.Guard.Do("process "+p.def.Name, func() error { err = p.runOnce(ctx); return nil }); perr != nil {
					err = perr
				}
				return err
			}
			_ = restarting(run, s.sup.opts.Policy, p.failed)(pctx)
		})
	}
	var wg sync.WaitGroup
	wg.Add(1)
	s.sup.opts.Guard.Go("test data of "+s.pack.Name, func() {
		defer wg.Done()
		s.testData(ctx)
	})
	<-ctx.Done()
	s.mu.Lock()
	s.want = Stopping
	s.mu.Unlock()
	s.touch()
	// Dependents first, each group at the same time.
	for _, p := range s.procs {
		wg.Add(1)
		s.sup.opts.Guard.Go("stop "+p.def.Name, func() {
			defer wg.Done()
			for _, q := range s.procs {
				if slices.Contains(q.def.After, p.def.Name) {
					<-lives[q.def.Name].ended
				}
			}
			lives[p.def.Name].cancel()
		})
	}
	for _, l := range lives {
		<-l.ended
	}
	wg.Wait()
}

// waitFirst waits until the named processes have been ready once.
func (s *Service) waitFirst(ctx context.Context, names []string) bool {
	for _, p := range s.procs {
		if !slices.Contains(names, p.def.Name) {
			continue
		}
		select {
		case <-p.first:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// stop ends the service's life and waits for it.
func (s *Service) stop(ctx context.Context) error {
	s.mu.Lock()
	cancel, done := s.cancel, s.done
	if cancel != nil {
		s.want = Stopping
	}
	s.mu.Unlock()
	if cancel == nil {
		return nil
	}
	s.touch()
	cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop service %s: %w", s.pack.Name, ctx.Err())
	}
}

// reload signals the processes that can reload.
func (s *Service) reload() error {
	if !s.running() {
		return fmt.Errorf("reload service %s: it is not running; start it", s.pack.Name)
	}
	if err := s.writeTemplates(); err != nil {
		return fmt.Errorf("reload service %s: %w", s.pack.Name, err)
	}
	n := 0
	for _, p := range s.procs {
		p.mu.Lock()
		pid := p.pid
		p.mu.Unlock()
		if p.def.Reload == "" || pid == 0 {
			continue
		}
		sig, err := signalNumber(p.def.Reload, 0)
		if err != nil {
			return fmt.Errorf("reload service %s: %w", s.pack.Name, err)
		}
		if err := kill(pid, sig); err != nil {
			return fmt.Errorf("reload service %s: %w", s.pack.Name, err)
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("reload service %s: none of its processes can reload; restart it", s.pack.Name)
	}
	return nil
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
		Name: s.pack.Name, Title: s.pack.Title, State: s.want, Since: s.since, Error: s.err,
		Processes: []initapi.Process{},
	}
	armed := s.armed
	s.mu.Unlock()
	ready := 0
	for _, p := range s.procs {
		p.mu.Lock()
		out.Processes = append(out.Processes, initapi.Process{Name: p.def.Name, PID: p.pid, State: p.state})
		out.Restarts += p.restarts
		switch p.state {
		case Ready:
			ready++
		case Failed:
			if out.State == Starting {
				out.State = Failed
			}
		}
		if p.err != "" && out.Error == "" {
			out.Error = p.err
		}
		p.mu.Unlock()
	}
	switch {
	case out.State != Starting:
	case out.Error != "" && (!armed || ready < len(s.procs)):
		out.State = Failed
	case armed && ready == len(s.procs):
		out.State = Ready
	}
	return out
}
