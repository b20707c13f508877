package report

import (
	"errors"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/sync/state"
)

func visitChanges(t *testing.T, sample string) (visitor, *fakeChanges, string) {
	t.Helper()
	src := newSample(t, samples()[sample])
	f := src.changes.(*fakeChanges)
	v := visit(t, src, Options{})
	return v, f, v.login()
}

// whole tells what is wrong with any page.
func whole(t *testing.T, where, body string) {
	t.Helper()
	if strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "<no value>") || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
		t.Errorf("%s is not whole:\n%.400s", where, body)
	}
	for _, bad := range []string{"style=", "<b onload", "<script>alert", "\x1b", "\x07", "\xff", "\u202e", "javascript:"} {
		if strings.Contains(body, bad) {
			t.Errorf("%s has %q in it", where, bad)
		}
	}
}

func TestChangePages(t *testing.T) {
	v, _, _ := visitChanges(t, "held")
	odd := url.QueryEscape("/" + string(oddPath))
	for path, want := range map[string][]string{
		"/": {"A change is held back", "AH00526: Syntax error", "Newest changes of settings", "changed 5 files below /etc", "a change is held back since", "/changes/" + commitID(5)},
		"/changes": {
			"A change is held back", "Web server</b> does not take", "vi, by anna as root, from 10.7.0.50", "changed 5 files below /etc", "added 713 files", "found when the server started",
			`added /etc/&lt;b onload=alert(1)&gt;\x1b[31m\xff\u202etxt\n&amp;&#34;&#39;`,
		},
		"/changes?path=/etc/hosts":                       {"Changes of <span class=\"name\">/etc/hosts</span>", "Undo this change…", "Back to how it was then…", "to=" + commitID(1), "/blame?path=%2Fetc%2Fhosts"},
		"/changes?path=" + odd:                           {`\x1b[31m\xff\u202e`},
		"/changes?before=" + commitID(4):                 {"Newest</a>", "changed /etc/hosts"},
		"/changes/" + commitID(5):                        {"10.7.0.50", `class="del">-`, `class="add">&#43;`, "DocumentRot", "Back to before this…", `<option value="samba">File shares`, "to before this change…"},
		"/changes/" + commitID(4):                        {"not shown, since it may hold secrets"},
		"/changes/" + commitID(3):                        {"&lt;script&gt;alert(1)", `\x1b]0;owned\a\xff\u202e`, `class="add">&#43;--- not a head`},
		"/changes/" + commitID(2) + "?path=%2Fetc/hosts": {"The whole change", "printer"},
		"/blame?path=/etc/hosts":                         {"scanner &lt;i&gt;", `gate\x1b[2J`, commitID(2)[:8]},
	} {
		code, body := v.get(path)
		if code != http.StatusOK {
			t.Errorf("GET %s = %d", path, code)
		}
		whole(t, path, body)
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("GET %s does not say %q", path, w)
			}
		}
	}
	// What a link of the page leads to is the path that it names.
	_, body := v.get("/changes/" + commitID(3))
	link := regexp.MustCompile(`href="(/changes\?path=[^"]*)"`).FindStringSubmatch(body)
	if link == nil {
		t.Fatal("no link to the changes of the odd file")
	}
	u, err := url.Parse(html.UnescapeString(link[1]))
	if err != nil || u.Query().Get("path") != "/"+string(oddPath) {
		t.Errorf("link %q leads to %q", link[1], u.Query().Get("path"))
	}
}

func TestChangePagesRefuse(t *testing.T) {
	v, f, token := visitChanges(t, "ready")
	for _, path := range []string{"/changes?path=/etc/../root", "/changes?path=../etc", "/changes?path=etc/hosts", "/changes?path=%00", "/blame", "/blame?path=/etc//x", "/changes/x?path=/.."} {
		if code, body := v.get(path); code != http.StatusBadRequest || !strings.Contains(body, "That did not work") {
			t.Errorf("GET %s = %d; want 400 in words", path, code)
		}
	}
	for path, word := range map[string]string{"/changes/0000000000": "not in the history", "/changes/" + url.PathEscape("<script>alert(1)</script>"): "not in the history", "/blame?path=/etc/shadow": "may hold secrets"} {
		code, body := v.get(path)
		if code != http.StatusNotFound || !strings.Contains(body, word) {
			t.Errorf("GET %s = %d; want 404 and %q", path, code, word)
		}
		whole(t, path, body)
	}
	for path, form := range map[string]url.Values{
		"/changes/rollback?held=1&to=abcd":       {"token": {token}},
		"/changes/rollback":                      {"token": {token}},
		"/changes/rollback?path=/etc/../x":       {"token": {token}},
		"/changes/rollback?path=/etc/x":          {"token": {token}, "service": {"apache"}},
		"/changes/rollback?path=/etc/x&to=abcd1": {"token": {token}, "service": {"*"}},
	} {
		if code, _ := v.post(path, form); code != http.StatusBadRequest {
			t.Errorf("POST %s = %d; want 400", path, code)
		}
	}
	for _, path := range []string{"/changes/rollback?held=1", "/changes/release"} {
		for _, bad := range []string{"", "guess"} {
			if code, _ := v.post(path, url.Values{"token": {bad}, "plan": {"x"}, "commit": {"x"}}); code != http.StatusForbidden {
				t.Errorf("POST %s with token %q = %d; want 403", path, bad, code)
			}
		}
		if code, _ := v.post(path, url.Values{"token": {token}, "plan": {"x"}, "commit": {"x"}}, "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
			t.Errorf("POST %s from another site = %d; want 403", path, code)
		}
	}
	if len(f.asked)+len(f.released) != 0 {
		t.Errorf("ordered nevertheless: %+v, %v", f.asked, f.released)
	}
	// Nothing is held on this sample: there is nothing to ask about.
	if code, body := v.post("/changes/release", url.Values{"token": {token}}); code != http.StatusConflict || !strings.Contains(body, "no change is held back") {
		t.Errorf("release of nothing = %d", code)
	}
}

