package pid1

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/devlog"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/initsvc/socket"
	"sayasystems.com/atlas/initsvc/supervise"
	"sayasystems.com/atlas/sentry/initapi"
)

// Service does verb to what name means: a pack, or a unit or process of one. The note is for people.
func (s *Server) Service(ctx context.Context, name, verb string) (note string, err error) {
	s.mu.Lock()
	stopping := s.st.state == initapi.Stopping
	s.mu.Unlock()
	if stopping {
		return "", socket.Refuse("the server is shutting down")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	sup := s.supervisor()
	switch verb {
	case "start":
		err = sup.Start(name)
	case "stop":
		err = sup.Stop(ctx, name)
	case "restart":
		err = sup.Restart(ctx, name)
	case "reload":
		err = sup.Reload(ctx, name)
	case "enable", "disable":
		return s.choose(ctx, name, verb == "enable")
	default:
		return "", &socket.Refusal{Status: http.StatusNotFound, Msg: "unknown verb " + verb + "; known are start, stop, restart, reload, enable and disable"}
	}
	if _, ok := errors.AsType[*supervise.NotFoundError](err); ok {
		return "", s.notRun(name, verb)
	}
	return "", err
}

// notRun answers verb for a name that means no service under supervision.
func (s *Server) notRun(name, verb string) error {
	off, _, ok := initapi.State{Off: s.off()}.Find(name)
	switch {
	case !ok:
		return &socket.Refusal{Status: http.StatusNotFound, Msg: "no service " + name + "; `atlas service list` lists those of this server"}
	case verb == "stop":
		return nil
	}
	return socket.Refuse("%s is off; `atlas service enable %s` lets this site run it", off.Name, off.Name)
}

// off are the packs of the image that the site does not run.
func (s *Server) off() []initapi.Service {
	chosen := s.sitePacks()
	s.mu.Lock()
	all := s.st.packs
	s.mu.Unlock()
	out := []initapi.Service{}
	for _, p := range all {
		if p.Scope == pack.ScopeServer || slices.ContainsFunc(chosen, func(q pack.Pack) bool { return q.Name == p.Name }) {
			continue
		}
		p = p.On(s.o.Handover.Kind)
		v := initapi.Service{Name: p.Name, Title: p.Title, State: initapi.Off, Log: s.logPath(p.Name), Processes: []initapi.Process{}}
		for _, q := range p.Processes {
			v.Processes = append(v.Processes, initapi.Process{Name: q.Name, State: initapi.Off, Units: q.UnitNames(), Reloads: q.Reload != "" || len(q.ReloadCommand) > 0})
		}
		out = append(out, v)
	}
	return out
}

// logPath is where a service of the site logs to.
func (s *Server) logPath(name string) string { return filepath.Join(s.o.Dirs.Log, name+".log") }

func (s *Server) startSiteService(p pack.Pack) error {
	return s.startService(p, logfile.New(s.logPath(p.Name), 0, 0))
}

// Syslog takes one message that came in at /dev/log or from the kernel.
func (s *Server) Syslog(m devlog.Message) {
	s.logs.syslog(m)
	if m.PID != 0 {
		s.supervisor().Heard(m.PID, m.Text)
	}
}
