package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/sync/watch"
)

// ignored tells which paths are not recorded: what is no configuration at all, and what every server makes anew from the rest.
func (e *Engine) ignored(p state.Path) bool {
	if snapshot.IsTemp(p.Base()) || watch.Temporary(p.Base()) {
		return true
	}
	c := e.facts.Class(p)
	return c == class.Ignored || c == class.Derived
}

// take records an action, or a further part of one.
func (e *Engine) take(ctx context.Context, a watch.Action) {
	if a.Problem != nil {
		e.cfg.Findings.Set(initapi.Finding{
			ID: "sync-watch-dirs", Severity: "warning", Where: e.cfg.Server, What: "Some changes of files are noticed late: " + a.Problem.Error() + ".",
			Next: "Move what is no configuration out of the folder that is named.",
		})
		return
	}
	if _, begun := e.repo.Head(e.line()); a.Rescan || !begun {
		e.rescan(ctx, "found by comparing everything")
		return
	}
	var edits []history.Edit
	for _, p := range a.Attrs {
		edits = append(edits, e.one(p)...)
	}
	edits = e.linked(ctx, append(edits, e.look(ctx, a.Paths)...))
	m := history.Meta{Who: a.Who, Image: e.image}
	if head, ok := e.repo.Head(e.line()); ok && a.ID != 0 && a.ID == e.last.action && head.ID == e.last.commit {
		m.Amend = true
	}
	e.record(ctx, edits, m, a.ID)
}

// rescan compares everything with what is recorded.
func (e *Engine) rescan(ctx context.Context, note string) {
	e.record(ctx, e.everything(ctx), history.Meta{Note: note, Image: e.image}, 0)
}

// retry looks again at files that could not be read.
func (e *Engine) retry(ctx context.Context) {
	now := time.Now()
	var due []state.Path
	for p, at := range e.again {
		if now.After(at) {
			due = append(due, p)
			delete(e.again, p)
		}
	}
	if len(due) == 0 {
		return
	}
	slices.Sort(due)
	if len(due) > 0 && due[0] == roots(e.facts.Packs)[0] {
		e.rescan(ctx, "found by comparing everything")
		return
	}
	e.record(ctx, e.linked(ctx, e.look(ctx, due)), history.Meta{Image: e.image}, 0)
}

// record makes a commit, if the edits change anything, and starts what follows from it.
func (e *Engine) record(ctx context.Context, edits []history.Edit, m history.Meta, action uint64) {
	edits = slices.DeleteFunc(edits, func(d history.Edit) bool { return !e.differs(d) })
	if len(edits) == 0 {
		if len(e.again) == 0 { // what could not be recorded has gone, or was by another run
			e.cfg.Findings.Clear("sync-not-recorded")
		}
		return
	}
	e.beforehand(edits)
	c, changed, err := e.repo.Record(e.line(), edits, m)
	if errors.Is(err, history.ErrNoParent) { // a directory on the way was never recorded
		c, changed, err = e.repo.Record(e.line(), e.withParents(edits), m)
	}
	if err != nil {
		e.notRecorded(err, edits)
		return
	}
	e.cfg.Findings.Clear("sync-not-recorded")
	if !changed {
		return
	}
	e.last.action, e.last.commit = action, c.ID
	e.log.Info("change recorded", "commit", short(c.ID), "seq", c.Seq, "title", c.Title, "who", c.Who.String())
	if e.line() == state.Live {
		e.local(ctx, c)
	}
	e.step(ctx)
	e.cfg.Changed()
}

// differs tells whether an edit is news to the line.
func (e *Engine) differs(d history.Edit) bool {
	head, ok := e.repo.Head(e.line())
	if !ok {
		return d.Entry != nil
	}
	was, there, err := e.repo.Lookup(head.ID, d.Path)
	switch {
	case err != nil:
		return true
	case d.Entry == nil:
		return there
	}
	return !there || !was.Equal(*d.Entry)
}

// withParents adds the directories that edits lie in.
func (e *Engine) withParents(edits []history.Edit) []history.Edit {
	var out []history.Edit
	done := map[state.Path]bool{}
	for _, d := range edits {
		if d.Entry == nil {
			continue
		}
		for i := range strings.Count(string(d.Path), "/") {
			dir := state.Path(strings.Join(strings.Split(string(d.Path), "/")[:i+1], "/"))
			if !done[dir] {
				done[dir] = true
				out = append(out, e.one(dir)...)
			}
		}
	}
	return append(out, edits...)
}

func (e *Engine) notRecorded(err error, edits []history.Edit) {
	if errors.Is(err, snapshot.ErrBusy) { // the next look tells, also if it goes on
		for _, d := range edits {
			e.again[d.Path] = time.Now().Add(time.Second)
		}
		return
	}
	e.log.Error("change not recorded", "err", err)
	next := "Look at the server's findings about its disks. The change is tried again by itself."
	if errors.Is(err, syscall.ENOSPC) {
		next = "Make room on the disk set: delete or move what is not needed. The change is recorded by itself then."
	}
	e.cfg.Findings.Set(initapi.Finding{
		ID: "sync-not-recorded", Severity: "critical", Where: e.cfg.Server, What: "A change of " + string(edits[0].Path) + " could not be recorded: " + err.Error() + ".", Next: next,
	})
	for _, d := range edits {
		e.again[d.Path] = time.Now().Add(min(10*time.Second, e.cfg.again))
	}
}

func short(id string) string {
	if len(id) > 10 {
		return id[:10]
	}
	return id
}
