package engine

import (
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// ownWork is a dump of a database that a service of this secondary changed by itself, as services do when they start for the first time:
// they make roles, logins and tables of their own. The same service does the same on the primary, whose dump may only be on its way. Putting
// back the primary's older dump in between would take a role away from what it has made: that is waited for.
type ownWork struct {
	until  time.Time
	theirs state.Hash // the primary's dump that is not loaded before
	over   bool       // it was waited for once: from then on the primary wins at once
}

// own notes that a service changed a dump here by itself; false: nobody's work is waited for.
func (e *Engine) own(ch state.Change) bool {
	t := &e.twin
	theirs, there := e.theirs(ch.Path)
	if !there || ch.After == nil || theirs.Equal(*ch.After) {
		return false
	}
	if w, known := t.own[ch.Path]; known && w.theirs == theirs.Data {
		return !w.over
	}
	t.own[ch.Path] = ownWork{until: time.Now().Add(e.cfg.own), theirs: theirs.Data}
	return true
}

// waits tells that the primary's dump c.After is not loaded yet: something newer may come.
func (e *Engine) waits(c state.Change) bool {
	w, known := e.twin.own[c.Path]
	return known && !w.over && c.After != nil && c.After.Data == w.theirs
}

// owned ends the wait where it was long enough: then the primary's is loaded, as it is.
func (e *Engine) owned() {
	t := &e.twin
	for p, w := range t.own {
		if !w.over && time.Now().After(w.until) {
			w.over = true
			t.own[p] = w
			t.applied, t.refused = "", ""
		}
	}
}

// theirs is what the primary has at a path, in this server's release.
func (e *Engine) theirs(p state.Path) (state.Entry, bool) {
	head, ok := e.repo.Head(state.Site)
	if !ok {
		return state.Entry{}, false
	}
	is := head.ID
	if e.versions.head != "" {
		is = e.versions.target.ID
	}
	entry, there, err := e.repo.Lookup(is, p)
	return entry, there && err == nil
}
