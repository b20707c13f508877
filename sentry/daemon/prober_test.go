package daemon

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/engine"
	"sayasystems.com/atlas/sentry/verify"
)

func TestStood(t *testing.T) {
	at := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	point := func(sec int, s verify.Status) verify.Point {
		return verify.Point{At: at.Add(time.Duration(sec) * time.Second), Status: s}
	}
	for _, c := range []struct {
		name string
		r    verify.Result
		want engine.Found
	}{
		{"never run", verify.Result{Status: verify.Unknown}, engine.Awaited},
		{"skipped so far", verify.Result{Status: verify.Skipped, History: []verify.Point{point(-9, verify.Skipped)}}, engine.Awaited},
		{"nothing to probe", verify.Result{Status: verify.NotApplicable, History: []verify.Point{point(-9, verify.NotApplicable)}}, engine.Untold},
		{"good, and then broken", verify.Result{Status: verify.Fail, History: []verify.Point{point(-40, verify.Fail), point(-10, verify.Pass), point(1, verify.Fail)}}, engine.Good},
		{"works, with a warning", verify.Result{Status: verify.Warn, History: []verify.Point{point(-10, verify.Warn), point(-1, verify.Skipped)}}, engine.Good},
		{"failed before", verify.Result{Status: verify.Pass, History: []verify.Point{point(-40, verify.Pass), point(-10, verify.Fail), point(1, verify.Pass)}}, engine.Bad},
		{"found nothing by then", verify.Result{Status: verify.Pass, History: []verify.Point{point(1, verify.Pass)}}, engine.Untold},
	} {
		if got := stood(c.r, at); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
	}
}

// TestProber asks a real page through the daemon's own checks.
func TestProber(t *testing.T) {
	var broken atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte("hello"))
	}))
	defer srv.Close()
	port := srv.URL[strings.LastIndexByte(srv.URL, ':')+1:]
	d := newBox(t, 1, "left", "127.0.0.1", roles.Primary, [2]int{0, 0}, port)
	p := prober{d.daemon}
	p.ask(t.Context())
	d.daemon.runner.Set(t.Context(), d.daemon.checks())
	all := func(string, string) bool { return true }
	ask := func(want engine.Found, words string) {
		t.Helper()
		got := p.Probe(t.Context(), func(service, _ string) bool { return service == "web" })
		if len(got) != 1 || got[0].Service != "web" || got[0].Name != "page" || got[0].Found != want || !strings.Contains(got[0].Words, words) {
			t.Errorf("probed: %+v; want %s, %q", got, want, words)
		}
	}
	ask(engine.Good, "200")
	broken.Store(true)
	before := time.Now()
	ask(engine.Bad, "403")
	if got := p.Standing([]string{"web"}, before); len(got) != 1 || got[0].Found != engine.Good {
		t.Errorf("before: %+v; want good", got)
	}
	if got := p.Standing([]string{"mail"}, before); len(got) != 0 {
		t.Errorf("of another service: %+v", got)
	}
	for _, c := range []struct {
		state string
		want  engine.Found
	}{{"starting", engine.Starting}, {"stopping", engine.Starting}, {"stopped", engine.Untold}, {"failed", engine.Bad}, {"ready", engine.Bad}} {
		d.init.set(func(s *initapi.State) { s.Services = []initapi.Service{{Name: "web", State: c.state}} })
		ask(c.want, "")
	}
	if got := p.Probe(t.Context(), all); len(got) == 0 {
		t.Error("nothing probed")
	}
}

// TestWeigh: what a probe has seen of a service before that took up its files says nothing about them.
func TestWeigh(t *testing.T) {
	began := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	now := began.Add(300 * time.Millisecond)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name string
		s    initapi.Service
		f    engine.Found
		want engine.Found
	}{
		{"works", initapi.Service{State: "ready", Since: at(-9000)}, engine.Good, engine.Good},
		{"does not", initapi.Service{State: "ready", Since: at(-9000)}, engine.Bad, engine.Bad},
		{"is being told", initapi.Service{State: "ready", Reloading: true}, engine.Good, engine.Starting},
		{"was told meanwhile", initapi.Service{State: "ready", Reloaded: at(100)}, engine.Good, engine.Starting},
		{"was told just before", initapi.Service{State: "ready", Reloaded: at(-200)}, engine.Good, engine.Starting},
		{"fails right after it was told", initapi.Service{State: "ready", Reloaded: at(-200)}, engine.Bad, engine.Starting},
		{"was told long before", initapi.Service{State: "ready", Reloaded: at(-1500)}, engine.Good, engine.Good},
		{"was told by a clock that was ahead", initapi.Service{State: "ready", Reloaded: at(3_600_000)}, engine.Good, engine.Good},
		{"was started anew meanwhile", initapi.Service{State: "ready", Since: at(100)}, engine.Good, engine.Starting},
		{"is going down", initapi.Service{State: "stopping", Since: at(-10)}, engine.Good, engine.Starting},
		{"works before it says so", initapi.Service{State: "starting", Since: at(-9000)}, engine.Good, engine.Good},
		{"is on its way", initapi.Service{State: "starting", Since: at(-9000)}, engine.Bad, engine.Starting},
		{"fails again and again", initapi.Service{State: "starting", Since: at(100), Restarts: 3}, engine.Bad, engine.Bad},
		{"was stopped by somebody", initapi.Service{State: "stopped", Since: at(100)}, engine.Bad, engine.Untold},
	} {
		if got := weigh(c.s, c.f, began, now); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
	}
}

// TestProbeAfterReload: a probe waits for what the service was told a moment ago, and one that met it before is not taken for good.
func TestProbeAfterReload(t *testing.T) {
	var d *box
	var during atomic.Bool // of the reload
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if during.Load() {
			d.init.set(func(s *initapi.State) {
				s.Services = []initapi.Service{{Name: "web", State: "ready", Reloaded: time.Now()}}
			})
		}
		_, _ = w.Write([]byte("hello"))
	}))
	defer srv.Close()
	d = newBox(t, 1, "left", "127.0.0.1", roles.Primary, [2]int{0, 0}, srv.URL[strings.LastIndexByte(srv.URL, ':')+1:])
	p := prober{d.daemon}
	p.ask(t.Context())
	d.daemon.runner.Set(t.Context(), d.daemon.checks())
	ask := func() engine.Found {
		t.Helper()
		got := p.Probe(t.Context(), func(service, _ string) bool { return service == "web" })
		if len(got) != 1 {
			t.Fatalf("probed: %+v", got)
		}
		return got[0].Found
	}
	during.Store(true)
	if got := ask(); got != engine.Starting {
		t.Errorf("reloaded while it was probed: %s", got)
	}
	during.Store(false)
	told := time.Now()
	d.init.set(func(s *initapi.State) { s.Services = []initapi.Service{{Name: "web", State: "ready", Reloaded: told}} })
	if got := ask(); got != engine.Good || time.Since(told) < takesUp {
		t.Errorf("%s after %s; want good after %s", got, time.Since(told), takesUp)
	}
}
