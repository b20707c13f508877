package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// twin is what a secondary knows of bringing its files to the primary's state.
type twin struct {
	applied string // commit of the site's line that the files were last brought to
	refused string // commit that could not be; it is tried again when there is another, something changed here, or after a while
	tried   time.Time
	was     string // the last that was refused, and how often in turn
	tries   int
	service string // whose probe has failed, if that is why
	told    chan outcome
	telling string // commit whose services are being told
	// reported is when the primary was last told how far this server is.
	reported time.Time
	left     map[state.Path]bool        // what of the newest state could not be made live
	fights   map[state.Path]time.Time   // when paths were last changed here that are left alone, since a program changes them again and again
	back     map[state.Path][]time.Time // when paths were put back, to notice a program here that changes them again and again
	own      map[state.Path]ownWork     // dumps of databases that services here have changed by themselves just now
	trial    *probation                 // of a state whose files are live and whose services are not proven to work, or did not
}

// stillAt is how often the primary is told that services are still being told.
const stillAt = 20 * time.Second

// appliedFile remembers twin.applied.
const appliedFile = "applied"

// follow brings this server's files to the newest state that was received.
func (e *Engine) follow(ctx context.Context) {
	t := &e.twin
	select {
	case told := <-t.told:
		e.services(ctx, told)
	default:
	}
	e.fought()
	e.owned()
	if t.telling != "" && time.Since(t.reported) > stillAt {
		if c, err := e.repo.Commit(t.telling); err == nil {
			e.report(c, carry.Probing) // a slow database takes its time; silence would be taken for a fault
		}
	}
	head, ok := e.repo.Head(state.Site)
	if !ok || t.telling != "" || e.isStill() {
		return
	}
	e.sameTrouble(head)
	if head.ID == t.refused && time.Since(t.tried) < e.twinPause() || e.stale() {
		return
	}
	if head.ID == t.applied {
		if t.refused != "" && t.refused != head.ID { // the primary went back to what is live here
			t.refused, t.service = "", ""
			e.cfg.Findings.Clear("sync-refused")
			e.allLoaded()
		}
		e.inStep(head)
		return
	}
	switch err := e.bring(ctx, head); {
	case err != nil && ctx.Err() == nil:
		e.refused(head)
		e.refuse(head, err)
	case err == nil && head.ID == t.applied:
		e.inStep(head)
	}
}

// refused notes that a state is not wholly live here: it is tried again after a while, later each time.
func (e *Engine) refused(head state.Commit) {
	t := &e.twin
	if t.was != head.ID {
		t.tries = 0
	}
	t.refused, t.was, t.tried, t.service = head.ID, head.ID, time.Now(), ""
	t.tries++
}

// bring makes a state of the primary live here.
func (e *Engine) bring(ctx context.Context, head state.Commit) error {
	target, err := e.wanted(ctx, head)
	if err != nil {
		return err
	}
	changes, err := e.missing(target)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		e.leftOut(nil)
		return e.loads(ctx, head, nil, e.untold())
	}
	if e.probesAwaited(changes) {
		return nil
	}
	files, dumps := split(changes)
	if len(files) == 0 {
		e.begins(head, 0, changes)
		return e.loads(ctx, head, dumps, e.untold())
	}
	e.report(head, carry.Checking)
	gen, files, err := e.stage(ctx, files)
	if err != nil {
		return fmt.Errorf("prepare the changed files: %w", err)
	}
	if len(files) == 0 {
		e.begins(head, 0, dumps)
		return errors.Join(gen.Discard(), e.loads(ctx, head, dumps, e.untold()))
	}
	names := apply.Affected(e.facts.Packs, files)
	trials := e.trials(head, target, names)
	if checks := e.checks(files); len(checks)+len(trials) > 0 {
		c, err := gen.Layers()
		if err != nil {
			return errors.Join(err, gen.Discard())
		}
		for _, v := range e.cfg.Helper.Run(ctx, checks, &c) {
			if v.Result != check.Pass {
				return errors.Join(e.refusal(head, v, files), gen.Discard())
			}
		}
		if v, ok := e.startOnCopy(ctx, trials, &c); !ok {
			return errors.Join(e.refusal(head, v, files), gen.Discard())
		}
	}
	e.report(head, carry.Applying)
	e.begins(head, gen.Number, slices.Concat(files, dumps))
	names = e.toTell(names)
	rep, err := gen.Apply(ctx)
	if err != nil {
		return fmt.Errorf("make the changed files live: %w", errors.Join(err, e.failed(gen, err)))
	}
	e.aside(rep.Aside)
	e.live(head, files)
	return e.loads(ctx, head, dumps, names)
}

// split parts files from dumps of databases.
func split(changes []state.Change) (files, dumps []state.Change) {
	for _, c := range changes {
		if c.Path.Under(state.Exports) {
			dumps = append(dumps, c)
		} else {
			files = append(files, c)
		}
	}
	return files, dumps
}

