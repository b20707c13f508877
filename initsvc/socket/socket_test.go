package socket

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

type fake struct {
	got []string
	err error
}

func (f *fake) note(s string) error { f.got = append(f.got, s); return f.err }

func (f *fake) State(context.Context) initapi.State { return initapi.State{Server: "left"} }
func (f *fake) Boot(context.Context) initapi.BootReport {
	return initapi.BootReport{Outcome: "primary"}
}

func (f *fake) Boots(context.Context) ([]initapi.BootReport, error) {
	return []initapi.BootReport{{Outcome: "holding"}}, f.err
}

func (f *fake) Inventory(context.Context) (json.RawMessage, error) {
	return json.RawMessage(`{"product":"P"}`), f.err
}

func (f *fake) Service(_ context.Context, n, v string) (string, error) {
	return "noted", f.note(n + " " + v)
}

func (f *fake) ReloadSite(context.Context) (string, error) { return "", f.note("reload site") }

func (f *fake) Power(_ context.Context, r initapi.PowerRequest) error {
	return f.note("power " + r.Action)
}

func (f *fake) Add(_ context.Context, r initapi.AddRequest) error { return f.note("add " + r.Serial) }

func (f *fake) Rehearse(_ context.Context, r initapi.RehearseRequest) error {
	return f.note("rehearse " + strings.Join(r.Services, " "))
}

func (f *fake) Order(_ context.Context, o roles.Order) error { return f.note("order " + o.Set) }

func (f *fake) Commit(_ context.Context, r initapi.CommitRequest) (initapi.Committed, error) {
	return initapi.Committed{Kept: []string{"15"}}, f.note("commit " + strings.Join(r.Services, " "))
}

func TestHandler(t *testing.T) {
	for _, tt := range []struct {
		name, method, path, body string
		err                      error
		status                   int
		want                     string
		got                      []string
	}{
		{name: "state", method: "GET", path: "/v1/state", status: 200, want: `"server":"left"`},
		{name: "boot", method: "GET", path: "/v1/boot", status: 200, want: `"outcome":"primary"`},
		{name: "boots", method: "GET", path: "/v1/boots", status: 200, want: `"outcome":"holding"`},
		{name: "inventory", method: "GET", path: "/v1/inventory", status: 200, want: `{"product":"P"}`},
		{name: "inventory fails", method: "GET", path: "/v1/inventory", err: errors.New("not taken"), status: 500, want: `{"error":"not taken"}`},
		{name: "service", method: "POST", path: "/v1/services/apache/restart", status: 200, want: `{"ok":true,"note":"noted"}`, got: []string{"apache restart"}},
		{name: "site", method: "POST", path: "/v1/site/reload", err: &Refusal{Status: 422, Msg: "site.yaml:3: services[1]: ghost is no service"}, status: 422, want: `{"error":"site.yaml:3: services[1]: ghost`, got: []string{"reload site"}},
		{name: "power", method: "POST", path: "/v1/power", body: `{"action":"off"}`, status: 200, want: `{"ok":true}`, got: []string{"power off"}},
		{name: "refused", method: "POST", path: "/v1/set/add", body: `{"bay":1,"serial":"S"}`, err: Refuse("bay %d is empty", 1), status: 409, want: `{"error":"bay 1 is empty"}`, got: []string{"add S"}},
		{name: "order", method: "POST", path: "/v1/set/order", body: `{"set":"x","members":[]}`, status: 200, want: `{"ok":true}`, got: []string{"order x"}},
		{name: "commit", method: "POST", path: "/v1/data/commit", body: `{"services":["a","b"]}`, status: 200, want: `{"kept":["15"]}`, got: []string{"commit a b"}},
		{name: "rehearse", method: "POST", path: "/v1/rehearse", body: `{"services":["web"]}`, status: 200, want: `{"ok":true}`, got: []string{"rehearse web"}},
		{name: "no JSON", method: "POST", path: "/v1/power", body: `off`, status: 400, want: `the request is not understood`},
		{name: "too long", method: "POST", path: "/v1/power", body: strings.Repeat(" ", maxBody+1), status: 400, want: `more than 65536 bytes`},
		{name: "unknown", method: "GET", path: "/v2/state", status: 404, want: `init does not know GET /v2/state`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{err: tt.err}
			rec := httptest.NewRecorder()
			Handler(f).ServeHTTP(rec, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
			if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.want) {
				t.Errorf("%s %s = %d %s; want %d with %s", tt.method, tt.path, rec.Code, rec.Body, tt.status, tt.want)
			}
			if d := cmp.Diff(tt.got, f.got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "init.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, path, &fake{}, nil) }()
	c := initapi.NewClient(path)
	var st initapi.State
	err := errors.New("not asked")
	for range 100 {
		if st, err = c.State(ctx); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || st.Server != "left" {
		t.Errorf("State = %+v, %v", st, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket mode: %v, %v; want 0600", fi, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func FuzzOrder(f *testing.F) {
	f.Add(`{"set":"x","members":["a"]}`)
	f.Add(`[`)
	h := Handler(&fake{})
	f.Fuzz(func(t *testing.T, body string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/v1/set/order", strings.NewReader(body)))
		data, _ := io.ReadAll(rec.Result().Body)
		if !json.Valid(data) {
			t.Errorf("answer to %q is no JSON: %q", body, data)
		}
	})
}
