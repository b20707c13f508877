package tree

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
)

// Node is one file of a tree: what it is, and what is attached to it. Two nodes are the same when they compare equal.
type Node struct {
	Content Content
	Attrs   Attrs
}

// Content is what a file is.
type Content struct {
	Kind string // "file", "dir", "link", or "other": a device, socket or pipe
	Data string // file: hash of its bytes; link: its target; other: type and device number
}

// Attrs is what is attached to a file.
type Attrs struct {
	Mode   uint32 // permission bits with setuid, setgid and sticky
	UID    uint32
	GID    uint32
	Xattrs string // hash of names and values, ACLs included; "" if none
}

// Tree is files by their slash path below the root, the root itself left out.
type Tree map[string]Node

// Source says where a part of a merged file comes from.
type Source string

// Sources.
const (
	Ours  Source = "ours"  // stays as it is in our tree
	Image Source = "image" // is taken from the new image
	None  Source = "none"  // is removed
)

// Step is what is to be done to one path of our tree. Paths that stay as they are have no step.
type Step struct {
	Path    string
	Content Source
	Attrs   Source // as Content when Content is Image or None
	// Aside: the image's file is kept beside ours, as Path + Suffix.
	Aside bool
}

// Conflict is a path that was changed here and in the image too. Ours stays.
type Conflict struct {
	Path string `json:"path"`
	Why  string `json:"why"` // one clause: "changed here, and differently in the new image"
	// Kept is where the image's version was put, "" if it has none.
	Kept string `json:"kept,omitempty"`
}

// Suffix names the image's version of a file beside ours, as dpkg's .dpkg-dist does.
const Suffix = ".atlas-dist"

// Merge compares three trees: base, the old image's default; image, the new image's; ours. What was not changed here follows the
// image; what was changed here stays; where both changed, ours stays and the conflict is told. Content and attributes are
// merged each on its own, so that a changed mode here and new bytes there are no conflict. It is pure; steps come in the
// order in which they can be applied: removals from the leaves up, then the rest from the root down.
func Merge(base, image, ours Tree) ([]Step, []Conflict) {
	m := merger{base: base, image: image, ours: ours}
	paths := map[string]bool{}
	for _, t := range []Tree{base, image, ours} {
		for p := range t {
			paths[p] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		m.path(p)
	}
	m.keepParents()
	m.order()
	return m.steps, m.conflicts
}

type merger struct {
	base, image, ours Tree
	steps             []Step
	conflicts         []Conflict
}

func (m *merger) conflict(p, why, kept string) {
	m.conflicts = append(m.conflicts, Conflict{Path: p, Why: why, Kept: kept})
}

func (m *merger) path(p string) {
	b, inBase := m.base[p]
	n, inImage := m.image[p]
	o, inOurs := m.ours[p]
	same := func(x Node, inX bool, y Node, inY bool) bool { return inX == inY && x == y }
	switch {
	case same(n, inImage, o, inOurs), same(b, inBase, n, inImage):
		// Alike already, or the image has nothing new: ours stays.
	case same(b, inBase, o, inOurs):
		if inImage {
			m.take(p)
		} else {
			m.steps = append(m.steps, Step{Path: p, Content: None, Attrs: None})
		}
	case !inOurs:
		if inBase && b.Content != n.Content {
			m.conflict(p, "removed here, and changed in the new image", "")
		}
	case !inImage:
		m.conflict(p, "changed here, and no longer in the new image", "")
	case !inBase:
		m.both(p, n, o, Node{}, "made here, and differently in the new image")
	default:
		m.both(p, n, o, b, "changed here, and differently in the new image")
	}
}

// take takes the image's file, unless the place is held by something of ours.
func (m *merger) take(p string) {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		o, inOurs := m.ours[dir]
		n := m.image[dir]
		switch {
		case inOurs && o.Content.Kind != "dir" && n.Content.Kind == "dir" && m.kept(dir):
			if !slices.ContainsFunc(m.conflicts, func(c Conflict) bool { return c.Path == dir }) {
				m.conflict(p, "its directory is a file here, and it is new in the new image", "")
			}
			return
		case !inOurs && !m.added(dir):
			m.conflict(p, "its directory was removed here, and it is new in the new image", "")
			return
		}
	}
	m.steps = append(m.steps, Step{Path: p, Content: Image, Attrs: Image})
}