func (e *Engine) exportAt(p state.Path) (Export, bool) {
	i := slices.IndexFunc(e.facts.Exports, func(x Export) bool { return x.Path == p })
	if i < 0 {
		return Export{}, false
	}
	return e.facts.Exports[i], true
}

// missing is what of the primary's state is not here, of what every server shares. What is to be removed is what was recorded here.
func (e *Engine) missing(head state.Commit) ([]state.Change, error) {
	live, ok := e.repo.Head(state.Live)
	if !ok {
		return nil, errors.New("this server's own files are not recorded yet")
	}
	all, err := e.repo.Diff(live.ID, head.ID)
	if err != nil {
		return nil, fmt.Errorf("compare with the primary's state: %w", err)
	}
	watched := roots(e.facts.Packs)
	return slices.DeleteFunc(all, func(c state.Change) bool {
		p := c.Path
		if p.Under(state.Exports) { // what this server does not run, or cannot tell yet, waits
			x, ok := e.exportAt(p)
			return !ok || c.After == nil || c.Before == nil && !e.ready(x.Service) || e.waits(c)
		}
		if e.facts.Class(p) != class.Shared {
			return true
		}
		// Directories on the way to a root are recorded for their attributes, and belong to the image.
		return !slices.ContainsFunc(watched, p.Under)
	}), nil
}

// live records what was made live.
func (e *Engine) live(head state.Commit, changes []state.Change) {
	var edits []history.Edit
	for _, c := range changes {
		edits = append(edits, history.Edit{Path: c.Path, Entry: c.After})
	}
	if len(edits) > 0 {
		m := history.Meta{Who: head.Who, Title: head.Title, Note: "as on the primary: " + head.ID, Image: e.image}
		if _, _, err := e.repo.Record(state.Live, edits, m); err != nil {
			e.notRecorded(err, edits)
			return
		}
		e.log.Info("change of the primary is live", "commit", short(head.ID), "seq", head.Seq, "files", len(changes))
	}
}

// arrived notes that this server has all of a state.
func (e *Engine) arrived(head state.Commit) {
	t := &e.twin
	e.cfg.Findings.Clear("sync-refused")
	if len(t.left) > 0 { // tried again after a while, and with the next change
		t.refused, t.tried = head.ID, time.Now()
		e.report(head, carry.Refused)
		e.cfg.Changed()
		return
	}
	t.applied, t.refused, t.service = head.ID, "", ""
	e.allLoaded()
	e.endTrial()
	e.rememberSoon(appliedFile, head.ID)
	e.cfg.Changed()
}

// inStep reports that nothing is left to do, if that or the findings are news: it is asked every second.
func (e *Engine) inStep(head state.Commit) {
	told := e.cfg.Receiver.Progress()
	if told.State == carry.InStep && told.Head.ID == head.ID && slices.Equal(told.Findings, e.cfg.Findings.List()) {
		return
	}
	e.report(head, carry.InStep)
	e.cfg.Changed()
}

// report tells the primary how far this server is with a state.
func (e *Engine) report(head state.Commit, stage carry.Stage) {
	e.mu.Lock()
	e.status.InStep = stage == carry.InStep
	e.mu.Unlock()
	e.twin.reported = time.Now()
	p := carry.Progress{Head: carry.Point{ID: head.ID, Seq: head.Seq}, State: stage, Findings: e.cfg.Findings.List(), Versions: e.cfg.Versions}
	if stage == carry.InStep {
		p.Live = p.Head
	}
	e.cfg.Receiver.SetProgress(p)
}

// refuse tells why a state of the primary is not live here.
func (e *Engine) refuse(head state.Commit, err error) {
	f := initapi.Finding{ID: "sync-refused", Severity: "critical", Where: e.cfg.Server, What: fmt.Sprintf("A change of the primary is not live on %s: %v.", e.cfg.Server, err)}
	var (
		ver     *versionsError
		ref     *refusedError
		probe   *probeError
		noSpace *apply.NoSpaceError
		locked  *apply.LockedError
	)
	switch {
	case errors.As(err, &ver):
		f.Severity, f.Next = "warning", "Update the other server to the same version; until then changes are kept, and applied after the update."
	case errors.As(err, &ref):
		f.What += ref.stands
		f.Next = "Correct the file on the primary, or go back there: atlas rollback. The services of " + e.cfg.Server + " run on with the files from before."
	case errors.As(err, &probe):
		f.Next = probe.next(e.cfg.Server)
	case errors.As(err, &noSpace):
		f.Next = "Make room on the disk set of " + e.cfg.Server + "; the change is applied by itself then."
	case errors.As(err, &locked):
		f.Next = locked.Remedy
	default:
		f.Next = "It is tried again with the next change, and when this server starts. If it stays so, send the log of sentry to the vendor."
	}
	e.log.Error("change of the primary is not live", "commit", short(head.ID), "err", err)
	if ref != nil {
		e.log.Error("the checker says", "service", ref.verdict.Service, "check", ref.verdict.Title, "output", ref.verdict.Output)
	}
	e.cfg.Findings.Set(f)
	e.report(head, carry.Refused)
	e.cfg.Changed()
}

