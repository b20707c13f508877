package engine

import (
	"fmt"
	"slices"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// mostFiles is how many files of an event a list names.
const mostFiles = 20

// Events lists what was changed, the newest first.
func (e *Engine) Events(q state.Query) ([]state.Event, error) {
	if q.Limit <= 0 || q.Limit > 1000 {
		q.Limit = 50
	}
	branch := state.Site
	switch {
	case q.Line != "":
		if _, ok := e.repo.Head(q.Line); !ok || !carry.Kept(q.Line) {
			return nil, fmt.Errorf("a history kept as %.40q: %w", string(q.Line), history.ErrNotFound)
		}
		branch = q.Line
	case q.Local:
		branch = state.Live
	}
	out := make([]state.Event, 0, q.Limit)
	for len(out) < q.Limit {
		commits, err := e.repo.Log(branch, history.LogOptions{Path: q.Path, Limit: q.Limit - len(out), Before: q.Before})
		if err != nil {
			return nil, err
		}
		for _, c := range commits {
			ev, err := e.event(c)
			if err != nil {
				return nil, err
			}
			if q.Path == "" && e.aboutImage(c) {
				continue
			}
			out = append(out, ev)
		}
		if len(commits) == 0 {
			break
		}
		q.Before = commits[len(commits)-1].ID
	}
	return out, nil
}

// aboutImage tells whether a commit only says what this server's image and software make of what is there, which servers of other releases ask
// for: it is no change that anybody made.
func (e *Engine) aboutImage(c state.Commit) bool {
	changes, err := e.repo.Diff(c.Parent, c.ID)
	return err == nil && c.Parent != "" && len(changes) > 0 && !slices.ContainsFunc(changes, func(ch state.Change) bool {
		return !ch.Path.Under(state.Exports+"/image") && ch.Path != state.Exports
	})
}

func (e *Engine) event(c state.Commit) (state.Event, error) {
	ev := state.Event{Commit: c, Files: []state.Touched{}}
	changes, err := e.repo.Diff(c.Parent, c.ID)
	if err != nil {
		return ev, err
	}
	// A directory that came or went with what is in it is told by that.
	bare := func(ch state.Change) bool {
		return (ch.Before == nil || ch.After == nil) && (ch.Before == nil || ch.Before.Kind == state.Dir) && (ch.After == nil || ch.After.Kind == state.Dir)
	}
	if slices.ContainsFunc(changes, func(ch state.Change) bool { return !bare(ch) }) {
		changes = slices.DeleteFunc(changes, bare)
	}
	for i, ch := range changes {
		if i == 0 {
			ev.Below = ch.Path.Dir()
		}
		for ev.Below != "" && !ch.Path.Under(ev.Below) {
			ev.Below = ev.Below.Dir()
		}
		if i < mostFiles {
			ev.Files = append(ev.Files, state.Touched{Path: ch.Path, Verb: ch.Verb()})
		}
	}
	ev.More = len(changes) - len(ev.Files)
	return ev, nil
}

// Show gives one commit as text.
func (e *Engine) Show(name string, path state.Path) (state.Shown, error) {
	c, err := e.resolve(name)
	if err != nil {
		return state.Shown{}, err
	}
	ev, err := e.event(c)
	if err != nil {
		return state.Shown{}, err
	}
	text, err := e.repo.Patch(c.Parent, c.ID, path, e.facts.Hide)
	return state.Shown{Event: ev, Patch: state.Text(text)}, err
}

// Diff gives the difference between two commits as text; to "" is the newest.
func (e *Engine) Diff(from, to string, path state.Path) (string, error) {
	a, err := e.resolve(from)
	if err != nil {
		return "", err
	}
	if to == "" {
		to = "HEAD"
	}
	b, err := e.resolve(to)
	if err != nil {
		return "", err
	}
	text, err := e.repo.Patch(a.ID, b.ID, path, e.facts.Hide)
	return string(text), err
}

// Blame tells who brought each line of a file.
func (e *Engine) Blame(path state.Path) (state.Blame, error) {
	out := state.Blame{Lines: []state.Line{}, Commits: map[string]state.Commit{}}
	head, ok := e.repo.Head(state.Site)
	if !ok {
		return out, fmt.Errorf("%s: %w", path.Word(), history.ErrNotFound)
	}
	lines, err := e.repo.Blame(head.ID, path, e.facts.Hide)
	for _, l := range lines {
		out.Lines = append(out.Lines, state.Line{Text: state.Text(l.Text), Commit: l.Commit.ID})
		out.Commits[l.Commit.ID] = l.Commit
	}
	return out, err
}

// resolve finds a commit on the site's line, or else on this server's own, or on one that is kept aside.
func (e *Engine) resolve(name string) (state.Commit, error) {
	c, err := e.repo.Resolve(state.Site, name)
	if err == nil {
		return c, nil
	}
	for _, b := range append([]state.Branch{state.Live}, e.repo.Lines(carry.Kept)...) {
		if c, err2 := e.repo.Resolve(b, name); err2 == nil {
			return c, nil
		}
	}
	return c, err
}

// Status is how it stands.
func (e *Engine) Status() state.Status {
	e.mu.Lock()
	st := e.status
	e.mu.Unlock()
	st.Findings = e.cfg.Findings.List()
	if c, ok := e.repo.Head(state.Site); ok {
		st.Head, st.Commits = &c, int(c.Seq)
	}
	if c, ok := e.repo.Head(state.Live); ok && e.cfg.Role == roles.Secondary {
		st.Live = &c
	}
	if s := e.cfg.Sender; s != nil {
		for name, p := range s.Status() {
			st.Peers = append(st.Peers, state.Peer{
				Name: name, Up: p.Up, Live: p.Live.ID, Seq: p.Live.Seq, State: string(p.State), Behind: p.Lag.Commits, Since: p.Lag.Since,
				Err: p.Err, Apart: p.Apart, Missing: p.Missing, Report: p.LastReport,
			})
			if p.State == carry.Unknown {
				st.Peers[len(st.Peers)-1].State = "not heard yet"
			}
		}
	}
	if r := e.cfg.Receiver; r != nil {
		st.Findings = append(st.Findings, r.Findings()...)
	}
	return st
}