// added tells whether a directory that we lack will be there after the merge.
func (m *merger) added(dir string) bool {
	return slices.ContainsFunc(m.steps, func(s Step) bool { return s.Path == dir && s.Content == Image })
}

// kept tells whether ours stays at p.
func (m *merger) kept(p string) bool {
	return !slices.ContainsFunc(m.steps, func(s Step) bool { return s.Path == p && s.Content != Ours })
}

// both merges a path that is in all trees, or was made on both sides.
func (m *merger) both(p string, n, o, b Node, why string) {
	content, contentConflict := pick(b.Content, n.Content, o.Content)
	attrs, attrsConflict := pick(b.Attrs, n.Attrs, o.Attrs)
	if contentConflict || (content == Image && n.Content.Kind != o.Content.Kind && attrs == Ours) {
		// The kind decides what attributes mean; nothing of the image fits onto ours.
		kept := ""
		if n.Content.Kind == "file" || n.Content.Kind == "link" {
			kept = p + Suffix
			m.steps = append(m.steps, Step{Path: p, Content: Ours, Attrs: Ours, Aside: true})
		}
		m.conflict(p, why, kept)
		return
	}
	if attrsConflict {
		m.conflict(p, "owner, mode or attributes: "+why, "")
	}
	if content == Image && attrs == Image {
		m.take(p)
		return
	}
	if content != Ours || attrs != Ours {
		m.steps = append(m.steps, Step{Path: p, Content: content, Attrs: attrs})
	}
}

// pick merges one aspect of a file.
func pick[T comparable](b, n, o T) (from Source, conflict bool) {
	switch {
	case n == o, b == n:
		return Ours, false
	case b == o:
		return Image, false
	}
	return Ours, true
}

// keepParents drops the removal of directories that keep something, and the replacement of directories by something else.
func (m *merger) keepParents() {
	gone := map[string]int{}
	for i, s := range m.steps {
		replaced := s.Content == Image && m.ours[s.Path].Content.Kind == "dir" && m.image[s.Path].Content.Kind != "dir"
		if s.Content == None || replaced {
			gone[s.Path] = i
		}
	}
	keep := map[string]bool{}
	for p := range m.ours {
		if _, going := gone[p]; going && m.image[p].Content.Kind != "dir" {
			continue
		}
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			keep[dir] = true
		}
	}
	dropped := map[int]bool{}
	for p, i := range gone {
		if !keep[p] {
			continue
		}
		dropped[i] = true
		if n, ok := m.image[p]; ok && n.Content.Kind != "dir" {
			m.conflict(p, "a directory with files made here, and no directory in the new image", "")
		}
	}
	var steps []Step
	for i, s := range m.steps {
		if !dropped[i] {
			steps = append(steps, s)
		}
	}
	m.steps = steps
}

func (m *merger) order() {
	slices.SortStableFunc(m.steps, func(a, b Step) int {
		if ra, rb := a.Content == None, b.Content == None; ra != rb {
			if ra {
				return -1
			}
			return 1
		}
		if a.Content == None {
			return cmp.Or(cmp.Compare(strings.Count(b.Path, "/"), strings.Count(a.Path, "/")), cmp.Compare(a.Path, b.Path))
		}
		return cmp.Compare(a.Path, b.Path)
	})
	slices.SortFunc(m.conflicts, func(a, b Conflict) int { return cmp.Compare(a.Path, b.Path) })
}
