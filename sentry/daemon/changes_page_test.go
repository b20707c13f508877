package daemon

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"sayasystems.com/atlas/sentry/report"
	"sayasystems.com/atlas/sentry/sync/engine"
)

// visitor is logged in on a page over an engine.
type visitor struct {
	t     *testing.T
	url   string
	c     *http.Client
	token string
}

func newPage(t *testing.T, e *engine.Engine) visitor {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost)
	must(t, err)
	h, err := report.New(pageOf{string(hash), e}, report.Options{})
	must(t, err)
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	v := visitor{t: t, url: srv.URL, c: srv.Client()}
	v.c.Jar, err = cookiejar.New(nil)
	must(t, err)
	_, body := v.read(v.c.PostForm(v.url+"/login", url.Values{"password": {"x"}}))
	_, rest, ok := strings.Cut(body, `name="token" value="`)
	if !ok {
		t.Fatalf("not logged in: %.300s", body)
	}
	v.token, _, _ = strings.Cut(rest, `"`)
	return v
}

func (v visitor) read(res *http.Response, err error) (int, string) {
	v.t.Helper()
	must(v.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(v.t, err)
	return res.StatusCode, string(data)
}

func (v visitor) get(path string) (int, string) { return v.read(v.c.Get(v.url + path)) }

// press sends a form of the page.
func (v visitor) press(path string) (int, string) {
	return v.read(v.c.PostForm(v.url+path, url.Values{"token": {v.token}}))
}
