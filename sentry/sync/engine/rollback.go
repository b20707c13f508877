package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Errors of rollbacks.
var (
	errNothingHeld = errors.New("no change is held back")
	errSecondary   = errors.New("this server follows the primary; do it there")
	errSame        = errors.New("nothing differs from then")
	errNoService   = errors.New("there is no such service here; atlas service list shows them")
	errElse        = errors.New("something else was changed meanwhile: look again at what would be done")
)

// Rollback brings files of the primary back to what they were. The services' checkers are asked before; what they refuse is not done.
func (e *Engine) Rollback(ctx context.Context, r state.Rollback, who state.Who) (state.RolledBack, error) {
	var out state.RolledBack
	if err := r.Check(); err != nil {
		return out, err
	}
	if err := e.do(ctx, func(ctx context.Context) error {
		var err error
		out, err = e.rollback(ctx, r, who)
		return err
	}); err != nil {
		return state.RolledBack{}, err // out may still be written to
	}
	return out, nil
}

// Stands tells whether an error of Rollback, Release, Resync or Acknowledge is about how things stand, and none of this program.
func Stands(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused) || slices.ContainsFunc([]error{errNothingHeld, errSecondary, errSame, errElse, errNoService, errTogether, errWhich, errNoFinding, errElsewhere}, func(e error) bool { return errors.Is(err, e) })
}

func (e *Engine) rollback(ctx context.Context, r state.Rollback, who state.Who) (state.RolledBack, error) {
	var out state.RolledBack
	if e.cfg.Role != roles.Primary {
		return out, errSecondary
	}
	to, err := e.target(r)
	if err != nil {
		return out, err
	}
	out.To = to
	head, _ := e.repo.Head(state.Site)
	all, err := e.repo.Diff(head.ID, to.ID)
	if err != nil {
		return out, fmt.Errorf("compare with %s: %w", short(to.ID), err)
	}
	changes := slices.DeleteFunc(all, func(c state.Change) bool { return !e.returns(c) || !e.chosen(r, c.Path) })
	if len(changes) == 0 {
		return out, errSame
	}
	for _, c := range changes {
		out.Files = append(out.Files, state.Touched{Path: c.Path, Verb: c.Verb()})
	}
	if out.Plan, err = planOf(to, changes); err != nil {
		return out, err
	}
	if r.Plan != "" && r.Plan != out.Plan {
		return out, errElse
	}
	files, dumps := split(changes)
	for _, d := range dumps {
		if x, _ := e.exportAt(d.Path); !e.ready(x.Service) {
			return out, fmt.Errorf("%s: %w", e.title(x.Service), errNotReady)
		}
	}
	gen, err := e.applier.Stage(ctx, files)
	if err != nil {
		return out, fmt.Errorf("prepare the files: %w", err)
	}
	names := apply.Affected(e.facts.Packs, files)
	if checks := e.checks(files); len(checks) > 0 {
		c, err := gen.Layers()
		if err != nil {
			return out, errors.Join(err, gen.Discard())
		}
		for _, v := range e.cfg.Helper.Run(ctx, checks, &c) {
			out.Verdicts = append(out.Verdicts, state.Verdict{Service: v.Service, Title: v.Title, Result: string(v.Result), Words: v.Output})
			if v.Result != check.Pass {
				return out, errors.Join(&refusedError{verdict: v, title: e.title(v.Service)}, gen.Discard())
			}
		}
	}
	if r.Try {
		out.Services = names
		text, err := e.repo.PatchOf(changes, e.facts.Hide)
		out.Patch = state.Text(text)
		return out, errors.Join(err, gen.Discard())
	}
	e.noteBefore(e.probed(changes))
	rep, err := gen.Apply(ctx)
	if err != nil {
		return out, fmt.Errorf("put the files back: %w", errors.Join(err, e.failed(gen, err)))
	}
	e.aside(rep.Aside)
	done := append(files, e.loadBack(ctx, dumps, &out)...)
	if len(done) == 0 {
		return out, fmt.Errorf("nothing could be brought back: %s", strings.Join(out.Trouble, "; "))
	}
	var edits []history.Edit
	for _, c := range done {
		edits = append(edits, history.Edit{Path: c.Path, Entry: c.After})
	}
	m := history.Meta{Who: who, Title: "rolled back " + r.What() + " to " + to.At.Local().Format("2006-01-02 15:04"), Rollback: to.ID, Image: e.image}
	c, _, err := e.repo.Record(state.Site, edits, m)
	if err != nil {
		return out, fmt.Errorf("the files are back, but that could not be recorded: %w", err)
	}
	out.Commit = &c
	e.log.Warn("rolled back", "commit", short(c.ID), "to", short(to.ID), "files", len(edits), "who", who.String())
	if err := e.applier.Confirm(); err != nil {
		e.log.Warn("staged files of a rollback stay there", "err", err)
	}
	for _, n := range names {
		if c, ok := e.facts.Derive(n); ok {
			if _, err := e.run(ctx, c, nil); err != nil {
				out.Trouble = append(out.Trouble, fmt.Sprintf("%s: make anew what follows from its files: %v", e.title(n), err))
			}
		}
	}
	for _, t := range apply.Tell(ctx, e.cfg.Services, e.facts.Packs, names) {
		out.Services = append(out.Services, t.Service)
		if t.Err != nil {
			out.Trouble = append(out.Trouble, fmt.Sprintf("%s: %v", t.Service, t.Err))
		}
	}
	e.step(ctx)
	e.cfg.Changed()
	return out, nil
}

