package convert

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"strings"

	"sayasystems.com/atlas/sentry/lines"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Kept is what a conversion was made of and what it made, as far as the two differ: the way back needs it.
type Kept struct {
	From, To int
	Before   map[state.Path]File // in the words of From
	After    map[state.Path]File // in the words of To
	Same     map[state.Path]Sum  // what the conversion left alone
}

// Sum tells one content from another.
type Sum [sha256.Size]byte

func sum(f File) Sum {
	data, err := json.Marshal(f.Entry) // maps are sorted
	if err != nil {
		panic(err) // strings and numbers
	}
	return sha256.Sum256(append(append(data, 0), f.Data...))
}

// Keep notes a conversion for the way back.
func Keep(from, to int, before, after *Tree) Kept {
	k := Kept{From: from, To: to, Before: map[state.Path]File{}, After: map[state.Path]File{}, Same: map[state.Path]Sum{}}
	for p, f := range before.files {
		if g, ok := after.files[p]; !ok || !same(f, g) {
			k.Before[p] = f
		} else {
			k.Same[p] = sum(f)
		}
	}
	for p, f := range after.files {
		if g, ok := before.files[p]; !ok || !same(f, g) {
			k.After[p] = f
		}
	}
	return k
}

func same(a, b File) bool { return a.Entry.Equal(b.Entry) && bytes.Equal(a.Data, b.Data) }

// Return converts a tree back that k's conversion has made and that may have been changed since. What was not changed becomes what it was;
// what was is converted back, and merged into it.
func Return(steps []Step, k Kept, now *Tree) (Result, error) {
	out, err := Convert(steps, k.To, k.From, now)
	if err != nil {
		return out, err
	}
	before := maps.Clone(k.Before)
	for p, f := range now.files {
		if is, ok := k.Same[p]; ok && is == sum(f) {
			before[p] = f
		}
	}
	// The same for what the conversion made, had nobody touched it, and for what it left alone: what only the first has comes from it.
	untouched, rest := now.clone(), now.clone()
	for p := range before {
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
	if err := errors.Join(errBase, errOthers); err != nil {
		return out, err
	}
	for p, came := range base.Tree.files {
		if _, left := others.Tree.files[p]; left {
			continue
		}
		if _, was := before[p]; !was { // made by the conversion alone: it goes, unless somebody changed it
			if got, ok := out.Tree.files[p]; ok && same(came, got) {
				delete(out.Tree.files, p)
			}
		}
	}
	for p, was := range before {
		came, inBase := base.Tree.files[p]
		got, inOut := out.Tree.files[p]
		switch {
		case !inBase && !inOut, inBase && inOut && same(came, got): // nobody touched it, or it has no counterpart there
			out.Tree.files[p] = was
		case !inOut: // removed in between
		case inBase && came.Entry.Kind == state.File && got.Entry.Kind == state.File && was.Entry.Kind == state.File:
			out.merge(p, came, was, got)
		}
	}
	return out, nil
}

// merge takes what was changed between came and got over into was.
func (r *Result) merge(p state.Path, came, was, got File) {
	text, clashes := lines.Merge(lines.Split(came.Data), lines.Split(was.Data), lines.Split(got.Data))
	got.Data = []byte(strings.Join(text, ""))
	got.Entry.Size, got.Entry.Data = int64(len(got.Data)), ""
	r.Tree.files[p] = got
	for _, c := range clashes {
		r.Findings = append(r.Findings, Finding{
			Class: Approximated, Path: p, Line: c.At, What: "Changed since it was converted, where this release has words of its own; the changed wording is taken.",
			Next: "Look whether it says what it should.",
		})
	}
}
