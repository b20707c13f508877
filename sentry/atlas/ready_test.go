package main

import (
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/site"
)

func TestReady(t *testing.T) {
	since := time.Now().Add(-time.Hour)
	no := site.Readiness{Verdict: initapi.VerdictNo, Reasons: []site.Reason{{
		ID: "set-degraded-bay-2-left", Text: "LEFT's disk set is not whole.", Evidence: "The disk in bay 2 has left.", Also: []string{"3 transactions"}, Next: "Put a disk into bay 2.", Since: since,
	}}, Accepted: []site.Reason{{ID: "hot", Text: "Too hot.", Accepted: &initapi.Accepted{Who: "anna", Why: "fan ordered", Until: time.Now().Add(time.Hour)}}}, Open: []string{"Web of RIGHT is still to be started."}}
	for _, c := range []struct {
		name    string
		answers map[string]any
		args    []string
		code    exitCode
		want    []string
	}{
		{"yes", map[string]any{"/v1/ready": site.Readiness{Ready: true, Verdict: initapi.VerdictYes}}, nil, 0, []string{"Ready to swap: yes\n"}},
		{"no", map[string]any{"/v1/ready": no}, nil, 1, []string{"Ready to swap: NO", "- LEFT's disk set is not whole. (since ", "The disk in bay 2 has left.", "also: 3 transactions", "→ Put a disk into bay 2.", "Accepted by anna until", "fan ordered", "Open: Web of RIGHT"}},
		{"not known", map[string]any{"/v1/ready": site.Readiness{Verdict: initapi.VerdictUnknown}}, nil, 2, []string{"NOT KNOWN"}},
		{"an answer that says nothing", map[string]any{"/v1/ready": map[string]string{}}, nil, 2, nil},
		{"not judged", nil, nil, 2, []string{"NOT KNOWN", "Sentry on this server does not answer", "atlas service restart sentry"}},
		{"json", map[string]any{"/v1/ready": no}, []string{"--json"}, 1, []string{`"id": "set-degraded-bay-2-left"`, `"verdict": "no"`}},
		{"wrong flag", nil, []string{"--jsn"}, 2, []string{"unknown flag"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket, _ := server(t, c.answers)
			var out strings.Builder
			err := run(t.Context(), append([]string{"--sentry-socket", socket, "ready"}, c.args...), strings.NewReader(""), &out)
			var code exitCode
			if err != nil && !errors.As(err, &code) || code != c.code {
				t.Errorf("atlas ready = %v; want code %d", err, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("it says\n%s\nwant %q", out.String(), w)
				}
			}
		})
	}
}

// TestReadySilent: a sentry that is not there, and one that takes no notice, make it unknown within a second or so.
func TestReadySilent(t *testing.T) {
	hung := filepath.Join(t.TempDir(), "hung")
	l, err := net.Listen("unix", hung)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, socket := range []string{"/nowhere", hung} {
		var out strings.Builder
		begun := time.Now()
		err := run(t.Context(), []string{"--sentry-socket", socket, "--json", "ready"}, strings.NewReader(""), &out)
		var r site.Readiness
		if code, ok := errors.AsType[exitCode](err); !ok || code != exitUnknown || json.Unmarshal([]byte(out.String()), &r) != nil || r.Verdict != initapi.VerdictUnknown || len(r.Reasons) != 1 {
			t.Errorf("%s: %v, %s", socket, err, out.String())
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("%s: took %v", socket, took)
		}
	}
}