// loadBack makes databases what they were, and gives those that are. What they really hold then is looked at once more.
func (e *Engine) loadBack(ctx context.Context, dumps []state.Change, out *state.RolledBack) (done []state.Change) {
	for _, d := range dumps {
		x, _ := e.exportAt(d.Path)
		if err := e.load(ctx, x, d.After.Data); err != nil {
			out.Trouble = append(out.Trouble, fmt.Sprintf("%s: %v", e.title(x.Service), err))
		} else {
			done = append(done, d)
		}
		trigger(e.triggers[d.Path])
	}
	return done
}

// returns tells whether a path can go back: all but what is made of the rest, and databases that this site does not run, or of which
// nothing was recorded then.
func (e *Engine) returns(c state.Change) bool {
	if c.Path.Under(state.Exports) {
		_, ok := e.exportAt(c.Path)
		return ok && c.After != nil && c.After.Kind == state.File
	}
	return e.facts.Class(c.Path) != class.Derived
}

// target finds the commit to go back to.
func (e *Engine) target(r state.Rollback) (state.Commit, error) {
	if r.Service != "" && !slices.ContainsFunc(e.facts.Packs, func(p pack.Pack) bool { return p.Name == r.Service }) {
		return state.Commit{}, fmt.Errorf("service %.40q: %w", r.Service, errNoService)
	}
	switch held := e.Status().Held; {
	case r.Held && held == nil:
		return state.Commit{}, errNothingHeld
	case r.Held:
		return e.repo.Commit(held.Good)
	case r.To != "":
		return e.repo.Resolve(state.Site, r.To)
	}
	o := history.LogOptions{Path: r.Path, Limit: 1}
	if r.Service != "" {
		return e.beforeNewest(r)
	}
	last, err := e.repo.Log(state.Site, o)
	if err != nil {
		return state.Commit{}, err
	}
	if len(last) == 0 || last[0].Parent == "" {
		return state.Commit{}, fmt.Errorf("%w: nothing else is recorded of %s", history.ErrNotFound, r.What())
	}
	return e.repo.Commit(last[0].Parent)
}

// beforeNewest is the state before the newest change of a service's configuration.
func (e *Engine) beforeNewest(r state.Rollback) (state.Commit, error) {
	log, err := e.repo.Log(state.Site, history.LogOptions{Limit: farBack})
	if err != nil {
		return state.Commit{}, err
	}
	for _, c := range log {
		if c.Parent == "" {
			break
		}
		changes, err := e.repo.Diff(c.Parent, c.ID)
		if err != nil {
			return state.Commit{}, fmt.Errorf("what %s changed: %w", short(c.ID), err)
		}
		if slices.ContainsFunc(changes, func(ch state.Change) bool { return e.returns(ch) && e.chosen(r, ch.Path) }) {
			return e.repo.Commit(c.Parent)
		}
	}
	return state.Commit{}, fmt.Errorf("%w: nothing else is recorded of %s", history.ErrNotFound, r.What())
}

// farBack is how many changes are looked through for the newest one of a service.
const farBack = 2000

// chosen tells whether a rollback is about a path.
func (e *Engine) chosen(r state.Rollback, p state.Path) bool {
	switch {
	case r.All:
		return true
	case r.Service != "":
		return p.Under(state.Exports+"/"+state.Path(r.Service)) || slices.Contains(apply.Affected(e.facts.Packs, []state.Change{{Path: p}}), r.Service)
	case r.Held && r.Path == "": // whom databases took in meanwhile stays, unless that is why it is held back
		held := e.Status().Held
		return !p.Under(state.Exports) || held != nil && slices.Contains(held.Paths, p)
	}
	return p.Under(r.Path)
}

// planOf names what a rollback does, so that what is confirmed is what was shown.
func planOf(to state.Commit, changes []state.Change) (string, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(struct {
		To      string
		Changes []state.Change
	}{to.ID, changes}); err != nil {
		return "", fmt.Errorf("sum up what would be done: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
