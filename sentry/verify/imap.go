package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// IMAP opens the inbox of the verification account as a mail program does, encrypted: by TLS from the start on port 993, by
// STARTTLS elsewhere. Before, it tries a wrong password, which must be refused. Parameters: port ("143"), user ("atlas-verify"), tls ("start":
// from the start, whatever the port).
func IMAP(ctx context.Context, t Target) Outcome {
	if t.Secret == "" {
		return noSecret(t)
	}
	next := mailNext(t)
	user, port := t.Param("user", "atlas-verify"), t.Param("port", "143")
	s, err := openIMAP(ctx, t, port)
	if err != nil {
		return failed("connect to port "+port, err, next)
	}
	defer s.close()
	if out, ok := certInTime(s.state, t, next); !ok {
		return out
	}
	begin(ctx, stepRefusal)
	switch err := s.Login(user, wrongMailPassword).Wait(); {
	case err == nil:
		return alarm("a wrong password for "+user+" was accepted", "Correct Dovecot's settings (`doveconf -n`): anybody can read all mail.")
	case !isNo(err):
		return failed("sign in with a wrong password", inTime(ctx, err), next)
	}
	begin(ctx, stepLogin)
	if err := s.Login(user, t.Secret).Wait(); err != nil {
		return failed("sign in as "+user, inTime(ctx, err), next)
	}
	begin(ctx, stepTransaction)
	box, err := s.Select("INBOX", nil).Wait()
	if err != nil {
		return failed("open the inbox", inTime(ctx, err), next)
	}
	return Outcome{Status: Pass, Evidence: fmt.Sprintf("port %s answers, encrypted with the certificate of %s; a wrong password is refused; inbox of %s with %d messages opened",
		port, certName(s.state), user, box.NumMessages)}
}

// imapSession is an encrypted session with an IMAP server.
type imapSession struct {
	*imapclient.Client
	state tls.ConnectionState
	stop  func() bool
}

func openIMAP(ctx context.Context, t Target, port string) (*imapSession, error) {
	conn, err := dialMail(ctx, t.Address, port)
	if err != nil {
		return nil, err
	}
	s := &imapSession{stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	conf := mailTLS(t)
	conf.VerifyConnection = func(c tls.ConnectionState) error { // the library keeps it to itself
		s.state = c
		return nil
	}
	begin(ctx, stepTLS)
	if port == "993" || t.Param("tls", "") == "start" {
		c := tls.Client(conn, conf)
		if err = c.HandshakeContext(ctx); err == nil {
			s.Client = imapclient.New(c, nil)
			err = s.WaitGreeting()
		}
	} else if s.Client, err = imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: conf}); err == nil {
		err = s.Noop().Wait() // does the handshake
	}
	if err != nil {
		s.stop()
		_ = conn.Close()
		return nil, inTime(ctx, err)
	}
	return s, nil
}

func (s *imapSession) close() {
	_ = s.Logout().Wait()
	s.stop()
	_ = s.Close()
}

// isNo tells whether the server answered NO (RFC 9051 7.1.2), rather than not at all.
func isNo(err error) bool {
	e, ok := errors.AsType[*imap.Error](err)
	return ok && e.Type == imap.StatusResponseTypeNo
}
