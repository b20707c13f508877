// Package report is the owner's page: one HTTPS page per server that answers "could we swap now?" at a glance, and the same as JSON.
//
//	GET  /                   the page, after login; also without JavaScript
//	GET  /events             server-sent events: "change" whenever something is new, and at least every five seconds
//	POST /login, /logout
//	POST /join-code          shows the join code, a new one with renew=1
//	GET  /changes            the history, of everything or ?path=; ?before=COMMIT for older ones, ?local=1 for a secondary's own
//	GET  /changes/{commit}   one change; ?path= narrows it
//	GET  /blame?path=        who brought each line of a file
//	POST /changes/rollback   asks, and with the plan that it showed rolls back; only the primary does
//	POST /changes/release    asks, and sends on what is held back
//	POST /changes/resync     asks, and with the plan that it showed lets a secondary take the primary's files; ?server=
//	POST /findings/ack?id=   ends a finding about what has happened
//	GET  /past               graphs of how available and how fast each service was, for those that keep it; ?span=day|week|quarter &service=
//	GET  /api/v1/status      site.Site as JSON; session or HTTP basic auth (user admin)
//	GET  /healthz            Health, without login and without secrets
//
// It knows nothing by itself: Source tells. It does nothing to the server but show a join code, acknowledge findings, and order a rollback, a release or a new beginning
// of a secondary of the Synchronizer, who checks whether that may be.
package report

import (
	"context"
	"crypto/tls"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/site"
)

//go:embed assets
var assets embed.FS

// Source is what the page shows.
type Source interface {
	Site() site.Site
	Admin() string // bcrypt hash of the administrator's password; "" = nobody can log in
	CurrentCode() (peers.Offer, bool)
	JoinCode(renew bool) (peers.Offer, error)
	Changes() (Changes, error) // an error says in words why there are none
	Subscribe() (changes <-chan struct{}, stop func())
}

// Options of the page.
type Options struct {
	Log *slog.Logger
	Now func() time.Time // time.Now if nil
}

// Health is the answer of /healthz.
type Health struct {
	Server string `json:"server"`
	State  string `json:"state"`
	Role   string `json:"role"`
	Ready  bool   `json:"ready"`
}

// Page serves the dashboard.
type Page struct {
	src   Source
	log   *slog.Logger
	now   func() time.Time
	tmpl  *template.Template
	gate  *gate
	files map[string]asset
}

// New makes the dashboard of src.
func New(src Source, o Options) (http.Handler, error) {
	p := &Page{src: src, log: o.Log, now: o.Now}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.gate = newGate(src.Admin, p.now)
	var err error
	if p.tmpl, err = template.New("").Funcs(funcs()).ParseFS(assets, "assets/*.html"); err != nil {
		return nil, fmt.Errorf("page templates: %w", err)
	}
	if p.files, err = loadAssets(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.index)
	mux.HandleFunc("GET /login", p.loginForm)
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /logout", p.session(p.logout))
	mux.HandleFunc("POST /join-code", p.session(p.joinCode))
	p.changesRoutes(mux)
	mux.HandleFunc("GET /past", p.seen(p.past))
	mux.HandleFunc("GET /events", p.session(p.events))
	mux.HandleFunc("GET /api/v1/status", p.status)
	mux.HandleFunc("GET /healthz", p.healthz)
	mux.HandleFunc("GET /assets/{name}", p.asset)
	// Sec-Fetch-Site and Origin first, the session's token in each handler besides.
	return harden(http.NewCrossOriginProtection().Handler(mux)), nil
}

// Serve serves h on l with cert until ctx ends.
func Serve(ctx context.Context, l net.Listener, cert tls.Certificate, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		IdleTimeout:       2 * time.Minute, // no WriteTimeout: events last; each write has its own deadline
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}},
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.ServeTLS(l, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve page on %s: %w", l.Addr(), err)
	}
	return nil
}

func harden(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hd := w.Header()
		hd.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		hd.Set("X-Content-Type-Options", "nosniff")
		hd.Set("Referrer-Policy", "no-referrer")
		hd.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		h.ServeHTTP(w, r)
	})
}

func (p *Page) index(w http.ResponseWriter, r *http.Request) {
	s, ok := p.gate.session(r)
	if !ok {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	p.render(w, "page.html", p.view(s))
}

func (p *Page) render(w http.ResponseWriter, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := p.tmpl.ExecuteTemplate(w, name, data); err != nil {
		p.log.Warn("page not rendered", "page", name, "err", err)
	}
}

func (p *Page) joinCode(w http.ResponseWriter, r *http.Request, s *session) {
	if !s.token(r) {
		http.Error(w, "This form is too old. Go back and reload the page.", http.StatusForbidden)
		return
	}
	off, err := p.src.JoinCode(r.PostFormValue("renew") != "")
	if err != nil {
		p.log.Warn("join code not made", "err", err)
		http.Error(w, "The join code could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	p.log.Info("join code shown", "until", off.Expires, "remote", r.RemoteAddr)
	s.showCode(p.now().Add(10 * time.Minute))
	http.Redirect(w, r, "/#join", http.StatusSeeOther)
}

// events tells a page to fetch itself anew. The page says itself when nothing has come for a while.
func (p *Page) events(w http.ResponseWriter, r *http.Request, _ *session) {
	changes, stop := p.src.Subscribe()
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	c := http.NewResponseController(w)
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	for n := 0; ; n++ {
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintf(w, "retry: 2000\nevent: change\ndata: %d\n\n", n); err != nil || c.Flush() != nil {
			return
		}
		// At most two a second, however much happens.
		select {
		case <-r.Context().Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
		select {
		case <-r.Context().Done():
			return
		case <-changes:
		case <-t.C:
		}
	}
}

func (p *Page) status(w http.ResponseWriter, r *http.Request) {
	if _, ok := p.gate.session(r); !ok {
		user, password, given := r.BasicAuth()
		if !given {
			w.Header().Set("WWW-Authenticate", `Basic realm="ATLAS", charset="UTF-8"`)
			fail(w, http.StatusUnauthorized, "log in as admin")
			return
		}
		if err := p.gate.basic(remote(r), user, password); err != nil {
			p.refused(r, err)
			fail(w, gateStatus(err), err.Error())
			return
		}
	}
	answer(w, p.src.Site())
}

func (p *Page) healthz(w http.ResponseWriter, _ *http.Request) {
	s := p.src.Site()
	h := Health{Server: s.Server, State: "unknown"}
	if v, ok := s.Find(s.Server); ok && v.State != nil {
		h.State, h.Role, h.Ready = v.State.State, string(v.Role()), v.State.Ready
	}
	answer(w, h)
}

func (p *Page) refused(r *http.Request, err error) {
	p.log.Warn("login refused", "remote", remote(r), "err", err)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // whoever asked is gone
}

func fail(w http.ResponseWriter, status int, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": msg})
}
