package daemon

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

func (b *box) check(t *testing.T, probe string) (verify.Check, bool) {
	t.Helper()
	all := b.daemon.checks()
	i := slices.IndexFunc(all, func(c verify.Check) bool { return c.Probe == probe })
	if i < 0 {
		return verify.Check{}, false
	}
	return all[i], true
}

func TestWatch(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	port := srv.URL[strings.LastIndexByte(srv.URL, ':')+1:]
	d := newBox(t, 1, "left", "127.0.0.1", roles.Primary, [2]int{0, 0}, port)
	p := prober{d.daemon}
	p.ask(t.Context())
	c, ok := d.check(t, "page")
	if !ok || c.Watch == nil {
		t.Fatalf("page is not watched: %+v", c)
	}
	d.init.set(func(s *initapi.State) { s.Addresses.Service = "127.0.0.1/24" })
	p.ask(t.Context())
	if err := c.Watch(t.Context()); err != nil {
		t.Errorf("watch of a server that is there: %v", err)
	}
	srv.Close()
	if err := c.Watch(t.Context()); err == nil || errors.Is(err, verify.ErrNoWatch) {
		t.Errorf("watch of a server that is gone: %v", err)
	}
	d.init.set(func(s *initapi.State) { s.State = initapi.Stopping })
	p.ask(t.Context())
	if err := c.Watch(t.Context()); !errors.Is(err, verify.ErrNoWatch) {
		t.Errorf("watch while it is shut down: %v; want none", err)
	}
	// Two probes of one port need one watch.
	second := d.daemon.packs[0].Probes[0]
	second.Name = "form"
	d.daemon.packs[0].Probes = append(d.daemon.packs[0].Probes, second)
	if c, ok := d.check(t, "form"); !ok || c.Watch != nil {
		t.Errorf("the second probe of a port: %+v; want no watch of its own", c)
	}
}

// TestNeeds: a probe that needs another service is run where that runs.
func TestNeeds(t *testing.T) {
	d := newBox(t, 1, "left", "127.0.0.1", roles.Primary, [2]int{0, 0}, "80")
	p := prober{d.daemon}
	page := &d.daemon.packs[0].Probes[0]
	page.Needs = []string{"db"}
	if _, ok := d.check(t, "page"); ok {
		t.Error("probed without the pack that it needs")
	}
	d.daemon.packs = append(d.daemon.packs, pack.Pack{Name: "db"})
	for _, c := range []struct {
		name, state string
		runs        bool
		want        verify.Status
	}{{"runs", "ready", true, verify.Fail}, {"is starting", "starting", true, verify.Skipped}, {"is not run here", "", false, ""}} {
		d.init.set(func(s *initapi.State) {
			s.Services = []initapi.Service{{Name: "web", State: "ready"}}
			if c.state != "" {
				s.Services = append(s.Services, initapi.Service{Name: "db", State: c.state})
			}
			s.Addresses.Service = "127.0.0.1/24"
		})
		p.ask(t.Context())
		check, ok := d.check(t, "page")
		if ok != c.runs {
			t.Errorf("the other %s: probed %v; want %v", c.name, ok, c.runs)
		}
		if !ok {
			continue
		}
		if c.want == verify.Skipped {
			if got := check.Run(t.Context()); got.Status != c.want || !strings.Contains(got.Evidence, "db, which it needs") {
				t.Errorf("the other %s: %+v; want %s", c.name, got, c.want)
			}
		}
	}
}

// TestHeed: what another server sees in trouble is looked at from here as well.
func TestHeed(t *testing.T) {
	report := func(s verify.Status) *site.Report {
		return &site.Report{Probes: []verify.Result{
			{Target: "left", Service: "web", Probe: "page", Status: s},
			{Target: "left", Service: "mail", Status: verify.Pass},
			{Target: "left", Service: "network", Status: verify.Fail, Minor: true},
		}}
	}
	if n := len(troubles(nil)) + len(troubles(report(verify.Pass))) + len(troubles(report(verify.Unknown))); n != 0 {
		t.Errorf("%d troubles; want none", n)
	}
	now := troubles(report(verify.Fail))
	if len(now) != 1 || !now[trouble{"left", "web"}] {
		t.Fatalf("troubles: %v", now)
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	d := newBox(t, 1, "left", "127.0.0.1", roles.Primary, [2]int{0, 0}, srv.URL[strings.LastIndexByte(srv.URL, ':')+1:])
	prober{d.daemon}.ask(t.Context())
	d.daemon.packs[0].Probes[0].Params["every"] = "1h"
	d.daemon.packs[0].Probes[0].Params["status"] = "404"
	d.daemon.packs[0].Probes[0].Params["contains"] = ""
	d.daemon.runner.Set(t.Context(), d.daemon.checks())
	runs := func() int {
		for _, r := range d.daemon.runner.Results() {
			if r.Probe == "page" {
				return len(r.History)
			}
		}
		return 0
	}
	eventually(t, "the first run", func() bool { return runs() > 0 })
	before := runs()
	d.daemon.heed(now, now) // no news
	time.Sleep(100 * time.Millisecond)
	d.daemon.heed(nil, now)
	eventually(t, "another run", func() bool { return runs() > before })
}
