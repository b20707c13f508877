package verify

import (
	"os"
	"testing"
	"time"
)

// TestReal tries the transactions on real services of the lab's site; ATLAS_SMB, ATLAS_MYSQL, ATLAS_LDAP and ATLAS_KERBEROS name
// their addresses and ports, ATLAS_SECRET the verification account's password.
func TestReal(t *testing.T) {
	for name, kind := range map[string]Run{"SMB": SMB, "MYSQL": MySQL, "LDAP": LDAP, "KERBEROS": Kerberos} {
		addr := os.Getenv("ATLAS_" + name)
		if addr == "" {
			t.Logf("ATLAS_%s is not set", name)
			continue
		}
		target := at(t, addr, map[string]string{"share": "atlas-verify", "base": testBase, "realm": "OFFICE.EXAMPLE", "service": "host/office.office.example"})
		if name == "LDAP" {
			target.Params["user"] = testUser
		}
		target.Secret = os.Getenv("ATLAS_SECRET")
		for range 3 {
			from := time.Now()
			got := kind(t.Context(), target)
			t.Logf("%s: %+v in %s", name, got, time.Since(from))
			if got.Status != Pass {
				t.Errorf("%s = %+v; want pass", name, got)
			}
		}
		target.Secret = "wrong"
		from := time.Now()
		got := kind(t.Context(), target)
		t.Logf("%s: %+v in %s", name, got, time.Since(from))
		if got.Status != Fail {
			t.Errorf("%s with a wrong password = %+v; want fail", name, got)
		}
	}
}
