package engine

import (
	"context"
	"fmt"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/state"
)

// notTried begins the names of findings about services that could not be started on a copy.
const notTried = "sync-not-tried-"

// trials are those of the services that a change concerns, where it was converted from another release: their checkers do not see everything,
// and between equal releases the primary works with the same text already.
func (e *Engine) trials(head, target state.Commit, services []string) []check.Check {
	if target.ID == head.ID || e.facts.Trials == nil {
		return nil
	}
	return e.facts.Trials(services)
}

// startOnCopy starts the daemons, one after the other, on what is about to be live. It gives the first that does not work with it. One that
// could not be tried at all is told, and does not hold a change up: its checker has taken it, and its probes follow.
func (e *Engine) startOnCopy(ctx context.Context, trials []check.Check, c *check.Candidate) (check.Verdict, bool) {
	one := e.cfg.Helper
	one.Parallel = 1
	for _, k := range trials {
		e.beat() // each takes its time
		v := one.Run(ctx, []check.Check{k}, c)[0]
		e.log.Info("service tried on a copy", "service", k.Service, "result", v.Result, "took", v.Duration)
		switch v.Result {
		case check.Fail:
			return v, false
		case check.Pass:
			e.cfg.Findings.Clear(notTried + k.Service)
		default:
			e.cfg.Findings.Set(initapi.Finding{
				ID: notTried + k.Service, Severity: "warning", Where: e.cfg.Server,
				What: fmt.Sprintf("%s could not be tried with its converted configuration on %s before it became live (%s).", e.title(k.Service), e.cfg.Server, mistake(v.Output)),
				Next: "Look whether the service works on " + e.cfg.Server + ": atlas verify. It is tried again with its next change.",
			})
		}
	}
	return check.Verdict{}, true
}
