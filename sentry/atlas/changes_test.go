package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

const oddPath = state.Path("etc/\x1b[31m<b>\xff\u202e\n")

// fakeSentry answers about changes and keeps what it was asked.
type fakeSentry struct {
	socket string
	asked  []string         // "GET /v1/history?limit=50"
	orders []state.Rollback // in order
	freed  []string         // commits released
	resync []state.Resync   // in order
	acked  []string
	fail   map[string]string
	held   *state.Held
}

func at(minute int) time.Time { return time.Date(2026, 11, 22, 14, minute, 10, 0, time.Local) }

func events() []state.Event {
	anna := state.Who{Program: "vi", User: "root", Login: "anna", From: "10.7.0.50"}
	return []state.Event{
		{Commit: state.Commit{ID: "ab12cd0300000000", Parent: "x", At: at(30), Server: "left", Who: state.Who{Program: "evil\x1b[2J", User: "www-data"}}, Files: []state.Touched{{Path: oddPath, Verb: "added"}}},
		{Commit: state.Commit{ID: "ab12cd0200000000", Parent: "x", At: at(2), Server: "left", Who: anna}, Files: []state.Touched{{Path: "etc/hosts", Verb: "changed"}}},
		{Commit: state.Commit{ID: "ab12cd0100000000", At: at(0), Server: "left", Note: "found when the server started"}, Files: []state.Touched{{Path: "etc/a", Verb: "added"}}, More: 711},
	}
}

const oddPatch = "etc/x: changed\n--- etc/x\n+++ etc/x\n@@ -1 +1 @@\n-a\tb\n+\x1b]0;owned\x07\xff\u202e\n"

func newFakeSentry(t *testing.T) *fakeSentry {
	t.Helper()
	f := &fakeSentry{socket: filepath.Join(t.TempDir(), "s"), fail: map[string]string{}}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: f}
	go srv.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { _ = srv.Close() })
	return f
}

