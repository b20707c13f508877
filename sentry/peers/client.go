package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// AttestTimeout is how long each peer has to attest.
const AttestTimeout = 3 * time.Second

// Client asks pinned peers. Connections are kept open between questions.
type Client struct {
	id   Identity
	port int

	mu    sync.Mutex
	conns map[string]*http.Client // by certificate and address
}

// NewClient asks with the key of id, at port (layout.PeerPort if 0).
func NewClient(id Identity, port int) *Client {
	if port == 0 {
		port = layout.PeerPort
	}
	return &Client{id: id, port: port, conns: map[string]*http.Client{}}
}

// Attest asks p what it holds.
func (c *Client) Attest(ctx context.Context, p siteconf.Peer) (roles.Attestation, error) {
	data, err := c.do(ctx, p, http.MethodGet, PathAttest, nil)
	if err != nil {
		return roles.Attestation{}, err
	}
	a, err := DecodeAttestation(data)
	if err != nil {
		return roles.Attestation{}, fmt.Errorf("ask %s: %w", p.Name, err)
	}
	// Who it is follows from the pin, not from what it says.
	a.Server, a.Reachable = p.Name, true
	return a, nil
}

// AttestAll asks all peers at once. Those that do not answer, or cannot tell yet, are listed with Reachable false; why tells the reasons by server.
func (c *Client) AttestAll(ctx context.Context, all []siteconf.Peer) (atts []roles.Attestation, why map[string]error) {
	atts, why = make([]roles.Attestation, len(all)), map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, p := range all {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, AttestTimeout)
			defer cancel()
			a, err := c.Attest(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				why[p.Name] = err
				a = roles.Attestation{Server: p.Name}
			}
			atts[i] = a
		})
	}
	wg.Wait()
	return atts, why
}

// Status decodes what p's sentry tells about itself into out.
func (c *Client) Status(ctx context.Context, p siteconf.Peer, out any) error {
	data, err := c.do(ctx, p, http.MethodGet, PathStatus, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("ask %s for its status: %w", p.Name, err)
	}
	return nil
}

// Pin tells p that newcomer belongs to the site.
func (c *Client) Pin(ctx context.Context, p, newcomer siteconf.Peer) error {
	body, err := json.Marshal(newcomer)
	if err != nil {
		return fmt.Errorf("tell %s about %s: %w", p.Name, newcomer.Name, err)
	}
	_, err = c.do(ctx, p, http.MethodPost, PathPin, body)
	return err
}

func (c *Client) do(ctx context.Context, p siteconf.Peer, method, path string, body []byte) ([]byte, error) {
	h, err := c.conn(p)
	if err != nil {
		return nil, err
	}
	return roundTrip(ctx, h, p.Name, method, "https://"+net.JoinHostPort(p.Address, strconv.Itoa(c.port))+path, body)
}

func (c *Client) conn(p siteconf.Peer) (*http.Client, error) {
	pin, err := ParseCert(p.Cert)
	if err != nil {
		return nil, fmt.Errorf("peer %s: pinned %w", p.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := p.Address + "\x00" + p.Cert
	if h, ok := c.conns[key]; ok {
		return h, nil
	}
	h := httpClient([]tls.Certificate{c.id.TLS}, only(p, pin.Raw))
	c.conns[key] = h
	return h, nil
}

// only accepts p with the certificate pin.
func only(p siteconf.Peer, pin []byte) func(der []byte) error {
	return func(der []byte) error {
		if !bytes.Equal(der, pin) {
			return fmt.Errorf("%w: at %s answers another machine than server %s, or it was installed anew without joining", ErrNotPinned, p.Address, p.Name)
		}
		return nil
	}
}

// Join makes this server, described by r, a member of the site of the server at address (port layout.PeerPort if it names none).
// The code proves both sides to each other: nothing is sent before the answering certificate has the code's fingerprint.
func Join(ctx context.Context, address, code string, r JoinRequest) (JoinReply, error) {
	c, err := ParseCode(code)
	if err != nil {
		return JoinReply{}, err
	}
	host := address
	if _, _, err := net.SplitHostPort(address); err != nil {
		a, err := netip.ParseAddr(strings.Trim(address, "[]"))
		if err != nil {
			return JoinReply{}, fmt.Errorf("join: %q is not an address such as 10.7.0.11", address)
		}
		host = net.JoinHostPort(a.String(), strconv.Itoa(layout.PeerPort))
	}
	r.Protocol, r.Token = Protocol, hex.EncodeToString(c.Token[:])
	if err := CheckPeer(r.Peer()); err != nil {
		return JoinReply{}, fmt.Errorf("join: %w", err)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return JoinReply{}, fmt.Errorf("join: %w", err)
	}
	h := httpClient(nil, func(der []byte) error {
		if !c.Matches(der) {
			return fmt.Errorf("%w: the machine at %s is not the one that showed this code; check the address, or have a new code shown there", ErrCode, address)
		}
		return nil
	})
	defer h.CloseIdleConnections()
	data, err := roundTrip(ctx, h, address, http.MethodPost, "https://"+host+PathJoin, body)
	if err != nil {
		return JoinReply{}, fmt.Errorf("join the site at %s: %w", address, err)
	}
	return DecodeJoinReply(data)
}

// httpClient speaks TLS 1.3 with cert as our own side; the other side's certificate is judged by verify alone.
func httpClient(cert []tls.Certificate, verify func(der []byte) error) *http.Client {
	return &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
			IdleConnTimeout:     time.Minute,
			MaxIdleConnsPerHost: 2,
			TLSClientConfig: &tls.Config{
				MinVersion:   tls.VersionTLS13,
				Certificates: cert,
				// No names and authorities: VerifyConnection compares with what was pinned, and runs for every connection.
				InsecureSkipVerify: true,
				VerifyConnection: func(s tls.ConnectionState) error {
					if len(s.PeerCertificates) != 1 {
						return ErrNotPinned
					}
					return verify(s.PeerCertificates[0].Raw)
				},
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func roundTrip(ctx context.Context, h *http.Client, who, method, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", who, err)
	}
	res, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", who, plain(err))
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", who, err)
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("ask %s: answer is longer than %d bytes", who, maxAnswer)
	}
	if res.StatusCode != http.StatusOK {
		var e struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(data, &e) != nil || e.Error == "" {
			e.Error = res.Status
		}
		return nil, &Refusal{Server: who, Status: res.StatusCode, Msg: e.Error}
	}
	return data, nil
}

// plain words an error of the network for people.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, ErrNotPinned), errors.Is(err, ErrCode):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no // "connection refused", "no route to host"
	}
	return err
}
