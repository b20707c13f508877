package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

const heldWords = "AH00526: Syntax error on line 4 of /etc/apache2/sites-enabled/shop.conf:\n" +
	"Invalid command 'DocumentRot', perhaps misspelled or defined by a module not included in the server configuration"

// oddPath has what a terminal, a page and JSON stumble over.
const oddPath = state.Path("etc/<b onload=alert(1)>\x1b[31m\xff\u202etxt\n&\"'")

func commitID(n int) string { return fmt.Sprintf("%08x%s", 0xab12cd00+n, strings.Repeat("0f", 16)) }

// fakeChanges is a history that is made up, newest first.
type fakeChanges struct {
	events []state.Event
	patch  map[string]string // by commit

	mu       sync.Mutex
	queries  []state.Query
	asked    []state.Rollback
	by       []state.Who
	released []string
	resync   []state.Resync
	acked    []string
	refuse   error
}

func newFakeChanges() *fakeChanges {
	at := time.Date(2026, 11, 22, 14, 2, 10, 0, time.UTC)
	anna := state.Who{Program: "vi", User: "root", Login: "anna", From: "10.7.0.50"}
	f := &fakeChanges{patch: map[string]string{}}
	add := func(n int, who state.Who, below state.Path, files ...state.Touched) {
		e := state.Event{Files: files, Below: below, Commit: state.Commit{ID: commitID(n), Seq: uint64(n), At: at.Add(time.Duration(n-5) * 11 * time.Minute), Server: "left", Who: who}}
		if n > 1 {
			e.Parent = commitID(n - 1)
		}
		f.events = append(f.events, e)
	}
	add(5, anna, "etc/apache2", state.Touched{Path: "etc/apache2/sites-available/shop.conf", Verb: "changed"}, state.Touched{Path: "etc/apache2/sites-enabled/shop.conf", Verb: "added"})
	add(4, state.Who{Program: "useradd", User: "root", Login: "bert", TTY: "tty1"}, "etc", state.Touched{Path: "etc/group", Verb: "changed"}, state.Touched{Path: "etc/gshadow", Verb: "changed"},
		state.Touched{Path: "etc/passwd", Verb: "changed"}, state.Touched{Path: "etc/shadow", Verb: "changed"}, state.Touched{Path: "etc/subuid", Verb: "changed"})
	add(3, state.Who{Program: "php-fpm8.4", User: "www-data", Service: "apache"}, "etc", state.Touched{Path: oddPath, Verb: "added"})
	add(2, anna, "etc", state.Touched{Path: "etc/hosts", Verb: "changed"})
	add(1, state.Who{}, "", state.Touched{Path: "etc/hosts", Verb: "added"})
	f.events[4].More, f.events[4].Note = 712, "found when the server started"
	f.patch[commitID(5)] = "etc/apache2/sites-available/shop.conf: changed\n--- etc/apache2/sites-available/shop.conf\n+++ etc/apache2/sites-available/shop.conf\n@@ -1,4 +1,5 @@\n" +
		" <VirtualHost *:80>\n \tServerName shop.example\n-\tDocumentRoot /srv/www/shop\n+\tDocumentRot /srv/www/shop2\n+\tErrorLog ${APACHE_LOG_DIR}/shop-error.log\n </VirtualHost>\n" +
		"etc/apache2/sites-enabled/shop.conf: added (link to ../sites-available/shop.conf)\n"
	f.patch[commitID(4)] = "etc/shadow: changed\ncontent: 812 bytes → 901 bytes, not shown, since it may hold secrets\n"
	f.patch[commitID(3)] = "\"etc/<b onload=alert(1)>\\x1b\": added (file, mode 0644, owner root, group root)\n--- /dev/null\n+++ x\n@@ -0,0 +1,3 @@\n+<script>alert(1)</script>\n+\x1b]0;owned\x07\xff\u202e\n+--- not a head\n"
	f.patch[commitID(2)] = "etc/hosts: changed\n--- etc/hosts\n+++ etc/hosts\n@@ -1 +1,2 @@\n 127.0.0.1 localhost\n+10.7.0.60 printer\n"
	return f
}

func (f *fakeChanges) Events(q state.Query) ([]state.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queries = append(f.queries, q)
	var out []state.Event
	past := q.Before == ""
	for _, e := range f.events {
		if past && len(out) < q.Limit && (q.Path == "" || slices.ContainsFunc(e.Files, func(t state.Touched) bool { return t.Path.Under(q.Path) })) {
			out = append(out, e)
		}
		past = past || e.ID == q.Before
	}
	return out, nil
}

func (f *fakeChanges) Show(commit string, _ state.Path) (state.Shown, error) {
	for _, e := range f.events {
		if strings.HasPrefix(e.ID, commit) {
			return state.Shown{Event: e, Patch: state.Text(f.patch[e.ID])}, nil
		}
	}
	return state.Shown{}, fmt.Errorf("commit %.80q: not in the history", commit)
}

func (f *fakeChanges) Blame(path state.Path) (state.Blame, error) {
	if path == "etc/shadow" {
		return state.Blame{}, errors.New("the lines of etc/shadow: not shown, since it may hold secrets")
	}
	b := state.Blame{Commits: map[string]state.Commit{f.events[3].ID: f.events[3].Commit, f.events[4].ID: f.events[4].Commit}}
	for i, s := range []string{"127.0.0.1\tlocalhost", "10.7.0.60 printer", "10.7.0.61 scanner <i>", "10.7.0.1 gate\x1b[2J"} {
		b.Lines = append(b.Lines, state.Line{Text: state.Text(s), Commit: f.events[4-(i+1)/2%2].ID})
	}
	return b, nil
}

func (f *fakeChanges) Rollback(_ context.Context, r state.Rollback, who state.Who) (state.RolledBack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.by = append(f.asked, r), append(f.by, who)
	if f.refuse != nil {
		return state.RolledBack{}, f.refuse
	}
	out := state.RolledBack{
		To: f.events[1].Commit, Plan: "plan-1", Services: []string{"apache"}, Verdicts: []state.Verdict{{Service: "apache", Title: "Syntax of the web server's files", Result: "pass"}},
		Files: []state.Touched{{Path: "etc/apache2/sites-available/shop.conf", Verb: "changed"}, {Path: oddPath, Verb: "removed"}},
	}
	if r.Try {
		out.Patch = "etc/apache2/sites-available/shop.conf: changed\n--- a\n+++ b\n@@ -1,3 +1,2 @@\n <VirtualHost *:80>\n-\tDocumentRot /srv/www/shop2\n+\tDocumentRoot /srv/www/shop\n"
	} else {
		c := state.Commit{ID: commitID(6), Title: "rolled back"}
		out.Commit, out.Trouble = &c, []string{"apache: it did not start again in time"}
	}
	return out, nil
}

func (f *fakeChanges) Release(_ context.Context, commit string, who state.Who) (state.Commit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released, f.by = append(f.released, commit), append(f.by, who)
	return f.events[0].Commit, f.refuse
}

func (f *fakeChanges) Resync(_ context.Context, r state.Resync, who state.Who) (state.Resynced, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resync, f.by = append(f.resync, r), append(f.by, who)
	return state.Resynced{Server: "right", From: "left", Has: 42, Takes: 3, Kept: "kept-20261122-140000", Plan: "plan-2", Done: !r.Try}, f.refuse
}

func (f *fakeChanges) Acknowledge(id string) (initapi.Finding, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked = append(f.acked, id)
	return initapi.Finding{}, f.refuse
}