func (f *fakeSentry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked = append(f.asked, r.Method+" "+r.URL.RequestURI())
	if words, ok := f.fail[r.URL.Path]; ok {
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": words})
		return
	}
	var out any
	switch {
	case r.URL.Path == "/v1/history":
		out = events()
	case strings.HasPrefix(r.URL.Path, "/v1/history/"):
		e := events()[0]
		e.Note = "line\x1b\nsecond"
		out = state.Shown{Event: e, Patch: oddPatch}
	case r.URL.Path == "/v1/diff":
		out = map[string]state.Text{"patch": oddPatch}
	case r.URL.Path == "/v1/blame":
		e := events()
		out = state.Blame{
			Lines:   []state.Line{{Text: "127.0.0.1\tlocalhost", Commit: e[1].ID}, {Text: "x\x1b[2J", Commit: e[2].ID}},
			Commits: map[string]state.Commit{e[1].ID: e[1].Commit, e[2].ID: e[2].Commit},
		}
	case r.URL.Path == "/v1/sync":
		out = state.Status{Held: f.held}
	case r.URL.Path == "/v1/release":
		var o struct{ Commit string }
		_ = json.NewDecoder(r.Body).Decode(&o)
		f.freed = append(f.freed, o.Commit)
		out = events()[0].Commit
	case r.URL.Path == "/v1/findings/ack":
		var o struct{ ID string }
		_ = json.NewDecoder(r.Body).Decode(&o)
		f.acked = append(f.acked, o.ID)
		out = initapi.Finding{ID: o.ID, What: "Changed on right: \x1b[2J"}
	case r.URL.Path == "/v1/resync":
		var o state.Resync
		_ = json.NewDecoder(r.Body).Decode(&o)
		f.resync = append(f.resync, o)
		out = state.Resynced{Server: "right", From: "left", Has: 42, HasID: "ab12", Takes: 3, Kept: "kept-20261122-140000", Plan: "p2", Done: !o.Try}
	case r.URL.Path == "/v1/rollback":
		var o state.Rollback
		_ = json.NewDecoder(r.Body).Decode(&o)
		f.orders = append(f.orders, o)
		done := state.RolledBack{
			To: events()[1].Commit, Plan: "p1", Files: []state.Touched{{Path: "etc/hosts", Verb: "changed"}, {Path: oddPath, Verb: "removed"}}, Services: []string{"apache"},
			Verdicts: []state.Verdict{{Service: "apache", Title: "Syntax of the web server's files", Result: "pass"}},
		}
		if o.Try {
			done.Patch = oddPatch
		} else {
			done.Commit = &state.Commit{ID: "ab12cd0400000000", Title: "rolled back /etc/hosts to 2026-11-22 14:02"}
		}
		out = done
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (f *fakeSentry) atlas(t *testing.T, typed string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	err := run(t.Context(), append([]string{"--sentry-socket", f.socket}, args...), strings.NewReader(typed), &out)
	for _, bad := range []string{"\x1b", "\x07", "\xff", "\u202e"} {
		if strings.Contains(out.String(), bad) && !json.Valid([]byte(out.String())) || err != nil && strings.Contains(err.Error(), bad) {
			t.Errorf("atlas %q writes %q: %q, %v", args, bad, out.String(), err)
		}
	}
	return out.String(), err
}

func TestHistoryCommands(t *testing.T) {
	t.Chdir("/etc")
	for _, c := range []struct {
		args        []string
		asked, want string
	}{
		{
			[]string{"history"},
			"GET /v1/history?limit=50",
			"2026-11-22 14:30:10  evil\\x1b[2J, by www-data             added /etc/\\x1b[31m<b>\\xff\\u202e\\n  ab12cd03\n" +
				"2026-11-22 14:02:10  vi, by anna as root, from 10.7.0.50  changed /etc/hosts  ab12cd02\n" +
				"2026-11-22 14:00:10  found when the server started        added 712 files  ab12cd01\n",
		},
		{[]string{"history", "--limit", "3", "--local", "/etc/apache2/"}, "GET /v1/history?limit=3&local=1&path=etc%2Fapache2", ""},
		{[]string{"history", "hosts"}, "GET /v1/history?limit=50&path=etc%2Fhosts", ""},
		{[]string{"history", "@db/postgresql/roles.sql"}, "GET /v1/history?limit=50&path=%40db%2Fpostgresql%2Froles.sql", ""},
		{[]string{"history", "/" + string(oddPath)}, "GET /v1/history?limit=50&path=etc%2F%1B%5B31m%3Cb%3E%FF%E2%80%AE%0A", ""},
		{[]string{"show", "ab12"}, "GET /v1/history/ab12?", "evil\\x1b[2J, by www-data, on left\ncommit ab12cd0300000000\n  line\\x1b\n  second\n\netc/x: changed\n"},
		{[]string{"show", "2026-11-22 14:00", "./hosts"}, "GET /v1/history/2026-11-22%2014:00?path=etc%2Fhosts", "-a\tb\n+\\x1b]0;owned\\a\\xff\\u202e\n"},
		{[]string{"show", "../v1/x"}, "GET /v1/history/..%2Fv1%2Fx?", ""},
		{[]string{"diff"}, "GET /v1/diff?from=HEAD~1", "@@ -1 +1 @@\n-a\tb\n"},
		{[]string{"diff", "/etc/hosts"}, "GET /v1/diff?from=HEAD~1&path=etc%2Fhosts", ""},
		{[]string{"diff", "ab12", "cd34", "hosts"}, "GET /v1/diff?from=ab12&path=etc%2Fhosts&to=cd34", ""},
		{[]string{"diff", "2026-11-21"}, "GET /v1/diff?from=2026-11-21", ""},
		{[]string{"diff", "HEAD~4", "."}, "GET /v1/diff?from=HEAD~4&path=etc", ""},
		{
			[]string{"blame", "hosts"},
			"GET /v1/blame?path=etc%2Fhosts",
			"ab12cd02  2026-11-22 14:02:10  anna         1  127.0.0.1\tlocalhost\nab12cd01  2026-11-22 14:00:10  not known    2  x\\x1b[2J\n",
		},
	} {
		f := newFakeSentry(t)
		out, err := f.atlas(t, "", c.args...)
		if err != nil || len(f.asked) != 1 || f.asked[0] != c.asked {
			t.Errorf("atlas %q asked %q, %v; want %q", c.args, f.asked, err, c.asked)
		}
		if !strings.Contains(out, c.want) {
			t.Errorf("atlas %q says\n%s\nwant\n%s", c.args, out, c.want)
		}
	}
	for _, bad := range [][]string{{"history", "a", "b"}, {"history", "--limit", "0"}, {"show"}, {"blame"}, {"blame", "/etc/" + strings.Repeat("x", 300)}, {"history", "@db/../x"}, {"diff", "a", "b", "c", "d"}} {
		f := newFakeSentry(t)
		if _, err := f.atlas(t, "", bad...); err == nil || len(f.asked) != 0 {
			t.Errorf("atlas %q: no error, asked %q", bad, f.asked)
		}
	}
	f := newFakeSentry(t)
	out, err := f.atlas(t, "", "history", "--json")
	var list []state.Event
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || list[0].Files[0].Path != oddPath {
		t.Errorf("history --json: %v, %q", err, out)
	}
}

func TestRollbackCommand(t *testing.T) {
	hosts := state.Rollback{Path: "etc/hosts"}
	for _, c := range []struct {
		name, typed string
		args        []string
		want        state.Rollback
		done        bool
		err         string
	}{
		{"confirmed", "yes\n", []string{"/etc/hosts"}, hosts, true, ""},
		{"not confirmed", "y\n", []string{"/etc/hosts"}, hosts, false, "not confirmed; nothing was done"},
		{"end of input", "", []string{"/etc/hosts"}, hosts, false, "not confirmed"},
		{"not asked", "", []string{"/etc/hosts", "--yes"}, hosts, true, ""},
		{"tried", "", []string{"/etc/hosts", "--try"}, hosts, false, ""},
		{"service", "yes\n", []string{"--service", "apache", "--to", "2026-11-22 14:00"}, state.Rollback{Service: "apache", To: "2026-11-22 14:00"}, true, ""},
		{"held", "yes\n", []string{"--held"}, state.Rollback{Held: true}, true, ""},
		{"all", "yes\n", []string{"--all", "--to", "ab12"}, state.Rollback{All: true, To: "ab12"}, true, ""},
		{"odd path", "yes\n", []string{"/" + string(oddPath)}, state.Rollback{Path: oddPath}, true, ""},
		{"nothing chosen", "yes\n", nil, state.Rollback{}, false, "a file, a service, or everything?"},
		{"root", "yes\n", []string{"/"}, state.Rollback{}, false, "say --all"},
		{"two things", "yes\n", []string{"/etc/hosts", "--all"}, state.Rollback{}, false, "only one of"},
		{"held to", "yes\n", []string{"--held", "--to", "x"}, state.Rollback{}, false, "last good state"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeSentry(t)
			out, err := f.atlas(t, c.typed, append([]string{"rollback"}, c.args...)...)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error = %v; want %q", err, c.err)
			}
			var want []state.Rollback
			if c.want != (state.Rollback{}) {
				first, second := c.want, c.want
				first.Try, second.Plan = true, "p1"
				if want = append(want, first); c.done {
					want = append(want, second)
				}
				for _, w := range []string{"would go back to 2026-11-22 14:02:10 (commit ab12cd02)", "changed            /etc/hosts", "Syntax of the web server's files: good", "anew would be: apache", "-a\tb\n"} {
					if !strings.Contains(out, w) {
						t.Errorf("it does not say %q:\n%s", w, out)
					}
				}
			}
			if d := cmp.Diff(want, f.orders); d != "" {
				t.Errorf("orders (-want +got):\n%s", d)
			}
			if c.done != strings.Contains(out, "Done: rolled back /etc/hosts to 2026-11-22 14:02 (commit ab12cd04).") {
				t.Errorf("done = %v; it says\n%s", c.done, out)
			}
		})
	}
	f := newFakeSentry(t)
	f.fail["/v1/rollback"] = "this server follows the primary; do it there\x1b"
	if _, err := f.atlas(t, "yes\n", "rollback", "--held"); err == nil || err.Error() != `this server follows the primary; do it there\x1b` {
		t.Errorf("refused: %v", err)
	}
}

