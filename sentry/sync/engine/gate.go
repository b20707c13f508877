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
// concerns take it.
type gate struct {
	allowed string // newest commit that was sent on
	busy    string // commit that is being checked
	bad     string // commit that was refused; the checkers are asked again when there is another, or after a while
	asked   time.Time
	tries   int // how often the checkers have refused bad
	done    chan verdicts
}

type verdicts struct {
	commit state.Commit
	bad    *check.Verdict // the first that is not good; nil if all are
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
	if e.stale() || g.busy != "" || head.ID == g.bad && time.Since(g.asked) < e.pause(g.tries) {
		return
	}
	checks := e.concerned(g.allowed, head.ID)
	if len(checks) == 0 {
		e.let(head)
		return
	}
	g.busy = head.ID
	e.background.Go(func() {
		v := verdicts{commit: head}
		for _, r := range e.cfg.Helper.Run(ctx, checks, nil) {
			if r.Result != check.Pass {
				v.bad = &r
				break
			}
		}
		if ctx.Err() != nil {
			return // what a checker that was ended says is no verdict
		}
		g.done <- v
		e.nudge()
	})
}

// concerned are the checks of the services whose files differ between two commits.
func (e *Engine) concerned(from, to string) []check.Check {
	changes, err := e.diff(from, to)
	if err != nil {
		e.log.Error("what has changed cannot be told; all services are checked", "err", err)
		var all []string
		for _, p := range e.facts.Packs {
			all = append(all, p.Name)
		}
		return e.facts.Checks(all)
	}
	if from == "" { // the first state of all: what runs with it is known better than by any checker
		return nil
	}
	return e.checks(changes)
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

// judged takes the checkers' word.
func (e *Engine) judged(v verdicts) {
	if v.bad == nil {
		if head, ok := e.repo.Head(state.Site); ok && head.ID == v.commit.ID {
			e.let(head)
		} else {
			e.let(v.commit)
		}
		return
	}
	g := &e.gate
	if g.bad != v.commit.ID {
		g.tries = 0
	}
	g.bad, g.asked = v.commit.ID, time.Now()
	g.tries++
	title := e.title(v.bad.Service)
	held := &state.Held{Commit: v.commit.ID, Good: g.allowed, Service: v.bad.Service, Words: v.bad.Output, Since: time.Now().UTC()}
	if changes, err := e.diff(g.allowed, v.commit.ID); err == nil {
		for _, c := range changes {
			if names := apply.Affected(e.facts.Packs, []state.Change{c}); !e.runs(v.bad.Service) && len(names) == 0 || slices.Contains(names, v.bad.Service) {
				held.Paths = append(held.Paths, c.Path)
			}
		}
	}
	e.mu.Lock()
	if old := e.status.Held; old != nil {
		held.Since = old.Since
	}
	e.status.Held = held
	e.mu.Unlock()
	words := mistake(v.bad.Output)
	what := fmt.Sprintf("A change is held back and not sent to the other servers: %s does not take it (%s).", title, words)
	if v.bad.Result == check.Unknown {
		what = fmt.Sprintf("A change is held back and not sent to the other servers: %s could not be asked whether it takes it (%s).", title, words)
	}
	next := "Correct the file, or go back: atlas rollback --held"
	if len(held.Paths) > 0 {
		next = "Correct /" + string(held.Paths[0]) + ", or go back to the last good state: atlas rollback --held. To send it on as it is: atlas release."
	}
	e.cfg.Findings.Set(initapi.Finding{ID: "sync-held", Severity: "warning", Where: e.cfg.Server, What: what, Next: next})
	e.cfg.Sender.Hold(what)
	e.log.Warn("change held back", "service", v.bad.Service, "commit", short(v.commit.ID), "says", words)
	e.cfg.Changed()
}

// let sends a commit on.
func (e *Engine) let(c state.Commit) {
	g := &e.gate
	if g.allowed != c.ID {
		g.allowed, g.bad = c.ID, ""
		e.remember(allowedFile, c.ID)
	}
	e.cfg.Sender.Allow(c)
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
