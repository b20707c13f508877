package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// Handle answers pinned peers alone, by the name of their pin; a Line keeps its connection.
func TestHandleAndLine(t *testing.T) {
	left, right := newHost(t, idB, "left", "127.0.0.1"), newHost(t, idA, "right", "127.0.0.2")
	ok(t, left.book.Pin(right.self, left.self))
	l, err := net.Listen("tcp", "127.0.0.3:0")
	ok(t, err)
	counted := &countingListener{Listener: l}
	srv := NewServer(left.id, left.book, left.offers, left, slog.New(slog.DiscardHandler))
	srv.Handle("POST /v1/echo", func(w http.ResponseWriter, r *http.Request, from siteconf.Peer) {
		data, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s says %s", from.Name, data)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, counted) }()
	defer func() { cancel(); ok(t, <-done) }()

	port, err := strconv.Atoi(l.Addr().String()[len("127.0.0.3:"):])
	ok(t, err)
	at := left.self
	at.Address = "127.0.0.3"
	line, err := NewClient(right.id, port).Line(at)
	ok(t, err)
	defer line.Close()
	ask := func(path string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		res, err := line.Do(ctx, http.MethodPost, path, strings.NewReader("hello"), 5)
		ok(t, err)
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		ok(t, err)
		return res.StatusCode, string(data)
	}
	for range 10 {
		if code, text := ask("/v1/echo"); code != 200 || text != "right says hello" {
			t.Fatalf("answer = %d %q", code, text)
		}
	}
	if n := counted.n.Load(); n != 1 {
		t.Errorf("10 requests took %d connections; want 1", n)
	}
	if code, _ := ask("/v1/nothing"); code != http.StatusNotFound {
		t.Errorf("unknown path = %d", code)
	}

	// Not pinned; and not the server that we pinned.
	stranger := newHost(t, "6a1b7b1e-0000-4000-8000-00000000000c", "other", "127.0.0.4")
	theirs, err := NewClient(stranger.id, port).Line(at)
	ok(t, err)
	defer theirs.Close()
	res, err := theirs.Do(t.Context(), http.MethodPost, "/v1/echo", strings.NewReader("hello"), 5)
	ok(t, err)
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger's request = %s", res.Status)
	}
	wrong := at
	wrong.Cert = stranger.self.Cert
	other, err := NewClient(right.id, port).Line(wrong)
	ok(t, err)
	defer other.Close()
	if _, err := other.Do(t.Context(), http.MethodPost, "/v1/echo", nil, 0); !errors.Is(err, ErrNotPinned) {
		t.Errorf("request to another machine = %v; want ErrNotPinned", err)
	}
}

type countingListener struct {
	net.Listener
	n atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return c, err
}