func TestChangesBehindLogin(t *testing.T) {
	v := visit(t, newSample(t, samples()["held"]), Options{})
	for _, path := range []string{"/changes", "/changes/" + commitID(5), "/blame?path=/etc/hosts"} {
		if _, body := v.get(path); !strings.Contains(body, "<h1>Log in</h1>") || strings.Contains(body, "hosts") || strings.Contains(body, "shop") {
			t.Errorf("GET %s before login: %.200s", path, body)
		}
	}
	if _, body := v.post("/changes/rollback?held=1", url.Values{"token": {""}}); !strings.Contains(body, "<h1>Log in</h1>") {
		t.Error("rollback without login")
	}
}

// form finds the form whose button says word, as a browser would send it.
func form(t *testing.T, body, word string) (action string, fields url.Values) {
	t.Helper()
	for _, f := range regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>`).FindAllStringSubmatch(body, -1) {
		if !strings.Contains(f[2], word) {
			continue
		}
		fields = url.Values{}
		for _, in := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(f[2], -1) {
			fields.Set(in[1], html.UnescapeString(in[2]))
		}
		return html.UnescapeString(f[1]), fields
	}
	t.Fatalf("no form %q on the page", word)
	return "", nil
}

func TestRollBackOnThePage(t *testing.T) {
	for _, c := range []struct {
		name, page, button string
		more               url.Values
		want               state.Rollback
	}{
		{"held", "/", "Roll back…", nil, state.Rollback{Held: true}},
		{"held, from the list", "/changes", "Roll back…", nil, state.Rollback{Held: true}},
		{"newest change of a file", "/changes?path=/etc/apache2/sites-enabled", "Undo this change…", nil, state.Rollback{Path: "etc/apache2/sites-enabled", To: commitID(4)}},
		{"older state of a file", "/changes?path=/etc/hosts", "Back to how it was then…", nil, state.Rollback{Path: "etc/hosts", To: commitID(1)}},
		{"a file with an odd name", "/changes/" + commitID(3), "Back to before this…", nil, state.Rollback{Path: oddPath, To: commitID(2)}},
		{"service", "/changes/" + commitID(4), "to right after it…", url.Values{"service": {"samba"}}, state.Rollback{Service: "samba", To: commitID(4)}},
		{"everything", "/changes/" + commitID(4), "to right after it…", url.Values{"service": {"*"}}, state.Rollback{All: true, To: commitID(4)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, f, _ := visitChanges(t, "held")
			_, body := v.get(c.page)
			action, fields := form(t, body, c.button)
			maps.Copy(fields, c.more)
			code, body := v.post(action, fields)
			if code != http.StatusOK || !strings.Contains(body, "Nothing was done yet") || !strings.Contains(body, "DocumentRoot /srv/www/shop\n") || !strings.Contains(body, "checkers take it") {
				t.Fatalf("asked = %d %s", code, body)
			}
			whole(t, "the question", body)
			action, fields = form(t, body, "Yes, roll back")
			code, body = v.post(action, fields)
			if code != http.StatusOK || !strings.Contains(body, "not every service took them") || !strings.Contains(body, "did not start again in time") {
				t.Fatalf("done = %d %s", code, body)
			}
			whole(t, "the answer", body)
			first, second := c.want, c.want
			first.Try, second.Plan = true, "plan-1"
			if d := cmp.Diff([]state.Rollback{first, second}, f.asked); d != "" {
				t.Errorf("ordered (-want +got):\n%s", d)
			}
			if w := f.by[1]; w.User != "admin" || w.From != "127.0.0.1" || w.Program != "the page" {
				t.Errorf("ordered by %+v", w)
			}
		})
	}
}

func TestRefusedRollback(t *testing.T) {
	v, f, token := visitChanges(t, "held")
	f.refuse = errors.New("Web server does not take it here (line 1 <b>\x1b: `bad`)")
	code, body := v.post("/changes/rollback?held=1", url.Values{"token": {token}})
	if code != http.StatusConflict || !strings.Contains(body, `(line 1 &lt;b&gt;\x1b: <code>bad</code>)`) {
		t.Errorf("refused = %d %s", code, body)
	}
}

func TestReleaseOnThePage(t *testing.T) {
	v, f, _ := visitChanges(t, "held")
	_, body := v.get("/changes")
	action, fields := form(t, body, "Send it on")
	_, body = v.post(action, fields)
	if len(f.released) != 0 || !strings.Contains(body, "AH00526") {
		t.Fatal("it does not ask first")
	}
	action, fields = form(t, body, "Yes, send it on")
	if code, body := v.post(action, fields); code != http.StatusOK || !strings.Contains(body, "Sent on") || len(f.released) != 1 || f.released[0] != commitID(5) {
		t.Errorf("release = %d, %v", code, f.released)
	}
}

func TestSecondaryCannotRollBack(t *testing.T) {
	v, f, _ := visitChanges(t, "secondary")
	for _, path := range []string{"/changes", "/changes?path=/etc/hosts", "/changes/" + commitID(5), "/changes?local=1"} {
		_, body := v.get(path)
		if strings.Contains(body, `action="/changes/rollback`) || strings.Contains(body, "formaction") {
			t.Errorf("%s offers a rollback", path)
		}
		if !strings.Contains(body, "RIGHT follows LEFT, the primary") || !strings.Contains(body, `href="https://10.7.0.11:8443/changes"`) {
			t.Errorf("%s does not say where to roll back", path)
		}
	}
	if q := f.queries[len(f.queries)-1]; !q.Local {
		t.Errorf("asked for %+v; want the server's own line", q)
	}
}

