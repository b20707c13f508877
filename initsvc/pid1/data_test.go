package pid1

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/sentry/initapi"
)

// fakeForms are data whose fate a test decides.
type fakeForms struct {
	mu    sync.Mutex
	err   error
	tries int
	hold  chan struct{} // Ready waits for it
	kept  []string
	tell  func(service, text string)
}

func (f *fakeForms) Ready(ctx context.Context, p pack.Pack, _ bool) error {
	f.mu.Lock()
	f.tries++
	err, hold, tell := f.err, f.hold, f.tell
	f.mu.Unlock()
	if hold != nil {
		tell(p.Name, "about 10 %")
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (f *fakeForms) Refusal(p pack.Pack, _ string, err error) initapi.Finding {
	return initapi.Finding{ID: "data-refused-" + p.Name, Severity: "critical", What: err.Error()}
}

func (f *fakeForms) Findings(p pack.Pack, _ string) []initapi.Finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) == 0 {
		return nil
	}
	return []initapi.Finding{{ID: "data-forward-" + p.Name, Severity: "warning", What: "brought forward"}}
}

func (f *fakeForms) Status(packs []pack.Pack, set bool) []initapi.DataForm {
	if !set {
		return nil
	}
	return []initapi.DataForm{{Service: packs[0].Name, Form: 17}}
}

func (f *fakeForms) Open([]pack.Pack) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept, nil
}

func (f *fakeForms) Commit(context.Context, []pack.Pack) (int64, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = nil
	return 5, nil, nil
}

func (f *fakeForms) set(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// formed is a machine whose pack db has data with a form.
func formed(t *testing.T, f *fakeForms) (*machine, *Server) {
	m := newMachine(t)
	m.packs = append(m.packs, pack.Pack{
		Name: "db", Title: "Database", Formats: []pack.Format{{Path: "/var/lib/db", Kind: pack.FormatCopy}},
		Processes: []pack.Process{{Name: "dbd", Command: []string{"/bin/sleep", "1000"}, Ready: pack.Ready{Started: true}}},
	})
	s := m.server(handover.Hardware)
	s.p.Forms = func(_ string, _ *slog.Logger, tell func(service, text string)) Forms { f.tell = tell; return f }
	s.forms = s.p.Forms("13", nil, s.dataProgress)
	return m, s
}

func stateOf(st initapi.State, service string) string {
	v, _, _ := st.Find(service)
	return v.State
}

func has(st initapi.State, id string) bool {
	for _, f := range st.Findings {
		if f.ID == id {
			return true
		}
	}
	return false
}

// TestDataRefused: only the service whose data do not fit does not start; a person can have it tried again.
func TestDataRefused(t *testing.T) {
	f := &fakeForms{err: errors.New("no room")}
	m, s := formed(t, f)
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "the web server runs, the database is refused", func(st initapi.State) bool {
		return stateOf(st, "web") == "ready" && stateOf(st, "db") == "failed" && st.State == initapi.Serving
	})
	m.wait(s, "finished", func(initapi.State) bool { return s.Boot(context.Background()).Outcome == "primary" })
	if !has(st, "data-refused-db") || has(st, "service-failed-db") || has(s.State(context.Background()), "boot-services") {
		t.Errorf("findings: %+v", st.Findings)
	}
	for _, p := range s.Boot(context.Background()).Phases {
		if p.Name == "data" && !strings.Contains(p.Note, "db does not start: see its finding") {
			t.Errorf("phase data: %+v", p)
		}
	}
	f.set(func() {
		if f.tries != 1 {
			t.Errorf("tried %d times; want once", f.tries)
		}
		f.err = nil
	})
	if _, err := s.Commit(context.Background(), initapi.CommitRequest{}); err == nil {
		t.Error("data that do not fit can be confirmed")
	}
	if _, err := s.Service(context.Background(), "db", "start"); err != nil {
		t.Error(err)
	}
	st = m.wait(s, "the database runs", func(st initapi.State) bool { return stateOf(st, "db") == "ready" })
	if has(st, "data-refused-db") {
		t.Errorf("findings: %+v", st.Findings)
	}
}

// TestDataInWork: a database that takes long keeps no other service waiting for longer than the phase's patience.
func TestDataInWork(t *testing.T) {
	f := &fakeForms{hold: make(chan struct{}), kept: []string{"15"}}
	m, s := formed(t, f)
	stop := m.run(s)
	defer stop()
	m.wait(s, "at work", func(st initapi.State) bool { return has(st, "data-working-db") })
	close(f.hold)
	f.set(func() { f.hold = nil })
	m.wait(s, "the database runs", func(st initapi.State) bool {
		return stateOf(st, "db") == "ready" && has(st, "data-forward-db") && !has(st, "data-working-db") && len(st.Forms) == 1
	})
	for _, c := range []struct {
		r    initapi.CommitRequest
		kept int
		err  string
	}{
		{initapi.CommitRequest{Services: []string{"web"}}, 0, "no service web whose data have a form of their own; those that have: db"},
		{initapi.CommitRequest{Ask: true}, 1, ""},
		{initapi.CommitRequest{Services: []string{"db"}}, 1, ""},
		{initapi.CommitRequest{}, 0, ""},
	} {
		got, err := s.Commit(context.Background(), c.r)
		if len(got.Kept) != c.kept || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("Commit(%+v) = %+v, %v; want %d, %q", c.r, got, err, c.kept, c.err)
		}
	}
	if has(s.State(context.Background()), "data-forward-db") {
		t.Error("still told after a person's word")
	}
}
