package watch

import (
	"slices"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Starts of programs that are of interest are kept so long, and not more of them.
const (
	keepStarts = 5 * time.Minute
	mostStarts = 512
)

// launched is the start of a program that is of interest.
type launched struct {
	at   time.Time
	name string
	by   author
}

// Started tells who started one of the programs (their paths) since a time, if that was one author only: what is changed in a database is
// written by its service, and who asked for it can only be told by the program that they asked with. Programs must be among Options.Clients.
// What this process starts itself does not count.
func (w *Watcher) Started(programs []string, since time.Time) (who state.Who, ok bool) {
	w.startsMu.Lock()
	defer w.startsMu.Unlock()
	key := ""
	for _, s := range slices.Backward(w.starts) {
		if s.at.Before(since) || !slices.ContainsFunc(programs, func(p string) bool { return state.Path(p).Base() == s.name }) {
			continue
		}
		if key != "" && s.by.key != key {
			return state.Who{}, false
		}
		key, who = s.by.key, s.by.who // the first one of them is what the others came from
	}
	return who, key != ""
}

// noteStart keeps the start of a program if it is of interest.
func (w *Watcher) noteStart(a *authors, pid int, name string, now time.Time) {
	if !w.clients[name] {
		return
	}
	k := a.known[pid]
	if k == nil {
		return // it has ended already
	}
	p, err := a.proc.stat(pid)
	if err != nil || slices.ContainsFunc(a.chain(p), func(p process) bool { return p.pid == w.self }) && !w.opts.Own {
		return
	}
	by := k.by
	by.who.Program = printable(name)
	w.startsMu.Lock()
	defer w.startsMu.Unlock()
	w.starts = slices.DeleteFunc(w.starts, func(s launched) bool { return now.Sub(s.at) > keepStarts })
	if len(w.starts) == mostStarts {
		w.starts = slices.Delete(w.starts, 0, 1)
	}
	w.starts = append(w.starts, launched{at: now, name: name, by: by})
}
