// Package tree makes the root filesystem of the set that is started: it prepares /etc in the generation that belongs to the image, brings
// the image's defaults and the set's changes together when they meet for the first time, and binds the set's directories over the
// image's.
//
// On the set, etc/current is a link to the generation in use, and each generation VERSION has beside it VERSION.image, the image's own
// /etc: the base of the next merge. Everything is built under a temporary name, made durable and then renamed; the link is moved
// last. Cut off at any moment, Prepare starts over.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/layout"
)

// Report tells what Prepare did.
type Report struct {
	Version   string     `json:"version"`
	From      string     `json:"from,omitempty"` // version of the generation that was merged; "" if none was
	First     bool       `json:"first"`          // the set had no /etc
	Updated   []string   `json:"updated,omitempty"`
	Added     []string   `json:"added,omitempty"`
	Removed   []string   `json:"removed,omitempty"`
	Conflicts []Conflict `json:"conflicts,omitempty"` // ours stayed
	Dirs      []string   `json:"dirs,omitempty"`      // copied from the image, below the set's directory
}

const (
	current     = "current" // link to the generation in use
	imageSuffix = ".image"
	oldSuffix   = ".old"
	building    = ".building" // temporary names end so
)

// data are the set's directories besides etc.
func data() []string {
	return []string{layout.SetVar, layout.SetSrv, layout.SetHome, layout.SetRoot}
}

// Prepare makes the directories of the set in setDir ready for the image whose root is imageDir: /etc for its version, and var, srv,
// home and root where they are missing.
func Prepare(setDir, imageDir, version string) (Report, error) {
	r := Report{Version: version}
	if version == "" || version == current || strings.ContainsAny(version, "/\x00") || strings.HasPrefix(version, ".") ||
		strings.HasSuffix(version, imageSuffix) || strings.HasSuffix(version, oldSuffix) {
		return r, fmt.Errorf("prepare /etc: %q is no version of an image", version)
	}
	for _, name := range data() {
		if err := first(setDir, imageDir, name, &r); err != nil {
			return r, fmt.Errorf("prepare /%s: %w", name, err)
		}
	}
	etc := filepath.Join(setDir, layout.SetEtc)
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return r, fmt.Errorf("prepare /etc: %w", err)
	}
	from, err := os.Readlink(filepath.Join(etc, current))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("prepare /etc: %w", err)
	}
	if from == version {
		return r, nil
	}
	if err := missingDirs(filepath.Join(setDir, layout.SetVar), filepath.Join(imageDir, "var"), layout.SetVar, layout.ImageInVar(), &r); err != nil {
		return r, fmt.Errorf("prepare /var: %w", err)
	}
	r.From, r.First = from, from == ""
	if err := generation(etc, filepath.Join(imageDir, "etc"), from, version, &r); err != nil {
		return r, fmt.Errorf("prepare /etc for version %s: %w", version, err)
	}
	return r, nil
}

// first copies a directory from the image if the set does not have it.
func first(setDir, imageDir, name string, r *Report) error {
	to := filepath.Join(setDir, name)
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	from := filepath.Join(imageDir, name)
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		return syncDir(setDir)
	}
	if err := copyAtomic(from, to); err != nil {
		return err
	}
	r.Dirs = append(r.Dirs, name)
	return nil
}

// copyAtomic copies a tree so that it is there whole or not at all.
func copyAtomic(from, to string) error {
	tmp := to + building
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := copyTree(from, tmp); err != nil {
		return err
	}
	return publish(tmp, to)
}

// publish makes what is at tmp durable and renames it.
func publish(tmp, to string) error {
	if err := syncFS(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// missingDirs copies directories that the image has and the set lacks. Files of the image in directories that are there are left
// out: what is in /var belongs to the services.
func missingDirs(set, image, name string, skip []string, r *Report) error {
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
			err = missingDirs(to, from, sub, skip, r)
		case err == nil:
			// Something of ours has the name.
		case errors.Is(err, fs.ErrNotExist):
			if err = copyAtomic(from, to); err == nil {
				r.Dirs = append(r.Dirs, sub)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// generation makes etc/version and etc/version.image, and has etc/current point to it.
func generation(etc, image, from, version string, r *Report) error {
	ours, dist := filepath.Join(etc, version), filepath.Join(etc, version+imageSuffix)
	newOurs, newDist := ours+building, dist+building
	for _, p := range []string{newOurs, newDist} {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	if err := copyTree(image, newDist); err != nil {
		return err
	}
	if from == "" {
		if err := copyTree(image, newOurs); err != nil {
			return err
		}
	} else {
		if err := copyTree(filepath.Join(etc, from), newOurs); err != nil {
			return err
		}
		if err := mergeInto(newOurs, filepath.Join(etc, from+imageSuffix), newDist, r); err != nil {
			return err
		}
	}
	// Neither name is in use as long as the link points elsewhere. A generation of the same version that was left for another one
	// since holds what is outdated; it is kept once, for people.
	if err := os.RemoveAll(ours + oldSuffix); err != nil {
		return err
	}
	if err := os.Rename(ours, ours+oldSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	if err := publish(newDist, dist); err != nil {
		return err
	}
	if err := publish(newOurs, ours); err != nil {
		return err
	}
	link := filepath.Join(etc, current+building)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(version, link); err != nil {
		return err
	}
	return publish(link, filepath.Join(etc, current))
}

// mergeInto merges in place: dir holds a copy of ours.
func mergeInto(dir, baseDir, imageDir string, r *Report) error {
	ours, err := Scan(dir)
	if err != nil {
		return err
	}
	image, err := Scan(imageDir)
	if err != nil {
		return err
	}
	base, err := Scan(baseDir)
	if errors.Is(err, fs.ErrNotExist) {
		// Without a base nothing of ours can be told from a default: all of it stays, and what differs is told.
		base, err = Tree{}, nil
	}
	if err != nil {
		return err
	}
	for _, t := range []Tree{base, image, ours} {
		drop(t, layout.ImageInEtc())
	}
	steps, conflicts := Merge(base, image, ours)
	for _, s := range steps {
		_, had := ours[s.Path]
		switch {
		case s.Aside && isAccounts(s.Path):
			if err := mergeAccounts(dir, baseDir, imageDir, s.Path); err != nil {
				return err
			}
			conflicts = slices.DeleteFunc(conflicts, func(c Conflict) bool { return c.Path == s.Path && c.Kept != "" })
			r.Updated = append(r.Updated, s.Path)
			continue
		case s.Aside:
		case s.Content == None:
			r.Removed = append(r.Removed, s.Path)
		case had:
			r.Updated = append(r.Updated, s.Path)
		default:
			r.Added = append(r.Added, s.Path)
		}
		if err := apply(dir, imageDir, s); err != nil {
			return fmt.Errorf("merge %s: %w", s.Path, err)
		}
	}
	r.Conflicts = append(r.Conflicts, conflicts...)
	return nil
}

// drop takes paths and what is below them out of a tree.
func drop(t Tree, paths []string) {
	for p := range t {
		for _, d := range paths {
			if p == d || strings.HasPrefix(p, d+"/") {
				delete(t, p)
			}
		}
	}
}
