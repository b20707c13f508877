package convert

import (
	"maps"
	"path"
	"slices"

	"sayasystems.com/atlas/sentry/sync/state"
)

// File is one file, link or directory of a tree. Data is a file's content; it must not be changed in place.
type File struct {
	Entry state.Entry
	Data  []byte
	Stock bool // as its image ships it, never changed by anyone: steps may look at it and leave it alone; it follows the image
}

// Tree is a server's configuration in memory.
type Tree struct {
	files map[state.Path]File
	from  map[state.Path]state.Path // where what was moved came from
}

// NewTree makes a tree of files; the map is the tree's from then on.
func NewTree(files map[state.Path]File) *Tree {
	if files == nil {
		files = map[state.Path]File{}
	}
	return &Tree{files: files, from: map[state.Path]state.Path{}}
}

func (t *Tree) clone() *Tree { return &Tree{files: maps.Clone(t.files), from: maps.Clone(t.from)} }

// Paths lists the files that match one of the patterns of path.Match, in order. A pattern without * and the like names one path.
func (t *Tree) Paths(patterns ...string) []state.Path {
	var out []state.Path
	for p := range t.files {
		if slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := path.Match(pattern, string(p))
			return ok && err == nil
		}) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// Under lists what is dir or lies below it, in order.
func (t *Tree) Under(dir state.Path) []state.Path {
	var out []state.Path
	for p := range t.files {
		if p.Under(dir) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// All lists every path, in order.
func (t *Tree) All() []state.Path { return slices.Sorted(maps.Keys(t.files)) }

// Changed lists the regular files that match and that people have changed or made: what a step works on.
func (t *Tree) Changed(patterns ...string) []state.Path {
	return slices.DeleteFunc(t.Paths(patterns...), func(p state.Path) bool { return t.files[p].Stock || t.files[p].Entry.Kind != state.File })
}

// Get gives a file.
func (t *Tree) Get(p state.Path) (File, bool) {
	f, ok := t.files[p]
	return f, ok
}

// Text is the content of a regular file; nil if there is none.
func (t *Tree) Text(p state.Path) []byte {
	if f, ok := t.files[p]; ok && f.Entry.Kind == state.File {
		return f.Data
	}
	return nil
}

// Write gives a file new content. One that was not there belongs to root, mode 0644.
func (t *Tree) Write(p state.Path, data []byte) {
	f, ok := t.files[p]
	if !ok || f.Entry.Kind != state.File {
		f = File{Entry: state.Entry{Kind: state.File, Mode: 0o644, Owner: "root", Group: "root"}}
	}
	f.Data, f.Stock = data, false
	f.Entry.Size, f.Entry.Data = int64(len(data)), ""
	t.files[p] = f
}

// Put puts a whole entry into place.
func (t *Tree) Put(p state.Path, f File) { t.files[p] = f }

// Remove takes a path and what is below it away.
func (t *Tree) Remove(p state.Path) {
	for _, q := range t.Under(p) {
		delete(t.files, q)
	}
}

// Move moves a path and what is below it. What is at the new place is overwritten where both have it.
func (t *Tree) Move(from, to state.Path) {
	for _, p := range t.Under(from) {
		q := to + p[len(from):]
		t.files[q] = t.files[p]
		delete(t.files, p)
		t.from[q] = t.Origin(p)
	}
}

// Origin tells where what is at p came from.
func (t *Tree) Origin(p state.Path) state.Path {
	if o, ok := t.from[p]; ok {
		return o
	}
	return p
}

// Now tells where what was at p is, after the moves.
func (t *Tree) Now(p state.Path) state.Path {
	for q, o := range t.from {
		if _, there := t.files[q]; there && o == p {
			return q
		}
	}
	return p
}