// local looks at what was changed on this secondary by others than the Synchronizer: the primary wins, and what was here is in the history.
func (e *Engine) local(_ context.Context, c state.Commit) {
	if c.Parent == "" {
		return // the first state of all
	}
	changes, err := e.repo.Diff(c.Parent, c.ID)
	if err != nil {
		return
	}
	var lost []string
	for _, ch := range changes {
		if ch.Before == nil && ch.Path.Under(state.Exports) { // dumped for the first time: perhaps there is something to load now
			e.twin.applied, e.twin.refused = "", ""
			continue
		}
		if c.Who.Service != "" && ch.Path.Under(state.Exports) && e.own(ch) {
			continue
		}
		if (ch.Path.Under(state.Exports) || e.facts.Class(ch.Path) == class.Shared) && e.overwritten(ch) {
			lost = append(lost, "/"+string(ch.Path))
		}
	}
	if len(lost) == 0 {
		return
	}
	e.nudge()
	e.twin.applied, e.twin.refused = "", ""
	if c.Who.Service != "" {
		return // what a service does at its start is no person's doing, and the same on the primary
	}
	if was, err := e.repo.Commit(c.Parent); err == nil && was.Image != "" && was.Image != c.Image {
		e.log.Info("the image's files took the place of another image's", "commit", short(c.ID), "was", was.Image, "is", c.Image)
		return // an update, or a swap between two releases, is no person's doing either
	}
	e.note(initapi.Finding{
		ID: "sync-local-change", Severity: "warning", Where: e.cfg.Server,
		What: fmt.Sprintf("Changed on %s, and put back as it is on the primary: %s (%s).", e.cfg.Server, list(lost), c.Who),
		Next: fmt.Sprintf("Make the change on the primary. What was here is kept: on %s, atlas show %s.", e.cfg.Server, short(c.ID)),
	}, localTold)
}

// localTold is how long a change on the secondary is told that was put back.
const localTold = 24 * time.Hour

// overwritten tells whether the primary has something else at the path. A program that makes the same change again and again is left alone
// in the end, with a finding.
func (e *Engine) overwritten(ch state.Change) bool {
	head, ok := e.repo.Head(state.Site)
	if !ok {
		return false
	}
	is := head.ID
	if e.versions.head != "" {
		is = e.versions.target.ID
	}
	theirs, there, err := e.repo.Lookup(is, ch.Path)
	if err != nil || ch.After == nil && !there || ch.After != nil && there && theirs.Equal(*ch.After) {
		return false
	}
	t := &e.twin
	now := time.Now()
	t.back[ch.Path] = append(slices.DeleteFunc(t.back[ch.Path], func(at time.Time) bool { return now.Sub(at) > e.cfg.calm }), now)
	if len(t.back[ch.Path]) <= mostBack {
		return true
	}
	e.fight(ch.Path)
	return false
}

// keep takes what is about to be overwritten into the history.
func (e *Engine) keep(c apply.Clash, content io.Reader) error {
	if c.Found == nil || c.Found.Kind == 0 {
		return nil // nothing is there, or nothing that could be kept
	}
	entry := *c.Found
	d := history.Edit{Path: c.Path, Entry: &entry}
	if entry.Kind == state.File {
		data, err := io.ReadAll(io.LimitReader(content, maxFile+1))
		if err != nil {
			return fmt.Errorf("keep what was changed on this server: %w", err)
		}
		d.Content = data
	}
	_, _, err := e.repo.Record(e.line(), e.withParents([]history.Edit{d}), history.Meta{Note: "changed on this server and overwritten", Image: e.image})
	return err
}

// versionsError: the two servers run different versions, and what the primary's image ships is not known here.
type versionsError struct{ theirs, ours string }

func (v *versionsError) Error() string {
	return fmt.Sprintf("the primary runs version %s, this server %s", v.theirs, v.ours)
}

// refusedError: a checker on this server does not take the state.
type refusedError struct {
	verdict check.Verdict
	title   string
	stands  string // where on the primary that is, and since when: " On the primary …"
}

func (r *refusedError) Error() string {
	return fmt.Sprintf("%s does not take it here (%s)", r.title, mistake(r.verdict.Output))
}

func list(paths []string) string {
	if len(paths) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(paths[:3], ", "), len(paths)-3)
	}
	return strings.Join(paths, ", ")
}
