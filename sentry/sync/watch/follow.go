package watch

import (
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// event follows one event in the tree and tells the grouper what it changed.
func (w *Watcher) event(now time.Time, e event, by author) {
	if e.mask&unix.FAN_Q_OVERFLOW != 0 {
		w.stats.Overflows++
		w.log.Warn("watch: more changes at once than the kernel keeps, all is looked at again")
		w.walk()
		w.out.put(Action{Rescan: true, First: now, Last: now})
		return
	}
	if e.mask&unix.FAN_MOVE_SELF != 0 && w.topMoved(e.dir) {
		w.walk()
		w.out.put(Action{Rescan: true, First: now, Last: now})
	}
	if e.mask&unix.FAN_DELETE_SELF != 0 {
		if n := w.tree.nodes[e.dir]; n != nil && n != w.tree.root {
			w.tree.forget(n)
			w.room()
		}
		return
	}
	isDir := e.mask&unix.FAN_ONDIR != 0
	if e.mask&unix.FAN_RENAME != 0 {
		// The new place first: what is known moves there with all below it, and is not there any more when the old place is looked at.
		// Whether something was replaced there is not told, so it is not called born.
		w.name(now, by, e.to, e.toName, change{deep: isDir, came: true}, isDir)
		w.name(now, by, e.dir, e.name, change{gone: true, deep: isDir}, isDir)
		return
	}
	c := change{born: e.mask&unix.FAN_CREATE != 0, gone: e.mask&unix.FAN_DELETE != 0}
	switch {
	case isDir:
		c.attr = e.mask&(unix.FAN_CREATE|unix.FAN_DELETE) == 0
		c.deep = !c.attr
	case e.mask&(unix.FAN_CLOSE_WRITE|unix.FAN_DELETE|unix.FAN_ATTRIB) != 0:
		c.shut = e.mask&unix.FAN_CLOSE_WRITE != 0 && !c.gone
	case c.born:
		c.how = w.created(e.dir, e.name)
	case e.mask&unix.FAN_MODIFY != 0:
		c.how = hint
	default:
		return
	}
	w.name(now, by, e.dir, e.name, c, isDir && !c.attr)
}

// topMoved tells whether a watched directory was moved that no other event is told about: its parent is not watched.
func (w *Watcher) topMoved(id fid) bool {
	n := w.tree.nodes[id]
	return n != nil && n.parent == nil
}

// name takes in a change of name in the directory dir. look says that a directory may have come or gone there.
func (w *Watcher) name(now time.Time, by author, dir fid, name string, c change, look bool) {
	n := w.tree.nodes[dir]
	if n == nil || !w.tree.attached(n) {
		return
	}
	c.path = n.path()
	if name != "." && name != "" { // events of a directory itself
		c.path = join(c.path, name)
		if look {
			w.enter(n, name, false)
		}
	}
	if w.links[c.path] || w.linkRoot(c.path, c.how) {
		old := w.roots
		w.walk()
		for _, r := range w.roots {
			if by.key != "" && r != c.path && !slices.Contains(old, r) {
				w.out.put(w.group.add(now, by, change{path: r, deep: true})...)
			}
		}
	}
	if below, above := w.wanted(c.path); !below {
		if !above || !look {
			return
		}
		// A directory on the way to a root came or went: the roots below it did.
		for _, r := range w.roots {
			if by.key != "" && r.Under(c.path) {
				c.path, c.deep = r, true
				w.out.put(w.group.add(now, by, c)...)
			}
		}
		return
	}
	if by.key != "" {
		w.out.put(w.group.add(now, by, c)...)
	}
}

// linkRoot tells whether a root may have become a link.
func (w *Watcher) linkRoot(p state.Path, h how) bool {
	if h != completed || !slices.ContainsFunc(w.opts.Roots, func(r state.Path) bool { return r.Under(p) }) {
		return false
	}
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(w.opts.Root, string(p)), &st)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

// created tells whether something that was made is complete: links, FIFOs and further names of a file are, files are to be written to.
func (w *Watcher) created(dir fid, name string) how {
	n := w.tree.nodes[dir]
	if n == nil {
		return completed
	}
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(w.opts.Root, string(join(n.path(), name))), &st)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 {
		return started
	}
	return completed
}

// wanted tells whether p is at or below a root, and whether a root is below p.
func (w *Watcher) wanted(p state.Path) (below, above bool) {
	for _, r := range w.roots {
		below = below || p != "" && p.Under(r)
		above = above || r != p && (p == "" || r.Under(p))
	}
	if below && w.opts.Skip != nil && w.opts.Skip(p) {
		below = false
	}
	return below, above
}

// walk looks at everything anew: it finds the roots, marks what is not, and forgets what is gone or not wanted any more.
func (w *Watcher) walk() {
	w.resolve()
	w.round++
	w.full = false
	w.told, w.problems = w.problems, map[string]error{}
	w.enter(nil, "", true)
	var old []*node
	for _, n := range w.tree.nodes {
		if n.round != w.round {
			old = append(old, n)
		}
	}
	for _, n := range old {
		if w.tree.nodes[n.id] == n {
			w.drop(n)
		}
	}
}

