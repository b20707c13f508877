package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/etcdir"
	"sayasystems.com/atlas/sentry/convert/facts"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Conversion says how a configuration that was written for another release of Debian is brought to the words of the image's. The zero value
// converts nothing.
type Conversion struct {
	Steps  []convert.Step
	Shared func(state.Path) bool // what every server of a site shares, and conversion looks after; all else is merged. nil: all is
	// Not tells why nothing is converted although the releases differ; "" = it is.
	Not string
}

// Converted tells what conversion did.
type Converted struct {
	From     int               `json:"from"` // release of Debian
	To       int               `json:"to"`
	Files    int               `json:"files"`          // of people that were changed, moved or taken out
	Back     bool              `json:"back,omitempty"` // with the words from before: the set has been here already
	Took     time.Duration     `json:"took_ns"`
	Findings []convert.Finding `json:"findings,omitempty"`
	Damaged  string            `json:"damaged,omitempty"` // what is wrong with the record for the way back, if something is
	Not      string            `json:"not,omitempty"`     // why nothing was converted, and files were merged only
}

// Crossing tells from which release of Debian to which the set in setDir would be converted for an image; 0, 0 if it would not be.
func Crossing(setDir, imageDir, version string) (release, image int) {
	etc := filepath.Join(setDir, layout.SetEtc)
	from, err := os.Readlink(filepath.Join(etc, current))
	if err != nil || from == generationOf(etc, filepath.Join(imageDir, "etc"), version) {
		return 0, 0
	}
	return crossing(filepath.Join(etc, from+imageSuffix), filepath.Join(imageDir, "etc"))
}

// generationOf names the generation for an image. Products of one version are made on several releases of Debian: what belongs to another
// release has the name already, perhaps in use.
func generationOf(etc, image, version string) string {
	if _, to := crossing(filepath.Join(etc, version+imageSuffix), image); to != 0 {
		return fmt.Sprintf("%s.debian%d", version, to)
	}
	return version
}

func crossing(old, image string) (from, to int) {
	from, errFrom := etcdir.Release(old)
	to, errTo := etcdir.Release(image)
	if errFrom != nil || errTo != nil || from == 0 || to == 0 || from == to {
		return 0, 0
	}
	return from, to
}

// job is one conversion, of the copy in dir of the generation ours. It was made with the image whose /etc is in old, and is to fit that in image.
type job struct {
	Conversion
	dir, ours, old, image string
	kept                  string // record beside ours
	done                  *Converted
	record, told          []byte // for the way back, and for the next starts
}

// run converts. It returns what it has looked after; the rest is to be merged. After an error dir is in no good state.
func (j *job) run(ctx context.Context) (looked func(string) bool, err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("mistake in the program: %v\n%s", p, debug.Stack())
		}
		j.done.Took = time.Since(start)
	}()
	for r := min(j.done.From, j.done.To); r <= max(j.done.From, j.done.To); r++ {
		if _, err := facts.Of(r); err != nil {
			return nil, err
		}
	}
	shared := func(p state.Path) bool {
		return p == "etc" || (j.Shared == nil || j.Shared(p)) && !slices.ContainsFunc(layout.ImageInEtc(), func(q string) bool { return p.Under(state.Path("etc/" + q)) })
	}
	kept, err := etcdir.ReadKept(j.kept)
	if err != nil {
		j.done.Damaged = err.Error()
	}
	theirs, odd, err := etcdir.Dir{Path: j.old, Shared: shared}.Stock(ctx, j.done.From, "")
	if err != nil {
		return nil, err
	}
	ours, more, err := etcdir.Dir{Path: j.image, Shared: shared}.Stock(ctx, j.done.To, "")
	if err != nil {
		return nil, err
	}
	maps.Copy(odd, more)
	was, more, err := etcdir.Dir{Path: j.ours, Shared: shared}.Tree(ctx, theirs, kept)
	if err != nil {
		return nil, err
	}
	maps.Copy(odd, more)
	for p := range odd {
		delete(theirs.Files, p)
		delete(ours.Files, p)
		was.Remove(p)
	}
	j.done.Back = kept != nil && kept.Fits(j.done.From, j.done.To)
	res, _ := convert.Meet(j.Steps, theirs, ours, was, kept) // steps that failed are among the findings
	j.done.Findings = res.Findings
	for _, f := range res.Kept.Before {
		if f.Entry.Kind == state.File {
			j.done.Files++
		}
	}
	if err := j.write(was, res.Tree, ours); err != nil {
		return nil, err
	}
	if j.record, err = res.Kept.Encode(); err != nil {
		return nil, err
	}
	if j.told, err = j.done.note(res.Tree); err != nil {
		return nil, err
	}
	return func(rel string) bool {
		p := state.Path("etc/" + rel)
		_, isOdd := odd[p]
		return !isOdd && shared(p)
	}, nil
}

