package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// mailHost is a mail server for one account, whose messages go into an inbox in memory.
type mailHost struct {
	openRelay   bool   // takes mail for everybody
	anyPassword bool   // takes every password
	noAuth      bool   // asks for no password
	lose        bool   // delivers nothing
	alter       bool   // delivers something else
	refuse      string // refuses mail to this address
	plain       bool   // does not encrypt
	tls         *tls.Config

	mu   sync.Mutex
	user *imapmemserver.User
}

func (h *mailHost) box() *imapmemserver.User {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.user == nil {
		h.user = imapmemserver.NewUser("atlas-verify", "geheim")
		if err := h.user.Create("INBOX", nil); err != nil {
			panic(err)
		}
	}
	return h.user
}

// messages is how many are in the inbox.
func (h *mailHost) messages(t *testing.T) uint32 {
	t.Helper()
	st, err := h.box().Status("INBOX", &imap.StatusOptions{NumMessages: true})
	if err != nil {
		t.Fatal(err)
	}
	return *st.NumMessages
}

type smtpPeer struct {
	host  *mailHost
	known bool
	rcpt  string
}

var errNo = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Relay access denied"}

func (p *smtpPeer) AuthMechanisms() []string {
	if p.host.noAuth {
		return nil
	}
	return []string{sasl.Plain}
}

func (p *smtpPeer) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if !p.host.anyPassword && (user != "atlas-verify" || password != "geheim") {
			return smtp.ErrAuthFailed
		}
		p.known = true
		return nil
	}), nil
}

func (p *smtpPeer) Reset()                               {}
func (p *smtpPeer) Logout() error                        { return nil }
func (p *smtpPeer) Mail(string, *smtp.MailOptions) error { return nil }

func (p *smtpPeer) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to == p.host.refuse || !p.known && !p.host.openRelay && !strings.HasSuffix(to, "@office.example") {
		return errNo
	}
	p.rcpt = to
	return nil
}

func (p *smtpPeer) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil || p.host.lose {
		return err
	}
	s := string(text)
	if p.host.alter {
		head, _, _ := strings.Cut(s, "\r\n\r\n")
		s = head + "\r\n\r\nsomething else\r\n"
	}
	_, err = p.host.box().Append("INBOX", literal{strings.NewReader(s)}, &imap.AppendOptions{})
	return err
}

type literal struct{ *strings.Reader }

// serve starts both servers; wrapped ones speak TLS from the start.
func (h *mailHost) serve(t *testing.T, wrapped bool) (smtpAddr, imapAddr string) {
	t.Helper()
	if h.tls == nil && !h.plain {
		h.tls = certificate(t, time.Now().Add(time.Hour))
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if wrapped {
			l = tls.NewListener(l, h.tls)
		}
		return l
	}
	quiet := log.New(io.Discard, "", 0)
	m := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &smtpPeer{host: h}, nil }))
	m.Domain, m.ErrorLog = "office.office.example", quiet
	i := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &imapPeer{UserSession: nil, host: h}, nil, nil
		},
		Logger: quiet, TLSConfig: h.tls, InsecureAuth: wrapped,
	})
	if !wrapped {
		m.TLSConfig = h.tls
	}
	ml, il := listen(), listen()
	go func() { _ = m.Serve(ml) }()
	go func() { _ = i.Serve(il) }()
	t.Cleanup(func() { _, _ = m.Close(), i.Close() })
	return ml.Addr().String(), il.Addr().String()
}

// imapPeer lets the account in.
type imapPeer struct {
	*imapmemserver.UserSession
	host *mailHost
}

func (p *imapPeer) Close() error { return nil }

func (p *imapPeer) Login(user, password string) error {
	if !p.host.anyPassword && (user != "atlas-verify" || password != "geheim") {
		return imapserver.ErrAuthFailed
	}
	p.UserSession = imapmemserver.NewUserSession(p.host.box())
	return nil
}

