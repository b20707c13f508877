package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Why no rehearsal can begin now.
var (
	errBusyTwin = errors.New("a change of the primary is just being brought to this server")
	errNotTwin  = errors.New("this server is not a secondary that follows a primary")
)

// noteBegun keeps what is live before anything of the primary is brought here: right after a boot, services have started with that.
func (e *Engine) noteBegun() {
	if c, ok := e.repo.Head(e.line()); ok {
		e.mu.Lock()
		e.begun = c.ID
		e.mu.Unlock()
	}
}

// Begun is the commit that was live when the engine began; "" before.
func (e *Engine) Begun() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begun
}

func (e *Engine) isStill() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.still
}

// Still holds the primary's changes back until Resume, so that it is known with what services are started from cold, and gives the commit that is
// live. It refuses while a change is being brought.
func (e *Engine) Still(ctx context.Context) (live string, err error) {
	err = e.do(ctx, func(context.Context) error {
		head, ok := e.repo.Head(state.Live)
		switch {
		case e.cfg.Receiver == nil || !ok:
			return errNotTwin
		case e.twin.telling != "" || e.stale():
			return errBusyTwin
		}
		live = head.ID
		e.mu.Lock()
		defer e.mu.Unlock()
		e.still = true
		return nil
	})
	return live, err
}

// Live is the commit that is live on this secondary; "" if there is none.
func (e *Engine) Live() string {
	c, _ := e.repo.Head(state.Live)
	return c.ID
}

// Resume ends Still.
func (e *Engine) Resume() {
	e.mu.Lock()
	e.still = false
	e.mu.Unlock()
	e.nudge()
}

// mostLooked is how many steps of this server's line are looked at to tell when and by whom something was changed. Which services are not proven
// does not depend on it.
const mostLooked = 200

// mostAnswers of Unproven are remembered: it is asked the same every few seconds, and the answer changes seldom.
const mostAnswers = 4

// Unproven tells which of the services that this secondary runs are configured otherwise than when they last were proven to start from cold, in
// the order of the packs. A state that was gone back to is proven. Files that belong to no service, such as /etc/hosts, count for none here: what
// they do to a start is proven by the nightly one of all.
func (e *Engine) Unproven(proofs map[string]ledger.Proof) []rehearsal.Unproven {
	live, ok := e.repo.Head(state.Live)
	if !ok {
		return nil
	}
	names := slices.Sorted(maps.Keys(proofs))
	parts := []string{live.ID}
	for _, n := range names {
		parts = append(parts, n, proofs[n].Live)
	}
	key := strings.Join(parts, " ")
	e.mu.Lock()
	was, known := e.proven[key]
	e.mu.Unlock()
	if known {
		return slices.Clone(was)
	}
	at := map[string][]string{} // services by the commit that they were proven with
	for _, n := range names {
		if e.runs(n) {
			at[proofs[n].Live] = append(at[proofs[n].Live], n)
		}
	}
	found := map[string]rehearsal.Unproven{}
	for commit, services := range at {
		for _, u := range e.changedSince(commit, live, services) {
			found[u.Service] = u
		}
	}
	var out []rehearsal.Unproven
	for _, p := range e.facts.Packs {
		if u, ok := found[p.Name]; ok {
			out = append(out, u)
		}
	}
	e.mu.Lock()
	if e.proven == nil || len(e.proven) >= mostAnswers {
		e.proven = map[string][]rehearsal.Unproven{}
	}
	e.proven[key] = out
	e.mu.Unlock()
	return slices.Clone(out)
}

// changedSince tells which services' files differ between a commit and what is live.
func (e *Engine) changedSince(commit string, live state.Commit, services []string) []rehearsal.Unproven {
	if commit == live.ID {
		return nil
	}
	changes, err := e.repo.Diff(commit, live.ID)
	if err != nil { // begun anew since, or taken together with a later one
		var out []rehearsal.Unproven
		for _, n := range services {
			out = append(out, rehearsal.Unproven{Service: n, Title: e.title(n), Since: live.At, Last: live.At, Why: "the history does not know any more what it was proven with"})
		}
		return out
	}
	// What belongs to one server alone is changed by programs at their starts, and by nobody on the primary.
	changes = slices.DeleteFunc(changes, func(c state.Change) bool { return e.facts.Class(c.Path) != class.Shared })
	names := slices.DeleteFunc(apply.Affected(e.facts.Packs, changes), func(n string) bool { return !slices.Contains(services, n) })
	if len(names) == 0 {
		return nil
	}
	found := map[string]*rehearsal.Unproven{}
	for _, n := range names {
		found[n] = &rehearsal.Unproven{Service: n, Title: e.title(n), Since: live.At, Last: live.At, Why: "it was changed"}
	}
	log, err := e.repo.Log(state.Live, history.LogOptions{Limit: mostLooked})
	if err != nil {
		e.log.Warn("when services were changed is not known", "err", err)
	}
	for _, c := range log {
		if c.ID == commit {
			break
		}
		e.tellChange(c, found)
	}
	out := make([]rehearsal.Unproven, 0, len(names))
	for _, n := range names {
		out = append(out, *found[n])
	}
	return out
}

// tellChange adds to found what commit c, older than those before it, has to do with services.
func (e *Engine) tellChange(c state.Commit, found map[string]*rehearsal.Unproven) {
	changes, err := e.repo.Diff(c.Parent, c.ID)
	if err != nil || c.Parent == "" {
		return
	}
	for _, n := range apply.Affected(e.facts.Packs, changes) {
		u := found[n]
		if u == nil {
			continue
		}
		if u.Change == "" { // the newest
			u.Last, u.Why = c.At, ""
			u.Change, u.Who, u.Commit = e.worded(c, n), who(c), c.Short()
		}
		u.Since = c.At
	}
}

// worded names what a commit changed of a service: "changed /etc/apache2/envvars".
func (e *Engine) worded(c state.Commit, service string) string {
	ev, err := e.event(c)
	if err != nil {
		return "a change"
	}
	if c.Rollback != "" {
		return state.Printable(c.Title)
	}
	of := ev
	of.Files = slices.DeleteFunc(slices.Clone(ev.Files), func(f state.Touched) bool {
		return !slices.Contains(apply.Affected(e.facts.Packs, []state.Change{{Path: f.Path}}), service)
	})
	if len(of.Files) > 0 && ev.More == 0 {
		return of.What()
	}
	return ev.What()
}

// who words who made a change on the primary, and where it is from if that is not known.
func who(c state.Commit) string {
	s := c.Who.String()
	if s == (state.Who{}).String() {
		return ""
	}
	return state.Printable(strings.TrimSpace(s))
}

// Waits tells why a rehearsal must not begin now by itself, in words; "" if nothing does.
func (e *Engine) Waits() string {
	e.mu.Lock()
	st := e.status
	e.mu.Unlock()
	if !st.InStep {
		return fmt.Sprintf("%s is not in step with the primary", strings.ToUpper(e.cfg.Server))
	}
	return ""
}
