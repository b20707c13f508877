package verify

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

const (
	testBase = "dc=office,dc=example"
	testUser = "uid=atlas-verify,ou=services," + testBase
)

// directory is a server of LDAP with one entry, of which each field is one way to be wrong.
type directory struct {
	base        string // testBase if empty
	openToAll   bool   // anybody can search
	hash        bool   // and sees the password
	clear       bool   // passwords are taken without TLS
	anyPassword bool
	noTLS       bool
	fromStart   bool // LDAPS
	forgets     bool // changes are acknowledged, but not kept
	cert        tls.Certificate

	description []string
}

// serve answers one connection.
func (d *directory) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	encrypted, user := false, ""
	if d.fromStart {
		conn, encrypted = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{d.cert}}), true //nolint:gosec // a test's
	}
	for {
		p, err := ber.ReadPacket(conn)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		reply := func(tag ber.Tag, code uint16, entry ...*ber.Packet) {
			for _, e := range entry {
				_, _ = conn.Write(message(id, e).Bytes())
			}
			r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
			r.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
			r.AppendChild(text(""))
			r.AppendChild(text(""))
			_, _ = conn.Write(message(id, r).Bytes())
		}
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			name, password := op.Children[1].Data.String(), op.Children[2].Data.String()
			switch {
			case !encrypted && !d.clear:
				reply(ldap.ApplicationBindResponse, ldap.LDAPResultConfidentialityRequired)
			case name == testUser && (password == "secret" || d.anyPassword):
				user = name
				reply(ldap.ApplicationBindResponse, ldap.LDAPResultSuccess)
			default:
				reply(ldap.ApplicationBindResponse, ldap.LDAPResultInvalidCredentials)
			}
		case ldap.ApplicationSearchRequest:
			entries := d.search(op.Children[0].Data.String(), user)
			code := uint16(ldap.LDAPResultSuccess)
			if len(entries) == 0 {
				code = ldap.LDAPResultNoSuchObject
			}
			reply(ldap.ApplicationSearchResultDone, code, entries...)
		case ldap.ApplicationModifyRequest:
			for _, c := range op.Children[1].Children {
				value := c.Children[1].Children[1].Children[0].Data.String()
				switch {
				case d.forgets:
				case c.Children[0].Value.(int64) == ldap.AddAttribute:
					d.description = append(d.description, value)
				default:
					d.description = slices.DeleteFunc(d.description, func(s string) bool { return s == value })
				}
			}
			reply(ldap.ApplicationModifyResponse, ldap.LDAPResultSuccess)
		case ldap.ApplicationExtendedRequest:
			if d.noTLS {
				reply(ldap.ApplicationExtendedResponse, ldap.LDAPResultProtocolError)
				continue
			}
			reply(ldap.ApplicationExtendedResponse, ldap.LDAPResultSuccess)
			conn, encrypted = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{d.cert}}), true //nolint:gosec // a test's
		default:
			return
		}
	}
}

func (d *directory) search(dn, user string) []*ber.Packet {
	base := d.base
	if base == "" {
		base = testBase
	}
	switch {
	case dn == "":
		return []*ber.Packet{entry("", "namingContexts", base)}
	case dn == testUser && user == testUser:
		return []*ber.Packet{entry(dn, "description", d.description...)}
	case d.hash:
		return []*ber.Packet{entry(dn, "userPassword", "{CRYPT}$6$x")}
	case d.openToAll && dn == testBase:
		return []*ber.Packet{entry(dn, "o", "office")}
	}
	return nil
}

func message(id int64, op *ber.Packet) *ber.Packet {
	m := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	m.AppendChild(op)
	return m
}

func text(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func entry(dn, name string, values ...string) *ber.Packet {
	set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
	for _, v := range values {
		set.AppendChild(text(v))
	}
	attr := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	attr.AppendChild(text(name))
	attr.AppendChild(set)
	attrs := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	attrs.AppendChild(attr)
	e := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	e.AppendChild(text(dn))
	e.AppendChild(attrs)
	return e
}

func TestLDAP(t *testing.T) {
	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	cert := web.TLS.Certificates[0]
	for _, c := range []struct {
		name   string
		d      directory
		secret string
		want   Status
		says   string
	}{
		{"right", directory{}, "secret", Pass, "wrote and read back"},
		{"the account has another password", directory{}, "other", Fail, "log in as " + testUser},
		{"any password will do", directory{anyPassword: true}, "secret", Fail, "a wrong password"},
		{"any password will do in clear", directory{anyPassword: true, clear: true}, "secret", Fail, "a wrong password"},
		{"takes passwords in clear", directory{clear: true}, "secret", Warn, "taken in clear"},
		{"anybody may search", directory{openToAll: true}, "secret", Warn, "without login"},
		{"anybody sees passwords", directory{hash: true}, "secret", Fail, "password's hash"},
		{"no TLS", directory{noTLS: true}, "secret", Fail, "STARTTLS"},
		{"forgets what was written", directory{forgets: true}, "secret", Fail, "other than written"},
		{"right, with TLS from the start", directory{fromStart: true}, "secret", Pass, "wrote and read back"},
		{"any password will do, with TLS from the start", directory{fromStart: true, anyPassword: true}, "secret", Fail, "a wrong password"},
		{"anybody sees passwords, with TLS from the start", directory{fromStart: true, hash: true}, "secret", Fail, "password's hash"},
		{"is for another domain", directory{base: "dc=old,dc=example"}, "secret", Fail, "dc=old,dc=example"},
	} {
		c.d.cert = cert
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				c.d.serve(conn)
			}
		}()
		target := at(t, l.Addr().String(), map[string]string{"base": testBase, "user": testUser})
		target.Secret, target.Observer = c.secret, "left"
		if c.d.fromStart {
			target.Params["tls"] = "start"
		}
		for range 2 {
			got := LDAP(t.Context(), target)
			if got.Status != c.want || !strings.Contains(got.Evidence, c.says) {
				t.Errorf("%s: LDAP = %+v; want %s with %q", c.name, got, c.want, c.says)
			}
			if strings.Contains(got.Evidence+got.Next, c.secret+" ") {
				t.Errorf("%s: LDAP tells the secret: %+v", c.name, got)
			}
		}
		_ = l.Close()
		<-ended
		if n := len(c.d.description); n > 1 {
			t.Errorf("%s: two runs left %d values in the entry; want one", c.name, n)
		}
	}
}