// drop forgets n and what is below it, and ends its events.
func (w *Watcher) drop(n *node) {
	near := n.parent
	if near == nil || !w.tree.attached(near) {
		near = w.tree.root
	}
	var at state.Path
	if near != nil {
		at = near.path()
	}
	list := w.tree.forget(n)
	if d, err := w.kernel.open(at); err == nil {
		w.kernel.unmark(d, list)
		d.Close()
	}
	w.room()
}

// room has everything looked at again when there is room for directories that were left out.
func (w *Watcher) room() {
	w.again = w.again || w.full && len(w.tree.nodes) < w.opts.MaxDirs*9/10
}

// resolve finds what the roots are by their real paths, and the links on the way.
func (w *Watcher) resolve() {
	w.links, w.roots = map[state.Path]bool{}, nil
	for _, r := range w.opts.Roots {
		w.roots = append(w.roots, r)
		rest, at := strings.Split(string(r), "/"), state.Path("")
		for hops := 0; len(rest) > 0; {
			p := join(at, rest[0])
			target, err := os.Readlink(filepath.Join(w.opts.Root, string(p)))
			if err != nil || hops > 40 {
				at, rest = p, rest[1:]
				continue
			}
			hops++
			w.links[p] = true
			w.roots = append(w.roots, p)
			if !path.IsAbs(target) {
				target = "/" + string(at) + "/" + target
			}
			// Clean keeps it below Root, as chroot(2) would.
			rest = append(strings.FieldsFunc(path.Clean(target), func(r rune) bool { return r == '/' }), rest[1:]...)
			at = ""
		}
		if at != "" {
			w.roots = append(w.roots, at)
		}
	}
	slices.Sort(w.roots)
	w.roots = slices.Compact(w.roots)
}

// step is a directory that is still to be entered.
type step struct {
	parent *node
	name   string
	all    bool // look into it although it is known and where it was
}

// enter makes the tree true to what is now at name in parent (nil: the root), and below it.
func (w *Watcher) enter(parent *node, name string, all bool) {
	for todo := []step{{parent, name, all}}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if s.parent != nil && !w.tree.attached(s.parent) {
			continue
		}
		todo = append(todo, w.one(s)...)
	}
}

// one enters a single directory and returns those in it that are to be entered next.
func (w *Watcher) one(s step) []step {
	parent, name := s.parent, s.name
	var p state.Path
	if parent != nil {
		p = join(parent.path(), name)
	}
	below, above := w.wanted(p)
	d, err := w.kernel.open(p)
	if err == nil {
		defer d.Close()
	}
	isRoot := slices.Contains(w.roots, p)
	if err != nil || !below && !above || below && !above && !isRoot && mountpoint(d) {
		if parent != nil && parent.kids[name] != nil {
			w.drop(parent.kids[name])
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
			w.problem("open "+string(p), &UnwatchableError{Dir: p, Err: err})
		}
		return nil
	}
	id, err := w.kernel.id(d)
	if _, known := w.tree.nodes[id]; err == nil && !known && len(w.tree.nodes) >= w.opts.MaxDirs {
		if !w.full {
			w.full = true
			dir, held := w.tree.fullest()
			w.problem("full", &TooManyDirsError{Limit: w.opts.MaxDirs, Dir: dir, Held: held})
		}
		return nil
	}
	if k := w.tree.nodes[id]; err == nil && k != nil && k.parent == parent && k.name == name && !s.all {
		return nil // marked and looked into: everything since then was told
	}
	mask := uint64(inDirs)
	if below || slices.ContainsFunc(w.roots, func(r state.Path) bool { return r.Dir() == p }) {
		mask |= inFiles
	}
	// The mark first, then the look into it: nothing made in between is missed.
	if err == nil {
		err = w.kernel.mark(d, mask)
	}
	if err != nil {
		w.blind(p, below, err)
		id = fid("unmarked " + p)
	}
	n, old, _ := w.tree.place(parent, name, id)
	if old != nil {
		w.drop(old)
	}
	n.round = w.round
	return w.kids(n, p, d, below)
}

// blind tells that a directory cannot be watched. One on the way to roots is no loss while they are there and are directories themselves.
func (w *Watcher) blind(p state.Path, below bool, err error) {
	if !below && !slices.ContainsFunc(w.roots, func(r state.Path) bool {
		st, err := os.Lstat(filepath.Join(w.opts.Root, string(r)))
		return (p == "" || r.Under(p)) && (err != nil || r.Dir() == p && !st.IsDir())
	}) {
		return
	}
	w.problem("mark "+string(p), &UnwatchableError{Dir: p, Err: err})
}

// kids lists what is to be entered in the open directory n at p.
func (w *Watcher) kids(n *node, p state.Path, d *os.File, below bool) (out []step) {
	if !below {
		var names []string
		for _, r := range w.roots {
			if rest, ok := strings.CutPrefix(string(r), string(p)); ok && (p == "" || strings.HasPrefix(rest, "/")) {
				first, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
				names = append(names, first)
			}
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			out = append(out, step{n, name, true})
		}
		return out
	}
	there := map[string]bool{}
	for {
		list, err := d.ReadDir(1024)
		for _, e := range list {
			if e.IsDir() {
				there[e.Name()] = true
				out = append(out, step{n, e.Name(), true})
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ENOENT) {
				w.problem("list "+string(p), &UnwatchableError{Dir: p, Err: err})
			}
			break
		}
	}
	for name, k := range n.kids {
		if !there[name] {
			w.drop(k)
		}
	}
	return out
}
