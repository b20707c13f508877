package convert

import (
	"bytes"
	"maps"
	"slices"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Meet makes of a server's files what another server with another image is to have: what people changed is converted, what they removed is
// removed, and all else is as the other image ships it. Of files of which only owner, mode or the like was changed, that is kept. If the
// files were once made by a conversion from the other image's release, kept is what that has kept: they get their own words back. A record of
// another way is not used; nil if there is none.
//
// The error says which steps failed; they are among the findings, and all else is converted.
func Meet(steps []Step, theirs, ours Stock, files *Tree, kept *Kept) (Result, error) {
	if kept != nil && !kept.Fits(theirs.Release, ours.Release) {
		kept = nil
	}
	m := meeting{theirs: theirs, ours: ours, kept: kept, in: files.clone()}
	for p, f := range m.in.files {
		f.Stock = m.untouched(p, f)
		m.in.files[p] = f
	}
	var err error
	if kept != nil {
		m.out, err = Return(steps, *kept, m.in)
	} else {
		m.out, err = Convert(steps, theirs.Release, ours.Release, m.in)
	}
	for p, f := range m.out.Tree.files {
		if f.Stock {
			delete(m.out.Tree.files, p) // theirs
		}
	}
	m.ship()
	m.folders()
	m.accounts()
	k := Keep(theirs.Release, ours.Release, m.in, m.out.Tree)
	for _, files := range []map[state.Path]File{k.Before, k.After} {
		maps.DeleteFunc(files, func(_ state.Path, f File) bool { return f.Stock }) // each image has its own
	}
	for p, e := range theirs.Files {
		if _, there := m.in.files[p]; !there && e.Kind != state.Dir {
			k.Gone = append(k.Gone, p)
		}
	}
	for p, shipped := range theirs.Accounts {
		f, ok := m.in.own(p)
		if !ok || f.Entry.Kind != state.File {
			continue
		}
		have := accounts(f.Data)
		for name := range accounts(shipped) {
			if _, there := have[name]; !there && goneAccount(p, name).Check() == nil {
				k.Gone = append(k.Gone, goneAccount(p, name))
			}
		}
	}
	slices.Sort(k.Gone)
	m.out.Kept = k
	return m.out, err
}

// Fits tells whether a record is of the way from one release to another, so that it serves to go back.
func (k *Kept) Fits(from, to int) bool { return k.From == to && k.To == from }

type meeting struct {
	theirs, ours Stock
	kept         *Kept
	in           *Tree
	out          Result
}

// untouched tells whether a file follows the image. It does where only its attributes were changed, if the other image has it too.
func (m *meeting) untouched(p state.Path, f File) bool {
	was, shipped := m.theirs.Files[p]
	e := f.whole()
	switch {
	case !shipped || was.Kind != e.Kind || m.kept.Made(p, e):
		return false
	case e.Kind == state.Dir || was.Equal(e):
		return true
	}
	is, ok := m.ours.Files[p]
	return ok && e.Kind == state.File && is.Kind == state.File && was.Data == e.Data && was.Hard == e.Hard
}

// ship adds what the other image ships.
func (m *meeting) ship() {
	t := m.out.Tree
	for p, e := range m.ours.Files {
		if _, changed := t.files[p]; changed {
			continue
		}
		was, shipped := m.theirs.Files[p]
		f, there := m.in.files[p]
		removed := shipped || m.out.removed[p] || m.kept != nil && slices.Contains(m.kept.Gone, p)
		if !there && removed && e.Kind != state.Dir {
			continue // by a person
		}
		if there && shipped && f.Entry.Kind == e.Kind && was.Kind == e.Kind && !attributes(was).Equal(attributes(f.Entry)) {
			e.Mode, e.Owner, e.Group, e.Xattrs = f.Entry.Mode, f.Entry.Owner, f.Entry.Group, f.Entry.Xattrs
		}
		t.files[p] = File{Entry: e, Stock: true}
	}
}

// folders sees to the folders on the way to what is there. Where something else is in the way, what people made stays.
func (m *meeting) folders() {
	t := m.out.Tree
	for _, p := range t.All() {
		f := t.files[p]
		for d := p.Dir(); d != ""; d = d.Dir() {
			g, ok := t.files[d]
			if ok && g.Entry.Kind == state.Dir {
				continue
			}
			if ok && f.Stock && !g.Stock {
				delete(t.files, p)
				break
			}
			if ok && !g.Stock {
				m.out.Findings = append(m.out.Findings, Finding{
					Class: Blocking, Path: d, What: "It is a folder now, since files below it are needed; what it was is left out.", Next: "Look whether it is missed.",
				})
			}
			if was, ok := m.in.files[d]; ok && was.Entry.Kind == state.Dir {
				t.files[d] = was
			} else {
				t.files[d] = File{Entry: state.Entry{Kind: state.Dir, Mode: 0o755, Owner: "root", Group: "root"}}
			}
		}
	}
}

func goneAccount(p state.Path, name string) state.Path { return p + ":" + state.Path(name) }

// accounts adds those of the other image's services.
func (m *meeting) accounts() {
	t := m.out.Tree
	for _, p := range AccountFiles() {
		f, ok := t.own(p)
		image, shipped := m.ours.Accounts[p]
		if !ok || !shipped || f.Entry.Kind != state.File {
			continue
		}
		base := slices.Clone(m.theirs.Accounts[p])
		if m.kept != nil { // those that people had removed stay away
			for name := range accounts(image) {
				if slices.Contains(m.kept.Gone, goneAccount(p, name)) {
					base = append(base, "\n"+name+":\n"...)
				}
			}
		}
		if text := MergeAccounts(base, image, f.Data); !bytes.Equal(text, f.Data) {
			f.Data, f.Entry.Size, f.Entry.Data = text, int64(len(text)), ""
			t.files[p] = f
		}
	}
}
