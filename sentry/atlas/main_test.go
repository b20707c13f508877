package main

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
	"sayasystems.com/atlas/sentry/verify/past"
)

// server plays init or sentry on a Unix socket and keeps what was posted.
func server(t *testing.T, answers map[string]any) (socket string, posted func(path string, out any) bool) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]json.RawMessage{}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			var raw json.RawMessage
			_ = json.NewDecoder(r.Body).Decode(&raw)
			got[r.URL.Path] = raw
		}
		a, ok := answers[r.URL.Path]
		if !ok && r.Method == http.MethodGet {
			w.WriteHeader(http.StatusNotFound)
			a = map[string]string{"error": "no such thing; look elsewhere"}
		}
		_ = json.NewEncoder(w).Encode(a)
	})}
	go srv.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { _ = srv.Close() })
	return socket, func(path string, out any) bool {
		raw, ok := got[path]
		return ok && json.Unmarshal(raw, out) == nil
	}
}

func disk(bay int, set, member string, gen uint64) roles.Disk {
	return roles.Disk{Bay: bay, Serial: "S" + member, Label: &roles.Label{
		Set: set, SiteName: "Miller", Role: roles.Primary, Level: roles.RAID1, Generation: gen, Server: "left",
		Members: []roles.Member{{ID: member, Serial: "S" + member}, {ID: "gone", Serial: "SG"}},
	}}
}

func holding(disks ...roles.Disk) map[string]any {
	return map[string]any{"/v1/state": initapi.State{Server: "left", State: initapi.Holding, Disks: disks, Reasons: []roles.Reason{{Text: "Half is missing.", Next: "Put it in."}}}}
}

func TestSetStart(t *testing.T) {
	one, two := disk(1, "aaaa1111", "m1", 7), disk(2, "bbbb2222", "m2", 9)
	for _, c := range []struct {
		name, typed string
		disks       []roles.Disk
		args        []string
		want        *roles.Order
		err         string
	}{
		{"confirmed", "start 1\n", []roles.Disk{one}, nil, &roles.Order{Set: "aaaa1111", Members: []string{"m1"}}, ""},
		{"not confirmed", "yes\n", []roles.Disk{one}, nil, nil, "not confirmed"},
		{"end of input", "", []roles.Disk{one}, nil, nil, "not confirmed"},
		{"two sets", "start 1\n", []roles.Disk{one, two}, nil, nil, "name one with --set: aaaa1111 (primary, bays 1), bbbb2222"},
		{"chosen set", "start 2\n", []roles.Disk{one, two}, []string{"--set", "bb"}, &roles.Order{Set: "bbbb2222", Members: []string{"m2"}}, ""},
		{"wrong bay", "start 2\n", []roles.Disk{one}, []string{"--bays", "2"}, nil, "no disk of this set in bay 2"},
		{"no disks", "", nil, nil, nil, "no such set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket, posted := server(t, holding(c.disks...))
			var out strings.Builder
			err := run(t.Context(), append([]string{"--init-socket", socket, "set", "start"}, c.args...), strings.NewReader(c.typed), &out)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error = %v; want %q", err, c.err)
			}
			var got roles.Order
			if ok := posted("/v1/set/order", &got); ok != (c.want != nil) {
				t.Fatalf("ordered: %v, %+v; want %+v", ok, got, c.want)
			}
			if c.want != nil && (got.Set != c.want.Set || strings.Join(got.Members, " ") != strings.Join(c.want.Members, " ")) {
				t.Errorf("order = %+v; want %+v", got, *c.want)
			}
			if c.want != nil && !strings.Contains(out.String(), "WITHOUT SG") {
				t.Errorf("the member left out is not told:\n%s", out.String())
			}
		})
	}
}

func TestSetStartOnlyWhileHolding(t *testing.T) {
	socket, posted := server(t, map[string]any{"/v1/state": initapi.State{State: initapi.Serving, Disks: []roles.Disk{disk(1, "a", "m", 1)}}})
	err := run(t.Context(), []string{"--init-socket", socket, "set", "start"}, strings.NewReader("start 1\n"), &strings.Builder{})
	if err == nil || posted("/v1/set/order", &roles.Order{}) {
		t.Errorf("set start on a serving server = %v; want an error and no order", err)
	}
}

