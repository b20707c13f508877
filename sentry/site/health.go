package site

import (
	"fmt"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
)

// healthSilent is for how long a server's watch over itself may stand still; it looks every few seconds.
const healthSilent = 3 * time.Minute

// healthFindings are what v has found of its own health. A server whose version does not watch it yet tells nothing.
func healthFindings(v Server) []initapi.Finding {
	h := v.Report.Health
	if h == nil {
		return nil
	}
	var out []initapi.Finding
	if v.Report.At.Sub(h.At) > healthSilent {
		out = append(out, initapi.Finding{
			ID: "health-silent-" + v.Name, Severity: "critical", Where: v.Name, Since: ours(h.At, v),
			What: fmt.Sprintf("%s has not looked at its own health (disks, memory, sensors) since %s.", strings.ToUpper(v.Name), Clock(ours(h.At, v))),
			Next: "If it stays so, restart the server when it suits.",
		})
	}
	for _, f := range h.Findings {
		f.Where = strings.TrimSuffix(v.Name+", "+f.Where, ", ")
		f.ID += "-" + v.Name // the other server may have found the same of itself
		f.Since = ours(f.Since, v)
		out = append(out, f)
	}
	return out
}

// healthTroubles are those of them that stand in the way of a swap: the server could fail soon, or could not do its work.
func healthTroubles(s Site) []trouble {
	var out []trouble
	for _, v := range s.Servers {
		if !v.Fresh(s.At) {
			continue
		}
		for _, f := range healthFindings(v) {
			if f.Severity != "critical" {
				continue
			}
			out = append(out, trouble{rank: rankFinding, Reason: Reason{
				ID: f.ID, Server: v.Name, Text: strings.ToUpper(v.Name) + ": " + f.What, Next: f.Next, Since: f.Since, Unknown: f.ID == "health-silent-"+v.Name,
			}})
		}
	}
	return out
}
