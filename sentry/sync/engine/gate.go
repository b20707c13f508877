package engine

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/state"
)

// gate is what stands between the primary's history and the other servers: a change goes on when the checkers of the services that it
// concerns take it, and their probes, those that were good before, still are.
type gate struct {
	allowed string    // newest commit that was sent on
	seen    string    // newest commit that was looked at
	at      time.Time // when that was first looked at
	was     baseline  // of the services that changes since allowed concern
	kept    bool      // was is in heldFile
	busy    string    // commit that is being checked
	bad     string    // commit that was refused; the checkers are asked again when there is another, or after a while
	asked   time.Time
	tries   int // how often bad was refused
	done    chan verdicts
}

type verdicts struct {
	commit state.Commit
	bad    *check.Verdict // the first checker that does not take it; nil if all do
	probe  *Probed        // the first probe that fails; nil if none does
}

// pause is after how long what was refused for the n-th time is asked again: soon at first, since a service may just have been busy with
// its own files.
func (e *Engine) pause(n int) time.Duration { return min(time.Second<<min(n, 6), e.cfg.again) }

// allowedFile remembers gate.allowed over a restart, so that what was held back stays so.
const allowedFile = "allowed"

// allow lets the newest commit go on, at once where it concerns no service, else when the checkers have said yes.
func (e *Engine) allow(ctx context.Context) {
	g := &e.gate
	select {
	case v := <-g.done:
		g.busy = ""
		e.judged(v)
	default:
	}
	head, ok := e.repo.Head(state.Site)
	if !ok {
		return
	}
	e.cfg.Sender.Update(head)
	if head.ID == g.allowed {
		e.let(head)
		return
	}
	fresh := head.ID != g.seen
	later := e.stale() || g.busy != "" || head.ID == g.bad && time.Since(g.asked) < e.pause(g.tries)
	if later && !fresh {
		return
	}
	checks, probes := e.concerned(g.allowed, head.ID)
	if fresh { // noted at once: soon the probes tell of the change
		g.seen, g.at = head.ID, time.Now()
		e.noteBefore(probes)
	}
	if later {
		return
	}
	good := g.was.of(probes)
	if len(checks)+len(good) == 0 {
		e.let(head)
		return
	}
	g.busy = head.ID
	proof := g.at.Add(sameHand)
	again := e.holds()
	e.background.Go(func() {
		v := verdicts{commit: head}
		for _, r := range e.cfg.Helper.Run(ctx, checks, nil) {
			if r.Result != check.Pass {
				v.bad = &r
				break
			}
		}
		if v.bad == nil && len(good) > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(proof)):
			}
			if bad := e.prove(ctx, good, gatePatience); len(bad) > 0 {
				v.probe = &bad[0]
			}
		}
		if again && v.bad == nil && v.probe == nil && e.lookAgain(probes) { // good again: by what, is to be known first
			select {
			case <-ctx.Done():
			case <-time.After(corrected):
			}
		}
		if ctx.Err() != nil {
			return // what a checker that was ended says is no verdict
		}
		g.done <- v
		e.nudge()
		e.refresh(ctx, probes, good)
	})
}

// holds tells that changes are held back.
func (e *Engine) holds() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status.Held != nil
}

// corrected is how long it may take until a correction in a database is in the history: then what was held back is not the newest any more.
const corrected = 2 * time.Second

// lookAgain has the databases of services looked at now; false if they have none.
func (e *Engine) lookAgain(services []string) bool {
	some := false
	for _, x := range e.facts.Exports {
		if slices.Contains(services, x.Service) {
			some = true
			trigger(e.triggers[x.Path])
		}
	}
	return some
}

// concerned are the checks of the services whose files differ between two commits, and the services to be probed: those, and whose
// databases differ.
func (e *Engine) concerned(from, to string) ([]check.Check, []string) {
	changes, err := e.diff(from, to)
	if err != nil {
		e.log.Error("what has changed cannot be told; all services are checked", "err", err)
		var all []string
		for _, p := range e.facts.Packs {
			all = append(all, p.Name)
		}
		return e.facts.Checks(all), all
	}
	if from == "" { // the first state of all: what runs with it is known better than by any checker
		return nil, nil
	}
	return e.checks(changes), e.probed(changes)
}

// probed are the services that changes concern, with those whose databases they are.
func (e *Engine) probed(changes []state.Change) []string {
	files, dumps := split(changes)
	names := apply.Affected(e.facts.Packs, files)
	for _, d := range dumps {
		if x, ok := e.exportAt(d.Path); ok && !slices.Contains(names, x.Service) {
			names = append(names, x.Service)
		}
	}
	return names
}

// checks are those that changes concern.
func (e *Engine) checks(changes []state.Change) []check.Check {
	return append(e.facts.Checks(apply.Affected(e.facts.Packs, changes)), e.facts.BaseChecks(changes)...)
}

// diff is repo.Diff that takes a from that is not there any more, such as one that was amended long ago, as no state at all.
func (e *Engine) diff(from, to string) ([]state.Change, error) {
	changes, err := e.repo.Diff(from, to)
	if err != nil && from != "" {
		return e.repo.Diff("", to)
	}
	return changes, err
}

