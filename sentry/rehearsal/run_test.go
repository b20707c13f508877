package rehearsal

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
)

// server plays init, the Synchronizer and the Verifier: each service becomes what script says, look by look; the last is so for good.
type server struct {
	mu     sync.Mutex
	role   roles.Role
	script map[string][]initapi.Service
	looks  int
	done   []string
	bad    []Bad
	good   int // from which asking on bad is not so any more; 0 = never
	asked  int
	still  bool
	noLine error
	noInit error
}

func (s *server) State(context.Context) (initapi.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := initapi.State{Server: "right", State: initapi.Serving, Role: s.role, Set: &initapi.Set{ID: "set"}, Version: "1"}
	for _, n := range []string{"db", "web"} {
		if list := s.script[n]; len(list) > 0 {
			v := list[min1(s.looks, len(list)-1)]
			v.Name, v.Title = n, strings.ToUpper(n)
			st.Services = append(st.Services, v)
		}
	}
	if len(s.done) > 0 {
		s.looks++
	}
	return st, nil
}

func min1(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func (s *server) Rehearse(_ context.Context, services []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.still {
		return errors.New("changes are not held back")
	}
	s.done = append(s.done, strings.Join(services, " "))
	return s.noInit
}

func (s *server) Still(context.Context) (string, error) { s.still = true; return "c1", s.noLine }
func (s *server) Live() string                          { return "c2" }
func (s *server) Resume()                               { s.still = false }

func (s *server) prove(_ context.Context, services []string, _ time.Time) ([]Bad, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked++; s.good > 0 && s.asked >= s.good {
		return nil, []string{"right", "left"}
	}
	var out []Bad
	for _, b := range s.bad {
		if slices.Contains(services, b.Service) {
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		return nil, []string{"right", "left"}
	}
	return out, []string{"right"}
}

func TestRun(t *testing.T) {
	is := func(state string) initapi.Service { return initapi.Service{State: state} }
	failed := initapi.Service{State: "failed", Error: "apache2: no such module"}
	waits := initapi.Service{State: "starting", Waiting: "DB, which has failed"}
	good := map[string][]initapi.Service{"db": {is("starting"), is("ready")}, "web": {is("stopped"), is("starting"), is("ready")}}
	for _, c := range []struct {
		name   string
		server *server
		err    string
		words  string // of the entry; "" = good
		okay   string // services that are good
	}{
		{"good", &server{script: good}, "", "", "db web"},
		{"on a primary", &server{role: roles.Primary, script: good}, "RIGHT is the primary and serves the office", "", ""},
		{"a change is under way", &server{script: good, noLine: errors.New("a change is being brought")}, "not now: a change is being brought; try again", "", ""},
		{"init refuses", &server{script: good, noInit: errors.New("services are just being changed")}, "services are just being changed", "", ""},
		{"fails", &server{script: map[string][]initapi.Service{"db": {is("ready")}, "web": {is("starting"), failed}}}, "", "WEB: apache2: no such module", "db"},
		{"comes up after failures", &server{script: map[string][]initapi.Service{"db": {is("ready")}, "web": {failed, failed, is("starting"), is("ready")}}}, "", "", "db web"},
		{"what it needs fails", &server{script: map[string][]initapi.Service{"db": {{State: "failed", Error: "disk full"}}, "web": {waits}}}, "", "DB: disk full", ""},
		{"never gets ready", &server{script: map[string][]initapi.Service{"db": {is("ready")}, "web": {is("starting")}}}, "", "WEB: it does not get ready (starting)", "db"},
		{"init does not know it", &server{script: map[string][]initapi.Service{"db": {is("ready")}}}, "", "web: it is not known to init", "db"},
		{"a transaction fails", &server{script: good, bad: []Bad{{Service: "web", Title: "Page", Words: "not run yet"}, {Service: "web", Title: "Form", Words: "500", Fails: true}}}, "", "WEB: “Form”: 500", "db"},
		{"a transaction fails at first", &server{script: good, bad: []Bad{{Service: "web", Title: "Page", Words: "503", Fails: true}}, good: 3}, "", "", "db web"},
		{"not seen from the other server", &server{script: good, bad: []Bad{{Service: "db", Title: "Row", Words: "it was not made since (seen from left)"}}}, "", "DB: “Row”: it was not made since (seen from left)", "web"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server
			if s.role == "" {
				s.role = roles.Secondary
			}
			var kept []ledger.Entry
			r := &Runner{
				Server: "right", Init: s, Line: func() (Line, error) { return s, nil }, Prove: s.prove, Log: slog.New(slog.DiscardHandler),
				Keep: func(e ledger.Entry) error { kept = append(kept, e); return nil },
			}
			r.SetPace(time.Millisecond, 60*time.Millisecond)
			told := 0
			r.Begun = func() { told++ }
			e, err := r.Run(t.Context(), Order{Services: []string{"db", "web"}, All: true, Why: Nightly})
			if s.still && s.noLine == nil || r.Running() != nil {
				t.Error("changes are still held back, or it still runs")
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || len(kept) != 0 {
					t.Fatalf("Run = %v, kept %d; want %q and nothing kept", err, len(kept), c.err)
				}
				return
			}
			if err != nil || len(kept) != 1 || kept[0].ID != e.ID || told != 2 || strings.Join(s.done, "|") != "db web" {
				t.Fatalf("Run = %v, kept %d, told %d times, done %q", err, len(kept), told, s.done)
			}
			var okay []string
			for _, v := range e.Services {
				if v.Good {
					okay = append(okay, v.Name)
				}
			}
			if want := strings.Contains(c.words, "not made since"); e.Fails() == (want || c.words == "") {
				t.Errorf("fails: %v", e.Fails())
			}
			if e.Words != c.words || e.Good != (c.words == "") || strings.Join(okay, " ") != c.okay || e.Live != "c2" || e.Done.IsZero() || e.Good != (e.Took > 0) {
				t.Errorf("entry = %+v; want %q, good: %s", e, c.words, c.okay)
			}
		})
	}
}

// TestOneAtATime: a second one is refused, and one that is broken off leaves nothing behind.
func TestOneAtATime(t *testing.T) {
	s := &server{role: roles.Secondary, script: map[string][]initapi.Service{"db": {{State: "starting"}}}}
	r := &Runner{Server: "right", Init: s, Line: func() (Line, error) { return s, nil }, Prove: s.prove, Log: slog.New(slog.DiscardHandler), Keep: func(ledger.Entry) error {
		t.Error("kept what was broken off")
		return nil
	}}
	r.SetPace(time.Millisecond, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.Run(ctx, Order{Services: []string{"db"}})
		done <- err
	}()
	for r.Running() == nil {
		time.Sleep(time.Millisecond)
	}
	if _, err := r.Run(t.Context(), Order{Services: []string{"db"}}); !errors.Is(err, ErrRuns) {
		t.Errorf("a second one: %v; want ErrRuns", err)
	}
	if !(&Status{Running: r.Running()}).Runs(time.Now()) || (&Status{Running: r.Running()}).Runs(time.Now().Add(RunLimit)) || (*Status)(nil).Runs(time.Now()) {
		t.Error("Runs is wrong")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || r.Running() != nil {
		t.Errorf("broken off: %v", err)
	}
	if _, err := r.Run(t.Context(), Order{}); err == nil {
		t.Error("a rehearsal of nothing: no error")
	}
}
