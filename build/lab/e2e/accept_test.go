package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAccept: a finding that an administrator has accepted on the primary does not count on either server, and counts again when the other server is
// told so.
func TestAccept(t *testing.T) {
	p := use(t, "namespace").pair(t)
	verdict := func(server, want, reason, accepted string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s says %s, for %q, with %q accepted", server, want, reason, accepted), 4*time.Minute, func() error {
			r, _, _ := p.ready(t, server)
			if r.Verdict != want || reason != "" && (len(r.Reasons) == 0 || r.Reasons[0].ID != reason) {
				return fmt.Errorf("%w: %+v", errNotYet, r)
			}
			if accepted == "" && len(r.Accepted) == 0 {
				return nil
			}
			if len(r.Accepted) != 1 || r.Accepted[0].ID != accepted || !strings.Contains(r.Accepted[0].Accepted.Who, "root") || r.Accepted[0].Accepted.Why != "its backup is moved" {
				return fmt.Errorf("%w: %+v", errNotYet, r.Accepted)
			}
			return nil
		})
	}
	verdict(p.primary, "yes", "", "")
	p.on(t, p.secondary, "atlas service stop cron")
	t.Cleanup(func() { p.on(t, p.secondary, "atlas service start cron") })
	id := "service-cron-" + p.secondary
	verdict(p.primary, "no", id, "")
	if out, err := p.lab(time.Minute, "exec", p.primary, "--", "atlas", "accept", id); err == nil {
		t.Errorf("accepted without a reason: %s", out)
	}
	t.Log(p.client(t, "sh", "-c", p.ssh(p.primary, "atlas accept "+id+" --until 2h --why 'its backup is moved'")))
	verdict(p.primary, "yes", "", id)
	verdict(p.secondary, "yes", "", id)
	t.Logf("%s\n%s", p.on(t, p.secondary, "atlas accept --list"), p.on(t, p.secondary, "atlas ready"))
	p.on(t, p.secondary, "atlas accept --end "+id)
	verdict(p.secondary, "no", id, "")
	verdict(p.primary, "no", id, "")
}
