package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/report"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/engine"
	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	secret = "hunter2hunter2"
	odd    = state.Path("etc/<b onload=alert(1)>\x1b[31m\xff\u202e\n&\"'")
)

// primary runs an engine over files of its own and serves the administrator's socket for it.
type primary struct {
	t      *testing.T
	root   string
	engine *engine.Engine
	client *http.Client
}

type noServices struct{}

func (noServices) Do(context.Context, string, string) error { return nil }

func newPrimary(t *testing.T) *primary {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("fanotify, owners and mounts need root")
	}
	root, err := os.MkdirTemp("/var/cache", "atlas-changes-") // checkers see /tmp and /var/tmp empty
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	p := &primary{t: t, root: root}
	p.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
	p.write("etc/group", "root:x:0:\n")
	p.write("etc/hosts", "127.0.0.1 localhost\n")
	p.write("etc/shadow", "root:"+secret+":1::::::\n")
	p.write("etc/bytes", "gr\xfcn\nblau\n") // no UTF-8: where a secret ends is not known
	must(t, os.MkdirAll(filepath.Join(root, "var"), 0o755))
	self, err := os.Executable()
	must(t, err)
	rules, err := class.New(nil)
	must(t, err)
	p.engine, err = engine.Open(engine.Config{
		Dir: filepath.Join(root, "sync"), Root: root, Server: "left", Role: roles.Primary, Findings: &engine.Findings{}, Own: true, Services: noServices{},
		Places: []apply.Place{{Prefix: "etc", Dir: filepath.Join(root, "etc")}, {Prefix: "var", Dir: filepath.Join(root, "var")}},
		Helper: check.Helper{Command: []string{self}},
		Facts: engine.Facts{
			Packs:      []pack.Pack{{Name: "web", Title: "Web server", Config: []string{"/etc/web"}}},
			Class:      func(state.Path) class.Class { return class.Shared },
			Checks:     func([]string) []check.Check { return nil },
			BaseChecks: func([]state.Change) []check.Check { return nil },
			Derive:     func(string) (engine.Command, bool) { return engine.Command{}, false },
			Hide:       rules.Redact,
		},
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.engine.Run(ctx) }()
	mux := http.NewServeMux()
	changesAPI{who: whoAsks("/"), now: func() (changes, error) { return p.engine, nil }}.mount(mux)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	must(t, err)
	srv := &http.Server{Handler: mux, ConnContext: withAsker, ReadHeaderTimeout: time.Second}
	go srv.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() {
		_ = srv.Close()
		cancel()
		must(t, <-done)
		must(t, p.engine.Close())
	})
	p.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	p.commits(1)
	return p
}

