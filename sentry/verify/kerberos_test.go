package verify

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// refusing is the address of a centre that answers everything with one error.
func refusing(t *testing.T, code int32) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	e := messages.NewKRBError(types.NewPrincipalName(2, "krbtgt/OFFICE.EXAMPLE"), "OFFICE.EXAMPLE", code, "")
	answer, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var n [4]byte
			if _, err := io.ReadFull(c, n[:]); err == nil {
				_, _ = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(n[:])))
			}
			_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...))
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// Tickets are made by a real centre only, in the lab; here it is told apart why there are none.
func TestKerberosRefused(t *testing.T) {
	for _, c := range []struct {
		code int32
		says string
	}{
		{errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN, "KDC_ERR_C_PRINCIPAL_UNKNOWN"},
		{errorcode.KDC_ERR_CLIENT_REVOKED, "KDC_ERR_CLIENT_REVOKED"},
		{errorcode.KRB_AP_ERR_SKEW, "KRB_AP_ERR_SKEW"},
	} {
		target := at(t, refusing(t, c.code), map[string]string{"realm": "OFFICE.EXAMPLE", "service": "host/office.office.example"})
		target.Secret = "secret-1234"
		got := Kerberos(t.Context(), target)
		if got.Status != Fail || got.Next == "" || !strings.Contains(got.Evidence, c.says) {
			t.Errorf("Kerberos, answer %d = %+v; want fail with %q", c.code, got, c.says)
		}
		if strings.Contains(got.Evidence, target.Secret) {
			t.Errorf("Kerberos tells the secret: %+v", got)
		}
	}
}

func TestDirectoryParams(t *testing.T) {
	for name, kind := range map[string]Run{"ldap": LDAP, "kerberos": Kerberos} {
		target := at(t, closedPort(t), nil)
		target.Secret = "secret"
		if got := kind(t.Context(), target); got.Status != Unknown {
			t.Errorf("%s without parameters = %+v; want unknown", name, got)
		}
	}
}
