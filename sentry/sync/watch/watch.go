// Package watch notices every change below a set of roots within milliseconds, however it was made, and says who made it.
//
// Data flow: the kernel (fanotify(7): a mark on each directory, events with the directory's handle, the name and the process) → who is the
// process (read: a thread of high priority, since processes end) → which directory is it (tree) → the grouper puts what one person, service or job does together →
// the outbox → Actions. The consumer looks at the paths of an action and records what it finds; later parts of the same action (same ID)
// add to that record.
//
// Directories on the way to a root are watched too, so that roots may appear, disappear and be moved. A root that is a symbolic link, or
// has one on its way, is watched as the link that it is, and what it leads to is watched and told under its real path. What is mounted
// below a root (the image's own files) is not entered.
//
// It does not see what was changed through a second name of a file outside of the roots, on the disk itself, or while it did not run:
// comparing everything from time to time stays necessary. It reads no file and keeps no list of files.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// DefaultMaxDirs bounds the directories watched; a mark takes about 1 KiB of the kernel's memory.
const DefaultMaxDirs = 200_000

// Options of a Watcher.
type Options struct {
	Root    string       // the filesystem's root, "/"
	Roots   []state.Path // directories and files to watch; they need not exist
	Skip    func(state.Path) bool
	Log     *slog.Logger
	MaxDirs int // 0: DefaultMaxDirs
	// Own tells changes by this process too. Without it, what others do in a directory that this process made a moment ago, before it is
	// watched (milliseconds), is not told.
	Own  bool
	Proc string                  // "" is /proc
	User func(uid uint32) string // nil: by Root's etc/passwd
	// Programs are directories whose programs are noted when they start, since many have ended when their changes are read. Nil stands for
	// the usual ones; empty for none.
	Programs []state.Path
	// Clients are programs, by their paths, whose starts are kept for Started.
	Clients []string
}

// Action is what one author did, or a part of it.
type Action struct {
	ID uint64 // the same for all parts; 0 where there is no author (Rescan, Problem)
	// Paths to look at again; some may not exist any more. A directory means all that is below it too.
	Paths []state.Path
	// Attrs are directories of which only owner, mode, ACL or attributes were changed: what is below them needs no look.
	Attrs       []state.Path
	Who         state.Who
	First, Last time.Time // when the first and last of it was noticed
	Rescan      bool      // look at everything again: events were lost, or too many waited
	// More says that the action goes on: another part comes, at the latest the one without it, which may have no paths.
	More    bool
	Problem error // a *TooManyDirsError or *UnwatchableError, once when it begins; Paths are empty
}

// Stats of a Watcher.
type Stats struct {
	Dirs      int    // watched
	Events    uint64 // from the kernel
	Overflows uint64
	Merged    uint64 // parts that were joined because the consumer was slow
	Unknown   uint64 // events whose author was gone when we looked
	Problems  []error
}

// Watcher watches. Make one with New.
type Watcher struct {
	opts   Options
	log    *slog.Logger
	kernel *kernel
	out    *outbox
	self   int

	mu       sync.Mutex // over all below; Run holds it while it works through events
	tree     *tree
	roots    []state.Path        // of the caller, and what links among them lead to
	links    map[state.Path]bool // links on the way to roots: when one changes, roots are found anew
	group    *grouper
	next     time.Time // when the grouper wants to be asked
	round    int
	full     bool // there are more directories than we may watch
	again    bool // there is room again for directories that were left out
	problems map[string]error
	told     map[string]error // problems before the last walk
	stats    Stats

	clients  map[string]bool // names of Options.Clients
	startsMu sync.Mutex      // over starts
	starts   []launched
}

// New begins to watch: what is changed after it returns is told by Run. So look at everything once after New, not before.
func New(o Options) (*Watcher, error) {
	if o.MaxDirs == 0 {
		o.MaxDirs = DefaultMaxDirs
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
	if o.User == nil {
		o.User = snapshot.NewNames(o.Root).User
	}
	k, err := openKernel(o.Root)
	if err != nil {
		return nil, err
	}
	if o.Programs == nil {
		o.Programs = []state.Path{"usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "bin", "sbin"}
	}
	w := &Watcher{
		opts: o, log: o.Log, kernel: k, out: newOutbox(), self: os.Getpid(),
		tree: newTree(), group: newGrouper(), problems: map[string]error{}, clients: map[string]bool{},
	}
	programs := slices.Clone(o.Programs)
	for _, c := range o.Clients {
		p := state.Path(strings.TrimPrefix(c, "/"))
		w.clients[p.Base()] = true
		if !slices.Contains(programs, p.Dir()) {
			programs = append(programs, p.Dir())
		}
	}
	k.programs(programs)
	if err := w.SetRoots(o.Roots); err != nil {
		k.close()
		return nil, err
	}
	return w, nil
}

// SetRoots changes what is watched. What is changed below new roots after it returns is told, so look at them after it.
func (w *Watcher) SetRoots(roots []state.Path) error {
	for _, r := range roots {
		if err := r.Check(); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opts.Roots = slices.Clone(roots)
	w.walk()
	if w.tree.root == nil {
		return fmt.Errorf("watch: %w", errors.Join(w.listProblems()...))
	}
	return nil
}

// Actions is where Run tells what it notices. It is closed when Run returns.
func (w *Watcher) Actions() <-chan Action { return w.out.out }

// Stats tells how it goes.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Dirs = len(w.tree.nodes)
	s.Problems = w.listProblems()
	w.out.mu.Lock()
	s.Merged = w.out.merged
	w.out.mu.Unlock()
	return s
}

// Close gives back what a Watcher holds on which Run is never called.
func (w *Watcher) Close() { w.kernel.close() }

// Run watches until ctx ends, and closes w. It may be called once.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.kernel.close()
	inner, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() { cancel(); all.Wait() }()
	batches := make(chan batch, 16) // when it is full, the kernel's queue takes the rest
	all.Go(func() { w.out.run(inner) })
	all.Go(func() { w.read(inner, batches) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case b := <-batches:
			w.take(b)
			if b.err != nil {
				return fmt.Errorf("watch for changes of files: %w", b.err)
			}
		case <-timer.C:
		}
		w.deliver(timer)
	}
}

// deliver hands out what is due, and sets the timer to when something else will be.
func (w *Watcher) deliver(timer *time.Timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	at, ok := w.group.due()
	if ok && !at.After(now) {
		w.out.put(w.group.take(now)...)
		at, ok = w.group.due()
	}
	switch {
	case !ok:
		timer.Stop()
	case !at.Equal(w.next):
		timer.Reset(time.Until(at))
	}
	w.next = at
}

// take works through a batch.
func (w *Watcher) take(b batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, e := range b.events {
		w.stats.Events++
		if b.by[i].key != "" && b.by[i].who == (state.Who{}) {
			w.stats.Unknown++
		}
		w.event(b.at, e, b.by[i])
	}
	if w.again {
		w.again = false
		w.walk()
		w.out.put(Action{Rescan: true, First: b.at, Last: b.at})
	}
}

func (w *Watcher) listProblems() []error {
	var out []error
	for _, e := range w.problems {
		out = append(out, e)
	}
	return out
}

// problem keeps and tells a problem, once.
func (w *Watcher) problem(key string, err error) {
	if w.problems[key] != nil {
		return
	}
	w.problems[key] = err
	if w.told[key] != nil {
		return
	}
	w.log.Warn("watch", "problem", err)
	now := time.Now()
	w.out.put(Action{Problem: err, First: now, Last: now})
}