func TestNoChanges(t *testing.T) {
	src := newSample(t, samples()["hold"])
	src.changes = nil
	v := visit(t, src, Options{})
	v.login()
	if code, body := v.get("/changes"); code != http.StatusServiceUnavailable || !strings.Contains(body, "not followed while no disk set serves") {
		t.Errorf("changes without a set = %d", code)
	}
	if _, body := v.get("/"); !strings.Contains(body, "not followed while no disk set serves") {
		t.Error("the overview does not say why it shows no changes")
	}
}

// Where a secondary has another history, the page says what that means, asks, and orders that it takes the primary's files. What has happened
// can be acknowledged.
func TestResyncOnThePage(t *testing.T) {
	v, f, token := visitChanges(t, "apart")
	for _, page := range []string{"/", "/changes"} {
		_, body := v.get(page)
		whole(t, page, body)
		if !strings.Contains(body, "RIGHT has another history than LEFT") {
			t.Errorf("%s does not tell", page)
		}
	}
	_, body := v.get("/changes")
	action, fields := form(t, body, "Let RIGHT take LEFT’s files…")
	_, body = v.post(action, fields)
	whole(t, "the question", body)
	for _, w := range []string{"RIGHT takes LEFT&#39;s files as they are now", "kept aside on RIGHT as kept-20261122-140000"} {
		if !strings.Contains(body, w) {
			t.Errorf("the question does not say %q", w)
		}
	}
	action, fields = form(t, body, "Yes, take them")
	code, body := v.post(action, fields)
	whole(t, "the answer", body)
	if d := cmp.Diff([]state.Resync{{Server: "right", Try: true}, {Server: "right", Plan: "plan-2"}}, f.resync); code != http.StatusOK || d != "" || !strings.Contains(body, "Ordered") {
		t.Errorf("ordered = %d (-want +got):\n%s", code, d)
	}
	f.refuse = errors.New("nothing needs to be replaced")
	if code, body := v.post("/changes/resync?server=right", url.Values{"token": {token}}); code != http.StatusConflict || !strings.Contains(body, "nothing needs to be replaced") {
		t.Errorf("refused = %d", code)
	}
	f.refuse = nil
	if code, _ := v.post("/changes/resync?server=right", url.Values{"token": {"guess"}}); code != http.StatusForbidden {
		t.Errorf("with a guessed token = %d", code)
	}

	_, body = v.get("/")
	action, fields = form(t, body, "Seen")
	if code, _ := v.post(action, fields); code >= 400 || len(f.acked) != 1 || f.acked[0] != "sync-history-damaged-left" {
		t.Errorf("acknowledged = %d, %v", code, f.acked)
	}
	if v, _, _ := visitChanges(t, "ready"); v.t != nil {
		if _, body := v.get("/changes"); strings.Contains(body, "another history") {
			t.Error("offered where nothing is wrong")
		}
	}
}
