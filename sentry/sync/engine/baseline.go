package engine

import (
	"slices"
	"time"

	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// baseline is which probes were good before a change: only their failing speaks against it.
type baseline struct {
	Services []string `json:"services"` // that were looked at
	Good     []string `json:"good"`     // Probed.key
}

// noteStanding adds how the probes of services stood at a time, of those services that are not known from before.
func (e *Engine) noteStanding(b *baseline, services []string, at time.Time) {
	services = slices.DeleteFunc(slices.Clone(services), func(s string) bool { return slices.Contains(b.Services, s) || !e.runs(s) })
	if e.cfg.Prober == nil || len(services) == 0 {
		return
	}
	b.Services = slices.Concat(b.Services, services)
	for _, p := range e.cfg.Prober.Standing(services, at) {
		switch p.Found {
		case Good:
			b.Good = append(b.Good, p.key())
		case Bad:
			e.log.Info("this probe failed before the change: it does not speak against it", "service", p.Service, "probe", p.Name)
		}
	}
}

// of are the good probes of some services.
func (b baseline) of(services []string) []string {
	var out []string
	for _, key := range b.Good {
		if slices.ContainsFunc(services, func(s string) bool { return len(key) > len(s) && key[:len(s)+1] == s+"/" }) {
			out = append(out, key)
		}
	}
	return out
}

// heldFile remembers which probes were good before what is being judged or held back, from before the change is recorded until it is sent on:
// Sentry forgets their results when it ends, and a new one would measure the change by what it finds with it.
const heldFile = "held"

type keptBaseline struct {
	Allowed string `json:"allowed"`        // gate.allowed
	Next    string `json:"next,omitempty"` // what it is about to be
	baseline
}

// recordedWithin is how long ago a change may have been made that has just been recorded.
const recordedWithin = 3 * time.Second

// beforehand notes, durably, how the probes stood before changes that are about to be recorded.
func (e *Engine) beforehand(edits []history.Edit) {
	if e.cfg.Sender == nil || e.cfg.Prober == nil || e.gate.allowed == "" {
		return
	}
	changes := make([]state.Change, len(edits))
	for i, d := range edits {
		changes[i].Path = d.Path
	}
	e.noteBefore(e.probed(changes))
}

// noteBefore adds how the probes of services stood before what has just changed. Where that says something new it is kept.
func (e *Engine) noteBefore(services []string) {
	g := &e.gate
	known := len(g.was.Good)
	e.noteStanding(&g.was, services, time.Now().Add(-recordedWithin))
	if len(g.was.Good) > known {
		e.save() // gate.allowed, by which it is known again
		g.kept = true
		e.remember(heldFile, keptBaseline{Allowed: g.allowed, baseline: g.was})
	}
}

// keepNext has the baseline found again when c is what is allowed: a part of what it is for may still be judged then.
func (e *Engine) keepNext(c state.Commit) {
	if g := &e.gate; g.kept && g.seen != c.ID && g.seen != "" {
		e.remember(heldFile, keptBaseline{Allowed: g.allowed, Next: c.ID, baseline: g.was})
	}
}

// dropBaseline forgets what was kept, after what is allowed is remembered: else that would be judged once more, by nothing.
func (e *Engine) dropBaseline() {
	if e.gate.kept {
		e.gate.kept = false
		e.save()
		e.forget(heldFile)
	}
}

// recallBaseline takes up what was being judged, or was held back, when the last engine ended.
func (e *Engine) recallBaseline() {
	var k keptBaseline
	if e.recall(heldFile, &k) && e.gate.allowed != "" && (k.Allowed == e.gate.allowed || k.Next == e.gate.allowed) {
		e.gate.was, e.gate.kept = k.baseline, true
	}
}