func (p *primary) write(path, text string) {
	p.t.Helper()
	path = filepath.Join(p.root, path)
	must(p.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(p.t, os.WriteFile(path, []byte(text), 0o600))
}

// edit changes a file, as an action of its own, and waits until that is recorded.
func (p *primary) edit(path, text string) {
	p.t.Helper()
	n := p.engine.Status().Commits
	time.Sleep(700 * time.Millisecond)
	p.write(path, text)
	p.commits(n + 1)
}

func (p *primary) commits(n int) {
	p.t.Helper()
	for range 1000 {
		if p.engine.Status().Commits >= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("commit %d is not seen", n)
}

// ask gives the answer's status and body.
func (p *primary) ask(method, path, body string, out any) (int, string) {
	p.t.Helper()
	req, err := http.NewRequest(method, "http://sentry"+path, strings.NewReader(body))
	must(p.t, err)
	res, err := p.client.Do(req)
	must(p.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(p.t, err)
	if out != nil && res.StatusCode == http.StatusOK {
		must(p.t, json.Unmarshal(data, out))
	}
	return res.StatusCode, string(data)
}

func TestChangesAPI(t *testing.T) {
	p := newPrimary(t)
	p.edit("etc/hosts", "127.0.0.1 localhost\n10.0.0.5 printer\n")
	p.edit(string(odd), "<i>\n")
	at := "?path=" + url.QueryEscape(string(odd))

	var list []state.Event
	if code, body := p.ask("GET", "/v1/history?limit=2", "", &list); code != 200 || len(list) != 2 || list[0].Files[0].Path != odd || list[1].Files[0].Verb != "changed" {
		t.Fatalf("history = %d %s", code, body)
	}
	if w := list[0].Who; w.PID != os.Getpid() || w.User != "root" {
		t.Errorf("the change is by %+v", w)
	}
	if code, body := p.ask("GET", "/v1/history"+at, "", &list); code != 200 || len(list) != 1 {
		t.Errorf("history of the odd path = %d %s", code, body)
	}
	var older []state.Event
	if code, body := p.ask("GET", "/v1/history?before="+list[0].ID, "", &older); code != 200 || len(older) != 2 || older[0].Files[0].Path != "etc/hosts" {
		t.Errorf("older history = %d %s", code, body)
	}
	var shown state.Shown
	if code, body := p.ask("GET", "/v1/history/HEAD"+at, "", &shown); code != 200 || !strings.Contains(string(shown.Patch), "+<i>\n") {
		t.Errorf("show = %d %s", code, body)
	}
	var diff struct{ Patch state.Text }
	if code, body := p.ask("GET", "/v1/diff?from=HEAD~2&to=HEAD~1", "", &diff); code != 200 || !strings.Contains(string(diff.Patch), "+10.0.0.5 printer") {
		t.Errorf("diff = %d %s", code, body)
	}
	var b state.Blame
	if code, body := p.ask("GET", "/v1/blame?path=etc/hosts", "", &b); code != 200 || len(b.Lines) != 2 || b.Commits[b.Lines[1].Commit].Seq != 2 || b.Commits[b.Lines[0].Commit].Seq != 1 {
		t.Errorf("blame = %d %s", code, body)
	}
	var st state.Status
	if code, body := p.ask("GET", "/v1/sync", "", &st); code != 200 || st.Commits != 3 || st.Role != "primary" {
		t.Errorf("sync = %d %s", code, body)
	}
	for path, want := range map[string]int{
		"/v1/history?path=../etc": 400, "/v1/history?path=/etc": 400, "/v1/history?limit=x": 400, "/v1/history?limit=-1": 400, "/v1/history/" + strings.Repeat("0", 10): 404,
		"/v1/blame?path=etc/bytes": 403, "/v1/blame": 400, "/v1/blame?path=etc/none": 404, "/v1/blame?path=etc%00": 400, "/v1/diff?from=" + strings.Repeat("0", 40): 404,
	} {
		if code, body := p.ask("GET", path, "", nil); code != want || !strings.Contains(body, `{"error":"`) {
			t.Errorf("GET %s = %d %s; want %d in words", path, code, body, want)
		}
	}
	for body, want := range map[string]int{
		`{}`: 400, `{"path":"../x"}`: 400, `{"path":"etc/a","all":true}`: 400, `{"held":true}`: 409, `x`: 400, `{"paths":1}`: 400, `{"service":"none","to":"HEAD~1"}`: 409,
		`{"path":"etc/hosts","to":"HEAD"}`: 409, `{"path":"etc/hosts","plan":"another"}`: 409, `{"path":"etc/hosts","to":"0000000000"}`: 404,
	} {
		if code, answer := p.ask("POST", "/v1/rollback", body, nil); code != want || !strings.Contains(answer, `{"error":"`) {
			t.Errorf("POST rollback %s = %d %s; want %d in words", body, code, answer, want)
		}
	}
	if code, answer := p.ask("POST", "/v1/resync", `{"try":true}`, nil); code != 409 || !strings.Contains(answer, "nothing needs to be replaced") {
		t.Errorf("resync = %d %s", code, answer)
	}
	if code, answer := p.ask("POST", "/v1/findings/ack", `{"id":"sync-local-change-left"}`, nil); code != 409 || !strings.Contains(answer, "no such finding") {
		t.Errorf("acknowledge = %d %s", code, answer)
	}
	if code, answer := p.ask("GET", "/v1/history?line=live", "", nil); code != 404 {
		t.Errorf("a line that is not one that was kept = %d %s", code, answer)
	}
	if code, answer := p.ask("POST", "/v1/release", `{}`, nil); code != 409 || !strings.Contains(answer, "no change is held back") {
		t.Errorf("release = %d %s", code, answer)
	}
}

func TestRollbackThroughTheSocket(t *testing.T) {
	p := newPrimary(t)
	p.edit(string(odd), "one\n")
	p.edit(string(odd), "two\n")
	order := state.Rollback{Path: odd, Try: true}
	send := func() (int, string, state.RolledBack) {
		var got state.RolledBack
		data, err := json.Marshal(order)
		must(t, err)
		code, body := p.ask("POST", "/v1/rollback", string(data), &got)
		return code, body, got
	}
	text := func() string {
		data, err := os.ReadFile(filepath.Join(p.root, string(odd)))
		must(t, err)
		return string(data)
	}
	code, body, plan := send()
	if code != 200 || plan.Commit != nil || plan.Plan == "" || len(plan.Files) != 1 || plan.Files[0].Path != odd || !strings.Contains(string(plan.Patch), "-two\n+one\n") || text() != "two\n" {
		t.Fatalf("try = %d %s; the file is %q", code, body, text())
	}
	order.Try, order.Plan = false, plan.Plan
	p.edit(string(odd), "three\n") // between the question and the answer
	if code, body, _ := send(); code != 409 || !strings.Contains(body, "something else was changed meanwhile") || text() != "three\n" {
		t.Errorf("another plan = %d %s", code, body)
	}
	p.edit("etc/hosts", "other\n") // but this does not matter
	order.Try, order.Plan = true, ""
	_, _, plan = send()
	p.edit("etc/hosts", "another\n")
	order.Try, order.Plan = false, plan.Plan
	code, body, done := send()
	if code != 200 || done.Commit == nil || text() != "two\n" {
		t.Fatalf("rollback = %d %s; the file is %q", code, body, text())
	}
	if w := done.Commit.Who; w.PID != os.Getpid() || w.User != "root" || w.Program == "" {
		t.Errorf("rolled back by %+v; want this process", w)
	}
}

// pageOf is a page over an engine.
type pageOf struct {
	hash   string
	engine *engine.Engine
}

func (p pageOf) Site() site.Site {
	return site.Judge(site.Site{Server: "left", Name: "Miller", At: time.Now()})
}
func (p pageOf) Admin() string { return p.hash }

func (p pageOf) CurrentCode() (peers.Offer, bool)     { return peers.Offer{}, false }
func (p pageOf) JoinCode(bool) (peers.Offer, error)   { return peers.Offer{}, errors.New("none") }
func (p pageOf) Subscribe() (<-chan struct{}, func()) { return nil, func() {} }
func (p pageOf) Changes() (report.Changes, error)     { return p.engine, nil }

// What the rules of package class hide is in no answer, whichever way one asks.
func TestSecretsAreNotShown(t *testing.T) {
	p := newPrimary(t)
	p.edit("etc/shadow", "root:"+secret+"A:1::::::\n")
	p.edit("etc/app.conf", "user = app\npassword = "+secret+"B\n")
	p.edit("etc/app.conf", "user = app\npassword = "+secret+"C\n")
	p.edit("etc/shadow", "root:"+secret+"D:1::::::\n")
	time.Sleep(700 * time.Millisecond)
	must(t, os.Remove(filepath.Join(p.root, "etc/shadow")))
	p.commits(6)
	asked := 0
	look := func(where string, code int, body string) {
		asked++
		if strings.Contains(body, secret) || code >= 500 {
			t.Errorf("%s = %d %s", where, code, body)
		}
	}
	var list []state.Event
	code, body := p.ask("GET", "/v1/history", "", &list)
	look("history", code, body)
	page := newPage(t, p.engine)
	paths := []string{"", "etc", "etc/shadow", "etc/app.conf"}
	for _, path := range paths {
		for _, e := range list {
			for _, q := range []string{"/v1/history/" + e.ID + "?path=" + path, "/v1/diff?from=" + e.ID + "&path=" + path, "/v1/history?path=" + path + "&before=" + e.ID} {
				code, body := p.ask("GET", q, "", nil)
				look(q, code, body)
			}
			order := fmt.Sprintf(`{"path":%q,"to":%q,"try":true}`, path, e.ID)
			if path == "" {
				order = fmt.Sprintf(`{"all":true,"to":%q,"try":true}`, e.ID)
			}
			code, body := p.ask("POST", "/v1/rollback", order, nil)
			look(order, code, body)
			for _, q := range []string{"/changes/" + e.ID + "?path=/" + path, "/changes?path=/" + path} {
				code, body := page.get(q)
				look("page "+q, code, body)
			}
			q := "/changes/rollback?to=" + e.ID + "&path=/" + path
			if path == "" {
				q = "/changes/rollback?service=*&to=" + e.ID
			}
			code, body = page.press(q)
			look("page "+q, code, body)
		}
		code, body := p.ask("GET", "/v1/blame?path="+path, "", nil)
		look("blame "+path, code, body)
		code, body = page.get("/blame?path=/" + path)
		look("page of blame "+path, code, body)
	}
	// The seam was used: other text is shown beside what is hidden.
	if _, body := p.ask("GET", "/v1/history/HEAD~2", "", nil); !strings.Contains(body, "+password = [not shown]") || asked < 100 {
		t.Errorf("after %d questions the change of app.conf is %s", asked, body)
	}
}
