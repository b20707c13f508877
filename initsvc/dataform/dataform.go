// Package dataform decides what becomes of a service's data when a disk set meets an image of another Debian release: PostgreSQL 17 does not
// read what 15 has written, and MariaDB 11 changes tables so that 10 loses rows of them.
//
//	Record on the set + what lies there + what the image can → Recover, then Decide → Plan → the hands (initsvc/upgrade) → Record
//
// A form is a number that grows: the major version for PostgreSQL, the Debian release for data that the daemons change in place. The data
// of the form before are kept until a person confirms: then, and only then, is there no way back. Going back puts the kept data in use
// again and sets the newer ones aside; what was written to them meanwhile is told as missing. Nothing is ever deleted without a person's
// word but copies that were not finished.
//
// The package is pure: it touches no disk and knows no clock.
package dataform

import (
	"slices"
	"time"
)

// Kinds of forms, as packs name them.
const (
	PostgreSQL = "postgresql" // read by the old version's programs and written anew: the old directory stays as it is
	Copy       = "copy"       // changed in place by the newer daemon: a copy of them is taken before it starts
)

// Record is what a set tells of all its data, by Key.
type Record struct {
	Format int               `json:"format"` // RecordFormat
	Data   map[string]*Entry `json:"data"`
}

// RecordFormat is the version of Record's own form.
const RecordFormat = 1

// Key names the data at path of a service in a Record.
func Key(service, path string) string { return service + " " + path }

// Entry is what is known of one service's data.
type Entry struct {
	Kind    string    `json:"kind"`
	Form    int       `json:"form"`              // of the data in use
	Release string    `json:"release,omitempty"` // Debian release of the image that they were last used with
	Since   time.Time `json:"since"`             // when they got this form, or were put back into use
	From    int       `json:"from,omitempty"`    // form that they were brought forward from, 0 = none
	Back    bool      `json:"back,omitempty"`    // they are older data that were put back into use: Aside has the newer ones
	Kept    []Kept    `json:"kept,omitempty"`    // older forms, for the way back
	Aside   []Kept    `json:"aside,omitempty"`   // newer forms that were left by going back
	// Confirmed is when a person gave up the way back.
	Confirmed time.Time `json:"confirmed,omitzero"`
	Doing     *Doing    `json:"doing,omitempty"`
	Trash     []string  `json:"trash,omitempty"` // confirmed away, being removed
}

// Kept are data that are not in use.
type Kept struct {
	Form    int       `json:"form"`
	Release string    `json:"release,omitempty"` // Debian release that they are for; "" = not known
	Dir     string    `json:"dir"`               // absolute, as the running system sees it
	From    time.Time `json:"from,omitzero"`     // when they were taken into use; zero = not known
	Until   time.Time `json:"until"`             // when they were last in use: later changes are not in them
	Bytes   int64     `json:"bytes"`
}

// Doing is the journal: what was begun and is not known to have ended.
type Doing struct {
	Verb  Verb      `json:"verb"` // Forward, Back or Anew
	From  int       `json:"from"`
	To    int       `json:"to"`
	Step  Step      `json:"step"`
	Dir   string    `json:"dir,omitempty"`   // what is being made, under a name that nobody uses
	Aside string    `json:"aside,omitempty"` // where what is in the way goes
	At    time.Time `json:"at"`
	Bytes int64     `json:"bytes,omitempty"`
}

// Step of what is being done.
type Step string

// Steps.
const (
	Build Step = "build" // something is being made under a name of its own; all else is as it was
	Place Step = "place" // it is whole and on disk: only names are to be changed
)

// Verb is what is to be done before a service starts.
type Verb string

// Verbs.
const (
	Serve   Verb = "serve"   // nothing: the data fit
	Note    Verb = "note"    // they fit, and the record has to say so
	Forward Verb = "forward" // bring them from an older form
	Back    Verb = "back"    // put the kept ones of the older form back into use
	Anew    Verb = "anew"    // set them aside, so that the service makes its own: only on a standby, whose data nobody has written but the verifier
	Refuse  Verb = "refuse"  // the service must not start
)

// Why tells why a service must not start.
type Why string

// Reasons of Refuse.
const (
	NoPrograms Why = "no programs" // the image has none that read the older form
	Given      Why = "confirmed"   // newer data, and a person gave up the way back
	NoneKept   Why = "none kept"   // newer data, and nothing of an older form is there
	Elsewhere  Why = "other kept"  // newer data, and what is kept is of another form than this image's
)

// Plan is what Decide says.
type Plan struct {
	Verb Verb
	From int // form of the data in use, or found
	To   int // form afterwards
	Why  Why
}

