// Package apply makes a received state live on a secondary, and a rollback on the primary: all of it or nothing, over a power cut at any
// moment, and with a way back.
//
//	changes → Stage (every new file written whole beside the live tree, durable) → Layers (shown to the checkers, package check)
//	        → Apply (journal, then renames) → Tell (services) → the caller has them probed → Confirm, or Undo
//
// A generation is a directory in the staging folder. For each path that changes it has a slot, a file or directory named by a number. Before
// the step the slot holds what is to come, after it what was there: the two are exchanged by one rename. So at any moment the slot tells
// whether its step was done, doing and undoing are the same movement, and both may be repeated. The journal lists the steps; once it is
// durable the generation is finished by whoever comes next (Recover), or taken back if that proves impossible. Directories that stay are
// not exchanged, since what else lives in them would go along: only their attributes are copied, and those from before are kept.
//
// Nothing is reached through a symbolic link below a place, and nothing on another mount. What nobody has in a history (files that are
// tracked nowhere and were in a directory that had to go) is never deleted at once, but kept in the staging folder below "aside"
// until EmptyAside.
//
// It does not convert, judge, compare trees or keep history: it is told what was before and after, and tells what it found instead.
package apply

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Place says where a part of the tree is reached for writing. A rename does not cross mounts even on one filesystem, so on the appliance
// this is the set's own directory and not what is bound from it: {"etc", SET/etc/current}, {"var", SET/var}.
type Place struct {
	Prefix state.Path
	Dir    string
}

// Clash is a path that was changed here and not by us: what is found is not what the change came from.
type Clash struct {
	Path   state.Path
	Before *state.Entry // what the change came from; nil if it was to be new, and where only a journal is left to compare with
	Found  *state.Entry // nil if it is gone; without a kind if it is a socket, FIFO or device, which nobody keeps
}

// Aside is a file that no history has. Its directory had to go; it is kept in the staging folder and comes back by Undo.
type Aside struct {
	Path state.Path
	Why  string
}

// Skipped is a change that was not made.
type Skipped struct {
	Path state.Path
	Why  string
}

// Report tells what was done.
type Report struct {
	Generation uint64
	Changed    []state.Path // moved, made, removed or given other attributes
	Clashes    []Clash      // overwritten, after Keep took what was there
	Aside      []Aside
	Skipped    []Skipped
}

// Options of an Applier.
type Options struct {
	Places  []Place
	Staging string          // directory for this purpose only, on the filesystem of all places
	Root    string          // where the services see the places; "" = "/". What is mounted below one is not ours to change
	Names   *snapshot.Names // accounts of the live tree
	Content func(state.Hash) (io.ReadCloser, error)
	// Keep gets what was changed here before it is overwritten; content is nil for what has none. An error calls the whole generation off.
	// Without Keep a clash is refused with a *ClashError.
	Keep    func(c Clash, content io.Reader) error
	Reserve int64 // bytes that stay free on the filesystem; 0 = 32 MiB
	Log     *slog.Logger
}

// Applier owns a staging folder. Its methods are not for use by several goroutines at once.
type Applier struct {
	o       Options
	staging *os.File
	places  []place
	cut     func(call, what string) error // called before each call that changes something; tests let it fail
	mounts  func() ([]string, error)      // mount points of this process's view
}

type place struct {
	Place
	dir  *os.File
	tree *snapshot.Tree // for reading
}

const defaultReserve = 32 << 20

// Open makes the staging folder if it is missing and locks it. Call Recover before anything else.
func Open(o Options) (*Applier, error) {
	if o.Names == nil || o.Content == nil || len(o.Places) == 0 {
		return nil, errors.New("apply: names, content and places must be given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Reserve == 0 {
		o.Reserve = defaultReserve
	}
	a := &Applier{o: o, mounts: check.MountPoints, cut: func(string, string) error { return nil }}
	if err := os.MkdirAll(o.Staging, 0o700); err != nil {
		return nil, fmt.Errorf("staging folder: %w", err)
	}
	var err error
	if a.staging, err = os.Open(o.Staging); err != nil {
		return nil, fmt.Errorf("staging folder: %w", err)
	}
	if err := a.open(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *Applier) open() error {
	if err := unix.Flock(int(a.staging.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("staging folder %s: another process works in it: %w", a.o.Staging, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(a.staging.Fd()), &st); err != nil {
		return fmt.Errorf("staging folder %s: %w", a.o.Staging, err)
	}
	for _, p := range a.o.Places {
		if err := p.Prefix.Check(); err != nil {
			return fmt.Errorf("place: %w", err)
		}
		d, err := os.Open(p.Dir)
		if err != nil {
			return fmt.Errorf("place of %s: %w", p.Prefix, err)
		}
		tree, err := snapshot.Open(p.Dir, snapshot.Options{Names: a.o.Names, MaxFile: math.MaxInt64})
		if err != nil {
			d.Close()
			return fmt.Errorf("place of %s: %w", p.Prefix, err)
		}
		a.places = append(a.places, place{p, d, tree})
		var pst unix.Stat_t
		if err := unix.Fstat(int(d.Fd()), &pst); err != nil {
			return fmt.Errorf("place of %s: %w", p.Prefix, err)
		}
		if pst.Dev != st.Dev {
			return fmt.Errorf("place of %s: %s lies on another filesystem than the staging folder %s; nothing could be moved between them",
				p.Prefix, p.Dir, a.o.Staging)
		}
	}
	return nil
}

// Close gives the staging folder free.
func (a *Applier) Close() {
	for _, p := range a.places {
		p.dir.Close()
		_ = p.tree.Close()
	}
	a.staging.Close()
}

// place finds where a path lies: the place with the longest prefix, and the path below it, "." for the place itself.
func (a *Applier) place(p state.Path) (int, string, error) {
	best := -1
	for i, q := range a.places {
		if p.Under(q.Prefix) && (best < 0 || len(q.Prefix) > len(a.places[best].Prefix)) {
			best = i
		}
	}
	if best < 0 {
		return 0, "", fmt.Errorf("%s lies in no place that this server keeps in step", p)
	}
	if p == a.places[best].Prefix {
		return best, ".", nil
	}
	return best, string(p[len(a.places[best].Prefix)+1:]), nil
}

// mounted lists the paths of places that something is mounted on; those that are bound at "/" + Prefix themselves are not among them.
func (a *Applier) mounted() ([]state.Path, error) {
	points, err := a.mounts()
	if err != nil {
		return nil, fmt.Errorf("list of mounts: %w", err)
	}
	var out []state.Path
	for _, p := range a.places {
		dir, err := filepath.EvalSymlinks(p.Dir)
		if err != nil {
			return nil, fmt.Errorf("place of %s: %w", p.Prefix, err)
		}
		for _, top := range []string{filepath.Join(a.o.Root, string(p.Prefix)), dir} {
			for _, m := range points {
				if rest, ok := strings.CutPrefix(m, top+"/"); ok {
					out = append(out, p.Prefix+"/"+state.Path(rest))
				}
			}
		}
	}
	return out, nil
}
