package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/dataform"
)

// place changes the names that the journal in e asks for, whichever of them are changed already, and writes down that all is done.
func (j job) place(e dataform.Entry) error {
	d := *e.Doing
	old := dataform.Kept{Form: d.From, Release: e.Release, From: e.Since, Until: d.At, Bytes: d.Bytes, Dir: j.dataDir(d.From)}
	var err error
	switch {
	case j.f.Kind == dataform.Copy && d.Verb == dataform.Forward:
		old.Dir = j.keptDir(d.From)
		err = j.swapIn(d.Dir, old.Dir, d.Aside)
	case d.Verb == dataform.Anew:
		old.Dir = d.Aside
		if from := j.dataDir(d.From); exists(j.host(from)) && !exists(j.host(d.Aside)) {
			err = j.move(from, d.Aside)
		}
	case j.f.Kind == dataform.Copy:
		old.Dir = d.Aside
		if exists(j.host(j.keptDir(d.To))) {
			err = j.swapIn(j.keptDir(d.To), j.f.Path, d.Aside)
		}
	case d.Verb == dataform.Forward:
		err = j.swapIn(d.Dir, j.dataDir(d.To), d.Aside)
	default:
		old.Dir = d.Aside
		if from := j.dataDir(d.From); exists(j.host(from)) {
			err = j.move(from, d.Aside)
		}
	}
	if err != nil {
		return fmt.Errorf("put data in place: %w", err)
	}
	release := "" // not known: it may be ended in another server than it was begun in
	if s, err := j.look(&e); err == nil && s.Image == d.To {
		release = j.o.Release
	}
	return j.note(dataform.Ended(e, old, release, j.o.Now()))
}

// swapIn makes to what is at from, if that is still there; what is at to goes to aside.
func (j job) swapIn(from, to, aside string) error {
	if !exists(j.host(from)) {
		return nil // done already
	}
	if exists(j.host(to)) {
		if j.worthless(to) {
			if err := os.RemoveAll(j.host(to)); err != nil {
				return err
			}
		} else if err := j.move(to, aside); err != nil {
			return err
		}
	}
	return j.move(from, to)
}

// worthless tells of a directory that has at most settings in it that were taken over.
func (j job) worthless(dir string) bool {
	entries, err := os.ReadDir(j.host(dir))
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.Name() != autoConf {
			return false
		}
	}
	return true
}

func (j job) move(from, to string) error {
	if err := os.Rename(j.host(from), j.host(to)); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(j.host(to))); err != nil {
		return err
	}
	return syncDir(filepath.Dir(j.host(from)))
}

// copy copies a tree with owners, modes, extended attributes, hard links and times.
func (j job) copy(ctx context.Context, from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	j.o.Progress(j.service, "keeping a copy of the data of before")
	cmd := exec.CommandContext(ctx, "/bin/cp", "-a", "-T", "--reflink=auto", "--sparse=auto", from, to)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the data: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// empty removes what a person has confirmed away.
func (j job) empty(e dataform.Entry) error {
	for _, dir := range e.Trash {
		if !j.ours(dir) {
			return fmt.Errorf("remove %s: it is none of the directories that are kept for %s", dir, j.service)
		}
		if err := os.RemoveAll(j.host(dir)); err != nil {
			return fmt.Errorf("remove what was kept: %w", err)
		}
	}
	e.Trash = nil
	return j.note(e)
}

// ours tells of a directory that this package keeps data in, and not of those in use.
func (j job) ours(dir string) bool {
	if dir != filepath.Clean(dir) || dir == j.dataDir(j.entry().Form) {
		return false
	}
	return strings.HasPrefix(dir, j.dir()+"/") || (j.f.Kind == dataform.PostgreSQL && strings.HasPrefix(dir, j.f.Path+"/"))
}

// Commit gives up the way back for the data of packs, all or those named, and removes what is kept. It returns how much room that gave, in
// bytes, and the titles of the services concerned.
func (k *Keeper) Commit(_ context.Context, packs []pack.Pack) (freed int64, titles []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	rec, err := k.load()
	if err != nil {
		return 0, nil, err
	}
	var errs []error
	for _, p := range packs {
		for _, f := range p.Formats {
			j := job{Keeper: k, service: p.Name, f: f, rec: rec}
			e := j.entry()
			if !e.Open() || e.Doing != nil {
				continue
			}
			n, bytes := dataform.Confirm(*e, k.o.Now())
			if err := j.note(n); err != nil {
				return freed, titles, err
			}
			if err := j.empty(n); err != nil { // it is tried again at the next start
				errs = append(errs, err)
				continue
			}
			freed += bytes
			titles = append(titles, p.Title)
		}
	}
	return freed, titles, errors.Join(errs...)
}

// Open lists what Commit would remove, as one line for each directory.
func (k *Keeper) Open(packs []pack.Pack) ([]string, error) {
	rec, err := k.load()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range packs {
		for _, f := range p.Formats {
			e := rec.Data[dataform.Key(p.Name, f.Path)]
			if !e.Open() {
				continue
			}
			for _, list := range [][]dataform.Kept{e.Kept, e.Aside} {
				for _, d := range list {
					out = append(out, fmt.Sprintf("%s: %s, %s, last used %s, in %s", p.Title, dataform.Name(e.Kind, d.Form), dataform.Size(d.Bytes), d.Until.Local().Format("2006-01-02 15:04"), d.Dir))
				}
			}
		}
	}
	return out, nil
}
