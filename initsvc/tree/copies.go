package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/layout"
)

// copies are directories that were copied under temporary names. They are made durable together, since that takes time, and each is there
// whole or not at all.
type copies []struct{ to, sub string }

// missing copies directories that the image has and the set lacks. Files of the image in directories that are there are left
// out: what is in /var belongs to the services.
func (c *copies) missing(set, image, name string, skip []string) error {
	entries, err := os.ReadDir(image)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		to, from, sub := filepath.Join(set, e.Name()), filepath.Join(image, e.Name()), filepath.Join(name, e.Name())
		if slices.Contains(skip, strings.TrimPrefix(sub, layout.SetVar+"/")) {
			continue
		}
		st, err := os.Lstat(to)
		switch {
		case err == nil && st.IsDir():
			err = c.missing(to, from, sub, skip)
		case err == nil:
			// Something of ours has the name.
		case errors.Is(err, fs.ErrNotExist):
			if err = errors.Join(os.RemoveAll(to+building), copyTree(from, to+building)); err == nil {
				*c = append(*c, struct{ to, sub string }{to, sub})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// publish makes them durable and gives them their names.
func (c *copies) publish(r *Report) error {
	if len(*c) == 0 {
		return nil
	}
	if err := syncFS((*c)[0].to + building); err != nil {
		return err
	}
	var parents []string
	for _, d := range *c {
		if err := os.Rename(d.to+building, d.to); err != nil {
			return err
		}
		r.Dirs = append(r.Dirs, d.sub)
		if p := filepath.Dir(d.to); !slices.Contains(parents, p) {
			parents = append(parents, p)
		}
	}
	var errs []error
	for _, p := range parents {
		errs = append(errs, syncDir(p))
	}
	return errors.Join(errs...)
}
