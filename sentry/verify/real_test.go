package verify

import (
	"os"
	"testing"
	"time"
)

// TestReal tries the transactions on real services; ATLAS_SMB and ATLAS_MYSQL name their addresses and ports, ATLAS_SECRET the
// verification account's password.
func TestReal(t *testing.T) {
	for name, kind := range map[string]Kind{"SMB": SMB, "MYSQL": MySQL} {
		addr := os.Getenv("ATLAS_" + name)
		if addr == "" {
			t.Logf("ATLAS_%s is not set", name)
			continue
		}
		target := at(t, addr, map[string]string{"share": "atlas-verify"})
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
