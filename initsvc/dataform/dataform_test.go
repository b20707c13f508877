package dataform

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// disk is a set as far as data of one service go: what lies under which name. Contents are numbered as they are written; making a form of
// another keeps the number, so that "16 of 15" can be told from what was written to 16.
type disk struct {
	in   map[int]content // by form: where a daemon of the form looks; for Copy, form 0
	kept map[int]content // Copy: kept copies, by form
	e    *Entry
}

type content struct {
	form  int
	words string // what was written, in order: one letter for each time that a service ran
}

func (d disk) clone() disk {
	c := disk{in: maps.Clone(d.in), kept: maps.Clone(d.kept)}
	if d.e != nil {
		e := *d.e
		e.Kept, e.Aside = slices.Clone(e.Kept), slices.Clone(e.Aside)
		if e.Doing != nil {
			w := *e.Doing
			e.Doing = &w
		}
		c.e = &e
	}
	return c
}

func at(form int, kind string) int {
	if kind == Copy {
		return 0
	}
	return form
}

func (d disk) seen(kind string, image int, older []int) Seen {
	s := Seen{Kind: kind, Image: image, Older: older}
	for f := range d.in {
		s.Data = append(s.Data, f)
		s.Any = true
	}
	slices.Sort(s.Data)
	if d.e != nil {
		for _, k := range d.e.Kept {
			if _, ok := d.in[k.Form]; ok && kind == PostgreSQL {
				s.KeptAt = append(s.KeptAt, k.Form)
			}
			if _, ok := d.kept[k.Form]; ok && kind == Copy {
				s.KeptAt = append(s.KeptAt, k.Form)
			}
		}
	}
	return s
}

// boot does what the hands do in one start with an image, cut after so many writes (none if negative); it tells whether the service starts.
func (d *disk) boot(kind string, image int, older []int, cut int) (serves bool) {
	writes := 0
	dead := func() bool { writes++; return cut >= 0 && writes > cut }
	ended := func() {
		w := *d.e.Doing
		*d.e = Ended(*d.e, Kept{Form: w.From, Dir: fmt.Sprint(w.From)}, "x", time.Unix(1, 0))
	}
	place := func() bool {
		w := *d.e.Doing
		switch {
		case w.Verb == Forward && kind == PostgreSQL:
			if dead() {
				return false
			}
			if n, ok := d.in[-1]; ok {
				d.in[w.To] = n
				delete(d.in, -1)
			}
		case w.Verb == Forward:
			if dead() {
				return false
			}
			if n, ok := d.kept[-1]; ok {
				d.kept[w.From] = n
				delete(d.kept, -1)
			}
		case kind == PostgreSQL:
			if dead() {
				return false
			}
			delete(d.in, w.From) // aside
		default:
			if dead() {
				return false
			}
			if n, ok := d.kept[w.To]; ok {
				d.in[0] = n
				delete(d.kept, w.To)
			}
		}
		if dead() {
			return false
		}
		ended()
		return true
	}
	undo, finish := Recover(d.e)
	if undo {
		delete(d.in, -1)
		delete(d.kept, -1)
		if dead() {
			return false
		}
		d.e.Doing = nil
	}
	if finish && !place() {
		return false
	}
	p := Decide(d.e, d.seen(kind, image, older))
	switch p.Verb {
	case Refuse:
		return false
	case Note:
		if dead() {
			return false
		}
		n := Entry{Kind: kind, Form: p.To, Release: "x"}
		if d.e != nil {
			n.Kept, n.Aside, n.Confirmed = d.e.Kept, d.e.Aside, d.e.Confirmed
			n.Kept = slices.DeleteFunc(n.Kept, func(k Kept) bool { return k.Form == p.To })
		}
		d.e = &n
	case Forward, Back:
		if dead() {
			return false
		}
		if d.e == nil {
			d.e = &Entry{Kind: kind}
		}
		d.e.Form = p.From
		d.e.Doing = &Doing{Verb: p.Verb, From: p.From, To: p.To, Step: Build}
		if p.Verb == Forward {
			if dead() {
				return false
			}
			old := d.in[at(p.From, kind)]
			if kind == PostgreSQL {
				d.in[-1] = content{p.To, old.words}
			} else {
				d.kept[-1] = old
			}
		}
		if dead() {
			return false
		}
		d.e.Doing.Step = Place
		if !place() {
			return false
		}
	}
	return true
}

// serve writes a word as the daemon of form does.
func (d *disk) serve(kind string, form int, word string) error {
	c := d.in[at(form, kind)]
	if kind == PostgreSQL && c.form != 0 && c.form != form {
		return fmt.Errorf("a daemon of %d starts on data of %d", form, c.form)
	}
	if kind == Copy && c.form > form {
		return fmt.Errorf("a daemon of %d starts on data that %d has changed", form, c.form)
	}
	if _, ok := d.kept[c.form]; kind == Copy && c.form != 0 && c.form < form && !ok {
		return fmt.Errorf("a daemon of %d changes data of %d of which no copy is kept", form, c.form)
	}
	d.in[at(form, kind)] = content{form, c.words + word}
	return nil
}