func TestReleaseCommand(t *testing.T) {
	f := newFakeSentry(t)
	if out, err := f.atlas(t, "yes\n", "release"); err != nil || !strings.Contains(out, "No change is held back.") || len(f.freed) != 0 {
		t.Errorf("release of nothing: %q, %v", out, err)
	}
	f.held = &state.Held{Since: at(5), Commit: "ab12cd0300000000", Service: "apache", Words: "line 4:\x1b bad\n\tword", Paths: []state.Path{oddPath}}
	out, err := f.atlas(t, "no\n", "release")
	if err == nil || len(f.freed) != 0 || !strings.Contains(out, "Held back since 2026-11-22 14:05:10: apache does not take it.\n  line 4:\\x1b bad\n") {
		t.Errorf("not confirmed: %q, %v", out, err)
	}
	if out, err := f.atlas(t, "yes\n", "release"); err != nil || len(f.freed) != 1 || f.freed[0] != "ab12cd0300000000" || !strings.Contains(out, "Sent on, up to commit ab12cd03.") {
		t.Errorf("confirmed: %q, %v, %v", out, err, f.freed)
	}
}

func TestStatusTellsStanding(t *testing.T) {
	now := time.Now()
	sync := &state.Status{At: now, Held: &state.Held{Since: now.Add(-time.Minute), Words: "line 4: bad"}, Peers: []state.Peer{{Name: "right", Live: "x", Behind: 1, Since: now.Add(-time.Minute)}}}
	serving := func(role roles.Role) *initapi.State { return &initapi.State{State: initapi.Serving, Role: role} }
	socket, _ := server(t, map[string]any{"/v1/status": site.Site{Name: "Miller", At: now, Servers: []site.Server{
		{Name: "left", Self: true, Seen: now, State: serving(roles.Primary), Sync: sync},
		{Name: "right", Seen: now, State: serving(roles.Secondary), Sync: &state.Status{At: now}},
	}}})
	var out strings.Builder
	if err := run(t.Context(), []string{"--sentry-socket", socket, "status"}, strings.NewReader(""), &out); err != nil {
		t.Fatal(err)
	}
	clock := site.Clock(now.Add(-time.Minute))
	for _, want := range []string{
		"  changes of settings: a change is held back since " + clock + "\n    line 4: bad\n    → `atlas rollback --held` goes back",
		"  changes of settings: lacks changes since " + clock + "\n    1 change on the way.\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("status does not say %q:\n%s", want, out.String())
		}
	}
}

