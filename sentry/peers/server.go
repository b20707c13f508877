package peers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// Statuses that Refusal.Is tells apart.
const (
	statusCode       = http.StatusForbidden
	statusNoSet      = http.StatusConflict
	statusCannotTell = http.StatusServiceUnavailable
)

// Local is what this server says about itself.
type Local interface {
	// Attest tells what this server holds; an error wrapping ErrCannotTell when that is not known.
	Attest(ctx context.Context) (roles.Attestation, error)
	// Status is encoded as JSON for the peers' pages.
	Status(ctx context.Context) (any, error)
	// Self is this server as its peers know it.
	Self(ctx context.Context) (siteconf.Peer, error)
	// HandOut gathers what a new server needs, without Peers; an error wrapping ErrNoSet when no set is started here.
	HandOut(ctx context.Context) (JoinReply, error)
	// Joined is called after p was pinned; told is true when another server told us, false when p joined here.
	Joined(p siteconf.Peer, told bool)
}

// Server answers peers and servers that want to join.
type Server struct {
	id     Identity
	book   *Book
	offers *Offers
	local  Local
	log    *slog.Logger
	tries  *throttle
	joins  sync.Mutex // one at a time
	more   []route
}

// Pinned answers a request of a pinned peer. Who asks is told by the pin, whatever the request says.
type Pinned func(w http.ResponseWriter, r *http.Request, from siteconf.Peer)

type route struct {
	pattern string
	h       Pinned
}

// Handle lets h answer pinned peers at pattern (as http.ServeMux has them: "POST /v1/sync/push"). Call it before Serve. Serve's limits of
// time hold for h too: a request must have been read within 10 seconds and answered within 15. Who needs longer sets deadlines of its own
// with http.ResponseController, both of them: the one for reading also ends the context of a request whose handler still works.
func (s *Server) Handle(pattern string, h Pinned) { s.more = append(s.more, route{pattern, h}) }

// NewServer answers with the key of id.
func NewServer(id Identity, book *Book, offers *Offers, local Local, log *slog.Logger) *Server {
	return &Server{id: id, book: book, offers: offers, local: local, log: log, tries: newThrottle(5, time.Minute, time.Now)}
}

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion:             tls.VersionTLS13,
			Certificates:           []tls.Certificate{s.id.TLS},
			ClientAuth:             tls.RequestClientCert, // who it is, is judged by pin and per path: a newcomer has none
			SessionTicketsDisabled: true,
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.ServeTLS(l, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve peers on %s: %w", l.Addr(), err)
	}
	return nil
}

// Handler is the peers' API; the connection must be TLS.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+PathJoin, s.join)
	mux.HandleFunc("GET "+PathAttest, s.pinned(func(w http.ResponseWriter, r *http.Request, _ siteconf.Peer) {
		a, err := s.local.Attest(r.Context())
		if err != nil {
			refuse(w, statusCannotTell, err)
			return
		}
		answer(w, a)
	}))
	mux.HandleFunc("GET "+PathStatus, s.pinned(func(w http.ResponseWriter, r *http.Request, _ siteconf.Peer) {
		st, err := s.local.Status(r.Context())
		if err != nil {
			refuse(w, http.StatusServiceUnavailable, err)
			return
		}
		answer(w, st)
	}))
	mux.HandleFunc("POST "+PathPin, s.pinned(s.pin))
	for _, m := range s.more {
		mux.HandleFunc(m.pattern, s.pinned(m.h))
	}
	return mux
}

// pinned lets only pinned peers in.
func (s *Server) pinned(h Pinned) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) != 1 {
			refuse(w, http.StatusUnauthorized, errors.New("only servers of this site may ask; join with a code first"))
			return
		}
		p, ok := s.book.ByCert(r.TLS.PeerCertificates[0].Raw)
		if !ok {
			refuse(w, http.StatusUnauthorized, errors.New("this certificate is not pinned here; join with a code first"))
			return
		}
		if err := s.offers.Heard(p); err != nil {
			s.log.Warn("join code not ended", "server", p.Name, "err", err)
		}
		h(w, r, p)
	}
}

func (s *Server) pin(w http.ResponseWriter, r *http.Request, from siteconf.Peer) {
	data, err := body(w, r)
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	p, err := DecodePin(data)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	self, err := s.local.Self(r.Context())
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	if p.Name == from.Name {
		refuse(w, http.StatusConflict, errors.New("a server cannot replace its own pin; it must join anew"))
		return
	}
	if err := s.book.Pin(p, self); err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	s.log.Info("server pinned", "server", p.Name, "address", p.Address, "told_by", from.Name)
	s.local.Joined(p, true)
	answer(w, struct{}{})
}

func (s *Server) join(w http.ResponseWriter, r *http.Request) {
	data, err := body(w, r)
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, err)
		return
	}
	req, err := DecodeJoinRequest(data)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if !s.tries.allow() {
		w.Header().Set("Retry-After", "60")
		refuse(w, http.StatusTooManyRequests, errors.New("too many attempts with a wrong join code; wait a minute"))
		return
	}
	s.joins.Lock()
	defer s.joins.Unlock()
	if err := s.offers.Check(req.Token, req.Name); err != nil {
		s.tries.failed()
		s.log.Warn("join refused", "server", req.Name, "remote", r.RemoteAddr, "err", err)
		refuse(w, statusCode, err)
		return
	}
	reply, err := s.admit(r.Context(), req.Peer())
	if err != nil {
		s.log.Warn("join refused", "server", req.Name, "remote", r.RemoteAddr, "err", err)
		code := http.StatusUnprocessableEntity
		if errors.Is(err, ErrNoSet) {
			code = statusNoSet
		}
		refuse(w, code, err)
		return
	}
	s.log.Info("server joined", "server", req.Name, "address", req.Address, "remote", r.RemoteAddr)
	s.local.Joined(req.Peer(), false)
	answer(w, reply)
}

// admit pins p and puts its reply together. All that can fail is done before the pin, and the pin is durable before the reply.
func (s *Server) admit(ctx context.Context, p siteconf.Peer) (JoinReply, error) {
	self, err := s.local.Self(ctx)
	if err != nil {
		return JoinReply{}, err
	}
	reply, err := s.local.HandOut(ctx)
	if err != nil {
		return JoinReply{}, err
	}
	all, err := s.book.Peers()
	if err != nil {
		return JoinReply{}, err
	}
	reply.Site, reply.SiteName, reply.Admin, reply.SSHKeys = all.Site, all.SiteName, all.Admin, all.SSHKeys
	reply.Peers = []siteconf.Peer{self}
	for _, q := range all.Peers {
		if q.Name != p.Name {
			reply.Peers = append(reply.Peers, q)
		}
	}
	if err := s.book.Pin(p, self); err != nil {
		return JoinReply{}, err
	}
	return reply, s.offers.Use(p)
}

func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return data, nil
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the peer is gone; it will ask again
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// throttle allows max failures in each window.
type throttle struct {
	max    int
	window time.Duration
	now    func() time.Time
	mu     sync.Mutex
	fails  []time.Time
}

func newThrottle(limit int, window time.Duration, now func() time.Time) *throttle {
	return &throttle{max: limit, window: window, now: now}
}

func (t *throttle) allow() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := t.now().Add(-t.window)
	kept := t.fails[:0]
	for _, f := range t.fails {
		if f.After(from) {
			kept = append(kept, f)
		}
	}
	t.fails = kept
	return len(kept) < t.max
}

func (t *throttle) failed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fails = append(t.fails, t.now())
}