// write makes of the copy of was in dir what it is to be.
func (j *job) write(was, is *convert.Tree, ours convert.Stock) error {
	t, err := snapshot.Open(filepath.Dir(j.dir), snapshot.Options{Names: snapshot.NamesIn(j.ours), NoSync: true})
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	w := writer{job: j, tree: t, root: state.Path(filepath.Base(j.dir)), ours: ours}
	for _, p := range slices.Backward(was.All()) {
		if _, ok := is.Get(p); ok {
			continue
		}
		var full *snapshot.NotEmptyError // of what conversion does not know
		if err := t.Remove(w.at(p)); err != nil && !errors.As(err, &full) {
			return fmt.Errorf("remove /%s: %w", p, err)
		}
	}
	for _, p := range is.All() {
		f, _ := is.Get(p)
		old, ok := was.Get(p)
		if ok && old.Entry.Equal(f.Entry) && (f.Stock || bytes.Equal(old.Data, f.Data)) {
			continue
		}
		err := w.put(p, f)
		if _, ok := errors.AsType[*snapshot.NotEmptyError](err); ok || errors.Is(err, unix.ENOTEMPTY) {
			j.done.Findings = append(j.done.Findings, convert.Finding{
				Class: convert.Approximated, Path: p, What: "It is a file now, and here a folder with files that belong to this server alone; the folder stays.",
				Next: "Look whether the file is missed, and make room for it.",
			})
			err = nil
		}
		if err != nil {
			return fmt.Errorf("write /%s: %w", p, err)
		}
	}
	return nil
}

type writer struct {
	*job
	tree *snapshot.Tree
	root state.Path
	ours convert.Stock
}

// at is where a path of the server lies in the tree.
func (w *writer) at(p state.Path) state.Path { return w.root + p[len("etc"):] }

func (w *writer) put(p state.Path, f convert.File) error {
	rel := strings.TrimPrefix(string(p[len("etc"):]), "/")
	if f.Stock && f.Entry.Equal(w.ours.Files[p]) {
		return replace(filepath.Join(w.image, rel), filepath.Join(w.dir, rel))
	}
	content := f.Data
	if f.Entry.Kind == state.File && f.Stock {
		var err error
		if content, err = os.ReadFile(filepath.Join(w.image, rel)); err != nil {
			return err
		}
	}
	f.Entry.Size = int64(len(content))
	f.Entry.Hard = "" // another name of a file may have been converted otherwise
	if p == "etc" {
		return w.tree.SetAttrs(w.root, f.Entry)
	}
	n, err := w.tree.Make(w.at(p), f.Entry, bytes.NewReader(content))
	if unknown, ok := errors.AsType[*snapshot.UnknownNameError](err); ok {
		n, err = w.tree.Make(w.at(p), w.ofRoot(p, f.Entry, unknown), bytes.NewReader(content))
	}
	if err != nil {
		return err
	}
	return n.Replace()
}

// ofRoot gives to root what belongs to nobody here.
func (w *writer) ofRoot(p state.Path, e state.Entry, unknown *snapshot.UnknownNameError) state.Entry {
	if unknown.Name != "root" { // a tree without accounts, else
		w.done.Findings = append(w.done.Findings, convert.Finding{
			Class: convert.Approximated, Path: p, What: fmt.Sprintf("The account or group %q that it belonged to is not there; it belongs to root now.", unknown.Name),
			Next: "Give it to whom it should belong to (chown).",
		})
	}
	e.Owner, e.Group = "#0", "#0"
	e.Xattrs = maps.Clone(e.Xattrs)
	delete(e.Xattrs, "system.posix_acl_access")
	delete(e.Xattrs, "system.posix_acl_default")
	if e.Kind != state.Link {
		e.Mode &^= 0o6000
	}
	return e
}
