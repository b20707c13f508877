package supervise

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// start begins the service's life unless it has begun already; then it starts those of its processes that were stopped by name.
func (s *Service) start() {
	s.mu.Lock()
	if s.cancel != nil {
		stopping := s.want == Stopping
		s.mu.Unlock()
		if !stopping {
			select {
			case s.again <- struct{}{}:
			default:
			}
			s.beginHeld(s.procs)
		}
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.starts++
	s.cancel, s.done, s.want, s.err, s.waiting, s.armed = cancel, make(chan struct{}), Starting, "", "", false
	done := s.done
	s.mu.Unlock()
	for _, p := range s.procs {
		p.reset()
	}
	s.touch()
	s.sup.opts.Guard.Go("service "+s.pack.Name, func() {
		defer func() {
			s.mu.Lock()
			s.cancel, s.want, s.waiting = nil, Stopped, ""
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
	if s.waitNeeds(ctx) != nil || !s.before(ctx) {
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
	s.ops.Lock()
	s.open = true
	s.begin(s.procs)
	s.ops.Unlock()
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
	s.ops.Lock()
	s.open = false
	s.endAll(s.procs)
	s.ops.Unlock()
	wg.Wait()
}

// before runs what has to be done before all else, again when a person asks; false: ctx has ended.
func (s *Service) before(ctx context.Context) bool {
	for s.sup.opts.Before != nil {
		select { // an order of before means nothing now
		case <-s.again:
		default:
		}
		err := s.sup.opts.Before(ctx, s.pack)
		if ctx.Err() != nil {
			return false
		}
		s.fail(err)
		if err == nil {
			break
		}
		s.sup.opts.Log.Error("service must not start", "service", s.pack.Name, "err", err)
		select {
		case <-ctx.Done():
			return false
		case <-s.again:
			s.fail(nil)
		}
	}
	return true
}

// waitNeeds waits until the needed services are ready, and says meanwhile for what it waits.
func (s *Service) waitNeeds(ctx context.Context) error {
	for {
		ch := s.sup.change()
		text := s.sup.missing(s.pack.Needs)
		s.mu.Lock()
		same := s.waiting == text
		s.waiting = text
		s.mu.Unlock()
		if !same {
			s.sup.tell()
		}
		if text == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ch:
		}
	}
}

// begin starts processes, each with a context of its own, so that they can be stopped one after the other. The caller holds ops.
func (s *Service) begin(list []*process) {
	for _, p := range list {
		p.reset()
	}
	for _, p := range list {
		ctx, cancel := context.WithCancel(context.Background())
		p.cancel, p.ended = cancel, make(chan struct{})
		ended := p.ended
		s.sup.opts.Guard.Go("process "+p.def.Name, func() {
			defer close(ended)
			defer p.set(Stopped, 0)
			if !s.waitFirst(ctx, p.def.After) {
				return
			}
			run := func(ctx context.Context) error {
				var err error
				if perr := s.sup.opts.Guard.Do("process "+p.def.Name, func() error { err = p.runOnce(ctx); return nil }); perr != nil {
					err = perr
				}
				return err
			}
			_ = restarting(run, s.sup.opts.Policy, p.failed)(ctx)
		})
	}
}

// endAll stops processes, dependents first, each group at the same time. The caller holds ops.
func (s *Service) endAll(list []*process) {
	var wg sync.WaitGroup
	for _, p := range list {
		wg.Add(1)
		s.sup.opts.Guard.Go("stop "+p.def.Name, func() {
			defer wg.Done()
			for _, q := range list {
				if slices.Contains(q.def.After, p.def.Name) {
					<-q.ended
				}
			}
			p.cancel()
			<-p.ended
		})
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
		case <-p.firstReady():
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

// withDependents adds to list the processes that come after one of it.
func (s *Service) withDependents(list []*process) []*process {
	return s.closure(list, func(in, p *process) bool { return slices.Contains(p.def.After, in.def.Name) })
}

// withPrerequisites adds to list the processes that one of it comes after.
func (s *Service) withPrerequisites(list []*process) []*process {
	return s.closure(list, func(in, p *process) bool { return slices.Contains(in.def.After, p.def.Name) })
}

func (s *Service) closure(list []*process, joins func(in, p *process) bool) []*process {
	out := slices.Clone(list)
	for i := 0; i < len(out); i++ {
		for _, p := range s.procs {
			if !slices.Contains(out, p) && joins(out[i], p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// operate runs f, which changes single processes of a running service, and waits for it as long as ctx lasts. While the service
// is being prepared there is nothing to change: f is left out.
func (s *Service) operate(ctx context.Context, what string, f func() error) error {
	done := make(chan error, 1)
	s.sup.opts.Guard.Go(what+" in "+s.pack.Name, func() {
		err := fmt.Errorf("%s in service %s: crashed", what, s.pack.Name)
		defer func() { done <- err }()
		s.ops.Lock()
		defer s.ops.Unlock()
		if !s.open {
			err = nil
			return
		}
		err = f()
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s in service %s: %w", what, s.pack.Name, ctx.Err())
	}
}

// stopOnly stops single processes and those that come after them, until they are started again.
func (s *Service) stopOnly(ctx context.Context, list []*process) error {
	return s.operate(ctx, "stop", func() error {
		list := s.withDependents(list)
		for _, p := range list {
			p.hold(true)
		}
		s.endAll(list)
		s.touch()
		return nil
	})
}

// restartOnly restarts single processes and those that come after them, but for those that were stopped by name.
func (s *Service) restartOnly(ctx context.Context, list []*process) error {
	return s.operate(ctx, "restart", func() error {
		all := s.withDependents(list)
		all = slices.DeleteFunc(all, func(p *process) bool { return p.isHeld() && !slices.Contains(list, p) })
		s.endAll(all)
		if err := s.writeTemplates(); err != nil {
			s.sup.opts.Log.Error("templates are not written anew", "service", s.pack.Name, "err", err)
		}
		s.begin(all)
		return nil
	})
}

// beginHeld starts those of list, and of what they come after, that were stopped by name.
func (s *Service) beginHeld(list []*process) {
	s.ops.Lock()
	defer s.ops.Unlock()
	if !s.open {
		return
	}
	s.begin(slices.DeleteFunc(s.withPrerequisites(list), func(p *process) bool { return !p.isHeld() }))
}

// reload makes processes read their configuration again; which names them for the error when none of them can.
func (s *Service) reload(ctx context.Context, list []*process, which string) error {
	if !s.running() {
		return fmt.Errorf("reload %s: it is not running; start it", which)
	}
	s.reloads(1)
	defer s.reloads(-1)
	if err := s.writeTemplates(); err != nil {
		return fmt.Errorf("reload %s: %w", which, err)
	}
	n := 0
	for _, p := range list {
		done, err := p.reload(ctx)
		if err != nil {
			return fmt.Errorf("reload %s: %w", which, err)
		}
		if done {
			n++
		}
	}
	if n == 0 {
		return fmt.Errorf("reload %s: none of its processes can reload; restart it", which)
	}
	return nil
}

// reloads counts orders to reload that begin and end: what a probe saw of the service meanwhile says nothing about its new files.
func (s *Service) reloads(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reloading += by; by < 0 {
		s.reloaded = time.Now()
	}
}
