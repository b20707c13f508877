package engine

import (
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// ownWork is a dump of a database that a service of this secondary changed by itself, as services do when they start for the first time:
// they make roles, logins and tables of their own. The same service does the same on the primary, whose dump may only be on its way. Putting
// back the primary's older dump in between would take a role away from what it has made: that is waited for.
type ownWork struct {
	Until  time.Time  `json:"until"`
	Theirs state.Hash `json:"theirs"` // the primary's dump that is not loaded before
	Over   bool       `json:"over"`   // it was waited for once: from then on the primary wins at once
}

// ownFile remembers twin.own: a new service is also a new list of what to follow, for which the engine begins anew.
const ownFile = "own"

// own notes that a service changed a dump here by itself; false: nobody's work is waited for.
func (e *Engine) own(ch state.Change) bool {
	t := &e.twin
	theirs, there := e.theirs(ch.Path)
	if !there || ch.After == nil || theirs.Equal(*ch.After) {
		return false
	}
	if w, known := t.own[ch.Path]; known && w.Theirs == theirs.Data {
		return !w.Over
	}
	t.own[ch.Path] = ownWork{Until: time.Now().Add(e.cfg.own), Theirs: theirs.Data}
	e.remember(ownFile, t.own)
	return true
}

// waits tells that the primary's dump c.After is not loaded yet: something newer may come.
func (e *Engine) waits(c state.Change) bool {
	w, known := e.twin.own[c.Path]
	return known && !w.Over && c.After != nil && c.After.Data == w.Theirs
}

// owned ends the wait where it was long enough: then the primary's is loaded, as it is.
func (e *Engine) owned() {
	t := &e.twin
	for p, w := range t.own {
		if !w.Over && time.Now().After(w.Until) {
			w.Over = true
			t.own[p] = w
			e.remember(ownFile, t.own)
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
