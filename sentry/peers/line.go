package peers

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// Line is a way to one pinned peer for the requests of other packages. It has connections of its own, so that a long request holds up
// nobody else's, and keeps them open between requests. Safe for concurrent use.
type Line struct {
	peer siteconf.Peer
	base string
	h    *http.Client
}

// Line makes a way to p; it connects with the first request. p must answer with the certificate that is pinned in p.
func (c *Client) Line(p siteconf.Peer) (*Line, error) {
	pin, err := ParseCert(p.Cert)
	if err != nil {
		return nil, fmt.Errorf("peer %s: pinned %w", p.Name, err)
	}
	h := httpClient([]tls.Certificate{c.id.TLS}, only(p, pin.Raw))
	h.Timeout = 0 // each request has its own, by its context
	t := h.Transport.(*http.Transport)
	// A server that lost its power says nothing more: without these probes a line to it would look open for minutes.
	t.DialContext = (&net.Dialer{Timeout: 3 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}).DialContext
	t.IdleConnTimeout = 90 * time.Second // less than the other side's two minutes, so that it never closes while we write
	t.WriteBufferSize, t.ReadBufferSize = 64<<10, 16<<10
	return &Line{peer: p, base: "https://" + net.JoinHostPort(p.Address, strconv.Itoa(c.port)), h: h}, nil
}

// Peer is who is at the other end.
func (l *Line) Peer() siteconf.Peer { return l.peer }

// Do sends a request with size bytes of body and gives the answer, whatever its status; the caller closes its body. ctx bounds the whole
// exchange, the reading of the answer's body included.
func (l *Line) Do(ctx context.Context, method, path string, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", l.peer.Name, err)
	}
	if body != nil {
		req.ContentLength = size
	}
	res, err := l.h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", l.peer.Name, plain(err))
	}
	return res, nil
}

// Close closes the connections that are not in use. Requests in progress end with their contexts.
func (l *Line) Close() { l.h.CloseIdleConnections() }
