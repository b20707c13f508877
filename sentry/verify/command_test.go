package verify

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func withTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

// script makes a program that every account may run.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	for d := dir; d != "/" && d != "/tmp"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755) //nolint:gosec // nobody must get there
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return path
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []struct {
		name, text string
		params     map[string]string
		want       Status
		says       string
	}{
		{"passes", "echo 'APP OK - 3 users|users=3'; echo more", nil, Pass, "APP OK - 3 users"},
		{"warns", "echo slow; exit 1", nil, Warn, "slow"},
		{"fails", "echo 'row is missing' >&2; exit 2", nil, Fail, "row is missing"},
		{"cannot tell", "exit 3", nil, Unknown, "(it says nothing)"},
		{"is killed", "kill -9 $$", nil, Unknown, "signal: killed"},
		{"hangs, with a child", "sleep 60 & sleep 60", nil, Fail, "no answer in time"},
		{"is told the target", `echo "$ATLAS_ADDRESS $ATLAS_SERVER $ATLAS_OBSERVER $ATLAS_HOSTNAME $1"`, nil, Pass, "127.0.0.1 right left office arg"},
		{"knows nothing else", "env | grep -c SECRET_OF_SENTRY", nil, Warn, "0"},
		{"is given the secret", `read s; [ "$s" = geheim ] && echo "as it should be"`, map[string]string{"secret": "/etc/atlas/verify.secret"}, Pass, "as it should be"},
		{"is not given it unasked", `read s; echo "got $s."`, nil, Pass, "got ."},
		{"says too much", "yes | head -c 100000; exit 2", nil, Fail, "y"},
		{"says what is no text", `printf 'a\033[31mb\377'`, nil, Pass, "a [31mb?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SECRET_OF_SENTRY", "1")
			params := map[string]string{"command": script(t, dir, string(rune('a'+i)), c.text) + " arg"}
			maps.Copy(params, c.params)
			limit := 30 * time.Second // on a busy machine
			if strings.HasPrefix(c.name, "hangs") {
				limit = time.Second
			}
			ctx, cancel := withTimeout(t, limit)
			defer cancel()
			from := time.Now()
			got := Command(ctx, at(t, closedPort(t), params))
			if got.Status != c.want || !strings.Contains(got.Evidence, c.says) {
				t.Errorf("Command = %+v; want %s, %q", got, c.want, c.says)
			}
			if took := time.Since(from); took > 45*time.Second { // the child sleeps for 60
				t.Errorf("took %s", took)
			}
		})
	}
	if os.Geteuid() == 0 {
		if got := Command(t.Context(), at(t, closedPort(t), map[string]string{"command": script(t, dir, "who", "id -u; id -G | wc -w")})); got.Evidence != "65534" {
			t.Errorf("runs as %q; want nobody, 65534", got.Evidence)
		}
	}
	for _, bad := range []string{"", "check_http -H x", "/nonexistent/check"} {
		if got := Command(t.Context(), at(t, closedPort(t), map[string]string{"command": bad})); got.Status != Unknown {
			t.Errorf("Command %q = %+v; want unknown", bad, got)
		}
	}
}

// TestBrowser uses the browser that is here, if one is.
func TestBrowser(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if got := Browser(t.Context(), at(t, closedPort(t), map[string]string{"contains": "x"})); got.Status != NotApplicable || got.Next == "" {
			t.Errorf("Browser = %+v; want not applicable, and what to do", got)
		}
	})
	for _, c := range []struct {
		name, text string
		want       Status
		says       string
	}{
		{"page", "echo '<html><body>made by a script</body></html>'", Pass, "its scripts ran"},
		{"empty page", "echo '<html><body>Please wait</body></html>'", Fail, "It says: Please wait"},
		{"breaks", "echo 'no display' >&2; exit 1", Unknown, "no display"},
		{"hangs", "sleep 60", Fail, "no answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			script(t, dir, "chromium", c.text)
			t.Setenv("PATH", dir)
			limit := 30 * time.Second
			if c.name == "hangs" {
				limit = time.Second
			}
			ctx, cancel := withTimeout(t, limit)
			defer cancel()
			if got := Browser(ctx, at(t, closedPort(t), map[string]string{"contains": "made by"})); got.Status != c.want || !strings.Contains(got.Evidence, c.says) {
				t.Errorf("Browser = %+v; want %s, %q", got, c.want, c.says)
			}
		})
	}
	if got := Browser(t.Context(), at(t, closedPort(t), nil)); got.Status != Unknown {
		t.Errorf("Browser without a text = %+v; want unknown", got)
	}
}

// TestRealBrowser opens a page with the browser of this machine.
func TestRealBrowser(t *testing.T) {
	if testing.Short() || browser(os.Getenv("PATH")) == "" {
		t.Skip("no browser here, or -short")
	}
	page := func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `<p id="p">Please wait at %s</p><script>document.getElementById("p").textContent = ["made", "by", "a", "script"].join(" ")</script>`, r.Host)
	}
	plain := httptest.NewServer(http.HandlerFunc(page))
	defer plain.Close()
	encrypted := httptest.NewTLSServer(http.HandlerFunc(page))
	defer encrypted.Close()
	for _, c := range []struct {
		scheme, addr, text string
		want               Status
	}{
		{"http", plain.Listener.Addr().String(), "made by a script", Pass},
		{"https", encrypted.Listener.Addr().String(), "made by a script", Pass},
		{"http", plain.Listener.Addr().String(), "something else", Fail},
	} {
		ctx, cancel := withTimeout(t, 2*time.Minute)
		got := Browser(ctx, at(t, c.addr, map[string]string{"scheme": c.scheme, "contains": c.text, "host": "www.office.example"}))
		cancel()
		t.Logf("%s: %+v", c.scheme, got)
		if got.Status != c.want {
			t.Errorf("%s, “%s”: %+v; want %s", c.scheme, c.text, got, c.want)
		}
	}
}