// judged takes the checkers' and the probes' word.
func (e *Engine) judged(v verdicts) {
	g := &e.gate
	if v.bad == nil && v.probe == nil {
		head, ok := e.repo.Head(state.Site)
		switch {
		case ok && head.ID == v.commit.ID:
			e.let(head)
		case e.holds():
			// It was held back, and all is good again: by what has been changed since, most likely. Without that it must not be sent.
			e.nudge()
		default:
			e.let(v.commit)
		}
		return
	}
	if v.commit.ID == g.allowed {
		return // a person has released it meanwhile
	}
	if g.bad != v.commit.ID {
		g.tries = 0
	}
	g.bad, g.asked = v.commit.ID, time.Now()
	g.tries++
	held, why := e.heldBy(v)
	e.mu.Lock()
	if old := e.status.Held; old != nil {
		held.Since = old.Since
	}
	e.status.Held = held
	e.mu.Unlock()
	what := "A change is held back and not sent to the other servers: " + why + "."
	next := "Correct what was changed, or go back to the last good state: atlas rollback --held. To send it on as it is: atlas release."
	if len(held.Paths) > 0 && !held.Paths[0].Under(state.Exports) {
		next = "Correct /" + string(held.Paths[0]) + ", or go back to the last good state: atlas rollback --held. To send it on as it is: atlas release."
	}
	e.cfg.Findings.Set(initapi.Finding{ID: "sync-held", Severity: "warning", Where: e.cfg.Server, What: what, Next: next})
	e.cfg.Sender.Hold(what)
	e.log.Warn("change held back", "service", held.Service, "commit", short(v.commit.ID), "says", why)
	e.cfg.Changed()
}

// heldBy words why a change is held back.
func (e *Engine) heldBy(v verdicts) (held *state.Held, why string) {
	g := &e.gate
	held = &state.Held{Commit: v.commit.ID, Good: g.allowed, Since: time.Now().UTC()}
	switch {
	case v.probe != nil:
		held.Service, held.Words = v.probe.Service, v.probe.String()
		why = fmt.Sprintf("with it %s does not work any more: %s", e.title(held.Service), v.probe)
	case v.bad.Result == check.Unknown:
		held.Service, held.Words = v.bad.Service, v.bad.Output
		why = fmt.Sprintf("%s could not be asked whether it takes it (%s)", e.title(held.Service), mistake(v.bad.Output))
	default:
		held.Service, held.Words = v.bad.Service, v.bad.Output
		why = fmt.Sprintf("%s does not take it (%s)", e.title(held.Service), mistake(v.bad.Output))
	}
	changes, err := e.diff(g.allowed, v.commit.ID)
	if err != nil {
		return held, why
	}
	for _, c := range changes {
		names := apply.Affected(e.facts.Packs, []state.Change{c})
		if v.probe != nil { // a database may be the reason; no checker looks into those
			names = e.probed([]state.Change{c})
		}
		if !e.runs(held.Service) && len(names) == 0 || slices.Contains(names, held.Service) {
			held.Paths = append(held.Paths, c.Path)
		}
	}
	return held, why
}

// let sends a commit on. That comes first: what is remembered is for an engine that comes later, which would ask once more.
func (e *Engine) let(c state.Commit) {
	g := &e.gate
	e.cfg.Sender.Allow(c)
	if g.allowed != c.ID {
		e.keepNext(c)
		g.allowed, g.bad = c.ID, ""
		e.rememberSoon(allowedFile, c.ID)
	}
	if g.seen == c.ID || g.seen == "" { // nothing is left that it would be compared for
		g.was, g.seen = baseline{}, ""
		e.dropBaseline()
	}
	e.mu.Lock()
	was := e.status.Held
	e.status.Held = nil
	e.mu.Unlock()
	if was != nil {
		e.cfg.Sender.Release()
		e.cfg.Findings.Clear("sync-held")
		e.cfg.Changed()
	}
}

// Release sends on what is held back, as it is. commit is Held.Commit as it was seen by who orders it; "" = whatever it is.
func (e *Engine) Release(ctx context.Context, commit string, who state.Who) (state.Commit, error) {
	var out state.Commit
	if err := e.do(ctx, func(context.Context) error {
		head, ok := e.repo.Head(state.Site)
		held := e.Status().Held
		switch {
		case e.cfg.Role == roles.Secondary:
			return errSecondary
		case e.cfg.Sender == nil || !ok || held == nil:
			return errNothingHeld
		case commit != "" && commit != held.Commit:
			return errElse
		}
		e.log.Warn("change released by hand", "commit", short(head.ID), "who", who.String())
		e.let(head)
		e.save()
		out = head
		return nil
	}); err != nil {
		return state.Commit{}, err
	}
	return out, nil
}

// runs tells whether service is one of those that run here; checkers of the system's own files have other names.
func (e *Engine) runs(service string) bool {
	return slices.ContainsFunc(e.facts.Packs, func(p pack.Pack) bool { return p.Name == service })
}

// title names a service for people.
func (e *Engine) title(service string) string {
	for _, p := range e.facts.Packs {
		if p.Name == service {
			return p.Title
		}
	}
	if service == apply.Site {
		return "The choice of services"
	}
	return "the system"
}

// mistake is the line of a checker's output that says what is wrong: the first that sounds like it, since many tell first what they read
// and last where to look further. Some tell the place in one line, and what is wrong there in the next.
func mistake(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return "it says nothing"
	}
	lines := strings.Split(s, "\n")
	at := max(slices.IndexFunc(lines, wrong.MatchString), 0)
	line := strings.TrimSpace(lines[at])
	if strings.HasSuffix(line, ":") && at+1 < len(lines) {
		line += " " + strings.TrimSpace(lines[at+1])
	}
	return line
}

var wrong = regexp.MustCompile(`(?i)error|invalid|unknown|fatal|fail|\bbad\b|unexpected|missing|unrecogni[sz]ed|illegal|unused|cannot|can't|not `)