// TestWalks takes a set through all sequences of four starts with images of three releases, each start cut at every moment or not at all, with
// and without a person's word in between, and looks after each that no service starts on data that it cannot read, that data of before the
// newest step are there until a person gives them up, and that nothing is lost by a cut.
func TestWalks(t *testing.T) {
	forms := map[string][]int{PostgreSQL: {13, 15, 17}, Copy: {11, 12, 13}}
	n := 0
	for kind, f := range forms {
		var walk func(d disk, depth int, told string)
		walk = func(d disk, depth int, told string) {
			if depth == 0 {
				return
			}
			for i, image := range f {
				var older []int
				if i > 0 {
					older = []int{f[i-1]}
				}
				for cut := -1; cut < 6; cut++ {
					n++
					c := d.clone()
					what := fmt.Sprintf("%s, %d cut %d", told, image, cut)
					before := inUse(c, kind)
					if !c.boot(kind, image, older, cut) {
						if cut < 0 && c.e != nil && c.e.Doing != nil {
							t.Fatalf("%s %s: a refusal leaves something begun: %+v", kind, what, c.e.Doing)
						}
						if got := inUse(c, kind); cut < 0 && got != before && before != "" && !kept(c, kind, before) {
							t.Fatalf("%s %s: %q was in use and is gone; now %q", kind, what, before, got)
						}
						if before != "" && inUse(c, kind) != before && !kept(c, kind, before) {
							t.Fatalf("%s %s: a cut lost %q: %+v %+v", kind, what, before, c, c.e)
						}
						walk(c, depth-1, what)
						continue
					}
					word := string(rune('a' + depth))
					if err := c.serve(kind, image, word); err != nil {
						t.Fatalf("%s %s: %v: %+v %+v", kind, what, err, c, c.e)
					}
					if c.e.Form != image || c.e.Doing != nil {
						t.Fatalf("%s %s: serves with the record %+v", kind, what, c.e)
					}
					if c.e.Back && len(c.e.Aside) == 0 || c.e.From != 0 && len(c.e.Kept) == 0 {
						t.Fatalf("%s %s: nothing is told of what is kept: %+v", kind, what, c.e)
					}
					walk(c, depth-1, what)
					if c.e.Open() { // and with a person's word
						g := c.clone()
						for _, k := range g.e.Kept {
							if kind == PostgreSQL {
								delete(g.in, k.Form)
							}
							delete(g.kept, k.Form)
						}
						*g.e, _ = Confirm(*g.e, time.Unix(2, 0))
						g.e.Trash = nil
						walk(g, depth-1, what+" confirmed")
					}
				}
			}
		}
		walk(disk{in: map[int]content{}, kept: map[int]content{}}, 4, "new set")
		if kind == PostgreSQL { // data that are changed in place do not tell their form
			walk(disk{in: map[int]content{f[0]: {f[0], "z"}}, kept: map[int]content{}}, 3, "set without record")
		}
	}
	t.Logf("%d starts", n)
}

// inUse is what has been written to the data in use.
func inUse(d disk, kind string) string {
	if d.e == nil {
		return ""
	}
	return d.in[at(d.e.Form, kind)].words
}

// kept tells whether words are somewhere, or have been set aside by their own going back.
func kept(d disk, kind, words string) bool {
	for _, m := range []map[int]content{d.in, d.kept} {
		for f, c := range m {
			if c.words == words && f >= 0 {
				return true
			}
		}
	}
	return d.e != nil && (len(d.e.Aside) > 0 || d.e.Doing != nil && d.e.Doing.Verb == Back)
}

