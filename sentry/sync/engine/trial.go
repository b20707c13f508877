package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// probation is a state of the primary that is live here, until the probes of the services that it concerns are good, or it was taken back. It is
// remembered before anything is changed, so that an engine that ends in between leaves it to the next.
type probation struct {
	Commit   string                    `json:"commit"`
	First    uint64                    `json:"first"` // the generation from which on all go back; 0: no files
	Was      baseline                  `json:"was"`   // before First
	Services []string                  `json:"services"`
	Paths    []state.Path              `json:"paths"` // some of the files, for words
	Dumps    map[state.Path]state.Hash `json:"dumps"` // what databases held
	Back     *Probed                   `json:"back"`  // it is being taken back because of this
}

// trialFile remembers twin.trial. After the way back it stays for the sake of Was: the next try is measured by the same.
const trialFile = "trial"

func (e *Engine) recallTrial() {
	var t probation
	if e.recall(trialFile, &t) {
		e.twin.trial = &t
	}
}

// keys are the probes that have to be good.
func (t *probation) keys() []string {
	if t == nil {
		return nil
	}
	return t.Was.of(t.Services)
}

// begins notes that a state is about to be made live. A trial that was cut off is made longer by it.
func (e *Engine) begins(head state.Commit, gen uint64, changes []state.Change) {
	if e.cfg.Prober == nil {
		return
	}
	var t probation
	if e.twin.trial != nil {
		t = *e.twin.trial
	}
	names := e.probed(changes)
	e.noteStanding(&t.Was, names, time.Now())
	t.Commit = head.ID
	if t.First == 0 {
		t.First = gen
	}
	for _, n := range names {
		if !slices.Contains(t.Services, n) {
			t.Services = append(t.Services, n)
		}
	}
	if len(t.keys()) == 0 {
		return
	}
	for _, c := range changes {
		_, known := t.Dumps[c.Path]
		switch {
		case c.Path.Under(state.Exports):
			if !known && c.Before != nil && c.Before.Kind == state.File {
				if t.Dumps == nil {
					t.Dumps = map[state.Path]state.Hash{}
				}
				t.Dumps[c.Path] = c.Before.Data
			}
		case len(t.Paths) < mostFiles && !slices.Contains(t.Paths, c.Path) && len(apply.Affected(e.facts.Packs, []state.Change{c})) > 0:
			t.Paths = append(t.Paths, c.Path)
		}
	}
	e.twin.trial = &t
	e.remember(trialFile, t)
}

// confirm: from now on what is live is what later changes go back to.
func (e *Engine) confirm() {
	if err := e.applier.Confirm(); err != nil {
		e.log.Warn("the way back from the last change stays there", "err", err)
	}
}

func (e *Engine) endTrial() {
	if e.twin.trial != nil {
		e.twin.trial = nil
		e.forget(trialFile)
		e.cfg.Findings.Clear(noWayBack)
	}
}

// probesAwaited tells that probes of services that changes concern have found nothing yet: without that nobody could tell what is broken
// by them. It is waited for only shortly, since some may never find anything.
func (e *Engine) probesAwaited(changes []state.Change) bool {
	if e.cfg.Prober == nil || time.Since(e.opened) > awaited {
		return false
	}
	return slices.ContainsFunc(e.cfg.Prober.Standing(e.probed(changes), time.Now()), func(p Probed) bool {
		return p.Found == Awaited && (e.twin.trial == nil || !slices.Contains(e.twin.trial.Was.Services, p.Service))
	})
}

const awaited = 20 * time.Second

// noWayBack is the finding about files that could not be brought back.
const noWayBack = "sync-no-way-back"

// goBack brings the files back to what they were before a state that a probe fails with, and then, apart from the loop, services and
// databases. It may be done again at any point.
func (e *Engine) goBack(ctx context.Context, head state.Commit, why Probed) {
	t := e.twin.trial
	t.Back = &why
	e.remember(trialFile, t)
	e.log.Error("a probe fails with the primary's change: going back", "commit", short(head.ID), "service", why.Service, "probe", why.Name, "evidence", why.Words)
	names := e.toTell(slices.Clone(t.Services))
	stuck := e.undo(ctx, t.First, why)
	if stuck != nil {
		e.log.Error("the files from before cannot be put back", "commit", short(head.ID), "err", stuck)
	}
	good, dumps := t.keys(), t.Dumps
	e.twin.telling = head.ID
	e.report(head, carry.Probing)
	e.background.Go(func() {
		out := outcome{head: head, names: names, back: true, stuck: stuck, told: e.tell(ctx, names)}
		for p, was := range dumps {
			if x, ok := e.exportAt(p); ok && ctx.Err() == nil {
				out.told = append(out.told, apply.Told{Service: x.Service, Verb: verbLoad, Err: e.load(ctx, x, was)})
			}
		}
		out.bad = e.prove(ctx, good, lookPatience)
		if ctx.Err() != nil {
			return // the next engine goes on with it
		}
		e.twin.told <- out
		e.nudge()
	})
}

