package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// SMTP talks to a mail server as far as the recipient's address, and sends nothing. The connection is always encrypted, by TLS
// from the start on port 465 and by STARTTLS elsewhere. Parameters: port ("25"); accept (an address whose mail must be taken without
// a password); refuse (one whose mail must not be); open ("fail": what it means if it is taken nevertheless, "warn" or "fail"); user
// (signs in with the verification account's password, and before with a wrong one, which must be refused); tls ("start": from the
// start, whatever the port).
func SMTP(ctx context.Context, t Target) Outcome {
	user := t.Param("user", "")
	if user != "" && t.Secret == "" {
		return noSecret(t)
	}
	next := mailNext(t)
	s, err := openSMTP(ctx, t, "25")
	if err != nil {
		return failed("connect to port "+t.Param("port", "25"), err, next)
	}
	defer s.close()
	seen := []string{s.says()}
	if out, ok := s.certificate(next); !ok {
		return out
	}
	warn := ""
	begin(ctx, stepTransaction)
	if to := t.Param("accept", ""); to != "" {
		if err := s.recipient(to); err != nil {
			return failed("mail to "+to, inTime(ctx, err), next)
		}
		seen = append(seen, "mail to "+to+" is taken")
	}
	if to := t.Param("refuse", ""); to != "" {
		switch err := s.recipient(to); {
		case err == nil && t.Param("open", "fail") == "warn":
			warn = fmt.Sprintf("mail to %s is taken from %s without a password", to, t.Observer)
		case err == nil:
			return alarm("mail to "+to+" is taken without a password", "Correct the mail server's settings at once (`mynetworks` and `smtpd_relay_restrictions`): anybody can send mail in the firm's name.")
		case !refused(err):
			return failed("mail to "+to, inTime(ctx, err), next)
		default:
			seen = append(seen, "mail to others is refused without a password")
		}
	}
	if user != "" {
		if out, ok := s.signIn(ctx, user, t.Secret, next); !ok {
			return out
		}
		seen = append(seen, "a wrong password is refused, "+user+"'s is taken")
	}
	if warn != "" {
		return warning(warn, "If the office's network was let in on purpose, leave it so; else take it out of `mynetworks` in /etc/postfix/main.cf.")
	}
	return Outcome{Status: Pass, Evidence: strings.Join(seen, "; ")}
}

// probeName is the name by which probes introduce themselves.
const probeName = "atlas-sentry.invalid"

// smtpSession is an encrypted session with a mail server.
type smtpSession struct {
	*smtp.Client
	t     Target
	port  string
	state tls.ConnectionState
	stop  func() bool
}

func openSMTP(ctx context.Context, t Target, port string) (*smtpSession, error) {
	s := &smtpSession{t: t, port: t.Param("port", port)}
	conn, err := dialMail(ctx, t.Address, s.port)
	if err != nil {
		return nil, err
	}
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	begin(ctx, stepTLS)
	if s.port == "465" || t.Param("tls", "") == "start" {
		c := tls.Client(conn, mailTLS(t))
		if err = c.HandshakeContext(ctx); err == nil {
			s.state = c.ConnectionState()
			s.Client = smtp.NewClient(c)
			err = s.Hello(probeName)
		}
	} else if s.Client, err = smtp.NewClientStartTLS(conn, mailTLS(t)); err == nil {
		if err = s.Hello(probeName); err == nil { // the greeting after STARTTLS does the handshake
			s.state, _ = s.TLSConnectionState()
		}
	}
	if err != nil {
		s.stop()
		_ = conn.Close()
		return nil, inTime(ctx, err)
	}
	return s, nil
}

func (s *smtpSession) close() {
	_ = s.Quit()
	s.stop()
	_ = s.Close()
}

func (s *smtpSession) says() string {
	return fmt.Sprintf("port %s answers, encrypted with the certificate of %s", s.port, certName(s.state))
}

