package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/state"
)

const layersDir = "layers"

// Layers builds what package check lays over the live tree to show the generation: one layer for each place in which something changes.
// The staged files are in it by second names, which Apply takes away.
func (g *Generation) Layers() (check.Candidate, error) {
	var out check.Candidate
	root := filepath.Join(g.a.o.Staging, g.name, layersDir)
	if err := os.RemoveAll(root); err != nil {
		return out, fmt.Errorf("layers for the checkers: %w", err)
	}
	for pl := range g.a.places {
		dir := filepath.Join(root, strconv.Itoa(pl))
		l := layer{g: g, place: pl}
		for i := range g.plan.steps {
			p := g.plan.steps[i].change.Path
			at, rel, err := g.a.place(p)
			if err != nil || at != pl {
				continue
			}
			if l.root == nil {
				if err := l.open(dir); err != nil {
					return out, fmt.Errorf("layers for the checkers: %w", err)
				}
			}
			if err := l.add(i, rel); err != nil {
				l.root.Close()
				return out, fmt.Errorf("layers for the checkers: %s: %w", p, err)
			}
		}
		if l.root != nil {
			l.root.Close()
			out.Layers = append(out.Layers, check.Layer{At: filepath.Join(g.a.o.Root, string(g.a.places[pl].Prefix)), Dir: dir})
		}
	}
	return out, nil
}

type layer struct {
	g     *Generation
	place int
	root  *os.File
}

func (l *layer) open(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	if l.root, err = os.Open(dir); err != nil {
		return err
	}
	return l.g.a.copyAttributes(l.g.a.places[l.place].dir, l.root)
}

// add puts one step into the layer.
func (l *layer) add(i int, rel string) error {
	s, slot := &l.g.plan.steps[i], strconv.Itoa(i)
	if s.Do == dress || s.Do == put && s.change.After.Kind == state.Dir {
		from, err := openDir(l.g.dir, slot)
		if err != nil {
			return err
		}
		defer from.Close()
		d, err := l.dir(rel)
		if err != nil {
			return err
		}
		defer d.Close()
		return l.g.a.copyAttributes(from, d)
	}
	parent, err := l.dir(path.Dir(rel))
	if err != nil {
		return err
	}
	defer parent.Close()
	if s.Do == remove {
		return unix.Mknodat(int(parent.Fd()), path.Base(rel), unix.S_IFCHR, 0)
	}
	return unix.Linkat(int(l.g.dir.Fd()), slot, int(parent.Fd()), path.Base(rel), 0)
}

// dir opens a directory of the layer, made with the attributes of the live one if it is missing.
func (l *layer) dir(rel string) (*os.File, error) {
	d, err := openBeneath(l.root, rel)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	parent, err := l.dir(path.Dir(rel))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := unix.Mkdirat(int(parent.Fd()), path.Base(rel), 0o700); err != nil {
		return nil, err
	}
	if d, err = openDir(parent, path.Base(rel)); err != nil {
		return nil, err
	}
	live, err := openBeneath(l.g.a.places[l.place].dir, rel)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return d, nil // it is to come; its own step, which stands before, has made it or will
	}
	if err == nil {
		err = l.g.a.copyAttributes(live, d)
		live.Close()
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}
