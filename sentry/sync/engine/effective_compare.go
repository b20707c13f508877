package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/convert/effective"
	releases "sayasystems.com/atlas/sentry/convert/facts"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

// findEffective begins the names of findings about settings that are others here: then the service, a slash, the setting.
const findEffective = "sync-effective/"

// mostDiffering is how many settings of a service are told one by one.
const mostDiffering = 12

// compareEffective compares, once a state of the primary is live here, what the services of both make of it.
func (e *Engine) compareEffective(ctx context.Context) {
	a := &e.asked
	if e.cfg.ImageRoot == "" || len(e.facts.Effective) == 0 || a.busy || e.twin.telling != "" {
		return
	}
	head, ok := e.repo.Head(state.Site)
	live, here := e.repo.Head(state.Live)
	if !ok || !here || e.twin.applied != head.ID || e.stale() {
		return
	}
	if head.Image == e.image {
		e.sameEffective()
		return
	}
	now := head.ID + " " + live.ID
	if a.begun && a.head == now {
		return
	}
	theirs := e.theirEffective(head)
	done := map[string]string{}
	for service, key := range a.files {
		if files, record, _ := strings.Cut(key, " "); record == theirs[service].key {
			done[service] = files
		}
	}
	for _, x := range e.facts.Effective {
		if _, told := theirs[x.Service]; !told {
			if files, err := e.filesOf(live.ID, x); err == nil {
				done[x.Service] = files // nothing to compare with
			}
		}
	}
	due, later := e.due(live.ID, done)
	if len(due) == 0 {
		a.head, a.begun = now, !later
		return
	}
	if e.versions.head != head.ID { // since Sentry was started nothing was converted
		if _, err := e.wanted(ctx, head); err != nil {
			e.log.Warn("what conversion told is not known", "err", err)
			return
		}
	}
	told := e.toldWords()
	a.busy = true
	e.background.Go(func() {
		for _, d := range due {
			ours, err := e.ask(ctx, d.x)
			if ctx.Err() != nil {
				return
			}
			_ = e.do(ctx, func(context.Context) error {
				if e.answered(state.Live, d, err) {
					t := theirs[d.x.Service]
					a.files[d.x.Service] = d.files + " " + t.key
					e.tellEffective(d.x, t.Record, ours, told)
				}
				return nil
			})
		}
		_ = e.do(ctx, func(context.Context) error { a.busy = false; e.cfg.Changed(); return nil })
	})
}

// sameEffective: the primary runs the same image, and there is nothing to compare.
func (e *Engine) sameEffective() {
	if len(e.asked.files) > 0 || e.asked.begun {
		e.asked = newAsked()
	}
	e.cfg.Findings.clearAll(findEffective, func(string) bool { return false })
	e.cfg.Findings.clearAll(notAsked, func(string) bool { return false })
}

func newAsked() asked { return asked{files: map[string]string{}, again: map[string]time.Time{}} }

type theirRecord struct {
	effective.Record
	key string // of its text
}

// theirEffective reads what the primary's services said, of those whose files are still the same in its state: what is newer is on its way.
func (e *Engine) theirEffective(head state.Commit) map[string]theirRecord {
	out := map[string]theirRecord{}
	for _, x := range e.facts.Effective {
		entry, ok, err := e.repo.Lookup(head.ID, effectivePath(x.Service))
		if err != nil || !ok {
			continue
		}
		text, err := e.content(entry.Data)
		var r effective.Record
		if err == nil {
			r, err = effective.ParseRecord(text)
		}
		if err != nil {
			e.log.Warn("what the primary's service works with cannot be read", "service", x.Service, "err", err)
			continue
		}
		if files, err := e.filesOf(head.ID, x); err != nil || files != r.Files || strconv.Itoa(r.Release) == e.cfg.Debian {
			continue
		}
		out[x.Service] = theirRecord{r, string(entry.Data)}
	}
	return out
}

// toldWords are what conversion has said of each service, by its pack; "" is of the system.
func (e *Engine) toldWords() map[string][]string {
	service := map[string]string{}
	for _, s := range e.cfg.Steps {
		service[s.ID] = s.Service
	}
	out := map[string][]string{}
	for _, f := range e.versions.told {
		out[service[f.Step]] = append(out[service[f.Step]], f.What+" "+f.Next)
	}
	return out
}

// tellEffective makes findings of what differs without a reason, and takes back those of before.
func (e *Engine) tellEffective(x Effective, theirs effective.Record, ours effective.Settings, told map[string][]string) {
	release, err := strconv.Atoi(e.cfg.Debian)
	if err != nil {
		return
	}
	from, err := releases.Of(theirs.Release)
	if err != nil {
		e.log.Warn("settings of the primary cannot be compared", "service", x.Service, "err", err)
		return
	}
	to, err := releases.Of(release)
	if err != nil {
		e.log.Warn("settings of the primary cannot be compared", "service", x.Service, "err", err)
		return
	}
	words := slices.Concat(told[x.Service], told[x.Rules.Service], told["php"])
	all := effective.Compare(x.Rules, effective.Side{Settings: theirs.Settings, Facts: from, Names: []string{theirs.Server}},
		effective.Side{Settings: ours, Facts: to, Names: append(slices.Clone(x.Names), e.cfg.Server)}, words)
	explained := map[effective.Why]int{}
	keep := map[string]bool{}
	severity := map[bool]string{true: "critical", false: "warning"}
	var more []string
	slices.SortStableFunc(all, func(a, b effective.Difference) int {
		return strings.Compare(strconv.FormatBool(b.Guard), strconv.FormatBool(a.Guard))
	})
	for _, d := range all {
		if d.Why != effective.None {
			explained[d.Why]++
			continue
		}
		if len(keep) >= mostDiffering && !d.Guard {
			more = append(more, d.Name)
			continue
		}
		what, next := d.Words(e.title(x.Service), theirs.Server, e.cfg.Server)
		id := x.Service + "/" + d.Name
		keep[id] = true
		e.log.Warn("a setting differs", "service", x.Service, "setting", d.Name, "primary", d.Theirs, "here", d.Ours)
		e.cfg.Findings.Set(initapi.Finding{ID: findEffective + id, Severity: severity[d.Guard], Where: e.cfg.Server, What: what, Next: next})
	}
	if len(more) > 0 {
		id := x.Service + "/"
		keep[id] = true
		e.cfg.Findings.Set(initapi.Finding{
			ID: findEffective + id, Severity: "warning", Where: e.cfg.Server,
			What: fmt.Sprintf("%s: %d more settings are others on %s than on %s, such as %s.", e.title(x.Service), len(more), e.cfg.Server, theirs.Server, list(more)),
			Next: "All of them stand in the log: atlas service log sentry.",
		})
		e.log.Warn("more settings differ", "service", x.Service, "settings", more)
	}
	e.cfg.Findings.clearAll(findEffective+x.Service+"/", func(rest string) bool { return keep[x.Service+"/"+rest] })
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(explained)) {
		parts = append(parts, fmt.Sprintf("%d: %s", explained[why], why))
	}
	e.log.Info("settings in effect compared", "service", x.Service, "primary", theirs.Release, "here", release, "unexplained", len(keep), "explained", strings.Join(parts, "; "))
}
