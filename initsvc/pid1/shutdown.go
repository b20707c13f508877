package pid1

import (
	"context"
	"time"
)

// shutdown ends everything in the reverse order of the boot. Each step has its time; none is left out because another failed.
func (s *Server) shutdown() {
	var site []string
	for _, p := range s.sitePacks() {
		site = append(site, p.Name)
	}
	sup := s.supervisor()
	s.step("services", 90*time.Second, func(ctx context.Context) error {
		if len(site) == 0 {
			return nil
		}
		return sup.StopAll(ctx, site...)
	})
	s.step("data", 30*time.Second, s.data.ended)
	s.mu.Lock()
	up, bound, store, tree := s.st.raised, s.st.bound, s.store, s.tree
	s.mu.Unlock()
	if up {
		s.step("service address", 15*time.Second, s.p.Lower)
	}
	s.step("access", 30*time.Second, func(ctx context.Context) error { return sup.StopAll(ctx) })
	s.step("processes", 20*time.Second, func(ctx context.Context) error {
		g, err := tree.Group("services")
		if err != nil {
			return err
		}
		return g.Kill(ctx)
	})
	s.logs.fromSet()
	if bound {
		s.step("directories", 20*time.Second, func(context.Context) error { return s.p.UnbindTree() })
	}
	if store != nil {
		s.step("disk set", 60*time.Second, store.Stop)
	}
}

// step runs one part of the shutdown; when it does not end in time the shutdown goes on without it.
func (s *Server) step(name string, limit time.Duration, f func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	start := time.Now()
	done := make(chan error, 1)
	s.guard.Go("stop "+name, func() {
		var err error
		if perr := s.guard.Do("stop "+name, func() error { err = f(ctx); return nil }); perr != nil {
			err = perr
		}
		done <- err
	})
	select {
	case err := <-done:
		if err != nil {
			s.log.Error("stopping", "part", name, "err", err, "took", time.Since(start).Round(time.Millisecond))
			return
		}
		s.log.Info("stopped", "part", name, "took", time.Since(start).Round(time.Millisecond))
	case <-time.After(limit + 5*time.Second):
		s.log.Error("does not stop, going on without it", "part", name)
	}
}
