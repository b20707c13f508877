package pid1

import (
	"context"
	"net/http"
	"slices"
	"time"

	"sayasystems.com/atlas/initsvc/socket"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// stopsWithin is how long services have to stop before they are rehearsed. Each is killed after its own time; this is for all together.
const stopsWithin = 150 * time.Second

// Rehearse stops services of a secondary, those that others need last, and starts them as a boot does. It returns when all starts are ordered,
// and sees to that whoever asked: services that a broken-off rehearsal leaves stopped would be the fault that it looks for.
func (s *Server) Rehearse(_ context.Context, r initapi.RehearseRequest) error {
	s.mu.Lock()
	state, role, started := s.st.state, s.st.decision.Role, s.st.setStarted
	s.mu.Unlock()
	switch {
	case state != initapi.Serving || !started:
		return socket.Refuse("no disk set serves on this server, so nothing can be rehearsed")
	case role != roles.Secondary:
		return socket.Refuse("this server is the primary: its services are not stopped for a rehearsal; ask the secondary")
	}
	var names []string
	for _, p := range s.sitePacks() {
		if len(r.Services) == 0 || slices.Contains(r.Services, p.Name) {
			names = append(names, p.Name)
		}
	}
	for _, n := range r.Services {
		if !slices.Contains(names, n) {
			return &socket.Refusal{Status: http.StatusNotFound, Msg: "this site runs no service " + n + "; `atlas service list` lists those of this server"}
		}
	}
	if len(names) == 0 {
		return socket.Refuse("this site runs no services")
	}
	if !s.changing.TryLock() { // what the site runs is being changed, or another rehearsal is on
		return socket.Refuse("services are just being changed; try again in a minute")
	}
	done := make(chan error, 1)
	s.guard.Go("rehearsal", func() {
		defer s.changing.Unlock()
		done <- s.rehearse(names)
	})
	return <-done
}

func (s *Server) rehearse(names []string) error {
	s.log.Info("services are started from cold for a rehearsal", "services", names)
	sup := s.supervisor()
	stop := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(s.lifetime, limit)
		defer cancel()
		return sup.StopAll(ctx, names...)
	}
	begun := time.Now()
	err := stop(stopsWithin)
	if err != nil && s.lifetime.Err() == nil {
		s.log.Warn("services stop slowly", "err", err)
		err = stop(stopsWithin)
	}
	if s.lifetime.Err() != nil {
		return socket.Refuse("the server is shutting down")
	}
	s.log.Info("services are stopped and start again", "took", time.Since(begun).Round(time.Millisecond))
	for _, n := range names { // each waits for what it needs by itself, as at a boot
		if startErr := sup.Start(n); err == nil {
			err = startErr
		}
	}
	return err
}
