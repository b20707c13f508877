package verify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// TLS looks at the certificate that a service presents, as its clients do: whom it is for, until when, and whether its chain leads to one that
// is trusted (RFC 5280, 6). Parameters: port ("443"), starttls (how encryption is begun: "" from the start, "smtp", "imap", "ldap" or
// "pgsql"), host (the name that clients use; the site's host name), trust (a file of certificates that are trusted beside the system's, PEM), days (before
// the end that it warns, "21").
func TLS(ctx context.Context, t Target) Outcome {
	port, host := t.Param("port", "443"), t.Param("host", t.Hostname)
	days, err := strconv.Atoi(t.Param("days", "21"))
	if err != nil || days < 0 || host == "" {
		return misnamed("the probe names no host, or its days are no number")
	}
	next := "Renew the site's certificate on the primary: `atlas-certificate check` tells what is wrong with it."
	roots, err := trusted(t.Param("trust", ""))
	if err != nil {
		return unknown(err.Error(), "Start a disk set in "+t.Observer+", or correct the probe in the service pack.")
	}
	state, err := handshake(ctx, t, port)
	if err != nil {
		return failed("TLS on port "+port, inTime(ctx, err), fmt.Sprintf("On %s look at the service: `atlas service list`, and its log.", t.Server))
	}
	return judgeChain(state.PeerCertificates, roots, host, time.Now(), days, next)
}

// judgeChain judges what was presented; the first is the server's own.
func judgeChain(chain []*x509.Certificate, roots *x509.CertPool, host string, now time.Time, days int, next string) Outcome {
	if len(chain) == 0 {
		return failure("no certificate is presented", next)
	}
	leaf, until := chain[0], chain[0].NotAfter
	pool := x509.NewCertPool()
	for _, c := range chain[1:] {
		pool.AddCert(c)
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	who := leaf.Subject.CommonName
	if err := leaf.VerifyHostname(host); err != nil {
		return failure(fmt.Sprintf("the certificate is not for %s: %v", host, err), next)
	}
	switch left := until.Sub(now); {
	case now.Before(leaf.NotBefore):
		return failure(fmt.Sprintf("the certificate of %s is not valid before %s", who, leaf.NotBefore.Format(time.DateOnly)), "See that the clock is right. "+next)
	case left < 0:
		return failure(fmt.Sprintf("the certificate of %s has expired on %s: clients refuse it", who, until.Format(time.DateOnly)), next)
	default:
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool, CurrentTime: now, DNSName: host})
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
			return warning(fmt.Sprintf("the certificate of %s is from %s, which this server does not trust: clients must know it", who, leaf.Issuer.CommonName),
				"If it was bought, put its whole chain behind it into /etc/ssl/atlas/site.crt. If your firm issues its own, put that root there as well.")
		}
		if err != nil {
			return failure(fmt.Sprintf("the certificate of %s is not good: %v", who, err), next)
		}
		seen := fmt.Sprintf("certificate of %s, for %s, from %s, until %s", who, host, leaf.Issuer.CommonName, until.Format(time.DateOnly))
		if left < time.Duration(days)*24*time.Hour {
			return warning(fmt.Sprintf("%s: %d days are left", seen, int(left/(24*time.Hour))), next)
		}
		return Outcome{Status: Pass, Evidence: seen}
	}
}

// trusted gives the system's roots, and those of file ("" = none) that may stand at the end of a chain: those that are their own issuer. A
// server's own bought certificate may be in the file, too, and must not vouch for itself.
func trusted(file string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if file == "" {
		return pool, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the trusted certificates cannot be read: %w", err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && bytes.Equal(c.RawSubject, c.RawIssuer) {
			pool.AddCert(c)
		}
	}
	return pool, nil
}

// handshake begins encryption as the protocol has it.
func handshake(ctx context.Context, t Target, port string) (tls.ConnectionState, error) {
	switch how := t.Param("starttls", ""); how {
	case "smtp":
		s, err := openSMTP(ctx, t, port)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer s.close()
		return s.state, nil
	case "imap":
		s, err := openIMAP(ctx, t, port)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer s.close()
		return s.state, nil
	case "", "ldap", "pgsql":
		conn, err := dialMail(ctx, t.Address, port)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer func() { _ = conn.Close() }()
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		begin(ctx, stepTLS)
		if how == "ldap" {
			l := ldap.NewConn(conn, false)
			l.Start()
			defer func() { _ = l.Close() }()
			if err := l.StartTLS(mailTLS(t)); err != nil {
				return tls.ConnectionState{}, err
			}
			state, _ := l.TLSConnectionState()
			return state, nil
		}
		if how == "pgsql" {
			if err := askPgTLS(conn); err != nil {
				return tls.ConnectionState{}, err
			}
		}
		c := tls.Client(conn, mailTLS(t))
		if err := c.HandshakeContext(ctx); err != nil {
			return tls.ConnectionState{}, err
		}
		return c.ConnectionState(), nil
	default:
		return tls.ConnectionState{}, fmt.Errorf("starttls %q is not known", how)
	}
}

// askPgTLS asks PostgreSQL for encryption (its protocol's SSLRequest).
func askPgTLS(conn io.ReadWriter) error {
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return errors.New("the server offers no encryption")
	}
	return nil
}
