// Package tree makes the root filesystem of the set that is started: it prepares /etc in the generation that belongs to the image, brings
// the image's defaults and the set's changes together when they meet for the first time, and binds the set's directories over the
// image's.
//
// Between images of one release of Debian that is a three-way merge of files. Where the image is of another release than that which the
// generation in use was made with, the configuration is converted (sentry/convert, as a running secondary does it), and only what conversion
// does not look after is merged: what belongs to one server or is made anew.
//
//	etc/FROM + FROM.image + FROM.kept + the image's /etc → Meet or Merge → etc/VERSION + VERSION.image + VERSION.kept → etc/current
//
// On the set, etc/current is a link to the generation in use. Each generation VERSION (VERSION.debianN where one of another release has the
// name) has beside it VERSION.image, the image's own /etc: the base of the next merge; and, if it was converted, VERSION.kept: what it was made
// of, for the way back, and VERSION.told: what was found, which is told again until it is mended. Everything is built under a temporary name,
// made durable and then renamed; the link is moved last. Cut off at any moment, Prepare starts over.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
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

	Converted *Converted `json:"converted,omitempty"` // nil: it is of the same release of Debian
	// Earlier is what was found when the generation was converted in an earlier start, as far as it still stands; nil if nothing does.
	Earlier *Converted `json:"earlier,omitempty"`
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
// home and root where they are missing. A conversion that fails does not keep it from that: files are merged then, and the report says so.
func Prepare(ctx context.Context, setDir, imageDir, version string, c Conversion) (Report, error) {
	r := Report{Version: version}
	if version == "" || version == current || strings.ContainsAny(version, "/\x00") || strings.HasPrefix(version, ".") ||
		strings.HasSuffix(version, imageSuffix) || strings.HasSuffix(version, oldSuffix) ||
		strings.HasSuffix(version, layout.EtcKept) || strings.HasSuffix(version, toldSuffix) || strings.HasSuffix(version, building) {
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
	g := generation{etc: etc, image: filepath.Join(imageDir, "etc"), from: from, conversion: c, r: &r}
	g.name = generationOf(etc, g.image, version)
	if from == g.name {
		r.Earlier = g.standing()
		return r, nil
	}
	var dirs copies
	err = dirs.missing(filepath.Join(setDir, layout.SetVar), filepath.Join(imageDir, "var"), layout.SetVar, layout.ImageInVar())
	if err = errors.Join(err, dirs.publish(&r)); err != nil {
		return r, fmt.Errorf("prepare /var: %w", err)
	}
	r.From, r.First = from, from == ""
	if err := g.make(ctx); err != nil {
		return r, fmt.Errorf("prepare /etc for version %s: %w", version, err)
	}
	if r.Converted == nil {
		r.Earlier = g.standing()
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

// generation makes etc/name and what stands beside it, and has etc/current point to it.
type generation struct {
	etc, image, from, name string
	conversion             Conversion
	r                      *Report
}

func (g *generation) make(ctx context.Context) error {
	ours, dist, kept := filepath.Join(g.etc, g.name), filepath.Join(g.etc, g.name+imageSuffix), filepath.Join(g.etc, g.name+layout.EtcKept)
	newOurs, newDist := ours+building, dist+building
	for _, p := range []string{newOurs, newDist, kept + building, ours + toldSuffix + building} {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	if err := copyTree(g.image, newDist); err != nil {
		return err
	}
	record, told, err := g.fill(ctx, newOurs, newDist)
	if err != nil {
		return err
	}
	if err := errors.Join(stage(kept, record), stage(ours+toldSuffix, told)); err != nil {
		return err
	}
	if err := syncFS(newOurs); err != nil { // once for all: it is what takes time
		return err
	}
	// None of the names is in use as long as the link points elsewhere. A generation of the same version that was left for another one
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
	if err := errors.Join(os.Rename(newDist, dist), put(kept, record), put(ours+toldSuffix, told), os.Rename(newOurs, ours), syncDir(g.etc)); err != nil {
		return err
	}
	link := filepath.Join(g.etc, current+building)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(g.name, link); err != nil {
		return err
	}
	if err := os.Rename(link, filepath.Join(g.etc, current)); err != nil {
		return err
	}
	return syncDir(g.etc)
}

// stage writes a record under a temporary name, and put gives it its own, or takes that of an earlier generation of the name away if there is
// none.
func stage(path string, record []byte) error {
	if record == nil {
		return nil
	}
	return os.WriteFile(path+building, record, 0o600)
}

func put(path string, record []byte) error {
	if record != nil {
		return os.Rename(path+building, path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fill makes the new generation in dir, and returns the record of its conversion and what was found.
func (g *generation) fill(ctx context.Context, dir, image string) (record, told []byte, err error) {
	if g.from == "" {
		return nil, nil, copyTree(image, dir)
	}
	ours, base := filepath.Join(g.etc, g.from), filepath.Join(g.etc, g.from+imageSuffix)
	if err := copyTree(ours, dir); err != nil {
		return nil, nil, err
	}
	from, to := crossing(base, image)
	if from == to { // the records hold for as long as the release stays the same
		record, err := content(ours + layout.EtcKept)
		if err != nil {
			return nil, nil, err
		}
		if told, err = content(ours + toldSuffix); err != nil {
			return nil, nil, err
		}
		return record, told, mergeInto(dir, base, image, nil, g.r)
	}
	g.r.Converted = &Converted{From: from, To: to, Not: g.conversion.Not}
	j := job{Conversion: g.conversion, dir: dir, ours: ours, old: base, image: image, kept: ours + layout.EtcKept, done: g.r.Converted}
	if j.done.Not == "" && j.Steps == nil {
		j.done.Not = "nothing was given that converts"
	}
	var looked func(string) bool
	if j.done.Not == "" {
		if looked, err = j.run(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			*j.done = Converted{From: from, To: to, Took: j.done.Took, Not: err.Error()}
			if err := errors.Join(os.RemoveAll(dir), copyTree(ours, dir)); err != nil {
				return nil, nil, err
			}
		}
	}
	if j.done.Not != "" {
		j.record = nil
		if j.told, err = j.done.note(nil); err != nil {
			return nil, nil, err
		}
	}
	return j.record, j.told, mergeInto(dir, base, image, looked, g.r)
}

// content is a file's; nil if there is none.
func content(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// standing is what an earlier start has found; a record that cannot be read tells nothing.
func (g *generation) standing() *Converted {
	c, err := standing(filepath.Join(g.etc, g.name))
	if err != nil {
		return nil
	}
	return c
}

// mergeInto merges in place: dir holds a copy of ours. What was looked after already is left alone; looked may be nil.
func mergeInto(dir, baseDir, imageDir string, looked func(string) bool, r *Report) error {
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
	if looked != nil {
		for _, t := range []Tree{base, image} {
			maps.DeleteFunc(t, func(p string, _ Node) bool { return looked(p) })
			for p, n := range ours { // there are folders on the way to the rest
				if looked(p) {
					t[p] = n
				}
			}
		}
	}
	steps, conflicts := Merge(base, image, ours)
	for _, s := range steps {
		_, had := ours[s.Path]
		switch {
		case s.Aside && convert.IsAccounts(state.Path("etc/"+s.Path)):
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
