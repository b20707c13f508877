package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
)

// Rollback says what to go back to. Exactly one of Path, Service and All chooses the files.
type Rollback struct {
	Path    state.Path // a file or directory
	Service string     // all configuration of a service
	All     bool
	To      string // commit, "HEAD~2" or a time; see history.Resolve. "" = the state before the newest commit that changed the chosen files
	Held    bool   // to the newest state that was not held back; of what is held back
	Try     bool   // only tell what would be done
}

// RolledBack tells what was done.
type RolledBack struct {
	To       state.Commit    `json:"to"`
	Commit   *state.Commit   `json:"commit,omitempty"` // the new one; nil if only tried
	Changes  []state.Change  `json:"changes"`
	Verdicts []check.Verdict `json:"verdicts,omitempty"`
	Services []string        `json:"services,omitempty"` // told to take their files anew
	Trouble  []string        `json:"trouble,omitempty"`  // services that could not
}

// Rollback brings files of the primary back to what they were. The services' checkers are asked before; what they refuse is not done.
func (e *Engine) Rollback(ctx context.Context, r Rollback, who state.Who) (RolledBack, error) {
	var out RolledBack
	err := e.do(ctx, func(ctx context.Context) error {
		var err error
		out, err = e.rollback(ctx, r, who)
		return err
	})
	return out, err
}

func (e *Engine) rollback(ctx context.Context, r Rollback, who state.Who) (RolledBack, error) {
	var out RolledBack
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
	out.Changes = slices.DeleteFunc(all, func(c state.Change) bool {
		return c.Path.Under(state.Exports) || e.facts.Class(c.Path) == class.Derived || !e.chosen(r, c.Path)
	})
	if len(out.Changes) == 0 {
		return out, errSame
	}
	gen, err := e.applier.Stage(ctx, out.Changes)
	if err != nil {
		return out, fmt.Errorf("prepare the files: %w", err)
	}
	names := apply.Affected(e.facts.Packs, out.Changes)
	if checks := e.checks(out.Changes); len(checks) > 0 {
		c, err := gen.Layers()
		if err != nil {
			return out, errors.Join(err, gen.Discard())
		}
		out.Verdicts = e.cfg.Helper.Run(ctx, checks, &c)
		for _, v := range out.Verdicts {
			if v.Result != check.Pass {
				return out, errors.Join(&refusedError{verdict: v, title: e.title(v.Service)}, gen.Discard())
			}
		}
	}
	if r.Try {
		return out, gen.Discard()
	}
	if _, err := gen.Apply(ctx); err != nil {
		return out, fmt.Errorf("put the files back: %w", errors.Join(err, e.failed(gen, err)))
	}
	var edits []history.Edit
	for _, c := range out.Changes {
		edits = append(edits, history.Edit{Path: c.Path, Entry: c.After})
	}
	m := history.Meta{Who: who, Title: "rolled back " + what(r) + " to " + to.At.Local().Format("2006-01-02 15:04"), Rollback: to.ID, Image: e.cfg.Image}
	c, _, err := e.repo.Record(state.Site, edits, m)
	if err != nil {
		return out, fmt.Errorf("the files are back, but that could not be recorded: %w", err)
	}
	out.Commit = &c
	e.log.Warn("rolled back", "commit", short(c.ID), "to", short(to.ID), "files", len(edits), "who", who.String())
	if err := e.applier.Confirm(); err != nil {
		e.log.Warn("staged files of a rollback stay there", "err", err)
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

// target finds the commit to go back to.
func (e *Engine) target(r Rollback) (state.Commit, error) {
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
		return state.Commit{}, errors.New("to which time or commit? Say --to; atlas history shows them")
	}
	last, err := e.repo.Log(state.Site, o)
	if err != nil {
		return state.Commit{}, err
	}
	if len(last) == 0 || last[0].Parent == "" {
		return state.Commit{}, fmt.Errorf("%w: nothing else is recorded of %s", history.ErrNotFound, what(r))
	}
	return e.repo.Commit(last[0].Parent)
}

// chosen tells whether a rollback is about a path.
func (e *Engine) chosen(r Rollback, p state.Path) bool {
	switch {
	case r.All:
		return true
	case r.Service != "":
		return slices.Contains(apply.Affected(e.facts.Packs, []state.Change{{Path: p}}), r.Service)
	case r.Held && r.Path == "":
		return true
	}
	return p.Under(r.Path)
}

func what(r Rollback) string {
	switch {
	case r.Held && r.Path == "" && r.Service == "":
		return "what was held back"
	case r.All:
		return "everything"
	case r.Service != "":
		return r.Service
	}
	return "/" + string(r.Path)
}
