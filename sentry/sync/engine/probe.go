package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Prober has the Verifier's transactions made with the services of this server.
type Prober interface {
	// Standing tells what each probe of the services had found last at a time. It runs none.
	Standing(services []string, at time.Time) []Probed
	// Probe runs those that which picks now, all at once, each within its own limit of time. It ends with ctx. What met a service before that had
	// taken up what it was last told (to restart, to read its files again) is Starting.
	Probe(ctx context.Context, which func(service, probe string) bool) []Probed
}

// Probed is what a probe of a service has found.
type Probed struct {
	Service string `json:"service"`
	Name    string `json:"name"`  // in the service's pack
	Title   string `json:"title"` // for people
	Found   Found  `json:"found"`
	Words   string `json:"words"` // what was seen
}

// Found sums up what a probe has found.
type Found string

// What probes find.
const (
	Good     Found = "good"
	Bad      Found = "bad"
	Starting Found = "starting" // the service is on its way: too early to tell
	Untold   Found = "untold"   // nothing that speaks for or against a change
	Awaited  Found = "awaited"  // it has found nothing yet since Sentry was started
)

func (p Probed) key() string { return p.Service + "/" + p.Name }

func (p Probed) String() string {
	if p.Found == Starting {
		return fmt.Sprintf("the probe “%s” waits: the service does not get ready", p.Title)
	}
	return fmt.Sprintf("the probe “%s” says: %s", p.Title, p.Words)
}

// refresh runs the other probes of services, those that were not good before: a change may have mended them, and the next one is measured by
// what they have found last.
func (e *Engine) refresh(ctx context.Context, services, done []string) {
	if e.cfg.Prober != nil && len(services) > 0 && ctx.Err() == nil {
		e.cfg.Prober.Probe(ctx, func(service, probe string) bool {
			return slices.Contains(services, service) && !slices.Contains(done, service+"/"+probe)
		})
	}
}

// patience is how long probes may fail before that counts.
type patience struct {
	runs  int           // at least so many
	quick time.Duration // and not before: a service that was restarted needs a moment
	start time.Duration // for a service that says itself that it is not ready
}

// sameHand is how long after a change the hand that made it may need to tell the service of it: sed … && service … reload. A probe that begins
// sooner may meet the service as it was before, and is no proof. What the Prober knows of services that are being told comes on top.
const sameHand = time.Second

var (
	gatePatience = patience{runs: 2, start: 30 * time.Second}                          // one lost packet is no reason
	twinPatience = patience{runs: 3, quick: 15 * time.Second, start: 2 * time.Minute}  // services have just been told
	lookPatience = patience{runs: 3, quick: 15 * time.Second, start: 30 * time.Second} // after the way back: to know, and nothing hangs on it
)

// comeUp is how long probes may be missing: right after the start of Sentry they are still being set up.
const comeUp = 10 * time.Second

// prove runs probes until all are good, or patience is at an end: then it gives those that are not.
func (e *Engine) prove(ctx context.Context, keys []string, p patience) []Probed {
	begun := time.Now()
	keys = slices.DeleteFunc(slices.Clone(keys), func(key string) bool { service, _, _ := strings.Cut(key, "/"); return !e.runs(service) })
	ready := begun // since when no service was still starting
	wait := 250 * time.Millisecond
	for run := 1; len(keys) > 0; run++ {
		var bad []Probed
		starting := false
		missing := slices.Clone(keys)
		for _, r := range e.cfg.Prober.Probe(ctx, func(service, probe string) bool { return slices.Contains(keys, service+"/"+probe) }) {
			missing = slices.DeleteFunc(missing, func(key string) bool { return key == r.key() })
			if r.Found == Bad || r.Found == Starting {
				bad = append(bad, r)
				starting = starting || r.Found == Starting
			}
		}
		if time.Since(begun) > comeUp {
			missing = nil
		}
		if len(bad)+len(missing) == 0 || ctx.Err() != nil {
			return nil
		}
		if now := time.Now(); starting && now.Sub(begun) < p.start {
			ready, run = now, 0
		} else if len(bad) > 0 && run >= p.runs && now.Sub(ready) >= p.quick {
			return bad
		}
		keys = missing
		for _, r := range bad {
			keys = append(keys, r.key())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, 2*time.Second)
	}
	return nil
}
