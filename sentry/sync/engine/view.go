package engine

import (
	"fmt"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Event is a commit with what it changed, as lists show it.
type Event struct {
	state.Commit
	Files []File `json:"files"`
	More  int    `json:"more,omitempty"` // files that are not listed
}

// File is one changed path of an event.
type File struct {
	Path state.Path `json:"path"`
	Verb string     `json:"verb"` // see state.Change.Verb
}

// Query chooses events.
type Query struct {
	Path   state.Path
	Limit  int    // 0: 50
	Before string // commit: only older ones
	Local  bool   // on a secondary: what was made of it here, and changed here
}

// mostFiles is how many files of an event a list names.
const mostFiles = 20

// Events lists what was changed, the newest first.
func (e *Engine) Events(q Query) ([]Event, error) {
	if q.Limit <= 0 || q.Limit > 1000 {
		q.Limit = 50
	}
	branch := state.Site
	if q.Local {
		branch = state.Live
	}
	commits, err := e.repo.Log(branch, history.LogOptions{Path: q.Path, Limit: q.Limit, Before: q.Before})
	if err != nil {
		return nil, err
	}
	out := make([]Event, 0, len(commits))
	for _, c := range commits {
		ev, err := e.event(c)
		if err != nil {
			return nil, err
		}
		out = append(out, ev)
	}
	return out, nil
}

func (e *Engine) event(c state.Commit) (Event, error) {
	ev := Event{Commit: c, Files: []File{}}
	changes, err := e.repo.Diff(c.Parent, c.ID)
	if err != nil {
		return ev, err
	}
	for _, ch := range changes {
		if len(ev.Files) == mostFiles {
			ev.More = len(changes) - mostFiles
			break
		}
		ev.Files = append(ev.Files, File{ch.Path, ch.Verb()})
	}
	return ev, nil
}

// Shown is an event with its text.
type Shown struct {
	Event
	Patch string `json:"patch"` // unified, secrets left out; "" below Path if nothing of it changed
}

// Show gives one commit as text.
func (e *Engine) Show(name string, path state.Path) (Shown, error) {
	c, err := e.resolve(name)
	if err != nil {
		return Shown{}, err
	}
	ev, err := e.event(c)
	if err != nil {
		return Shown{}, err
	}
	text, err := e.repo.Patch(c.Parent, c.ID, path, e.facts.Hide)
	return Shown{Event: ev, Patch: string(text)}, err
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
func (e *Engine) Blame(path state.Path) ([]history.Line, error) {
	head, ok := e.repo.Head(state.Site)
	if !ok {
		return nil, fmt.Errorf("/%s: %w", path, history.ErrNotFound)
	}
	return e.repo.Blame(head.ID, path, e.facts.Hide)
}

// resolve finds a commit on the site's line, or else on this server's own.
func (e *Engine) resolve(name string) (state.Commit, error) {
	c, err := e.repo.Resolve(state.Site, name)
	if err != nil {
		if c, err2 := e.repo.Resolve(state.Live, name); err2 == nil {
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
				Err: p.Err, Missing: p.Missing, Report: p.LastReport,
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
