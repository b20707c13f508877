package health

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
)

// claim is what a source finds at one look.
type claim struct {
	initapi.Finding
	after time.Duration // it has to stand for so long before it is told
	hold  time.Duration // and stays told until it has been away for so long
	// is are names by which it explains others, "disk sdb"; because are names of what explains it, the likeliest first.
	is, because []string
	short       string // how it is told under its cause; "" = as it is
}

// board remembers claims by the finding's ID and severity: what is critical counts as a warning too, so that neither getting worse nor getting better
// makes a finding come anew.
type board map[key]*entry

type key struct{ id, severity string }

type entry struct {
	claim
	source      string
	first, last time.Time
	told        bool
}

// see takes in all that source claims now; what it claimed before and does not any more ends in its time.
func (b board) see(source string, now time.Time, claims []claim) {
	here := map[key]bool{}
	put := func(c claim) {
		k := key{c.ID, c.Severity}
		if here[k] {
			return
		}
		here[k] = true
		e := b[k]
		if e == nil {
			e = &entry{first: now}
			b[k] = e
		}
		e.claim, e.source, e.last = c, source, now
		if now.Sub(e.first) >= c.after {
			e.told = true
		}
	}
	// The worst first: its words are those of the warning that it is too.
	slices.SortStableFunc(claims, func(x, y claim) int { return cmp.Compare(rank(x.Severity), rank(y.Severity)) })
	for _, c := range claims {
		put(c)
		if c.Severity == "critical" {
			c.Severity = "warning"
			put(c)
		}
	}
	for k, e := range b {
		if e.source == source && !here[k] && (!e.told || now.Sub(e.last) >= e.hold) {
			delete(b, k)
		}
	}
}

func rank(severity string) int {
	return slices.Index([]string{"critical", "warning", "info"}, severity)
}

// severity is as what id is told; "" if it is not.
func (b board) severity(id string) string {
	for _, s := range []string{"critical", "warning", "info"} {
		if e := b[key{id, s}]; e != nil && e.told {
			return s
		}
	}
	return ""
}

// told are the claims that are findings now, each once, the worst first. Since is when the finding began, as whatever.
func (b board) told() []claim {
	byID := map[string]claim{}
	for k, e := range b {
		if !e.told {
			continue
		}
		c := e.claim
		c.Since = e.first
		if old, ok := byID[k.id]; ok {
			since := c.Since
			if old.Since.Before(since) {
				since = old.Since
			}
			if rank(old.Severity) < rank(c.Severity) {
				c = old
			}
			c.Since = since
		}
		byID[k.id] = c
	}
	out := make([]claim, 0, len(byID))
	for _, c := range byID {
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y claim) int {
		return cmp.Or(cmp.Compare(rank(x.Severity), rank(y.Severity)), strings.Compare(x.ID, y.ID))
	})
	return out
}

// limit is for numbers that are bad when they are high: crit 0 = never critical. Once told, a number has to come back by back before it is not any more.
type limit struct{ warn, crit, back float64 }

// level judges v, which is told as told now. "" is good.
func (l limit) level(v float64, told string) string {
	switch {
	case l.crit != 0 && (v >= l.crit || told == "critical" && v > l.crit-l.back):
		return "critical"
	case v >= l.warn || told != "" && v > l.warn-l.back:
		return "warning"
	}
	return ""
}

// falling is for numbers that are bad when they are low; it takes -v.
func falling(warn, crit, back float64) limit {
	if crit == 0 {
		return limit{-warn, 0, back}
	}
	return limit{-warn, -crit, back}
}

// standing is the claim that is told as id with that severity.
func (w *Watcher) standing(id, severity string) (claim, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.board[key{id, severity}]
	if e == nil {
		return claim{}, false
	}
	return e.claim, true
}
