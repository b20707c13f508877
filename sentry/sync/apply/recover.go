package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Recovery tells what Recover did.
type Recovery struct {
	Finished []uint64 // generations that were being made live, and are now
	Undone   []uint64 // that were being taken back, or could not be finished
	Paths    []state.Path
}

// Recover finishes what was cut off: a generation whose journal was written becomes live, or, where that is impossible, is taken back whole;
// one that was being taken back is. What was only staged is removed. It may itself be cut off and called again. Without an error, the live
// tree is wholly in one state.
func (a *Applier) Recover() (Recovery, error) {
	var r Recovery
	names, err := a.entries()
	if err != nil {
		return r, err
	}
	for _, n := range names {
		if strings.HasPrefix(n, trashPrefix) {
			a.dispose(n)
		}
	}
	have, err := a.numbers()
	if err != nil {
		return r, err
	}
	for _, n := range have {
		if err := a.recoverOne(n, &r); err != nil {
			return r, fmt.Errorf("recover generation %d: %w", n, err)
		}
	}
	return r, nil
}

func (a *Applier) recoverOne(n uint64, r *Recovery) error {
	g, mark, j, err := a.load(n)
	if err != nil {
		return err
	}
	defer g.dir.Close()
	for _, s := range j.Steps {
		if mark != journalDone {
			r.Paths = append(r.Paths, state.Path(s.Path))
		}
	}
	switch mark {
	case "":
		if err := a.cut("delete", g.name); err != nil {
			return err
		}
		return os.RemoveAll(filepath.Join(a.o.Staging, g.name))
	case journalBack:
		r.Undone = append(r.Undone, n)
		return g.undo(j)
	case journalOn:
		_, err := g.finish(j)
		if err == nil {
			r.Finished = append(r.Finished, n)
			return nil
		}
		if _, _, _, gone := a.load(n); errors.Is(gone, os.ErrNotExist) { // the way back worked
			a.o.Log.Warn("a state that was being made live could not be finished and was taken back", "err", err)
			r.Undone = append(r.Undone, n)
			return nil
		}
		return err
	}
	return nil
}

// Last is the number of the generation that Undo would take back; 0 if there is none.
func (a *Applier) Last() (uint64, error) {
	done, err := a.done()
	if err != nil || len(done) == 0 {
		return 0, err
	}
	return done[len(done)-1], nil
}

// done lists the generations that are live, or were before a later one.
func (a *Applier) done() ([]uint64, error) {
	have, err := a.numbers()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(have, func(n uint64) bool {
		_, err := os.Lstat(filepath.Join(a.o.Staging, genName(n), journalDone))
		return err != nil
	}), nil
}

// Undo takes the generation back that was applied last. Changed paths are in the report. What was changed here since is handled as in Apply.
// ErrNothing if there is none; ErrUnfinished as for Apply.
func (a *Applier) Undo(ctx context.Context) (Report, error) {
	have, err := a.numbers()
	if err != nil {
		return Report{}, err
	}
	for _, n := range slices.Backward(have) {
		g, mark, j, err := a.load(n)
		if err != nil {
			return Report{}, fmt.Errorf("go back: %w", err)
		}
		if mark == "" { // staged only
			g.dir.Close()
			continue
		}
		r, err := g.takeBack(ctx, mark, j)
		g.dir.Close()
		if err != nil {
			return r, fmt.Errorf("go back: %w", err)
		}
		return r, nil
	}
	return Report{}, ErrNothing
}

func (g *Generation) takeBack(ctx context.Context, mark string, j journal) (Report, error) {
	r := Report{Generation: g.Number}
	if mark != journalDone {
		return r, fmt.Errorf("generation %d was cut off: it must be recovered first", g.Number)
	}
	for _, s := range j.Steps {
		r.Changed = append(r.Changed, state.Path(s.Path))
		c, err := g.edited(s)
		if err != nil {
			return r, err
		}
		if c != nil {
			r.Clashes = append(r.Clashes, *c)
		}
	}
	if err := g.a.keep(ctx, r.Clashes); err != nil {
		return r, err
	}
	err := g.mark(journalDone, journalBack)
	if err == nil {
		err = g.undo(j)
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	return r, nil
}

// edited tells whether what a step made was changed here since. A directory's attributes hold nothing that could be lost.
func (g *Generation) edited(s step) (*Clash, error) {
	p := state.Path(s.Path)
	if s.Do == dress {
		return nil, nil
	}
	live, err := g.a.look(p)
	if _, gone := errors.AsType[*ParentError](err); gone {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if s.Do == put && live.Ino == s.New && (live.isDir() || live.Mtime == s.Mtime && live.Size == s.Size) {
		return nil, nil
	}
	if s.Do == remove && live.Ino == 0 {
		return nil, nil
	}
	found, err := g.a.found(p, live)
	if err != nil {
		return nil, err
	}
	return &Clash{Path: p, Found: found}, nil
}

// Confirm tells that the last applied generation is good: those before it are deleted, and from now on it is the only one to go back from.
func (a *Applier) Confirm() error {
	done, err := a.done()
	if err != nil {
		return err
	}
	var errs []error
	for i, n := range done {
		if i < len(done)-1 {
			errs = append(errs, a.drop(n))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete what is not needed any more: %w", err)
	}
	return nil
}

// Free tells how many bytes are free for staging.
func (a *Applier) Free() (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(a.staging.Fd()), &fs); err != nil {
		return 0, fmt.Errorf("free space in %s: %w", a.o.Staging, err)
	}
	return int64(fs.Bavail) * fs.Bsize, nil
}
