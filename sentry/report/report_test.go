package report

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/site"
)

type visitor struct {
	t   *testing.T
	url string
	c   *http.Client
}

func visit(t *testing.T, src Source, o Options) visitor {
	t.Helper()
	h, err := New(src, o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	c := srv.Client()
	c.Jar, err = cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return visitor{t, srv.URL, c}
}

func (v visitor) do(req *http.Request, err error) (int, string) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	res, err := v.c.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func (v visitor) get(path string) (int, string) {
	return v.do(http.NewRequest(http.MethodGet, v.url+path, nil))
}

func (v visitor) post(path string, form url.Values, header ...string) (int, string) {
	req, err := http.NewRequest(http.MethodPost, v.url+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return v.do(req, err)
}

func (v visitor) login() string {
	v.t.Helper()
	code, body := v.post("/login", url.Values{"password": {samplePassword}})
	if code != http.StatusOK || !strings.Contains(body, "Ready to swap:") {
		v.t.Fatalf("login = %d %.200s", code, body)
	}
	return regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(body)[1]
}

func TestEverySampleRenders(t *testing.T) {
	want := map[string][]string{
		"ready":      {"<strong>yes</strong>", "Nothing is wrong that ATLAS can see"},
		"three":      {"<strong>yes</strong>", "MIDDLE", "by middle"},
		"secondary":  {"<strong>yes", "Page of LEFT"},
		"held":       {"<strong>no", "A change is held back", "Roll back…", "Send it on as it is…", "lacks changes since"},
		"open":       {"<strong>yes</strong>", "Web server of RIGHT is still to be started from cold with this: changed /etc/apache2/envvars", "<code>atlas rehearse</code>"},
		"rehearsing": {"<strong>not known</strong>", "RIGHT is being rehearsed since", "<b>being rehearsed since", "being rehearsed: </span>", "swap all the same"},
		"cold":       {"<strong>no</strong>", "Web server of RIGHT did not start from cold at its rehearsal", "<code>atlas rollback --service apache</code>", "not good: Web server: apache2: Usage", "Last proven swap: 12 days ago"},
		"accepted":   {"<strong>yes</strong>", "Accepted by anna, from 10.7.0.50 until", "the new disk comes on Thursday", "The disk in bay 2 (S4NN0L2) has left the set", "all services (nightly)", "41 s"},
		"alone":      {"<strong>no</strong>", "Next: install the second server"},
		"degraded":   {"<strong>no</strong>", "missing", "<code>atlas service list</code>", "InnoDB: Unable to lock"},
		"down":       {"<strong>not known</strong>", "What helps now: swap the disk sets", "was active"},
		"hold":       {"<strong>no</strong>", "belong to two different sets", "RIGHT has not answered yet"},
	}
	for name, mk := range samples() {
		t.Run(name, func(t *testing.T) {
			v := visit(t, newSample(t, mk), Options{})
			v.login()
			_, body := v.get("/")
			for _, w := range want[name] {
				if !strings.Contains(body, w) {
					t.Errorf("page does not contain %q", w)
				}
			}
			if strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "<no value>") || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
				t.Error("page is not whole")
			}
			if strings.Contains(body, "style=") {
				t.Error("inline style, which the page's own policy forbids")
			}
		})
	}
}

func TestLogin(t *testing.T) {
	v := visit(t, newSample(t, samples()["ready"]), Options{})
	if _, body := v.get("/"); !strings.Contains(body, "<h1>Log in</h1>") || strings.Contains(body, "10.7.0.11") {
		t.Error("the page is shown, or tells, before login")
	}
	for _, path := range []string{"/events", "/api/v1/status"} {
		if code, body := v.get(path); code != http.StatusUnauthorized || strings.Contains(body, "left") {
			t.Errorf("GET %s before login = %d %.80q; want 401", path, code, body)
		}
	}
	if code, body := v.post("/login", url.Values{"password": {"wrong"}}); code != http.StatusUnauthorized || !strings.Contains(body, "not the administrator’s password") {
		t.Errorf("wrong password = %d", code)
	}
	if code, _ := v.post("/login", url.Values{"password": {samplePassword}}, "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
		t.Errorf("login from another site = %d; want 403", code)
	}
	token := v.login()
	if code, _ := v.get("/api/v1/status"); code != http.StatusOK {
		t.Errorf("status with session = %d", code)
	}
	if code, _ := v.post("/logout", url.Values{"token": {"guess"}}); code != http.StatusForbidden {
		t.Errorf("logout with a wrong token = %d; want 403", code)
	}
	v.post("/logout", url.Values{"token": {token}})
	if _, body := v.get("/"); !strings.Contains(body, "<h1>Log in</h1>") {
		t.Error("still logged in after logout")
	}
}

func TestNoPasswordNoLogin(t *testing.T) {
	src := newSample(t, samples()["ready"])
	src.hash = ""
	v := visit(t, src, Options{})
	if code, _ := v.post("/login", url.Values{"password": {""}}); code != http.StatusUnauthorized {
		t.Errorf("login without a password set = %d; want 401", code)
	}
}

