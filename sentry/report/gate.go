package report

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	cookieName   = "__Host-atlas"
	sessionTime  = 12 * time.Hour
	maxSessions  = 64
	failWindow   = time.Minute
	failsPerHost = 5
	failsInAll   = 20 // with many addresses a guesser still gets no more
	adminUser    = "admin"
)

var (
	errLogin    = errors.New("wrong name or password")
	errThrottle = errors.New("too many wrong passwords; wait a minute and try again")
)

func gateStatus(err error) int {
	if errors.Is(err, errThrottle) {
		return http.StatusTooManyRequests
	}
	return http.StatusUnauthorized
}

// gate lets the administrator in: sessions in memory, bcrypt, and a throttle on wrong passwords.
type gate struct {
	hash func() string
	now  func() time.Time
	key  []byte // of the memory of good passwords; made at start, so that nothing on disk gives them away

	bcrypt chan struct{} // bcrypt is slow by intent; one at a time leaves the other processor to the services

	mu       sync.Mutex
	sessions map[string]*session
	fails    map[string][]time.Time // by remote host; "" = all
	good     map[string]time.Time   // basic-auth passwords that bcrypt has accepted, by HMAC with the hash
}

type session struct {
	csrf  string
	until time.Time

	mu   sync.Mutex
	code time.Time // until when the join code is shown
}

func newGate(hash func() string, now func() time.Time) *gate {
	return &gate{
		hash: hash, now: now, key: []byte(rand.Text()), bcrypt: make(chan struct{}, 1),
		sessions: map[string]*session{}, fails: map[string][]time.Time{}, good: map[string]time.Time{},
	}
}

// check tells whether user and password are the administrator's.
func (g *gate) check(host, user, password string) error {
	if !g.allowed(host) {
		return errThrottle
	}
	g.bcrypt <- struct{}{}
	defer func() { <-g.bcrypt }()
	if !g.allowed(host) { // others may have failed while this one waited
		return errThrottle
	}
	hash := g.hash()
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	if err != nil || hash == "" || user != adminUser {
		g.failed(host)
		return errLogin
	}
	return nil
}

// basic is check for programs that ask again and again: a password that was good is good for five minutes without bcrypt, as long
// as the hash is the same.
func (g *gate) basic(host, user, password string) error {
	m := hmac.New(sha256.New, g.key)
	m.Write([]byte(g.hash() + "\x00" + user + "\x00" + password))
	k := string(m.Sum(nil))
	now := g.now()
	g.mu.Lock()
	until, ok := g.good[k]
	g.mu.Unlock()
	if ok && now.Before(until) {
		return nil
	}
	if err := g.check(host, user, password); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.good) > 16 {
		clear(g.good)
	}
	g.good[k] = now.Add(5 * time.Minute)
	return nil
}

func (g *gate) allowed(host string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.recent(host) < failsPerHost && g.recent("") < failsInAll
}

func (g *gate) recent(host string) int {
	from := g.now().Add(-failWindow)
	kept := g.fails[host][:0]
	for _, t := range g.fails[host] {
		if t.After(from) {
			kept = append(kept, t)
		}
	}
	if len(kept) == 0 {
		delete(g.fails, host)
		return 0
	}
	g.fails[host] = kept
	return len(kept)
}

func (g *gate) failed(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range []string{host, ""} {
		g.fails[h] = append(g.fails[h], g.now())
	}
}

// open starts a session and gives its cookie.
func (g *gate) open() *http.Cookie {
	id := rand.Text() + rand.Text()
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	oldest := ""
	for k, s := range g.sessions {
		if now.After(s.until) {
			delete(g.sessions, k)
		} else if oldest == "" || s.until.Before(g.sessions[oldest].until) {
			oldest = k
		}
	}
	if len(g.sessions) >= maxSessions {
		delete(g.sessions, oldest)
	}
	g.sessions[id] = &session{csrf: rand.Text(), until: now.Add(sessionTime)}
	return &http.Cookie{Name: cookieName, Value: id, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionTime.Seconds())}
}

func (g *gate) session(r *http.Request) (*session, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.sessions[c.Value]
	if !ok || g.now().After(s.until) {
		delete(g.sessions, c.Value)
		return nil, false
	}
	return s, true
}

func (g *gate) close(r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.sessions, c.Value)
	}
}

// token tells whether a form was made by this session's page.
func (s *session) token(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.PostFormValue("token")), []byte(s.csrf)) == 1
}

func (s *session) showCode(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = until
}

func (s *session) codeShown(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.code)
}

// session lets only requests of a session through.
func (p *Page) session(h func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := p.gate.session(r)
		if !ok {
			if r.Method == http.MethodGet {
				http.Error(w, "log in first", http.StatusUnauthorized)
				return
			}
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		h(w, r, s)
	}
}

type loginView struct {
	Site, Server, Error string
	Code                int
}

func (p *Page) loginForm(w http.ResponseWriter, r *http.Request) {
	if _, ok := p.gate.session(r); ok {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s := p.src.Site()
	p.render(w, "login.html", loginView{Site: s.Name, Server: s.Server})
}

func (p *Page) login(w http.ResponseWriter, r *http.Request) {
	if err := p.gate.check(remote(r), adminUser, r.PostFormValue("password")); err != nil {
		p.refused(r, err)
		s := p.src.Site()
		w.WriteHeader(gateStatus(err))
		msg := "That is not the administrator’s password."
		if errors.Is(err, errThrottle) {
			msg = "Too many wrong passwords. Wait a minute and try again."
		}
		p.render(w, "login.html", loginView{Site: s.Name, Server: s.Server, Error: msg})
		return
	}
	p.log.Info("login", "remote", remote(r))
	http.SetCookie(w, p.gate.open())
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (p *Page) logout(w http.ResponseWriter, r *http.Request, s *session) {
	if !s.token(r) {
		http.Error(w, "This form is too old. Go back and reload the page.", http.StatusForbidden)
		return
	}
	p.gate.close(r)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func remote(r *http.Request) string {
	h, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return h
}