func (s *smtpSession) certificate(next string) (Outcome, bool) { return certInTime(s.state, s.t, next) }

// recipient asks whether mail to this address would be taken.
func (s *smtpSession) recipient(to string) error {
	defer func() { _ = s.Reset() }()
	if err := s.Mail("", nil); err != nil {
		return err
	}
	return s.Rcpt(to, nil)
}

// wrongMailPassword is always the same one: Dovecot makes an address wait longer for each different one that it tries.
const wrongMailPassword = "wrong-password-of-the-probe"

// signIn tries a wrong password, in a session of its own since the library ends that with what Postfix takes for an attack, and
// then the right one.
func (s *smtpSession) signIn(ctx context.Context, user, secret, next string) (Outcome, bool) {
	if !s.SupportsAuth(sasl.Plain) {
		return failure("port "+s.port+" does not ask for a password", next), false
	}
	other, err := openSMTP(ctx, s.t, s.port)
	if err != nil {
		return failed("connect to port "+s.port+" again", err, next), false
	}
	defer other.close()
	begin(ctx, stepRefusal)
	switch err := other.Auth(sasl.NewPlainClient("", user, wrongMailPassword)); {
	case err == nil:
		return alarm("a wrong password for "+user+" was accepted", "Correct the mail server's settings at once: anybody can send mail in the firm's name."), false
	case !refused(err):
		return failed("sign in with a wrong password", inTime(ctx, err), next), false
	}
	begin(ctx, stepLogin)
	if err := s.Auth(sasl.NewPlainClient("", user, secret)); err != nil {
		return failed("sign in as "+user, inTime(ctx, err), next), false
	}
	return Outcome{}, true
}

// refused tells whether the server said no for good (5xx, RFC 5321 4.2.1), rather than that it cannot tell now.
func refused(err error) bool {
	e, ok := errors.AsType[*smtp.SMTPError](err)
	return ok && e.Code/100 == 5
}

func mailNext(t Target) string {
	return fmt.Sprintf("On %s look at the mail services: `atlas service list`, and their logs.", t.Server)
}

// dialMail connects, with ctx's deadline for all that is said: the mail libraries know no contexts.
func dialMail(ctx context.Context, address, port string) (net.Conn, error) {
	conn, err := dial(ctx, "tcp", address, port)
	if err != nil {
		return nil, err
	}
	d, ok := ctx.Deadline()
	if !ok {
		d = time.Now().Add(10 * time.Second)
	}
	_ = conn.SetDeadline(d)
	return onTime{conn}, nil
}

// onTime keeps the deadline that it has: the mail libraries set others, of minutes, for each command.
type onTime struct{ net.Conn }

func (onTime) SetDeadline(time.Time) error      { return nil }
func (onTime) SetReadDeadline(time.Time) error  { return nil }
func (onTime) SetWriteDeadline(time.Time) error { return nil }

// mailTLS is as for web pages: the certificate names the site, not the address that is probed, and may be a self-made one.
func mailTLS(t Target) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: t.Hostname, MinVersion: tls.VersionTLS12}
}

// certInTime finds a certificate that mail programs refuse because it is out of date.
func certInTime(state tls.ConnectionState, t Target, next string) (Outcome, bool) {
	if len(state.PeerCertificates) == 0 {
		return failure("the connection is not encrypted", next), false
	}
	c := state.PeerCertificates[0]
	if now := time.Now(); now.After(c.NotAfter) || now.Before(c.NotBefore) {
		return failure(
			fmt.Sprintf("the certificate of %s is valid from %s to %s only", certName(state), c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly)),
			"Renew the site's certificate, and see that the clock of "+t.Server+" is right.",
		), false
	}
	return Outcome{}, true
}

func certName(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return "nobody"
	}
	c := state.PeerCertificates[0]
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.CommonName
}

// inTime gives ctx's error for the closed connection and the timeout that it brings about.
func inTime(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return context.DeadlineExceeded
	}
	return err
}