//go:fix inline
func TestVerify(t *testing.T) {
	now := time.Now()
	probe := verify.Result{
		Observer: "left", Target: "right", Service: "apache", Probe: "page", Status: verify.Pass, Stands: verify.Pass, Evidence: "200", At: now, Every: time.Minute,
		Duration: 3 * time.Millisecond, Steps: []verify.Step{{Name: "connect", Duration: time.Millisecond}},
	}
	soft, old, flapping := probe, probe, probe
	soft.Probe, soft.Status, soft.Evidence, soft.Next = "soft", verify.Fail, "reset", "Look."
	old.Probe, old.At = "old", now.Add(-time.Hour)
	flapping.Probe, flapping.Stands, flapping.Flapping, flapping.Evidence = "flapping", verify.Warn, true, "comes and goes"
	socket, _ := server(t, map[string]any{"/v1/status": site.Site{At: now, Servers: []site.Server{{Name: "left", Probes: []verify.Result{soft, probe, old, flapping}}}}})
	var out strings.Builder
	if err := run(t.Context(), []string{"--sentry-socket", socket, "verify", "apache"}, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"RIGHT\n", "pass     apache      page ", "again    apache      soft", "→ Look.", "too old  apache      old", "warn     apache      flapping", "connect 1.0 ms", "3.0 ms  200"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("atlas verify says\n%swithout %q", out.String(), want)
		}
	}
}

func TestCommands(t *testing.T) {
	socket, posted := server(t, map[string]any{
		"/v1/state": initapi.State{Server: "left", State: initapi.Serving, Ready: true, Role: roles.Primary, Services: []initapi.Service{{Name: "apache", Title: "Web server", State: "ready"}}},
		"/v1/boot":  initapi.BootReport{Server: "left", Outcome: "primary", Total: 5 * time.Second, Phases: []initapi.PhaseReport{{Name: "labels", Duration: time.Second, Result: "ok"}}},
	})
	sentry, _ := server(t, map[string]any{
		"/v1/status":    site.Site{Name: "Miller", Readiness: site.Readiness{Verdict: initapi.VerdictNo, Reasons: []site.Reason{{Text: "RIGHT is gone."}}}},
		"/v1/join-code": map[string]any{"code": "AAAAA-BBBBB", "expires": time.Now()},
		"/v1/past": []past.Line{{Series: past.Series{Observer: "left", Target: "right", Service: "apache", Probe: "page"}, Spans: []past.Span{
			{Runs: 120, Failed: 6, Availability: new(0.95), P50: 2 * time.Millisecond, P95: 5 * time.Millisecond}, {Runs: 121, Unknown: 1, Availability: new(1.0), P50: 3 * time.Millisecond, P95: 90 * time.Millisecond},
		}}},
	})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"status"}, "ready to swap: NO\n  - RIGHT is gone."},
		{[]string{"status", "--sentry-socket", "/nowhere"}, "serving, primary"},
		{[]string{"boot"}, "1.0 s  labels"},
		{[]string{"service", "list"}, "apache       ready"},
		{[]string{"service", "restart", "apache"}, "restart ordered"},
		{[]string{"verify"}, "Nothing is probed"},
		{[]string{"verify", "--past", "24h"}, "right    apache      page                  241       6      97.500 %     3.0 ms      90.0 ms"},
		{[]string{"join-code"}, "AAAAA-BBBBB\nValid once"},
		{[]string{"power", "off"}, "goes off"},
		{[]string{"set", "add", "2", "--serial", "X"}, "bay 2"},
	} {
		var out strings.Builder
		args := append([]string{"--init-socket", socket, "--sentry-socket", sentry}, c.args...)
		if err := run(t.Context(), args, strings.NewReader(""), &out); err != nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("atlas %v = %v, %q; want %q", c.args, err, out.String(), c.want)
		}
	}
	var p initapi.PowerRequest
	var a initapi.AddRequest
	if !posted("/v1/power", &p) || p.Action != "off" || !posted("/v1/set/add", &a) || a.Bay != 2 || a.Serial != "X" || !posted("/v1/services/apache/restart", &struct{}{}) {
		t.Errorf("init was told %+v, %+v", p, a)
	}
	for _, bad := range [][]string{{"power", "on"}, {"set", "add", "x"}, {"service", "list", "--init-socket", "/nowhere"}, {"nonsense"}} {
		if err := run(t.Context(), append([]string{"--init-socket", socket}, bad...), strings.NewReader(""), &strings.Builder{}); err == nil {
			t.Errorf("atlas %v: no error", bad)
		}
	}
}
