package site

import (
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/watch/health"
)

// TestHealth: what is critical about either server's own health stands in the way of a swap, what is a warning is told, and a watch that stands still
// makes the verdict unknown.
func TestHealth(t *testing.T) {
	found := func(server int, severity string) func(*Site) {
		return func(s *Site) {
			s.Servers[server].Report.Health = &health.Status{At: now, Findings: []initapi.Finding{
				{ID: "health-disk-sda", Severity: severity, Where: "bay 1", What: "The disk in bay 1 is failing.", Next: "Replace it.", Since: now.Add(-time.Hour)},
			}}
		}
	}
	for _, c := range []struct {
		name             string
		change           func(*Site)
		verdict, finding string
	}{
		{"an older version that does not watch", func(*Site) {}, initapi.VerdictYes, ""},
		{"healthy", func(s *Site) { s.Servers[0].Report.Health = &health.Status{At: now} }, initapi.VerdictYes, ""},
		{"a warning of the secondary", found(1, "warning"), initapi.VerdictYes, "health-disk-sda-right"},
		{"critical on the secondary", found(1, "critical"), initapi.VerdictNo, "health-disk-sda-right"},
		{"critical on the primary", found(0, "critical"), initapi.VerdictNo, "health-disk-sda-left"},
		{"the watch stands still", func(s *Site) { s.Servers[1].Report.Health = &health.Status{At: now.Add(-10 * time.Minute)} }, initapi.VerdictUnknown, "health-silent-right"},
		{"accepted", func(s *Site) {
			found(1, "critical")(s)
			s.Accepted = []accept.Acceptance{{Finding: "health-disk-sda-right", Severity: "critical", Who: "admin", At: now.Add(-time.Minute), Until: now.Add(time.Hour)}}
		}, initapi.VerdictYes, "health-disk-sda-right"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pair()
			c.change(&s)
			s = Judge(s)
			if s.Readiness.Verdict != c.verdict {
				t.Errorf("verdict %s; want %s: %+v", s.Readiness.Verdict, c.verdict, s.Readiness.Reasons)
			}
			var got []string
			for _, f := range s.Findings {
				if strings.HasPrefix(f.ID, "health-") {
					got = append(got, f.ID)
					if server := f.ID[strings.LastIndex(f.ID, "-")+1:]; !strings.HasPrefix(f.Where, server) {
						t.Errorf("%s is at %q, which does not name %s", f.ID, f.Where, server)
					}
				}
			}
			if strings.Join(got, " ") != c.finding {
				t.Errorf("findings %v; want %q", got, c.finding)
			}
			if len(s.Readiness.Reasons) > 0 && s.Readiness.Reasons[0].ID != c.finding {
				t.Errorf("reason %s; want that of the finding %s", s.Readiness.Reasons[0].ID, c.finding)
			}
		})
	}
}
