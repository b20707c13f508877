package peers

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// host is a server's side of the peers' port.
type host struct {
	dir    string
	self   siteconf.Peer
	id     Identity
	book   *Book
	offers *Offers
	addr   string

	mu     sync.Mutex
	clock  time.Time
	out    error
	joined []string
}

func (h *host) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

func (h *host) Attest(context.Context) (roles.Attestation, error) {
	return roles.Attestation{Server: "liar", Role: roles.Primary, Serving: true, Set: "s"}, h.out
}

func (h *host) Status(context.Context) (any, error)         { return map[string]string{"a": "b"}, nil }
func (h *host) Self(context.Context) (siteconf.Peer, error) { return h.self, nil }
func (h *host) HandOut(context.Context) (JoinReply, error) {
	return JoinReply{SiteYAML: "x: y\n"}, h.out
}
func (h *host) Joined(p siteconf.Peer, _ bool) { h.joined = append(h.joined, p.Name) }

func newHost(t *testing.T, id, name, ip string) *host {
	t.Helper()
	h := &host{dir: t.TempDir(), clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	ok(t, NewKey(h.dir, id))
	ok(t, siteconf.Save(filepath.Join(h.dir, siteconf.PeersFile), siteconf.Peers{Site: idB, SiteName: "Miller", Admin: "hash"}, 0o600))
	var err error
	h.id, err = LoadIdentity(h.dir)
	ok(t, err)
	h.self = siteconf.Peer{ID: id, Name: name, Address: ip, Cert: h.id.Cert}
	h.book, err = OpenBook(h.dir)
	ok(t, err)
	h.offers = NewOffers(h.dir, h.now)
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	ok(t, err)
	h.addr = l.Addr().String()
	srv := NewServer(h.id, h.book, h.offers, h, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func request(p siteconf.Peer) JoinRequest {
	return JoinRequest{ID: p.ID, Name: p.Name, Address: p.Address, Cert: p.Cert}
}

func TestJoinRefusals(t *testing.T) {
	h := newHost(t, idB, "left", "127.0.0.1")
	other := newHost(t, "6a1b7b1e-0000-4000-8000-00000000000c", "other", "127.0.0.2")
	right := samplePeer(t, idA, "right", "127.0.0.12")
	ctx := t.Context()
	off, err := h.offers.Show(false)
	ok(t, err)

	// A machine in between: same address, another certificate. Nothing may be sent to it.
	if _, err := Join(ctx, other.addr, off.Code, request(right)); !errors.Is(err, ErrCode) {
		t.Errorf("Join at the wrong machine = %v; want ErrCode", err)
	}
	if _, err := Join(ctx, h.addr, off.Code[:10], request(right)); !errors.Is(err, ErrCode) {
		t.Errorf("Join with half a code = %v; want ErrCode", err)
	}
	taken := right
	taken.Name = "left"
	if _, err := Join(ctx, h.addr, off.Code, request(taken)); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("Join under the answering server's name = %v", err)
	}
	h.out = ErrNoSet
	if _, err := Join(ctx, h.addr, off.Code, request(right)); !errors.Is(err, ErrNoSet) {
		t.Errorf("Join at a server without a set = %v; want ErrNoSet", err)
	}
	h.out = nil
	if p, err := h.book.Peers(); err != nil || len(p.Peers) != 0 {
		t.Errorf("refused joins left %d pins, %v", len(p.Peers), err)
	}

	h.mu.Lock()
	h.clock = h.clock.Add(Validity + time.Second)
	h.mu.Unlock()
	if _, err := Join(ctx, h.addr, off.Code, request(right)); !errors.Is(err, ErrCode) {
		t.Errorf("Join with an old code = %v; want ErrCode", err)
	}
	old := off
	off, err = h.offers.Show(false)
	ok(t, err)
	if off.Code == old.Code {
		t.Error("Show gives the expired code again")
	}
	if _, err := Join(ctx, h.addr, off.Code, request(right)); err != nil {
		t.Errorf("Join with the new code: %v", err)
	}
	if len(h.joined) != 1 {
		t.Errorf("Joined called for %v; want right once", h.joined)
	}
}

func TestJoinThrottle(t *testing.T) {
	h := newHost(t, idB, "left", "127.0.0.1")
	right := samplePeer(t, idA, "right", "127.0.0.12")
	cert, err := readCert(filepath.Join(h.dir, siteconf.CertFile))
	ok(t, err)
	guess, err := NewCode(cert.Raw) // right fingerprint, wrong token
	ok(t, err)
	_, err = h.offers.Show(false)
	ok(t, err)
	for range 5 {
		if _, err := Join(t.Context(), h.addr, guess.String(), request(right)); !errors.Is(err, ErrCode) {
			t.Fatalf("Join with a guessed token = %v; want ErrCode", err)
		}
	}
	var r *Refusal
	if _, err := Join(t.Context(), h.addr, guess.String(), request(right)); !errors.As(err, &r) || r.Status != http.StatusTooManyRequests {
		t.Errorf("sixth guess = %v; want 429", err)
	}
}

func TestPinnedOnly(t *testing.T) {
	left, right := newHost(t, idB, "left", "127.0.0.1"), newHost(t, idA, "right", "127.0.0.2")
	stranger := newHost(t, "6a1b7b1e-0000-4000-8000-00000000000c", "stranger", "127.0.0.3")
	ok(t, left.book.Pin(right.self, left.self))
	ctx := t.Context()
	ask := func(by Identity, at *host, pin string) error {
		_, port, _ := net.SplitHostPort(at.addr)
		n, err := net.LookupPort("tcp", port)
		ok(t, err)
		p := at.self
		p.Cert = pin
		a, err := NewClient(by, n).Attest(ctx, p)
		if err == nil && (a.Server != p.Name || !a.Reachable) {
			t.Errorf("attestation names %q; want the pinned name %q", a.Server, p.Name)
		}
		return err
	}
	if err := ask(right.id, left, left.self.Cert); err != nil {
		t.Errorf("right asks left: %v", err)
	}
	var r *Refusal
	if err := ask(stranger.id, left, left.self.Cert); !errors.As(err, &r) || r.Status != http.StatusUnauthorized {
		t.Errorf("a stranger asks left: %v; want 401", err)
	}
	if err := ask(right.id, left, stranger.self.Cert); !errors.Is(err, ErrNotPinned) {
		t.Errorf("right asks a machine with another certificate: %v; want ErrNotPinned", err)
	}
	left.out = ErrCannotTell
	if err := ask(right.id, left, left.self.Cert); !errors.Is(err, ErrCannotTell) {
		t.Errorf("right asks left, which cannot tell: %v; want ErrCannotTell", err)
	}
	// No certificate at all, and a body over the limit.
	h := httpClient(nil, func([]byte) error { return nil })
	defer h.CloseIdleConnections()
	if _, err := roundTrip(ctx, h, "left", http.MethodGet, "https://"+left.addr+PathStatus, nil); !errors.As(err, &r) || r.Status != http.StatusUnauthorized {
		t.Errorf("status without certificate: %v; want 401", err)
	}
	if _, err := roundTrip(ctx, h, "left", http.MethodPost, "https://"+left.addr+PathJoin, make([]byte, maxRequest+1)); !errors.As(err, &r) || r.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("long join request: %v; want 413", err)
	}
}

func TestPin(t *testing.T) {
	h := newHost(t, idB, "left", "127.0.0.1")
	right := samplePeer(t, idA, "right", "127.0.0.2")
	ok(t, h.book.Pin(right, h.self))
	anew := samplePeer(t, "6a1b7b1e-0000-4000-8000-00000000000d", "right", "127.0.0.2")
	ok(t, h.book.Pin(anew, h.self)) // installed anew: replaces
	middle := samplePeer(t, "6a1b7b1e-0000-4000-8000-00000000000e", "middle", "127.0.0.2")
	if err := h.book.Pin(middle, h.self); err == nil {
		t.Error("two servers with one address accepted")
	}
	middle.Address = "127.0.0.3"
	ok(t, h.book.Pin(middle, h.self))
	if err := h.book.Pin(samplePeer(t, "6a1b7b1e-0000-4000-8000-00000000000f", "fourth", "127.0.0.4"), h.self); err == nil {
		t.Error("a fourth server accepted")
	}
	again, err := OpenBook(h.dir)
	ok(t, err)
	p, err := again.Peers()
	ok(t, err)
	if len(p.Peers) != 2 || p.Peers[0].ID != anew.ID || p.Admin != "hash" {
		t.Errorf("peers.yaml = %+v; want right (new) and middle, and the rest kept", p)
	}
}

func TestNewKeyKeeps(t *testing.T) {
	dir := t.TempDir()
	ok(t, NewKey(dir, idA))
	before, err := os.ReadFile(filepath.Join(dir, siteconf.CertFile))
	ok(t, err)
	ok(t, NewKey(dir, idA))
	after, err := os.ReadFile(filepath.Join(dir, siteconf.CertFile))
	ok(t, err)
	if string(before) != string(after) {
		t.Error("NewKey made another certificate")
	}
	// Power cut between key and certificate.
	ok(t, os.Remove(filepath.Join(dir, siteconf.CertFile)))
	ok(t, NewKey(dir, idA))
	if _, err := LoadIdentity(dir); err != nil {
		t.Error(err)
	}
	st, err := os.Stat(filepath.Join(dir, siteconf.KeyFile))
	ok(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("key has mode %o; want 600", st.Mode().Perm())
	}
}

func TestOfferSurvivesRestartAndClock(t *testing.T) {
	h := newHost(t, idB, "left", "127.0.0.1")
	off, err := h.offers.Show(false)
	ok(t, err)
	again := NewOffers(h.dir, h.now)
	c, err := ParseCode(off.Code)
	ok(t, err)
	if err := again.Check(hex.EncodeToString(c.Token[:]), "right"); err != nil {
		t.Errorf("code after a restart: %v", err)
	}
	h.mu.Lock()
	h.clock = h.clock.Add(-48 * time.Hour)
	h.mu.Unlock()
	if _, ok := again.Current(); ok {
		t.Error("a code stays valid although the clock was set back two days")
	}
}
