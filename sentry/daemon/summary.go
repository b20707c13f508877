package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

// writeSummary writes what init's console shows of sentry.
func (d *Daemon) writeSummary(s site.Site) {
	if d.cfg.SummaryFile == "" {
		return
	}
	sum := Summary(s, d.server.Name)
	// A server that knows no other offers its join code by itself: it was just installed.
	if len(s.Servers) == 1 {
		if off, err := d.offers.Show(false); err == nil {
			sum.JoinCode = off.Code
		}
	}
	if a := d.address(); a != "" {
		sum.Dashboard = "https://" + a + ":" + strconv.Itoa(d.cfg.PagePort) + "/"
	}
	if err := writeWhole(d.cfg.SummaryFile, sum); err != nil {
		d.log.Warn("summary for the console not written", "err", err)
	}
}

// Summary sums s up for the console of server.
func Summary(s site.Site, server string) initapi.Summary {
	sum := initapi.Summary{Written: s.At, Verdict: s.Readiness.Verdict, Reasons: []string{}, Peers: []initapi.PeerSummary{}, Services: []initapi.ServiceSummary{}}
	for _, r := range s.Readiness.Reasons {
		sum.Reasons = append(sum.Reasons, r.Text)
	}
	for _, r := range s.Readiness.Accepted {
		sum.Notes = append(sum.Notes, "accepted by "+r.Accepted.Who+" until "+r.Accepted.Until.Local().Format("2 Jan 15:04")+": "+r.Text)
	}
	for _, v := range s.ByRole(roles.Secondary) {
		if words := site.StartWords(s.Ledger, v.Name); words != "" {
			sum.Notes = append(sum.Notes, v.Name+": l"+words[1:])
		}
	}
	for i, f := range s.Findings {
		if f.Accepted != nil {
			continue
		}
		if i == 0 && f.Severity != "info" {
			sum.Worst = &s.Findings[0]
		}
		if f.Severity != "info" {
			sum.Findings++
		}
	}
	verdicts := map[string]string{}
	var order []string
	for _, v := range s.Servers {
		if !v.Self {
			p := initapi.PeerSummary{Name: v.Name, Address: v.Address, State: initapi.VerdictUnknown, Seen: v.Seen}
			if v.Fresh(s.At) && v.State != nil {
				p.State, p.Role = v.State.State, string(v.Role())
			}
			sum.Peers = append(sum.Peers, p)
		}
		if !v.Fresh(s.At) {
			continue
		}
		for _, r := range v.Probes {
			if r.Target != server || r.Minor {
				continue
			}
			word := countProbe(&sum.Probes, r, s.At.Add(v.Ahead))
			if word == "" {
				continue
			}
			old, ok := verdicts[r.Service]
			if !ok {
				order = append(order, r.Service)
			}
			if !ok || word == "fail" || (word == "unknown" && old == "pass") {
				verdicts[r.Service] = word
			}
		}
	}
	for _, name := range order {
		sum.Services = append(sum.Services, initapi.ServiceSummary{Name: name, Verdict: verdicts[name]})
	}
	return sum
}

func countProbe(c *initapi.ProbeCount, r verify.Result, now time.Time) string {
	switch {
	case r.Standing() == verify.NotApplicable:
		return ""
	case r.Stale(now), r.Standing() == verify.Unknown, r.Standing() == verify.Skipped:
		c.Unknown++
		return "unknown"
	case r.Standing() == verify.Fail:
		c.Fail++
		return "fail"
	}
	c.Pass++
	return "pass"
}

// writeWhole replaces path, so that a reader sees the old or the new file. It lies in memory: no fsync.
func writeWhole(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
