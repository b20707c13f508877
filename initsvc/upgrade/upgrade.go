// Package upgrade brings services' data into the form of this image when a disk set comes from another Debian release: it is the hands to
// initsvc/dataform, which decides.
//
//	pack's formats, record on the set → look → dataform.Decide ─ forward → space, build beside, compare, sync → journal → rename → record
//	                                                          └ back ──────────────────────────────────────→ journal → rename → record
//
// Until the journal says Place nothing but a directory of its own has changed; from there on only names change. Cut off at any moment it starts
// over, or ends what was begun. It removes nothing but what was not finished, and what a person has confirmed away.
package upgrade

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/dataform"
	"sayasystems.com/atlas/sentry/initapi"
)

// Options say where everything is.
type Options struct {
	Set     string // file system of the disk set: "/run/atlas/set"; a path of data is looked up below it, and the record in its directory forms
	Image   string // root with this image's programs: "/"
	Older   string // directory that holds a root with the programs of each older release: "/usr/lib/atlas/older"
	Release string // Debian release of the image: "13"
	Work    string // directory in memory for sockets and settings of servers: "/run/atlas/upgrade"
	Log     *slog.Logger
	Now     func() time.Time                // time.Now if nil
	Free    func(dir string) (int64, error) // bytes; asks the file system if nil
	// Progress is told what is being done; may be nil.
	Progress func(service, text string)
}

// Keeper keeps the forms of a set's data. Its methods may be called concurrently.
type Keeper struct {
	o  Options
	mu sync.Mutex // around all work; the record is whole at any time, and read without it
}

// New returns a Keeper.
func New(o Options) *Keeper {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Free == nil {
		o.Free = free
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(string, string) {}
	}
	return &Keeper{o: o}
}

// RefusedError tells that a service must not start on this image.
type RefusedError struct {
	Kind string
	Plan dataform.Plan
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("data in %s do not go with %s: %s", dataform.Name(e.Kind, e.Plan.From), dataform.Name(e.Kind, e.Plan.To), e.Plan.Why)
}

// job is the work on one path of a pack.
type job struct {
	*Keeper
	service string
	f       pack.Format
	rec     *dataform.Record
	standby bool // the set is a secondary's
}

