package apply

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// keep hands on what is about to be overwritten.
func (a *Applier) keep(ctx context.Context, list []Clash) error {
	if len(list) > 0 && a.o.Keep == nil {
		return &ClashError{list}
	}
	for _, c := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.keepOne(c); err != nil {
			return fmt.Errorf("keep what was changed on this server in %s: %w", c.Path, err)
		}
	}
	return nil
}

func (a *Applier) keepOne(c Clash) error {
	if c.Found == nil || c.Found.Kind != state.File {
		return a.o.Keep(c, nil)
	}
	dir, base, err := a.parent(c.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return a.keepFrom(dir, base, c)
}

func (a *Applier) keepFrom(dir *os.File, name string, c Clash) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), string(c.Path))
	defer f.Close()
	return a.o.Keep(c, io.LimitReader(f, c.Found.Size))
}

// late finds files that were edited between the last look at them and the moment when they were replaced.
func (g *Generation) late(j journal) ([]Clash, error) {
	var out []Clash
	for i, s := range j.Steps {
		if s.Do == dress {
			continue
		}
		slot := strconv.Itoa(i)
		id, err := lstat(g.dir, slot)
		if err != nil {
			return nil, err
		}
		if !id.isFile() || s.Was != nil && s.Was.Mtime == id.Mtime && s.Was.Size == id.Size {
			continue
		}
		tree, err := snapshot.Open(filepath.Join(g.a.o.Staging, g.name), snapshot.Options{Names: g.a.o.Names, MaxFile: math.MaxInt64})
		if err != nil {
			return nil, err
		}
		it, err := tree.Read(state.Path(slot), nil)
		_ = tree.Close()
		if err != nil {
			return nil, g.a.named(state.Path(s.Path), err)
		}
		c := Clash{Path: state.Path(s.Path), Found: &it.Entry}
		if g.plan != nil {
			c.Before = g.plan.steps[i].change.Before
		}
		if g.a.o.Keep == nil {
			return nil, &ClashError{[]Clash{c}}
		}
		if err := g.a.keepFrom(g.dir, slot, c); err != nil {
			return nil, fmt.Errorf("keep what was changed on this server in %s: %w", c.Path, err)
		}
		out = append(out, c)
	}
	return out, nil
}
