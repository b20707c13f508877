package convert

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/lines"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Kept is what a conversion was made of and what it made, as far as the two differ: the way back needs it. What the images ship is not in that
// of Meet.
type Kept struct {
	From, To int
	Before   map[state.Path]File // in the words of From
	After    map[state.Path]File // in the words of To
	Same     map[state.Path]Sum  // what the conversion left alone
	// Gone is what the image of From ships and people had removed, an account as "etc/passwd:games"; of Meet alone.
	Gone []state.Path
}

// Sum tells one entry from another.
type Sum [sha256.Size]byte

func sum(e state.Entry) Sum {
	data, err := json.Marshal(e) // maps are sorted
	if err != nil {
		panic(err) // strings and numbers
	}
	return sha256.Sum256(data)
}

// whole is the entry with the content's hash, which a file has not that a step wrote.
func (f File) whole() state.Entry {
	e := f.Entry
	if e.Kind == state.File && e.Data == "" {
		e.Data, e.Size = state.Blob(f.Data), int64(len(f.Data))
	}
	return e
}

// Keep notes a conversion for the way back.
func Keep(from, to int, before, after *Tree) Kept {
	k := Kept{From: from, To: to, Before: map[state.Path]File{}, After: map[state.Path]File{}, Same: map[state.Path]Sum{}}
	for p, f := range before.files {
		g, ok := after.files[p]
		f.Entry = f.whole()
		switch {
		case !ok || f.Stock != g.Stock || !same(f, g):
			k.Before[p] = f
		case !f.Stock:
			k.Same[p] = sum(f.Entry)
		}
	}
	for p, f := range after.files {
		f.Entry = f.whole()
		if g, ok := before.files[p]; !ok || f.Stock != g.Stock || !same(f, g) {
			k.After[p] = f
		}
	}
	return k
}

// own is a file that people made or changed.
func (t *Tree) own(p state.Path) (File, bool) {
	f, ok := t.files[p]
	return f, ok && !f.Stock
}

func same(a, b File) bool { return a.whole().Equal(b.whole()) }

// Made tells whether an entry is as the conversion left it: then nobody has changed it since. Nothing was kept in a nil k.
func (k *Kept) Made(p state.Path, e state.Entry) bool {
	if k == nil {
		return false
	}
	if f, ok := k.After[p]; ok {
		return f.Entry.Equal(e)
	}
	was, ok := k.Same[p]
	return ok && was == sum(e)
}

// Only leaves out what another server does not share, or has elsewhere.
func (k *Kept) Only(shared func(state.Path) bool) {
	maps.DeleteFunc(k.Before, func(p state.Path, _ File) bool { return !shared(p) })
	maps.DeleteFunc(k.After, func(p state.Path, _ File) bool { return !shared(p) })
	maps.DeleteFunc(k.Same, func(p state.Path, _ Sum) bool { return !shared(p) })
	k.Gone = slices.DeleteFunc(k.Gone, func(p state.Path) bool {
		file, _, _ := strings.Cut(string(p), ":")
		return !shared(p) && !IsAccounts(state.Path(file))
	})
}

