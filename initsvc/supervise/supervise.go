// Package supervise runs the processes of service packs and keeps them running.
//
//	Supervisor: services by dependency      Service: one pack: templates, first-time steps, processes, test data
//	restarting (a decorator) around runOnce: one life of one process, from its run directories to its empty control group
//
// A process starts inside its own control group, as its user with that user's supplementary groups, tells by itself or is asked
// whether it is ready, prints into a rotating log file, and is stopped by its own signal and, if that does not help, by killing the group. It does not decide
// what should run: initsvc/pid1 does. Nothing here may take PID 1 down: every goroutine runs under a guard.
package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/guard"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/sentry/initapi"
)

// States of services and processes.
const (
	Starting = "starting"
	Ready    = "ready"
	Failed   = "failed"
	Stopping = "stopping"
	Stopped  = "stopped"
)

// Options are what services run with.
type Options struct {
	Cgroup    *cgroup.Tree // nil: no control groups; only for tests
	RunDir    string       // notify sockets: "/run/atlas/notify"
	Root      string       // prefix of template files' paths; "" but in tests
	Guard     guard.Guard
	Log       *slog.Logger
	Expand    func(s string, v pack.Vars) (string, error) // pack.Expand
	Version   string                                      // of the image: steps that watch something are run again when it changes
	Policy    RestartPolicy
	Helper    []string      // starts initsvc/launch, a specification is added; needed for private directories and limits of files
	StepRetry time.Duration // pause before a failed first-time step is tried again; 10 s if 0
	// Before is run before anything of a service that has been started, as long as it takes; when it fails, the service is tried again only when a
	// person starts it. May be nil.
	Before func(ctx context.Context, p pack.Pack) error
}

// Supervisor holds the services of a server.
type Supervisor struct {
	opts Options

	mu       sync.Mutex
	services []*Service    // in order of Add
	changed  chan struct{} // closed and replaced at every change of state
}

// New returns a Supervisor without services.
func New(o Options) *Supervisor {
	if o.Expand == nil {
		o.Expand = func(s string, _ pack.Vars) (string, error) { return s, nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.RunDir == "" {
		o.RunDir = "/run/atlas/notify"
	}
	if o.StepRetry == 0 {
		o.StepRetry = 10 * time.Second
	}
	o.Policy = o.Policy.withDefaults()
	return &Supervisor{opts: o, changed: make(chan struct{})}
}

// NotFoundError names a service that is not there.
type NotFoundError struct{ Name string }

func (e *NotFoundError) Error() string {
	return "no service " + e.Name + "; `atlas status` lists those of this server"
}

// Add makes a pack known, stopped. log takes its processes' output. Adding a pack again replaces its definition; it must be
// stopped.
func (s *Supervisor) Add(p pack.Pack, v pack.Vars, log *logfile.File) error {
	svc, err := newService(s, p, v, log)
	if err != nil {
		return fmt.Errorf("service %s: %w", p.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, old := range s.services {
		if old.pack.Name != p.Name {
			continue
		}
		if old.running() {
			return fmt.Errorf("service %s: is running", p.Name)
		}
		s.services[i] = svc
		return nil
	}
	s.services = append(s.services, svc)
	return nil
}

// Remove forgets a stopped service.
func (s *Supervisor) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range s.services {
		if v.pack.Name != name {
			continue
		}
		if v.running() {
			return fmt.Errorf("service %s: is running", name)
		}
		s.services = slices.Delete(s.services, i, i+1)
		return nil
	}
	return nil
}

// StopAll stops the named services (all if none are named), those that others need last. Errors do not end it; the first is
// returned.
func (s *Supervisor) StopAll(ctx context.Context, names ...string) error {
	all := s.list()
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(v *Service) bool { return !slices.Contains(names, v.pack.Name) })
	}
	done := map[string]chan struct{}{}
	for _, v := range all {
		done[v.pack.Name] = make(chan struct{})
	}
	errs := make(chan error, len(all))
	for _, v := range all {
		s.opts.Guard.Go("stop "+v.pack.Name, func() {
			err := fmt.Errorf("stop service %s: crashed", v.pack.Name)
			defer func() { errs <- err }()
			defer close(done[v.pack.Name])
			for _, w := range all { // those that need or use v go first
				if w != v && slices.Contains(w.pack.Along(), v.pack.Name) {
					select {
					case <-done[w.pack.Name]:
					case <-ctx.Done():
					}
				}
			}
			err = v.stop(ctx)
		})
	}
	var first error
	for range all {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Snapshot returns the state of all services in order of Add.
func (s *Supervisor) Snapshot() []initapi.Service {
	out := []initapi.Service{}
	for _, v := range s.list() {
		st := v.snapshot()
		st.MemoryBytes = v.memory()
		out = append(out, st)
	}
	return out
}

// WaitReady waits until all named services (all if none are named) are ready. Its error names those that are not.
func (s *Supervisor) WaitReady(ctx context.Context, names ...string) error {
	for {
		ch := s.change()
		var missing []string
		for _, v := range s.Snapshot() {
			if (len(names) == 0 || slices.Contains(names, v.Name)) && v.State != Ready {
				text := v.Name + " is " + v.State
				if v.Error != "" {
					text += " (" + v.Error + ")"
				}
				missing = append(missing, text)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return &NotReadyError{Missing: missing}
		case <-ch:
		}
	}
}

// NotReadyError tells which services are not ready in time.
type NotReadyError struct{ Missing []string }

func (e *NotReadyError) Error() string {
	var t strings.Builder
	t.WriteString("services not ready")
	for i, m := range e.Missing {
		if i == 0 {
			t.WriteString(": ")
		} else {
			t.WriteString("; ")
		}
		t.WriteString(m)
	}
	return t.String()
}

// Changed returns a channel that is closed at the next change of any service.
func (s *Supervisor) Changed() <-chan struct{} { return s.change() }

func (s *Supervisor) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Supervisor) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Supervisor) list() []*Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.services)
}
