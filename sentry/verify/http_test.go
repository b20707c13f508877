package verify

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// at splits a test server's address into target and port.
func at(t *testing.T, addr string, params map[string]string) Target {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if params == nil {
		params = map[string]string{}
	}
	params["port"] = port
	return Target{Address: host, Server: "right", Observer: "left", Hostname: "office", Secret: "geheim", Params: params}
}

// closedPort is one where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// silent accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/secret":
			if _, pw, _ := r.BasicAuth(); pw != "geheim" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("<h1>no row</h1> from the <b>database</b>"))
		case "/host":
			_, _ = w.Write([]byte(r.Host))
		default:
			_, _ = w.Write([]byte("hello world"))
		}
	}))
	defer srv.Close()
	tls := httptest.NewTLSServer(srv.Config.Handler)
	defer tls.Close()
	for _, c := range []struct {
		name, addr string
		params     map[string]string
		want       Status
		evidence   string
	}{
		{"page", srv.Listener.Addr().String(), nil, Pass, "200, 11 bytes"},
		{"text", srv.Listener.Addr().String(), map[string]string{"contains": "hello"}, Pass, "contains “hello”"},
		{"host name of the site", srv.Listener.Addr().String(), map[string]string{"path": "/host", "contains": "office"}, Pass, ""},
		{"password", srv.Listener.Addr().String(), map[string]string{"path": "/secret", "user": "atlas-verify"}, Pass, ""},
		{"no password, wrong and right", srv.Listener.Addr().String(), map[string]string{"path": "/secret", "user": "atlas-verify", "unauthorized": "401"}, Pass, "refused without the password and with a wrong one"},
		{"open to all", srv.Listener.Addr().String(), map[string]string{"user": "atlas-verify", "unauthorized": "401"}, Fail, "GET / without a password: 200; expected 401"},
		{"encrypted", tls.Listener.Addr().String(), map[string]string{"scheme": "https"}, Pass, ""},
		{"other text", srv.Listener.Addr().String(), map[string]string{"contains": "bye"}, Fail, "without “bye”. It says: hello world"},
		{"status", srv.Listener.Addr().String(), map[string]string{"path": "/down"}, Fail, "503, 40 bytes; expected 200. It says: no row from the database"},
		{"expected status", srv.Listener.Addr().String(), map[string]string{"path": "/down", "status": "503"}, Pass, ""},
		{"hash", srv.Listener.Addr().String(), map[string]string{"sha256": "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"}, Pass, "to the last bit"},
		{"other content of the same length", srv.Listener.Addr().String(), map[string]string{"sha256": "c94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"}, Fail, "SHA-256"},
		{"slow", srv.Listener.Addr().String(), map[string]string{"path": "/slow"}, Fail, "no answer in time"},
		{"silent", silent(t), nil, Fail, "no answer in time"},
		{"nothing there", closedPort(t), nil, Fail, "connection refused"},
		{"bad parameter", srv.Listener.Addr().String(), map[string]string{"status": "fine"}, Unknown, "not a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			got := HTTP(ctx, at(t, c.addr, c.params))
			if got.Status != c.want || !strings.Contains(got.Evidence, c.evidence) {
				t.Errorf("HTTP = %s, %q; want %s, %q", got.Status, got.Evidence, c.want, c.evidence)
			}
			if got.Status == Fail && got.Next == "" {
				t.Error("a failure without a next step")
			}
		})
	}
}

func TestExcerpt(t *testing.T) {
	for in, want := range map[string]string{"": "(nothing)", "<p>a\n b</p>": "a b", "\xff<": "\ufffd"} {
		if got := excerpt([]byte(in)); got != want {
			t.Errorf("excerpt(%q) = %q; want %q", in, got, want)
		}
	}
}