// Ready makes the data of a pack fit this image, and returns when its service may start. The error tells why it must not: data are then as
// they were.
func (k *Keeper) Ready(ctx context.Context, p pack.Pack, standby bool) error {
	if len(p.Formats) == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	rec, err := k.load()
	if err != nil {
		return err
	}
	for _, f := range p.Formats {
		j := job{Keeper: k, service: p.Name, f: f, rec: rec, standby: standby}
		if err := j.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (j job) key() string { return dataform.Key(j.service, j.f.Path) }

func (j job) entry() *dataform.Entry { return j.rec.Data[j.key()] }

// note writes the entry down, durably.
func (j job) note(e dataform.Entry) error {
	j.rec.Data[j.key()] = &e
	return j.save(j.rec)
}

func (j job) ready(ctx context.Context) error {
	if err := j.recover(); err != nil {
		return err
	}
	e := j.entry()
	seen, err := j.look(e)
	if err != nil {
		return err
	}
	plan := dataform.Decide(e, seen)
	j.o.Log.Info("form of data", "service", j.service, "verb", plan.Verb, "from", plan.From, "to", plan.To)
	switch plan.Verb {
	case dataform.Serve:
		if e.Release != j.o.Release { // the same form, another release
			n := *e
			n.Release = j.o.Release
			return j.note(n)
		}
		return nil
	case dataform.Note:
		return j.note(j.noted(e, plan.To))
	case dataform.Refuse:
		return &RefusedError{Kind: j.f.Kind, Plan: plan}
	}
	n := dataform.Entry{Kind: j.f.Kind, Form: plan.From}
	if e != nil {
		n = *e
		n.Form = plan.From
	}
	if plan.Verb == dataform.Forward {
		return j.forward(ctx, n, plan)
	}
	return j.back(n, plan)
}

// noted is the entry of data that fit, made from what was known before.
func (j job) noted(e *dataform.Entry, form int) dataform.Entry {
	n := dataform.Entry{Kind: j.f.Kind, Form: form, Release: j.o.Release, Since: j.o.Now()}
	if e == nil {
		return n
	}
	if e.Form == form && e.Release == "" { // only whose it is was not known
		n = *e
		n.Release = j.o.Release
		return n
	}
	there := func(list []dataform.Kept) []dataform.Kept {
		return slices.DeleteFunc(slices.Clone(list), func(k dataform.Kept) bool {
			return k.Dir == j.dataDir(form) || !exists(j.host(k.Dir))
		})
	}
	n.Kept, n.Aside, n.Confirmed = there(e.Kept), there(e.Aside), e.Confirmed
	return n
}

// recover ends or undoes what was cut off, and removes what was confirmed away.
func (j job) recover() error {
	e := j.entry()
	undo, finish := dataform.Recover(e)
	switch {
	case undo:
		if err := os.RemoveAll(j.host(e.Doing.Dir)); err != nil {
			return fmt.Errorf("remove what was not finished: %w", err)
		}
		n := *e
		n.Doing = nil
		if err := j.note(n); err != nil {
			return err
		}
	case finish:
		if err := j.place(*e); err != nil {
			return err
		}
	}
	if e = j.entry(); e != nil && len(e.Trash) > 0 {
		return j.empty(*e)
	}
	return nil
}

// look gathers what Decide needs.
func (j job) look(e *dataform.Entry) (dataform.Seen, error) {
	s := dataform.Seen{Kind: j.f.Kind, Standby: j.standby}
	var err error
	if e != nil {
		for _, k := range e.Kept {
			if exists(j.host(k.Dir)) {
				s.KeptAt = append(s.KeptAt, k.Form)
			}
		}
	}
	if j.f.Kind == dataform.Copy {
		if s.Image, err = strconv.Atoi(j.o.Release); err != nil {
			return s, fmt.Errorf("release of the image: %w", err)
		}
		s.Any, err = filled(j.host(j.f.Path))
		return s, err
	}
	if s.Image, _, err = j.server(); err != nil {
		return s, err
	}
	for v := range j.Older() {
		s.Older = append(s.Older, v)
	}
	slices.Sort(s.Older)
	s.Data, err = clusters(j.host(j.f.Path))
	return s, err
}

// dataDir is where the daemon of a form looks for its data.
func (j job) dataDir(form int) string {
	if j.f.Kind == dataform.Copy {
		return j.f.Path
	}
	return filepath.Join(j.f.Path, strconv.Itoa(form), "main")
}

// aside is a free name for data that go out of use.
func (j job) aside(form int) string {
	base := j.dataDir(form)
	if j.f.Kind == dataform.Copy {
		base = j.keptDir(form)
	}
	base += ".aside-" + j.o.Now().UTC().Format("20060102-150405")
	name := base
	for n := 2; exists(j.host(name)); n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	return name
}

// forward builds data of the new form beside the old ones, or a copy of these, and puts it in place.
func (j job) forward(ctx context.Context, e dataform.Entry, p dataform.Plan) error {
	from := j.host(j.dataDir(p.From))
	bytes, err := size(from)
	if err != nil {
		return fmt.Errorf("size of the data: %w", err)
	}
	if err := j.space(bytes); err != nil {
		return err
	}
	d := dataform.Doing{Verb: dataform.Forward, From: p.From, To: p.To, Step: dataform.Build, At: j.o.Now(), Bytes: bytes}
	d.Dir, d.Aside = j.dataDir(p.To)+".atlas-new", j.aside(p.To)
	if j.f.Kind == dataform.Copy {
		d.Dir, d.Aside = j.keptDir(p.From)+".new", j.aside(p.From)
	}
	e.Doing = &d
	if err := j.note(e); err != nil {
		return err
	}
	if j.f.Kind == dataform.Copy {
		err = j.copy(ctx, from, j.host(d.Dir))
	} else {
		err = j.bring(ctx, p.From, p.To, j.host(d.Dir), bytes)
	}
	if err == nil {
		err = syncFS(j.host(d.Dir))
	}
	if err != nil { // as it was
		return errors.Join(err, j.recover())
	}
	d.Step = dataform.Place
	if err := j.note(e); err != nil {
		return err
	}
	return j.place(e)
}

// back puts older data back into use, or makes room for new ones: only names change.
func (j job) back(e dataform.Entry, p dataform.Plan) error {
	bytes, err := size(j.host(j.dataDir(p.From)))
	if err != nil {
		return fmt.Errorf("size of the data: %w", err)
	}
	e.Doing = &dataform.Doing{Verb: p.Verb, From: p.From, To: p.To, Step: dataform.Place, At: j.o.Now(), Bytes: bytes, Aside: j.aside(p.From)}
	if err := j.note(e); err != nil {
		return err
	}
	return j.place(e)
}

// Findings tell how things stand with the data of a pack.
func (k *Keeper) Findings(p pack.Pack, server string) []initapi.Finding {
	rec, err := k.load()
	if err != nil {
		return nil // told when its service was to start
	}
	var out []initapi.Finding
	for _, f := range p.Formats {
		out = append(out, dataform.Findings(p.Name, p.Title, server, rec.Data[dataform.Key(p.Name, f.Path)])...)
	}
	return out
}

// Refusal makes the finding of an error of Ready.
func (k *Keeper) Refusal(p pack.Pack, server string, err error) initapi.Finding {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return dataform.Refused(p.Name, p.Title, server, k.o.Release, r.Kind, r.Plan)
	}
	next := ""
	if a, ok := errors.AsType[*adviceError](err); ok {
		next = a.next
	}
	return dataform.Failed(p.Name, p.Title, server, err, next)
}

// adviceError knows what a person should do about it.
type adviceError struct {
	text, next string
}

func (e *adviceError) Error() string { return e.text }

func filled(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lost+found" }), err
}

// clusters lists the versions of PostgreSQL that have a cluster "main" in dir.
func clusters(dir string) ([]int, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*", "main", "PG_VERSION"))
	if err != nil {
		return nil, err
	}
	var out []int
	for _, n := range names {
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(n)))); err == nil {
			if st, err := os.Stat(n); err == nil && st.Size() > 0 {
				out = append(out, v)
			}
		}
	}
	slices.SortFunc(out, cmp.Compare)
	return out, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
