package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// mostLeft is how many paths of a state may be left out because this server cannot have them. With more, something larger is wrong, and all
// is refused.
const mostLeft = 20

// leftPrefix begins the names of findings about paths that are not as on the primary.
const leftPrefix = "sync-left-out-"

// stage prepares changes to be made live. A path that this server cannot have (locked, or of an account that is not there) does not keep the
// others from it: it is left out, with a finding, and the checkers see the rest without it. files are those that are in the generation.
func (e *Engine) stage(ctx context.Context, changes []state.Change) (gen *apply.Generation, files []state.Change, err error) {
	out := map[state.Path]error{}
	files = slices.Clone(changes)
	for {
		gen, err = e.applier.Stage(ctx, files)
		if err == nil {
			break
		}
		p, one := pathOf(err)
		n := len(files)
		files = slices.DeleteFunc(files, func(c state.Change) bool {
			return c.Path.Under(p) || c.After != nil && c.After.Hard != "" && c.After.Hard.Under(p)
		})
		if !one || len(files) == n || len(out) == mostLeft {
			return nil, nil, err
		}
		out[p] = err
	}
	for _, s := range gen.Skipped {
		out[s.Path] = fmt.Errorf("/%s: %s", s.Path, s.Why)
		files = slices.DeleteFunc(files, func(c state.Change) bool { return c.Path == s.Path })
	}
	e.leftOut(out)
	return gen, files, nil
}

// pathOf tells the one path that an error is about.
func pathOf(err error) (state.Path, bool) {
	if l, ok := errors.AsType[*apply.LockedError](err); ok {
		return l.Path, true
	}
	if u, ok := errors.AsType[*snapshot.UnknownNameError](err); ok && u.Path != "" {
		return u.Path, true
	}
	return "", false
}

// leftOut tells what is not as on the primary, and takes back what was told before and is no more.
func (e *Engine) leftOut(out map[state.Path]error) {
	e.twin.left = map[state.Path]bool{}
	for p, err := range out {
		e.twin.left[p] = true
		f := initapi.Finding{
			ID: leftPrefix + string(p), Severity: "critical", Where: e.cfg.Server,
			What: fmt.Sprintf("/%s is not as on the primary; the other files are: %v.", p, err),
			Next: "Unmount what lies over it on " + e.cfg.Server + ", or leave the file out of what is carried. It is tried again by itself.",
		}
		if l, ok := errors.AsType[*apply.LockedError](err); ok {
			f.Next = "On " + e.cfg.Server + ": " + l.Remedy + ". It is tried again by itself."
		}
		if u, ok := errors.AsType[*snapshot.UnknownNameError](err); ok {
			f.Next = fmt.Sprintf("Add %q on %s, or give the file to somebody else on the primary. It is tried again by itself.", u.Name, e.cfg.Server)
		}
		e.log.Warn("a file is not as on the primary", "path", p, "err", err)
		e.cfg.Findings.Set(f)
	}
	for _, f := range e.cfg.Findings.List() {
		if p, ok := strings.CutPrefix(f.ID, leftPrefix); ok && out[state.Path(p)] == nil {
			e.cfg.Findings.Clear(f.ID)
		}
	}
}

// failed cleans up after a generation that could not be made live: what is half done is finished or taken back at once.
func (e *Engine) failed(gen *apply.Generation, err error) error {
	if !errors.Is(err, apply.ErrUnfinished) {
		return gen.Discard()
	}
	rec, err := e.applier.Recover()
	e.log.Warn("an interrupted change of files was finished", "finished", rec.Finished, "undone", rec.Undone, "err", err)
	return err
}
