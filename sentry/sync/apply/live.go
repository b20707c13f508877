package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Apply makes the generation live. An error means that all is as it was, unless it is ErrUnfinished: then Recover must be called. What was
// changed here since is handed to Options.Keep first; without that the error is a *ClashError. A failed generation is to be discarded.
func (g *Generation) Apply(ctx context.Context) (Report, error) {
	r := Report{Generation: g.Number, Aside: g.Aside, Skipped: g.Skipped}
	if g.dir == nil {
		return r, errors.New("make the new state live: this generation was discarded or applied already")
	}
	if err := g.look(ctx); err != nil {
		return r, fmt.Errorf("make the new state live: %w", err)
	}
	r.Clashes = g.Clashes
	if err := g.a.keep(ctx, g.Clashes); err != nil {
		return r, fmt.Errorf("make the new state live: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(g.a.o.Staging, g.name, layersDir)); err != nil { // or live files would have second names there
		return r, fmt.Errorf("make the new state live: %w", err)
	}
	j := journal{Steps: make([]step, len(g.plan.steps))}
	for i, s := range g.plan.steps {
		if s.live.isFile() {
			s.Was = &times{s.live.Mtime, s.live.Size}
		}
		j.Steps[i] = s.step
		r.Changed = append(r.Changed, state.Path(s.Path))
	}
	if len(j.Steps) == 0 {
		return r, g.Discard()
	}
	if err := g.decide(j); err != nil {
		return r, fmt.Errorf("make the new state live: %w", g.undecided(err))
	}
	defer func() { g.dir.Close(); g.dir = nil }()
	late, err := g.finish(j)
	r.Clashes = append(r.Clashes, late...)
	if err != nil {
		return r, fmt.Errorf("make the new state live: %w", err)
	}
	return r, nil
}

// undecided takes a decision back that could not be made durable. Nothing live was changed yet.
func (g *Generation) undecided(err error) error {
	undo := g.a.cut("unlink", journalOn)
	for _, name := range []string{journalOn, journalTmp} {
		if undo == nil {
			if undo = unix.Unlinkat(int(g.dir.Fd()), name, 0); errors.Is(undo, fs.ErrNotExist) {
				undo = nil
			}
		}
	}
	if undo == nil {
		undo = g.a.sync(g.dir, g.name)
	}
	if undo != nil {
		return fmt.Errorf("%w: %w: %w", ErrUnfinished, err, undo)
	}
	return err
}

// look finds what was changed here since the generation was staged.
func (g *Generation) look(ctx context.Context) error {
	for i := range g.plan.steps {
		s := &g.plan.steps[i]
		p := s.change.Path
		if err := ctx.Err(); err != nil {
			return err
		}
		if g.plan.above(p) >= 0 {
			continue // in a directory that is to come
		}
		now, err := g.a.look(p)
		if err != nil {
			return err
		}
		was := s.live
		if now.isDir() && was.isDir() { // what is in it does not count
			now.Size, was.Size, now.Mtime, was.Mtime = 0, 0, 0, 0
			now.nlink, was.nlink = 0, 0
			if s.Do == remove {
				now.Ctime, was.Ctime = 0, 0
			}
		}
		if now == was {
			continue
		}
		found, err := g.a.found(p, now)
		if err != nil {
			return err
		}
		s.Old, s.live = now.Ino, now
		known := slices.IndexFunc(g.Clashes, func(c Clash) bool { return c.Path == p })
		switch {
		case as(found, s.change.Before) || as(found, s.change.After):
		case known >= 0:
			g.Clashes[known].Found = found
		default:
			g.Clashes = append(g.Clashes, Clash{p, s.change.Before, found})
		}
		if s.Do == remove && now.Ino == 0 || s.Do == dress && !now.isDir() || s.Do == put && s.change.After.Kind == state.Dir && now.isDir() {
			return fmt.Errorf("%s was changed on this server just now: %w", p, snapshot.ErrBusy)
		}
	}
	return nil
}

// finish does all steps of a decided generation. If one proves impossible, all are taken back.
func (g *Generation) finish(j journal) ([]Clash, error) {
	err := g.forward(j)
	if err == nil {
		late, lerr := g.late(j)
		if err = lerr; err == nil {
			if err := g.mark(journalOn, journalDone); err != nil {
				return late, fmt.Errorf("%w: %w", ErrUnfinished, err)
			}
			return late, nil
		}
	}
	back := g.mark(journalOn, journalBack)
	if back == nil {
		back = g.undo(j)
	}
	if back != nil {
		return nil, fmt.Errorf("%w: %w; and the way back: %w", ErrUnfinished, err, back)
	}
	return nil, err
}

// undo takes all steps back, and forgets the generation.
func (g *Generation) undo(j journal) error {
	for i, s := range slices.Backward(j.Steps) {
		if err := g.back(i, s); err != nil {
			return g.a.named(state.Path(s.Path), err)
		}
	}
	if err := g.settled(j); err != nil {
		return err
	}
	if err := g.a.drop(g.Number); err != nil {
		return err
	}
	// Or a power cut might bring the journal back, and with it the attributes of directories that were changed again since.
	return g.a.sync(g.a.staging, "staging")
}

func (g *Generation) forward(j journal) error {
	for i, s := range j.Steps {
		if err := g.step(i, s); err != nil {
			return g.a.named(state.Path(s.Path), err)
		}
	}
	return g.settled(j)
}

// settled makes the directories durable in which something was moved.
func (g *Generation) settled(j journal) error {
	dirs := map[state.Path]bool{}
	for _, s := range j.Steps {
		if s.Do == dress {
			dirs[state.Path(s.Path)] = true
		} else {
			dirs[state.Path(s.Path).Dir()] = true
		}
	}
	if len(dirs) >= many {
		return g.a.syncAll()
	}
	list := []named{{g.dir, g.name}}
	defer func() {
		for _, d := range list[1:] {
			d.Close()
		}
	}()
	for _, p := range slices.Sorted(maps.Keys(dirs)) {
		d, err := g.a.openPath(p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue // it was moved itself; then its own directory counts
		}
		if err != nil {
			return g.a.named(p, err)
		}
		list = append(list, named{d, string(p)})
	}
	return g.a.flush(list)
}

// step does one step, if it is not done. The slot tells: it holds the new one until then.
func (g *Generation) step(i int, s step) error {
	if s.Do == dress {
		return g.dress(state.Path(s.Path), strconv.Itoa(i))
	}
	slot := strconv.Itoa(i)
	id, err := lstat(g.dir, slot)
	if err != nil {
		return err
	}
	if s.Do == put && id.Ino != s.New || s.Do == remove && id.Ino != 0 {
		return nil
	}
	dir, base, err := g.a.parent(state.Path(s.Path))
	if err != nil {
		if _, gone := errors.AsType[*ParentError](err); gone && s.Do == remove {
			return nil
		}
		return err
	}
	defer dir.Close()
	if s.Do == remove {
		if err := g.a.move(dir, base, g.dir, slot, unix.RENAME_NOREPLACE); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return g.swap(slot, dir, base)
}

// swap exchanges the slot with what is live; where nothing is, the slot is left empty. Others may make or remove it at the same time.
func (g *Generation) swap(slot string, dir *os.File, base string) error {
	for try := 0; ; try++ {
		err := g.a.move(g.dir, slot, dir, base, unix.RENAME_NOREPLACE)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err = g.a.move(g.dir, slot, dir, base, unix.RENAME_EXCHANGE); !errors.Is(err, fs.ErrNotExist) || try > 10 {
			return err
		}
	}
}

// dress gives a directory the attributes of a slot.
func (g *Generation) dress(p state.Path, slot string) error {
	to, err := g.a.openPath(p)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return &ParentError{p, "it is no directory any more"}
	}
	if err != nil {
		return err
	}
	defer to.Close()
	from, err := openDir(g.dir, slot)
	if err != nil {
		return err
	}
	defer from.Close()
	return g.a.copyAttributes(from, to)
}

// back takes one step back, if it was done.
func (g *Generation) back(i int, s step) error {
	slot := strconv.Itoa(i)
	if s.Do == dress {
		err := g.dress(state.Path(s.Path), slot+".old")
		if _, gone := errors.AsType[*ParentError](err); gone {
			return nil // somebody has removed it since; there is nothing to go back to
		}
		return err
	}
	id, err := lstat(g.dir, slot)
	if err != nil {
		return err
	}
	if s.Do == put && id.Ino == s.New || s.Do == remove && id.Ino == 0 {
		return nil
	}
	dir, base, err := g.a.parent(state.Path(s.Path))
	if _, gone := errors.AsType[*ParentError](err); gone && id.Ino == 0 {
		return nil // it was new, and is gone with its directory
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if s.Do == remove {
		return g.restore(slot, dir, base)
	}
	live, err := lstat(dir, base)
	if err != nil {
		return err
	}
	switch {
	case id.Ino == 0 && live.Ino == s.New:
		return g.a.move(dir, base, g.dir, slot, unix.RENAME_NOREPLACE)
	case id.Ino == 0 && live.Ino != 0 && s.Old == 0: // made anew here since
		return g.away(dir, base)
	case id.Ino == 0: // gone back already, or removed here since
		return nil
	case live.Ino == s.New:
		return g.a.move(g.dir, slot, dir, base, unix.RENAME_EXCHANGE)
	}
	return g.restore(slot, dir, base)
}

// restore puts the slot back to where nothing should be now.
func (g *Generation) restore(slot string, dir *os.File, base string) error {
	for try := 0; ; try++ {
		err := g.a.move(g.dir, slot, dir, base, unix.RENAME_NOREPLACE)
		if !errors.Is(err, fs.ErrExist) || try > 10 {
			return err
		}
		if err := g.away(dir, base); err != nil {
			return err
		}
	}
}

// away keeps aside what somebody has made here since, where it hinders the way back.
func (g *Generation) away(dir *os.File, base string) error {
	if err := os.MkdirAll(filepath.Join(g.a.o.Staging, asideDir), 0o700); err != nil {
		return err
	}
	aside, err := openDir(g.a.staging, asideDir)
	if err != nil {
		return err
	}
	defer aside.Close()
	for try := 0; ; try++ {
		as := fmt.Sprintf("%d.back.%d.%s", g.Number, try, base[:min(len(base), 180)])
		err := g.a.move(dir, base, aside, as, unix.RENAME_NOREPLACE)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			g.a.o.Log.Warn("what was made on this server since is kept aside", "path", dir.Name()+"/"+base,
				"in", filepath.Join(g.a.o.Staging, asideDir, as))
		}
		return err
	}
}