// Return converts a tree back that k's conversion has made and that may have been changed since. What was not changed becomes what it was, and
// nothing is told of it; what was is converted back, and merged into it.
func Return(steps []Step, k Kept, now *Tree) (Result, error) {
	out, err := Convert(steps, k.To, k.From, now)
	before := maps.Clone(k.Before)
	for p, f := range now.files {
		if is, ok := k.Same[p]; ok && !f.Stock && is == sum(f.whole()) {
			before[p] = f
		}
	}
	// The same for what the conversion made, had nobody touched it, and for what it left alone: what only the first has comes from it.
	untouched, rest := now.clone(), now.clone()
	for p := range before {
		if f := now.files[p]; f.Stock { // what the image has at that place
			continue
		}
		if _, same := k.Same[p]; !same {
			delete(untouched.files, p)
		}
		delete(rest.files, p)
	}
	for p := range k.After {
		delete(rest.files, p)
	}
	maps.Copy(untouched.files, k.After)
	base, errBase := Convert(steps, k.To, k.From, untouched)
	others, errOthers := Convert(steps, k.To, k.From, rest)
	err = errors.Join(err, errors.Join(errBase, errOthers))
	for p, came := range base.Tree.files {
		if _, left := others.Tree.own(p); left || came.Stock {
			continue
		}
		if _, was := before[p]; !was { // made by the conversion alone: it goes, unless somebody changed it
			if got, ok := out.Tree.own(p); ok && same(came, got) {
				delete(out.Tree.files, p)
			}
		}
	}
	out.removed = map[state.Path]bool{}
	for p, was := range before {
		came, inBase := base.Tree.own(p)
		got, inOut := out.Tree.own(p)
		switch {
		case !inBase && !inOut, inBase && inOut && same(came, got): // nobody touched it, or it has no counterpart there
			out.Tree.files[p] = was
		case !inOut:
			if !got.Stock { // else it was made as the image has it
				out.removed[p] = true
			}
		case inBase && came.Entry.Kind == state.File && got.Entry.Kind == state.File && was.Entry.Kind == state.File:
			out.merge(p, came, was, got)
		}
	}
	// What stands in the text from before is right there; only what was changed since is worth a word. Nor is what was made on the way and
	// did not stay.
	out.Findings = slices.DeleteFunc(out.Findings, func(f Finding) bool {
		file, here := now.files[f.Path]
		_, there := out.Tree.files[f.Path]
		return here && k.Made(f.Path, file.whole()) || !here && !there && f.Path != ""
	})
	return out, err
}

// merge takes what was changed between came and got over into was.
func (r *Result) merge(p state.Path, came, was, got File) {
	e := got.Entry
	if attributes(came.Entry).Equal(attributes(got.Entry)) {
		e = was.Entry
	}
	if IsAccounts(p) {
		got.Data = MergeAccounts(came.Data, was.Data, got.Data)
	} else {
		text, clashes := lines.Merge(lines.Split(came.Data), lines.Split(was.Data), lines.Split(got.Data))
		for _, c := range slices.Backward(clashes) {
			both, ok := besides(c)
			if ok {
				text = slices.Replace(text, c.At-1, c.At-1+len(c.Theirs), both...)
				continue
			}
			r.Findings = append(r.Findings, Finding{
				Class: Approximated, Path: p, Line: c.At, What: "Changed since it was converted, where this release has words of its own; the changed wording is taken.",
				Next: "Look whether it says what it should.",
			})
		}
		got.Data = []byte(strings.Join(text, ""))
	}
	got.Entry = e
	got.Entry.Size, got.Entry.Data = int64(len(got.Data)), ""
	r.Tree.files[p] = got
}

// besides brings together what was changed in lines that stand one beside the other, each on one side alone.
func besides(c lines.Clash) ([]string, bool) {
	n := len(c.Base)
	switch {
	case len(c.Theirs) == 0: // taken out by a person
		return nil, true
	case len(c.Ours) == n && len(c.Theirs) == n:
		out := slices.Clone(c.Theirs)
		for i, was := range c.Base {
			switch {
			case c.Theirs[i] == was:
				out[i] = c.Ours[i]
			case c.Ours[i] != was && c.Ours[i] != c.Theirs[i]:
				return nil, false
			}
		}
		return out, true
	case len(c.Ours) > n && slices.Equal(c.Ours[:n], c.Base): // lines that the other release does not know stood behind
		return slices.Concat(c.Theirs, c.Ours[n:]), true
	case len(c.Ours) > n && slices.Equal(c.Ours[len(c.Ours)-n:], c.Base):
		return slices.Concat(c.Ours[:len(c.Ours)-n], c.Theirs), true
	}
	return nil, false
}

// attributes is an entry without its content.
func attributes(e state.Entry) state.Entry {
	e.Size, e.Data, e.Target, e.Hard = 0, "", "", ""
	return e
}