func TestDecide(t *testing.T) {
	in := func(form int, more ...func(*Entry)) *Entry {
		e := &Entry{Kind: PostgreSQL, Form: form, Release: "x"}
		for _, f := range more {
			f(e)
		}
		return e
	}
	keeps := func(forms ...int) func(*Entry) {
		return func(e *Entry) {
			for _, f := range forms {
				e.Kept = append(e.Kept, Kept{Form: f})
			}
		}
	}
	confirmed := func(e *Entry) { e.Confirmed = time.Unix(1, 0) }
	pg := func(image int, older []int, data ...int) Seen {
		return Seen{Kind: PostgreSQL, Image: image, Older: older, Data: data, KeptAt: data}
	}
	cp := func(image int, data bool, kept ...int) Seen {
		return Seen{Kind: Copy, Image: image, Any: data, KeptAt: kept}
	}
	standby := func(s Seen) Seen { s.Standby = true; return s }
	for _, c := range []struct {
		name string
		e    *Entry
		s    Seen
		want Plan
	}{
		{"new set", nil, pg(17, nil), Plan{Note, 17, 17, ""}},
		{"no record, data fit", nil, pg(17, nil, 17), Plan{Note, 17, 17, ""}},
		{"no record, upgraded by hand", nil, pg(17, []int{15}, 15, 17), Plan{Note, 17, 17, ""}},
		{"no record, older data", nil, pg(17, []int{15}, 13, 15), Plan{Forward, 15, 17, ""}},
		{"no record, newer data", nil, pg(15, []int{13}, 17), Plan{Refuse, 17, 15, NoneKept}},
		{"fits", in(17), pg(17, nil, 17), Plan{Serve, 17, 17, ""}},
		{"forward", in(15), pg(17, []int{15}, 15), Plan{Forward, 15, 17, ""}},
		{"forward again, what was set aside lies there", in(15), pg(17, []int{15}, 15, 17), Plan{Forward, 15, 17, ""}},
		{"no programs", in(15), pg(17, nil, 15), Plan{Refuse, 15, 17, NoPrograms}},
		{"too old", in(13), pg(17, []int{15}, 13), Plan{Refuse, 13, 17, NoPrograms}},
		{"back", in(17, keeps(15)), pg(15, nil, 15, 17), Plan{Back, 17, 15, ""}},
		{"back, but kept data were taken away", in(17, keeps(15)), pg(15, nil, 17), Plan{Refuse, 17, 15, Elsewhere}},
		{"back after a person's word", in(17, confirmed), pg(15, nil, 17), Plan{Refuse, 17, 15, Given}},
		{"back, other kept", in(17, keeps(13)), pg(15, nil, 13, 17), Plan{Refuse, 17, 15, Elsewhere}},
		{"data in use were taken away", in(17, keeps(15)), pg(17, []int{15}, 15), Plan{Forward, 15, 17, ""}},
		{"all data were taken away", in(15), pg(17, []int{15}), Plan{Note, 17, 17, ""}},
		{"a standby with newer data", in(17), standby(pg(15, nil, 17)), Plan{Anew, 17, 15, NoneKept}},
		{"a standby without programs", in(15), standby(pg(17, nil, 15)), Plan{Anew, 15, 17, NoPrograms}},
		{"a standby that goes back", in(17, keeps(15)), standby(pg(15, nil, 15, 17)), Plan{Back, 17, 15, ""}},
		{"copy: none yet", nil, cp(13, false), Plan{Note, 13, 13, ""}},
		{"copy: no record", nil, cp(13, true), Plan{Note, 13, 13, ""}},
		{"copy: noted before there were data", in(12), cp(13, false), Plan{Note, 13, 13, ""}},
		{"copy: forward", in(12), cp(13, true), Plan{Forward, 12, 13, ""}},
		{"copy: back", in(13, keeps(12)), cp(12, true, 12), Plan{Back, 13, 12, ""}},
		{"copy: back after a person's word", in(13, confirmed), cp(12, true), Plan{Refuse, 13, 12, Given}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Decide(c.e, c.s); got != c.want {
				t.Errorf("Decide = %+v; want %+v", got, c.want)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	day := time.Date(2026, 3, 4, 5, 6, 0, 0, time.Local)
	e := &Entry{Kind: PostgreSQL, Form: 17, Release: "13", From: 15, Since: day, Kept: []Kept{{Form: 15, Release: "12", Dir: "/var/lib/postgresql/15/main", Bytes: 3 << 30}}}
	got := Findings("postgresql", "Database", "left", e)
	if len(got) != 1 || !strings.Contains(got[0].What, "brought from PostgreSQL 15 to PostgreSQL 17 on 2026-03-04 05:06. If these disks go back into a server with Debian 12, what has been written to them since then is not there.") ||
		!strings.Contains(got[0].Next, "atlas commit-upgrade. It removes what is kept, frees 3.0 GB") {
		t.Errorf("forward: %+v", got)
	}
	e = &Entry{Kind: Copy, Form: 12, Back: true, Since: day, Aside: []Kept{{Form: 13, Dir: "/aside", From: day, Until: day.Add(time.Hour)}}}
	got = Findings("mariadb", "Database", "left", e)
	if len(got) != 1 || !strings.Contains(got[0].What, "as they were on 2026-03-04 05:06: what was written from then until 2026-03-04 06:06, in a server with Debian 13, is not in them. It is not lost: it lies in /aside") {
		t.Errorf("back: %+v", got)
	}
	if got := Findings("x", "X", "left", &Entry{Form: 12}); got != nil {
		t.Errorf("nothing kept: %+v", got)
	}
	e = &Entry{Kind: Copy, Form: 12, Aside: []Kept{{Form: 13, Dir: "/aside"}}}
	if got := Findings("mariadb", "Database", "left", e); len(got) != 1 || !strings.Contains(got[0].What, "were set aside in /aside when this set came as a standby") {
		t.Errorf("aside: %+v", got)
	}
	for _, w := range []Why{NoPrograms, Given, NoneKept, Elsewhere} {
		f := Refused("postgresql", "Database", "left", "13", PostgreSQL, Plan{Refuse, 15, 17, w})
		if !strings.Contains(f.What, "The data are untouched.") || f.Next == "" {
			t.Errorf("%s: %+v", w, f)
		}
	}
}