// undo takes generations back, and records what is there then on this server's own line.
func (e *Engine) undo(ctx context.Context, first uint64, why Probed) error {
	var paths []state.Path
	for first > 0 {
		n, err := e.applier.Last()
		if err != nil {
			return err
		}
		if n < first {
			break
		}
		rep, err := e.applier.Undo(ctx)
		if errors.Is(err, apply.ErrUnfinished) {
			_, err = e.applier.Recover()
		}
		if err != nil {
			return err
		}
		paths = append(paths, rep.Changed...)
	}
	if len(paths) > 0 {
		slices.Sort(paths)
		e.recordBack(e.withParents(e.look(ctx, slices.Compact(paths))), why)
	}
	return nil
}

func (e *Engine) recordBack(edits []history.Edit, why Probed) {
	edits = slices.DeleteFunc(edits, func(d history.Edit) bool { return !e.differs(d) })
	if len(edits) == 0 {
		return
	}
	m := history.Meta{Title: "went back to before the primary's change", Note: e.title(why.Service) + ": " + why.String(), Image: e.image}
	if _, _, err := e.repo.Record(state.Live, edits, m); err != nil {
		e.notRecorded(err, edits)
	}
}

// wentBack takes what became of the way back, and reports. What fails all the same was not the change's doing: it does not count next time.
func (e *Engine) wentBack(out outcome) {
	t := e.twin.trial
	why := *t.Back
	for p := range t.Dumps {
		trigger(e.triggers[p]) // what the database really holds now
	}
	if out.stuck != nil { // the trial is not over: the next try begins with the probes
		t.Back = nil
		e.cfg.Findings.Set(initapi.Finding{
			ID: noWayBack, Severity: "critical", Where: e.cfg.Server, What: fmt.Sprintf("The files from before could not be put back on %s: %v.", e.cfg.Server, out.stuck),
			Next: "Go back on the primary: atlas rollback. It is tried again by itself.",
		})
	} else {
		e.cfg.Findings.Clear(noWayBack)
		for _, b := range out.bad {
			e.log.Error("a probe fails with the files from before too", "service", b.Service, "probe", b.Name, "evidence", b.Words)
			t.Was.Good = slices.DeleteFunc(t.Was.Good, func(key string) bool { return key == b.key() })
		}
		e.twin.trial = &probation{Commit: t.Commit, Was: t.Was}
	}
	e.remember(trialFile, e.twin.trial)
	e.refused(out.head)
	e.twin.service = why.Service
	e.refuse(out.head, &probeError{probe: why, title: e.title(why.Service), paths: t.Paths})
}

// resume finishes what an engine before was doing when it ended: a way back is gone to its end.
func (e *Engine) resume(ctx context.Context) {
	t := e.twin.trial
	if t == nil || t.Back == nil || e.cfg.Receiver == nil {
		return
	}
	head, err := e.repo.Commit(t.Commit)
	if err != nil {
		e.log.Warn("a state that was being taken back is not known any more", "commit", short(t.Commit), "err", err)
		e.endTrial()
		return
	}
	e.goBack(ctx, head, *t.Back)
	e.recordBack(e.everything(ctx), *t.Back) // what was back already
}

// twinPause is after how long what was refused is tried again. Where a probe has failed each try disturbs the service: seldom.
func (e *Engine) twinPause() time.Duration {
	t := &e.twin
	if t.service == "" {
		return e.pause(t.tries)
	}
	return min(e.cfg.again/2<<min(t.tries, 6), 10*e.cfg.again)
}

// sameTrouble: a newer state that changes nothing for the service whose probe has failed would fail in the same way. It waits as well.
func (e *Engine) sameTrouble(head state.Commit) {
	t := &e.twin
	if t.service == "" || t.refused == "" || head.ID == t.refused || head.ID == t.applied {
		return
	}
	changes, err := e.repo.Diff(t.refused, head.ID)
	if err != nil || slices.Contains(e.probed(changes), t.service) {
		return
	}
	t.refused, t.was = head.ID, head.ID
	e.report(head, carry.Refused)
}

// probeError: a service takes a state, and does not work with it.
type probeError struct {
	probe Probed
	title string
	paths []state.Path
}

func (p *probeError) Error() string {
	return fmt.Sprintf("with it %s does not work here any more: %s", p.title, p.probe)
}

// next is what a person can do.
func (p *probeError) next(server string) string {
	s := "Go back on the primary: atlas rollback."
	if len(p.paths) > 0 && !strings.ContainsAny(string(p.paths[0]), " '\"\\") {
		s = fmt.Sprintf("Correct it on the primary, or go back there: atlas rollback %s.", p.paths[0].Word())
	}
	return s + " " + server + " has gone back to the files from before. It tries again when the service's files change, and from time to time."
}
