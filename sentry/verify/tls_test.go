package verify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate for name until then, and its key; by nil it is self-made.
func issue(t *testing.T, by *authority, name string, ca bool, from, until time.Time) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until,
		BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ca {
		tmpl.KeyUsage |= x509.KeyUsageCertSign
	} else {
		tmpl.DNSNames = []string{name}
	}
	if by == nil {
		by = &authority{tmpl, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func pemFile(t *testing.T, certs ...*authority) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trusted.crt")
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// presents serves a chain; before says what comes before the handshake.
func presents(t *testing.T, before func(net.Conn) bool, chain ...*authority) string {
	t.Helper()
	c := tls.Certificate{PrivateKey: chain[0].key}
	for _, a := range chain {
		c.Certificate = append(c.Certificate, a.cert.Raw)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if before == nil || before(conn) {
					_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}}).Handshake() //nolint:gosec // a test's
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestTLS(t *testing.T) {
	const name = "office.office.example"
	now := time.Now()
	from, year := now.Add(-24*time.Hour), now.Add(365*24*time.Hour)
	root := issue(t, nil, "Root", true, from, year)
	middle := issue(t, root, "Middle", true, from, year)
	bought := issue(t, middle, name, false, from, year)
	selfMade := issue(t, nil, name, false, from, year)
	soon := issue(t, middle, name, false, from, now.Add(20*24*time.Hour))
	later := issue(t, middle, name, false, from, now.Add(22*24*time.Hour))
	ended := issue(t, middle, name, false, from, now.Add(-time.Hour))
	early := issue(t, middle, name, false, now.Add(time.Hour), year)
	other := issue(t, middle, "mail.office.example", false, from, year)
	brief := issue(t, root, "Brief", true, from, now.Add(10*24*time.Hour))
	trust := pemFile(t, root, bought) // a bought certificate stands in the site's file, too
	pg := func(answer byte) func(net.Conn) bool {
		return func(c net.Conn) bool {
			_, err := io.ReadFull(c, make([]byte, 8))
			_, _ = c.Write([]byte{answer})
			return err == nil && answer == 'S'
		}
	}
	for _, c := range []struct {
		name, addr, trust, starttls string
		want                        Status
		says                        string
	}{
		{"bought, with its chain", presents(t, nil, bought, middle), trust, "", Pass, "certificate of " + name + ", for " + name + ", from Middle, until"},
		{"bought, without its chain", presents(t, nil, bought), trust, "", Warn, "from Middle, which this server does not trust"},
		{"self-made, and trusted", presents(t, nil, selfMade), pemFile(t, root, selfMade), "", Pass, "from " + name},
		{"self-made by somebody else", presents(t, nil, selfMade), trust, "", Warn, "does not trust"},
		{"20 days left", presents(t, nil, soon, middle), trust, "", Warn, "19 days are left"},
		{"22 days left", presents(t, nil, later, middle), trust, "", Pass, ""},
		{"an issuer with 10 days left", presents(t, nil, issue(t, brief, name, false, from, year), brief), trust, "", Warn, "9 days are left"},
		{"expired", presents(t, nil, ended, middle), trust, "", Fail, "has expired"},
		{"of tomorrow", presents(t, nil, early, middle), trust, "", Fail, "not valid before"},
		{"for another name", presents(t, nil, other, middle), trust, "", Fail, "not for " + name},
		{"PostgreSQL", presents(t, pg('S'), bought, middle), trust, "pgsql", Pass, name},
		{"PostgreSQL without TLS", presents(t, pg('N'), bought), trust, "pgsql", Fail, "offers no encryption"},
		{"no such protocol", closedPort(t), trust, "gopher", Fail, "not known"},
		{"silent", silent(t), trust, "", Fail, "no answer in time"},
		{"nothing there", closedPort(t), trust, "", Fail, "connection refused"},
		{"no file of trusted ones", closedPort(t), "/nonexistent", "", Unknown, "cannot be read"},
		{"one that would vouch for itself", presents(t, nil, bought), pemFile(t, bought), "", Warn, "does not trust"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := withTimeout(t, 2*time.Second)
			defer cancel()
			got := TLS(ctx, at(t, c.addr, map[string]string{"host": name, "trust": c.trust, "starttls": c.starttls}))
			if got.Status != c.want || !strings.Contains(got.Evidence, c.says) {
				t.Errorf("TLS = %+v; want %s, %q", got, c.want, c.says)
			}
			if got.Status != Pass && got.Next == "" {
				t.Error("no next step")
			}
		})
	}
}

// TestStartTLS looks at mail servers' certificates and a directory's.
func TestStartTLS(t *testing.T) {
	smtpAddr, imapAddr := (&mailHost{}).serve(t, false)
	for how, addr := range map[string]string{"smtp": smtpAddr, "imap": imapAddr} {
		ctx, cancel := withTimeout(t, 2*time.Second)
		got := TLS(ctx, at(t, addr, map[string]string{"host": "elsewhere.example", "starttls": how}))
		cancel()
		if got.Status != Fail || !strings.Contains(got.Evidence, "not for elsewhere.example") {
			t.Errorf("%s: TLS = %+v; want the certificate looked at", how, got)
		}
	}
}
