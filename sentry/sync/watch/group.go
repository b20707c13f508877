package watch

import (
	"maps"
	"slices"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Times of the grouping.
const (
	quiet    = 3 * time.Millisecond   // after something was completed: more of it may come at once
	alone    = 1 * time.Millisecond   // after one file was closed, and nothing else was done: most changes are no more than that
	hold     = 25 * time.Millisecond  // but nobody waits longer than this for the first part
	slowest  = 400 * time.Millisecond // later parts of a long action come more and more rarely, down to this
	unclosed = 100 * time.Millisecond // a file made and not closed: perhaps it never will be (it is a database, or was linked in)
	gap      = 500 * time.Millisecond // silence that ends an action
	span     = 5 * time.Second        // an action lasts no longer
	hintWait = 700 * time.Millisecond // a write to a file that stays open
	hintGap  = 10 * time.Second       // between two parts for such writes to the same file
	maxHints = 4096
	maxDirs  = 1024 // of an action, to tell what belongs to it
	maxPaths = 8192 // of one part; above, directories stand for what is in them
)

// author is who an event came from, and which events belong together.
type author struct {
	key string // the same for all that one person does in a session, for one service, one job
	who state.Who
}

// how an event changes a path.
type how byte

const (
	completed how = iota // closed after writing, renamed, removed, attributes set, directory or link made
	started              // a file made that is open yet
	hint                 // written to; who does it may go on for days
)

// change is what one event says about one path.
type change struct {
	path state.Path
	how  how
	deep bool // a directory that came with all that is in it
	attr bool // of a directory, attributes only
	born bool // it was not there before
	gone bool // it is not there any more
	came bool // by its name, from elsewhere
	shut bool // a file that was closed after writing, and is there
}

// mention is what a part that is not delivered yet says about a path.
type mention struct {
	since            time.Time
	done             bool
	deep, attr       bool
	bornHere, absent bool
}

// group is an action that goes on.
type group struct {
	id          uint64
	who         state.Who
	first, last time.Time
	from, to    time.Time // of what is not delivered yet
	pending     map[state.Path]*mention
	open        map[state.Path]time.Time // those of pending that are not done, since when
	due, latest time.Time                // of what is completed; zero if nothing is
	parts       int
	dirs        map[state.Path]bool // that it changed something in
	only        state.Path          // the one path of all its changes so far; "" if there were others
}

// grouper turns changes into actions. It knows no clock and no kernel: each call is told the time. It is not for concurrent use.
type grouper struct {
	next   uint64
	groups map[string]*group
	hints  map[state.Path]hinted
	told   map[state.Path]time.Time // when writes to an open file were told last
}

type hinted struct {
	due time.Time
	by  author
}

func newGrouper() *grouper {
	return &grouper{groups: map[string]*group{}, hints: map[state.Path]hinted{}, told: map[state.Path]time.Time{}}
}

// add takes in a change. It may return parts of an older action by the same author, which this change ended.
func (g *grouper) add(now time.Time, by author, c change) []Action {
	if c.how == hint {
		g.hint(now, by, c.path)
		return nil
	}
	delete(g.hints, c.path)
	var out []Action
	if by.who == (state.Who{}) {
		by = g.near(now, by, c.path)
	}
	a := g.groups[by.key]
	if a != nil && (now.Sub(a.last) >= gap || now.Sub(a.first) >= span) {
		out = g.end(by.key, a, out)
		a = nil
	}
	if a == nil {
		g.next++
		a = &group{
			id: g.next, who: by.who, first: now, pending: map[state.Path]*mention{}, open: map[state.Path]time.Time{}, dirs: map[state.Path]bool{}, only: c.path,
		}
		g.groups[by.key] = a
	}
	if c.path != a.only {
		a.only = ""
	}
	a.who = better(a.who, by.who)
	a.last = now
	if len(a.dirs) < maxDirs {
		a.dirs[c.path.Dir()] = true
	}
	a.mention(now, c)
	return out
}

// near gives the author of the only action that goes on in the same directory, for a change by a process that was gone before it could be
// asked for: on a busy machine that happens to mv and ln, in the midst of a script.
func (g *grouper) near(now time.Time, by author, p state.Path) author {
	if g.groups[by.key] != nil {
		return by
	}
	found := by
	for key, a := range g.groups {
		if now.Sub(a.last) >= gap || now.Sub(a.first) >= span || !a.dirs[p.Dir()] && !a.dirs[p.Dir().Dir()] || a.who == (state.Who{}) {
			continue
		}
		if found.key != by.key {
			return by // two: who knows
		}
		found = author{key: key, who: a.who}
	}
	return found
}

// better fills in what was not known about the same author.
func better(old, now state.Who) state.Who {
	if old.Program == "" {
		return now
	}
	return old
}

func (a *group) mention(now time.Time, c change) {
	if len(a.pending) == 0 {
		a.from = now
	}
	a.to = now
	m := a.pending[c.path]
	if m == nil {
		m = &mention{since: now, bornHere: c.born && !c.gone, attr: c.attr}
		a.pending[c.path] = m
	}
	m.attr = m.attr && c.attr
	m.bornHere = m.bornHere && !c.came // two files may have been exchanged: then the name is told to have gone, and is there
	m.deep = m.deep || c.deep
	switch {
	case c.gone && !c.born:
		m.absent = true
		if m.bornHere { // made and removed between two looks: nothing happened
			delete(a.pending, c.path)
			delete(a.open, c.path)
			return
		}
	case c.born && !c.gone:
		m.absent = false
	}
	if c.how == started {
		if !m.done {
			a.open[c.path] = m.since
		}
		return
	}
	m.done = true
	delete(a.open, c.path)
	wait, longest := quiet, hold
	switch {
	case a.parts > 0:
		wait = min(quiet<<min(a.parts, 8), slowest/4)
		longest = min(hold<<min(a.parts, 8), slowest)
	case c.shut && a.only != "": // what an editor or a package does with several names is not told half done
		wait = alone
	}
	if a.due.IsZero() {
		a.latest = now.Add(longest)
	}
	a.due = now.Add(wait)
	if a.due.After(a.latest) {
		a.due = a.latest
	}
	if len(a.pending) > maxPaths {
		a.coarsen()
	}
}

// coarsen lets directories stand for what is in them, until there are few enough.
func (a *group) coarsen() {
	for len(a.pending) > maxPaths/2 {
		up := map[state.Path]*mention{}
		for p, m := range a.pending {
			if d := p.Dir(); d != "" {
				p = d
			}
			if o := up[p]; o == nil || m.since.Before(o.since) {
				up[p] = &mention{since: m.since, done: true, deep: true}
			}
		}
		clear(a.open)
		stuck := len(up) == len(a.pending)
		a.pending = up
		if stuck {
			return // as many top directories: then they are it
		}
	}
}

func (g *grouper) hint(now time.Time, by author, p state.Path) {
	if a := g.groups[by.key]; a != nil && a.pending[p] != nil && !a.pending[p].done {
		return // it was just made: closing, or waiting for that, tells it
	}
	if _, ok := g.hints[p]; ok || len(g.hints) >= maxHints {
		return
	}
	due := now.Add(hintWait)
	if t, ok := g.told[p]; ok && t.Add(hintGap).After(due) {
		due = t.Add(hintGap)
	}
	g.hints[p] = hinted{due: due, by: by}
}

// take returns what is to be delivered by now.
func (g *grouper) take(now time.Time) []Action {
	var out []Action
	for _, p := range slices.Sorted(maps.Keys(g.hints)) {
		if h := g.hints[p]; !now.Before(h.due) {
			g.told[p] = now
			out = append(out, g.add(now, h.by, change{path: p})...)
		}
	}
	for p, t := range g.told {
		if now.Sub(t) >= hintGap {
			delete(g.told, p)
		}
	}
	keys := slices.SortedFunc(maps.Keys(g.groups), func(x, y string) int { return int(g.groups[x].id) - int(g.groups[y].id) })
	for _, k := range keys {
		a := g.groups[k]
		if now.Sub(a.last) >= gap || now.Sub(a.first) >= span {
			out = g.end(k, a, out)
			continue
		}
		if !a.ready().After(now) {
			if part, ok := a.part(now); ok {
				out = append(out, part)
			}
		}
	}
	return out
}

var never = time.Unix(1<<40, 0)

// ready is when something of a is to be delivered.
func (a *group) ready() time.Time {
	at := never
	if !a.due.IsZero() {
		at = a.due
	}
	for _, t := range a.open {
		if t = t.Add(unclosed); t.Before(at) {
			at = t
		}
	}
	return at
}

// due is when take has something to do next; ok is false while nothing goes on.
func (g *grouper) due() (at time.Time, ok bool) {
	at = never
	earlier := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	for _, h := range g.hints {
		earlier(h.due)
	}
	for _, a := range g.groups {
		earlier(a.ready())
		earlier(a.last.Add(gap))
		earlier(a.first.Add(span))
	}
	return at, at != never
}

// part takes what is completed out of a. Files that are open yet stay, if they are young.
func (a *group) part(now time.Time) (Action, bool) {
	act := Action{ID: a.id, Who: a.who, First: a.from, Last: a.to, More: true}
	deep := map[state.Path]bool{}
	for p, m := range a.pending {
		if m.deep {
			deep[p] = true
		}
	}
	rest := map[state.Path]*mention{}
	for p, m := range a.pending {
		switch {
		case !m.done && now.Sub(m.since) < unclosed:
			rest[p] = m
		case covered(p, deep):
		case m.attr && !m.deep:
			act.Attrs = append(act.Attrs, p)
		default:
			act.Paths = append(act.Paths, p)
		}
	}
	maps.DeleteFunc(a.open, func(p state.Path, _ time.Time) bool { return rest[p] == nil })
	a.pending, a.due, a.latest, a.from = rest, time.Time{}, time.Time{}, now
	if len(act.Paths)+len(act.Attrs) == 0 {
		return act, false
	}
	a.parts++
	slices.Sort(act.Paths)
	slices.Sort(act.Attrs)
	return act, true
}

// covered tells whether a directory above p is looked at as a whole.
func covered(p state.Path, deep map[state.Path]bool) bool {
	if len(deep) == 0 {
		return false
	}
	for d := p.Dir(); d != ""; d = d.Dir() {
		if deep[d] {
			return true
		}
	}
	return false
}

// end delivers what is left of an action, or that nothing more will come.
func (g *grouper) end(key string, a *group, out []Action) []Action {
	delete(g.groups, key)
	part, ok := a.part(a.last.Add(time.Hour)) // open files too
	if !ok && a.parts == 0 {
		return out // what was made is gone again
	}
	if !ok {
		part.First, part.Last = a.last, a.last
	}
	part.More = false
	return append(out, part)
}
