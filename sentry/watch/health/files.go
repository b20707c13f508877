package health

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// Where the files lie, relative to Config.Root.
const (
	certificatesDir = "etc/ssl/atlas"
	logsDir         = "var/log"
)

func (r *rules) certificates(_ context.Context, now time.Time) ([]claim, error) {
	list, bad := r.w.cfg.Root.Certificates(certificatesDir)
	if len(list)+len(bad) == 0 {
		return nil, fmt.Errorf("no certificate in /%s: %w", certificatesDir, reading.ErrAbsent)
	}
	r.w.note(func(n *Numbers) { n.Certificates = list })
	var out []claim
	for _, p := range bad {
		out = append(out, claim{Finding: finding("certificate-"+slug(path.Base(p)), "warning", p, "The certificate "+p+" cannot be read: services that encrypt may not start with it.",
			"Put the right file there, then: atlas-certificate ensure.")})
	}
	for _, c := range list {
		next := "Put the new one in its place (with its chain), then: atlas-certificate ensure, and `atlas service reload` of the services that use it."
		if c.Own && path.Base(c.Path) == "site.crt" {
			next = "Renew it on the primary: atlas-certificate renew."
		}
		id := "certificate-" + slug(path.Base(c.Path))
		if now.Before(c.From) {
			out = append(out, claim{Finding: finding(id, "warning", c.Path, fmt.Sprintf("The certificate for %s is valid from %s on only: clients refuse it until then.", c.Name, c.From.Local().Format("2 January 2006, 15:04")),
				"See that the server's clock is right; else get another certificate.")})
			continue
		}
		left := c.Until.Sub(now)
		words := fmt.Sprintf("The certificate for %s ends on %s. From then on clients refuse it: no mail, no web pages.", c.Name, c.Until.Local().Format("2 January 2006, 15:04"))
		if left <= 0 {
			words = fmt.Sprintf("The certificate for %s has ended on %s: clients refuse it.", c.Name, c.Until.Local().Format("2 January 2006, 15:04"))
		}
		r.judge(&out, -float64(left), falling(float64(certWarn), float64(certCrit), 0), claim{Finding: finding(id, "", c.Path, words, next)})
	}
	return out, nil
}

// growing looks for a log that grows fast or is very large. Rotated ones are of the past, and counted with the others only.
func (r *rules) growing(_ context.Context, now time.Time) ([]claim, error) {
	if !r.w.cfg.Facts().Serving {
		return nil, fmt.Errorf("no disk set is started: %w", reading.ErrAbsent)
	}
	sizes := r.w.cfg.Root.Sizes(logsDir)
	var all int64
	var out []claim
	for _, p := range slices.Sorted(maps.Keys(sizes)) {
		size := sizes[p]
		all += size
		c := r.logs[p]
		if c == nil {
			c = &counter{}
			r.logs[p] = c
		}
		grown := c.growth(now, uint64(max(size, 0)), logWindow)
		told := r.w.severity("health-log-" + slug(strings.TrimPrefix(p, "/var/log/")))
		if size < logLarge && grown < logGrowth && (told == "" || size < logLargeEnd) {
			continue
		}
		words := fmt.Sprintf("The log %s is %s large", p, bytes(uint64(size)))
		if grown >= logGrowth {
			words += fmt.Sprintf(" and has grown by %s in an hour", bytes(grown))
		}
		out = append(out, claim{
			Finding: finding("log-"+slug(strings.TrimPrefix(p, "/var/log/")), "warning", p, words+". It fills the disk set, and what it repeats is most often a fault.",
				"See what it says (`tail "+p+"`), mend that or let the service tell less, and see that logrotate knows the file."),
			hold: logHold, is: []string{"log"}, because: []string{"space set"}, short: strings.TrimSuffix(words, "."),
		})
	}
	maps.DeleteFunc(r.logs, func(p string, _ *counter) bool { _, ok := sizes[p]; return !ok })
	r.w.note(func(n *Numbers) { n.LogBytes = all })
	return out, nil
}