func certificate(t *testing.T, until time.Time) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "office"}, DNSNames: []string{"office.office.example"},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestSMTP(t *testing.T) {
	relay := map[string]string{"accept": "atlas-verify@office.example", "refuse": "nobody@example.com"}
	user := map[string]string{"user": "atlas-verify", "refuse": "nobody@example.com"}
	for _, c := range []struct {
		name     string
		host     *mailHost
		params   map[string]string
		want     Status
		evidence string
	}{
		{"mail for the site", &mailHost{}, relay, Pass, "certificate of office.office.example; mail to atlas-verify@office.example is taken; mail to others is refused"},
		{"passwords", &mailHost{}, user, Pass, "a wrong password is refused, atlas-verify's is taken"},
		{"encrypted from the start", &mailHost{}, with(user, "tls", "start"), Pass, "a wrong password is refused"},
		{"open relay", &mailHost{openRelay: true}, relay, Fail, "nobody@example.com is taken without a password"},
		{"open on purpose", &mailHost{openRelay: true}, with(relay, "open", "warn"), Warn, "taken from left without a password"},
		{"mail for the site refused", &mailHost{refuse: "atlas-verify@office.example"}, relay, Fail, "Relay access denied"},
		{"every password", &mailHost{anyPassword: true}, user, Fail, "a wrong password for atlas-verify was accepted"},
		{"no password", &mailHost{noAuth: true}, user, Fail, "does not ask for a password"},
		{"account without password", &mailHost{}, with(user, "user", "other"), Fail, "sign in as other"},
		{"not encrypted", &mailHost{plain: true}, relay, Fail, "STARTTLS"},
		{"certificate out of date", &mailHost{tls: certificate(t, time.Now().Add(-time.Hour))}, relay, Fail, "the certificate of office.office.example is valid from"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			addr, _ := c.host.serve(t, c.params["tls"] != "")
			judge(t, SMTP(ctx, at(t, addr, maps.Clone(c.params))), c.want, c.evidence)
		})
	}
}

func TestIMAP(t *testing.T) {
	for _, c := range []struct {
		name     string
		host     *mailHost
		params   map[string]string
		want     Status
		evidence string
	}{
		{"inbox", &mailHost{}, nil, Pass, "a wrong password is refused; inbox of atlas-verify with 0 messages opened"},
		{"encrypted from the start", &mailHost{}, map[string]string{"tls": "start"}, Pass, "certificate of office.office.example"},
		{"every password", &mailHost{anyPassword: true}, nil, Fail, "a wrong password for atlas-verify was accepted"},
		{"account without password", &mailHost{}, map[string]string{"user": "other"}, Fail, "sign in as other"},
		{"not encrypted", &mailHost{plain: true}, nil, Fail, "connect to port"},
		{"certificate out of date", &mailHost{tls: certificate(t, time.Now().Add(-time.Hour))}, nil, Fail, "the certificate of office.office.example is valid from"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, addr := c.host.serve(t, c.params["tls"] != "")
			judge(t, IMAP(ctx, at(t, addr, maps.Clone(c.params))), c.want, c.evidence)
		})
	}
}

func TestMail(t *testing.T) {
	to := map[string]string{"to": "atlas-verify@office.example"}
	for _, c := range []struct {
		name     string
		host     *mailHost
		params   map[string]string
		want     Status
		evidence string
		left     uint32 // messages that are there afterwards
	}{
		{"sent and fetched", &mailHost{}, to, Pass, "message to atlas-verify sent, in the inbox after", 1},
		{"encrypted from the start", &mailHost{}, with(to, "tls", "start"), Pass, "fetched and deleted", 1},
		{"lost", &mailHost{lose: true}, to, Fail, "find the message in the inbox: no answer in time", 2},
		{"altered", &mailHost{alter: true}, to, Fail, "reads other than sent", 3},
		{"refused", &mailHost{refuse: "atlas-verify@office.example"}, to, Fail, "Relay access denied", 2},
		{"no address", &mailHost{}, nil, Unknown, "to which address", 2},
		{"line in the address", &mailHost{}, map[string]string{"to": "a@b\r\nX: y"}, Unknown, "to which address", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			// What somebody wrote, and what an interrupted run of this observer left behind.
			for _, subject := range []string{"Invoice", probeSubject + "left OLD"} {
				if _, err := c.host.box().Append("INBOX", literal{strings.NewReader("Subject: " + subject + "\r\n\r\ntext\r\n")}, &imap.AppendOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			m, i := c.host.serve(t, c.params["tls"] != "")
			target := at(t, m, maps.Clone(c.params))
			_, port, _ := net.SplitHostPort(i)
			target.Params["imap"] = port
			judge(t, Mail(ctx, target), c.want, c.evidence)
			if n := c.host.messages(t); n != c.left {
				t.Errorf("%d messages are left; want %d", n, c.left)
			}
		})
	}
}

func with(params map[string]string, key, value string) map[string]string {
	out := maps.Clone(params)
	out[key] = value
	return out
}

func judge(t *testing.T, got Outcome, want Status, evidence string) {
	t.Helper()
	if got.Status != want || !strings.Contains(got.Evidence, evidence) {
		t.Errorf("%s, %q; want %s, %q", got.Status, got.Evidence, want, evidence)
	}
	if got.Status != Pass && got.Next == "" {
		t.Error("no next step")
	}
	if strings.Contains(got.Evidence+got.Next, "geheim") {
		t.Error("the password is told")
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&smtp.SMTPError{Code: 550}, true},
		{&smtp.SMTPError{Code: 451}, false}, // the server cannot tell now: no proof that it refuses
		{errors.New("connection reset"), false},
	} {
		if got := refused(c.err); got != c.want {
			t.Errorf("refused(%v) = %v; want %v", c.err, got, c.want)
		}
	}
}