// Seen is what lies on the set and what the image can.
type Seen struct {
	Kind   string
	Image  int   // form of this image's daemon
	Older  []int // older forms that the image has programs for; nil for Copy, whose daemon does it all
	Data   []int // forms of data that lie where a daemon of that form looks; for Copy, data are of the entry's form: AnyData
	Any    bool  // Copy: there are data
	KeptAt []int // kept forms of the entry whose directories are really there
	// Standby: the set is a secondary's. People's data come with the primary's set; these were written by the verifier, or are of a time
	// when the set was primary: they are kept, but a standby that does not run for their sake would help nobody.
	Standby bool
}

// Recover tells what to do with something that was cut off: nothing was changed before Place, and from there on it only has to be ended.
// It is the same whatever image the set meets.
func Recover(e *Entry) (undo, finish bool) {
	if e == nil || e.Doing == nil {
		return false, false
	}
	return e.Doing.Step != Place, e.Doing.Step == Place
}

// Decide tells what is to be done before the service starts. e is nil or has no Doing.
func Decide(e *Entry, s Seen) Plan {
	p := decide(e, s)
	if p.Verb == Refuse && s.Standby {
		p.Verb = Anew
	}
	return p
}

func decide(e *Entry, s Seen) Plan {
	here := func(form int) bool {
		if s.Kind == Copy {
			return s.Any
		}
		return slices.Contains(s.Data, form)
	}
	if e != nil && !here(e.Form) {
		e = nil // made anew, or taken away by a person: what lies there counts
	}
	form := 0
	switch {
	case e != nil:
		form = e.Form
	case s.Kind == Copy, len(s.Data) == 0, slices.Contains(s.Data, s.Image):
		return Plan{Verb: Note, From: s.Image, To: s.Image}
	default:
		form = nearest(s.Data, s.Image)
	}
	switch {
	case form == s.Image && e.Release != "":
		return Plan{Verb: Serve, From: form, To: form}
	case form == s.Image:
		return Plan{Verb: Note, From: form, To: form}
	case form < s.Image && s.Kind == PostgreSQL && !slices.Contains(s.Older, form):
		return Plan{Verb: Refuse, From: form, To: s.Image, Why: NoPrograms}
	case form < s.Image:
		return Plan{Verb: Forward, From: form, To: s.Image}
	}
	p := Plan{Verb: Refuse, From: form, To: s.Image, Why: NoneKept}
	switch {
	case e == nil:
	case slices.Contains(s.KeptAt, s.Image) && e.kept(s.Image) != nil:
		p.Verb, p.Why = Back, ""
	case len(e.Kept) > 0:
		p.Why = Elsewhere
	case !e.Confirmed.IsZero():
		p.Why = Given
	}
	return p
}

// nearest is the form that was most likely in use: the newest that is older than the image's, or else the oldest.
func nearest(forms []int, image int) int {
	older, newer := 0, 0
	for _, f := range forms {
		if f < image {
			older = max(older, f)
		} else if newer == 0 || f < newer {
			newer = f
		}
	}
	if older != 0 {
		return older
	}
	return newer
}

func (e *Entry) kept(form int) *Kept {
	for i := range e.Kept {
		if e.Kept[i].Form == form {
			return &e.Kept[i]
		}
	}
	return nil
}

// Ended is the entry after the verb of its journal has been done. release is that of the image for whose form the data are now, if known.
func Ended(e Entry, old Kept, release string, now time.Time) Entry {
	d := *e.Doing
	out := e
	out.Doing = nil
	out.Kept, out.Aside = slices.Clone(e.Kept), slices.Clone(e.Aside)
	gone := func(k Kept) bool { return k.Form == d.To || k.Form == old.Form }
	switch d.Verb {
	case Forward:
		out.Kept = append(slices.DeleteFunc(out.Kept, gone), old)
		out.From, out.Back, out.Confirmed = d.From, false, time.Time{}
	case Back:
		was := e.kept(d.To)
		out.Kept = slices.DeleteFunc(out.Kept, func(k Kept) bool { return k.Form >= d.To })
		out.Aside = append(out.Aside, old)
		out.From, out.Back = 0, true
		if release == "" && was != nil {
			release = was.Release
		}
	case Anew:
		out.Aside = append(out.Aside, old)
		out.From, out.Back = 0, false
	}
	out.Form, out.Release, out.Since = d.To, release, now
	return out
}

// Confirm gives up the way back: what is kept or was set aside is to be removed.
func Confirm(e Entry, now time.Time) (Entry, int64) {
	var freed int64
	for _, k := range slices.Concat(e.Kept, e.Aside) {
		freed += k.Bytes
		e.Trash = append(e.Trash, k.Dir)
	}
	e.Kept, e.Aside, e.Back, e.From, e.Confirmed = nil, nil, false, 0, now
	return e, freed
}

// Open tells whether there is something to confirm.
func (e *Entry) Open() bool { return e != nil && len(e.Kept)+len(e.Aside) > 0 }