func TestLedgerAndAccept(t *testing.T) {
	at := time.Now().Add(-49 * time.Hour)
	list := []ledger.Entry{
		{ID: "r", Kind: ledger.Rehearsal, At: at.Add(time.Hour), Done: at, Server: "right", Good: true, All: true, Why: "nightly", Took: 41 * time.Second, Seen: []string{"right", "left"}, Services: []ledger.Service{{Name: "web", Title: "Web server", Took: 8 * time.Second, Good: true}}},
		{ID: "s", Kind: ledger.Start, At: at, Done: at, Server: "left", From: "right", Role: "primary", Good: true, Took: 90 * time.Second},
		{ID: "f", Kind: ledger.Rehearsal, At: at, Done: at, Server: "right", Words: "web: no", Services: []ledger.Service{{Name: "web", Words: "no"}}},
	}
	until := time.Now().Add(time.Hour)
	acc := accept.Acceptance{Finding: "hot", What: "Too hot.", Who: "anna", Why: "fan", At: at, Until: until}
	ended := acc
	ended.Finding, ended.Ended, ended.EndedBy = "cold", at, "otto"
	last := list[2]
	last.Done = time.Now().Add(time.Hour)
	socket, posted := server(t, map[string]any{
		"/v1/ledger": list, "/v1/accepted": []accept.Acceptance{acc, ended}, "/v1/accept": acc, "/v1/accept/end": acc,
		"/v1/rehearse": map[string]any{"Services": []string{"web"}}, "/v1/rehearsal": rehearsing{Last: &last}, "/v1/status": site.Site{},
	})
	for _, c := range []struct {
		args []string
		want []string
		err  string
	}{
		{[]string{"ledger"}, []string{"Last proven swap: 2 days ago (primary set swapped from RIGHT into LEFT, all good after 90 s).", "RIGHT rehearsed: all services (nightly): all good after 41 s, seen from right and left", "Web server                 8.0 s", "NOT GOOD: web: no"}, ""},
		{[]string{"ledger", "--last", "1"}, []string{"… and 2 older ones: --last 3"}, ""},
		{[]string{"ledger", "--json"}, []string{`"took_ns": 41000000000`}, ""},
		{[]string{"accept", "--list"}, []string{"hot\n  Too hot.\n  accepted by anna on", "taken back on"}, ""},
		{[]string{"accept", "hot", "--why", "fan", "--until", "3d"}, []string{"Accepted until"}, ""},
		{[]string{"accept", "--end", "hot"}, []string{"Counts again: Too hot."}, ""},
		{[]string{"accept", "hot"}, nil, "say why"},
		{[]string{"accept"}, nil, "which finding"},
		{[]string{"accept", "hot", "--why", "x", "--until", "soon"}, nil, "say how long"},
		{[]string{"rehearse", "web", "--no-wait"}, []string{"Begun: web"}, ""},
		{[]string{"rehearse", "web"}, []string{"Rehearsing web", "NOT GOOD: web: no"}, "ends with 1"},
	} {
		var out strings.Builder
		err := run(t.Context(), append([]string{"--sentry-socket", socket}, c.args...), strings.NewReader(""), &out)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("atlas %v: %v; want %q", c.args, err, c.err)
		}
		for _, w := range c.want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("atlas %v says\n%s\nwant %q", c.args, out.String(), w)
			}
		}
	}
	var in struct {
		Finding, Why string
		Until        time.Time
	}
	if !posted("/v1/accept", &in) || in.Finding != "hot" || in.Why != "fan" || time.Until(in.Until).Round(time.Hour) != 72*time.Hour {
		t.Errorf("accept sent %+v", in)
	}
}

func TestUntilTime(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.Local)
	for s, want := range map[string]time.Time{
		"24h": now.Add(24 * time.Hour), "2d": now.AddDate(0, 0, 2), "90m": now.Add(90 * time.Minute),
		"2026-03-06": time.Date(2026, 3, 6, 23, 59, 59, 0, time.Local), "2026-03-06 18:00": time.Date(2026, 3, 6, 18, 0, 0, 0, time.Local),
		"": {}, "0d": {}, "-1d": {}, "tomorrow": {},
	} {
		got, err := untilTime(s, now)
		if !got.Equal(want) || (err != nil) != want.IsZero() {
			t.Errorf("untilTime(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
}
