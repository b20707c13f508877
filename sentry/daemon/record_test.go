package daemon

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/verify/past"
)

// TestRecord: what a daemon's probes find is on the set when that is stopped, and another daemon goes on with it.
func TestRecord(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	defer srv.Close()
	port := srv.URL[strings.LastIndexByte(srv.URL, ':')+1:]
	d := newBox(t, 1, "left", "127.0.0.1", roles.Primary, freePorts(t), port)
	d.daemon.cfg.SetDir = filepath.Join(d.dir, "set")
	d.run(t.Context(), t)
	ask := func(query string) ([]past.Line, int) {
		w := httptest.NewRecorder()
		d.daemon.servePast(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/past?"+query, nil))
		var lines []past.Line
		_ = json.Unmarshal(w.Body.Bytes(), &lines)
		return lines, w.Code
	}
	count := func() int {
		lines, _ := ask("step=minute&service=web")
		n := 0
		for _, l := range lines {
			for _, s := range l.Spans {
				n += s.Runs
			}
		}
		return n
	}
	eventually(t, "runs are kept", func() bool { return count() > 3 })
	lines, _ := ask("step=hour&service=web&probe=page&target=left")
	if len(lines) != 1 || lines[0].Observer != "left" || lines[0].Spans[0].P95 <= 0 {
		t.Errorf("lines of the page: %+v", lines)
	}
	for query, want := range map[string]int{
		"service=none": http.StatusOK, "from=yesterday": http.StatusBadRequest, "step=day": http.StatusBadRequest,
		"step=minute&from=" + time.Now().Add(-72*time.Hour).UTC().Format(time.RFC3339): http.StatusBadRequest,
	} {
		if _, code := ask(query); code != want {
			t.Errorf("%s: %d; want %d", query, code, want)
		}
	}
	n := count()
	d.init.set(func(s *initapi.State) { s.State = initapi.Stopping })
	eventually(t, "the set is left alone", func() bool { _, code := ask(""); return code == http.StatusServiceUnavailable })
	s, err := past.Open(filepath.Join(d.dir, "set", layout.SetSentry, "past"), nil)
	must(t, err)
	got, err := s.Read(time.Now().Add(-time.Hour), time.Now().Add(time.Minute), time.Minute, func(r past.Series) bool { return r.Service == "web" })
	must(t, err)
	kept := 0
	for _, l := range got {
		for _, x := range l.Spans {
			kept += x.Runs
		}
	}
	if kept < n {
		t.Errorf("%d runs on the set; want the %d that were told", kept, n)
	}
}
