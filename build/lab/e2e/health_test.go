package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	judged "sayasystems.com/atlas/sentry/site"
)

// TestHealth: a certificate that ends tomorrow is found by each server's watch over itself, told by both, stands in the way of a swap, and does not
// any more once it is gone. What else is watched is the kernel's or the hardware's, which this lab's servers have none of.
func TestHealth(t *testing.T) {
	p := use(t, "namespace").pair(t)
	verdict := func(want string, told bool) {
		t.Helper()
		id := "health-certificate-lab-crt-" + p.primary
		for _, server := range []string{p.primary, p.secondary} {
			eventually(t, fmt.Sprintf("%s says %s, with %s: %v", server, want, id, told), 6*time.Minute, func() error {
				r, _, _ := p.ready(t, server)
				has := slices.ContainsFunc(r.Reasons, func(v judged.Reason) bool { return v.ID == id })
				if r.Verdict != want || has != told {
					return fmt.Errorf("%w: %+v", errNotYet, r)
				}
				return nil
			})
		}
	}
	verdict("yes", false)
	const crt = "/etc/ssl/atlas/lab.crt"
	p.on(t, p.primary, "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -days 1 -subj /CN=lab.example -out "+crt)
	t.Cleanup(func() { p.on(t, p.primary, "rm -f "+crt) })
	verdict("no", true)
	var out string
	eventually(t, p.secondary+" tells of both servers' certificates", 2*time.Minute, func() error {
		out = p.on(t, p.secondary, "atlas findings")
		if !strings.Contains(out, "The certificate for lab.example ends on") || !strings.Contains(out, "health-certificate-lab-crt-"+p.secondary) {
			return fmt.Errorf("%w:\n%s", errNotYet, out)
		}
		return nil
	})
	t.Log(out)
	p.on(t, p.primary, "rm "+crt)
	verdict("yes", false)
}