// The command runs beside the services for every look at the server: it must not carry the Synchronizer with it.
func TestSmall(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skip(err) // no sources here
	}
	for dep := range strings.FieldsSeq(string(out)) {
		for _, bad := range []string{"go-git", "sentry/sync/engine", "sentry/sync/history", "sentry/daemon", "sentry/report"} {
			if strings.Contains(dep, bad) {
				t.Errorf("the command imports %s", dep)
			}
		}
	}
}

func TestResyncCommand(t *testing.T) {
	f := newFakeSentry(t)
	words := []string{"RIGHT takes LEFT's files as they are now, and its history (3 changes).", "RIGHT's own history (42 changes) is kept aside on RIGHT as kept-20261122-140000"}
	out, err := f.atlas(t, "no\n", "resync")
	if err == nil || len(f.resync) != 1 || !f.resync[0].Try {
		t.Errorf("not confirmed: %q, %v, %+v", out, err, f.resync)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("it does not say %q:\n%s", w, out)
		}
	}
	out, err = f.atlas(t, "yes\n", "resync", "RIGHT")
	if d := cmp.Diff([]state.Resync{{Server: "right", Try: true}, {Server: "right", Plan: "p2"}}, f.resync[1:]); err != nil || d != "" || !strings.Contains(out, "when RIGHT is in step") {
		t.Errorf("confirmed: %q, %v\n%s", out, err, d)
	}
	f.fail["/v1/resync"] = "nothing needs to be replaced"
	if _, err := f.atlas(t, "yes\n", "resync"); err == nil || !strings.Contains(err.Error(), "nothing needs") {
		t.Errorf("refused: %v", err)
	}
}

func TestAcknowledgeCommand(t *testing.T) {
	f := newFakeSentry(t)
	out, err := f.atlas(t, "", "findings", "ack", "sync-local-change-right")
	if err != nil || len(f.acked) != 1 || f.acked[0] != "sync-local-change-right" || !strings.Contains(out, "No longer told: Changed on right") {
		t.Errorf("ack = %q, %v, %v", out, err, f.acked)
	}
	if _, err := f.atlas(t, "", "history", "--line", "kept-20261122-140000"); err != nil || f.asked[len(f.asked)-1] != "GET /v1/history?limit=50&line=kept-20261122-140000" {
		t.Errorf("history of a kept line: %v, %v", err, f.asked)
	}
}