func TestThrottle(t *testing.T) {
	var mu sync.Mutex
	at := time.Now()
	v := visit(t, newSample(t, samples()["ready"]), Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return at }})
	for range failsPerHost {
		if code, _ := v.post("/login", url.Values{"password": {"x"}}); code != http.StatusUnauthorized {
			t.Fatalf("wrong password = %d; want 401", code)
		}
	}
	if code, _ := v.post("/login", url.Values{"password": {samplePassword}}); code != http.StatusTooManyRequests {
		t.Errorf("after %d wrong passwords = %d; want 429", failsPerHost, code)
	}
	req, err := http.NewRequest(http.MethodGet, v.url+"/api/v1/status", nil)
	req.SetBasicAuth("admin", samplePassword)
	if code, _ := v.do(req, err); code != http.StatusTooManyRequests {
		t.Errorf("basic auth while throttled = %d; want 429", code)
	}
	mu.Lock()
	at = at.Add(failWindow + time.Second)
	mu.Unlock()
	v.login()
}

func TestStatusByBasicAuth(t *testing.T) {
	src := newSample(t, samples()["ready"])
	v := visit(t, src, Options{})
	ask := func(user, password string) (int, string) {
		req, err := http.NewRequest(http.MethodGet, v.url+"/api/v1/status", nil)
		req.SetBasicAuth(user, password)
		return v.do(req, err)
	}
	for range 2 {
		code, body := ask("admin", samplePassword)
		var s site.Site
		if err := json.Unmarshal([]byte(body), &s); code != http.StatusOK || err != nil {
			t.Fatalf("status = %d, %v", code, err)
		}
		if !s.Readiness.Ready || len(s.Servers) != 2 || s.Servers[0].State == nil || len(s.Servers[0].Probes) == 0 {
			t.Errorf("status = %.300s; want a ready site with two servers, states and probes", body)
		}
	}
	if code, _ := ask("root", samplePassword); code != http.StatusUnauthorized {
		t.Errorf("another user = %d; want 401", code)
	}
	src.hash = "" // the password was changed: the remembered one is worth nothing
	if code, _ := ask("admin", samplePassword); code != http.StatusUnauthorized {
		t.Errorf("old password after a change = %d; want 401", code)
	}
}

func TestHealthz(t *testing.T) {
	v := visit(t, newSample(t, samples()["ready"]), Options{})
	code, body := v.get("/healthz")
	if code != http.StatusOK || strings.TrimSpace(body) != `{"server":"left","state":"serving","role":"primary","ready":true}` {
		t.Errorf("healthz = %d %s", code, body)
	}
}

func TestJoinCode(t *testing.T) {
	src := newSample(t, samples()["ready"])
	v := visit(t, src, Options{})
	token := v.login()
	if code, _ := v.post("/join-code", url.Values{"token": {"guess"}}); code != http.StatusForbidden || src.code != nil {
		t.Errorf("join code with a wrong token = %d; want 403 and none made", code)
	}
	_, body := v.post("/join-code", url.Values{"token": {token}})
	if src.code == nil || !strings.Contains(body, src.code.Code) {
		t.Error("the join code is not shown")
	}
	if _, err := peers.ParseCode(src.code.Code); err != nil {
		t.Error(err)
	}
	old := src.code.Code
	v.post("/join-code", url.Values{"token": {token}, "renew": {"1"}})
	if src.code.Code == old {
		t.Error("renew shows the old code")
	}
}

func TestEvents(t *testing.T) {
	src := newSample(t, samples()["ready"])
	v := visit(t, src, Options{})
	v.login()
	res, err := v.c.Get(v.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 256)
	read := func() string {
		n, err := res.Body.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := read(); !strings.Contains(got, "event: change") {
		t.Errorf("first event = %q", got)
	}
	go func() { src.hub <- struct{}{} }()
	from := time.Now()
	if got := read(); !strings.Contains(got, "event: change") || time.Since(from) > 4*time.Second {
		t.Errorf("event after a change = %q after %s", got, time.Since(from))
	}
}

func TestAssets(t *testing.T) {
	v := visit(t, newSample(t, samples()["ready"]), Options{})
	for _, name := range []string{"page.css", "live.js", "yes.svg", "no.svg", "unknown.svg"} {
		if code, _ := v.get("/assets/" + name); code != http.StatusOK {
			t.Errorf("asset %s = %d", name, code)
		}
	}
	if code, _ := v.get("/assets/page.html"); code != http.StatusNotFound {
		t.Errorf("a template is served: %d", code)
	}
}

func TestCertificateIsKept(t *testing.T) {
	dir := t.TempDir()
	a, err := Certificate(dir, "left", "10.7.0.11")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Certificate(dir, "left", "10.7.0.11")
	if err != nil || string(a.Certificate[0]) != string(b.Certificate[0]) {
		t.Errorf("a second call made another certificate (%v)", err)
	}
	c, err := Certificate(dir, "left", "10.7.0.99")
	if err != nil || c.Leaf.VerifyHostname("10.7.0.99") != nil {
		t.Errorf("certificate for a new address: %v, %v", err, c.Leaf.IPAddresses)
	}
}

func TestWordsEscape(t *testing.T) {
	for in, want := range map[string]string{
		"run `a <b>` now": "run <code>a &lt;b&gt;</code> now",
		"odd ` tick":      "odd ` tick",
		"<script>":        "&lt;script&gt;",
	} {
		if got := string(words(in)); got != want {
			t.Errorf("words(%q) = %q; want %q", in, got, want)
		}
	}
}
