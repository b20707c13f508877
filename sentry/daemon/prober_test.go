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
