package watch

import (
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/sync/state"
)

// node is a directory that is marked, in the place where it was seen last.
type node struct {
	parent *node // nil for the root
	name   string
	id     fid
	kids   map[string]*node
	round  int // of the last walk that saw it
}

// tree knows the marked directories by their handles. It does no I/O.
type tree struct {
	root  *node
	nodes map[fid]*node
}

func newTree() *tree { return &tree{nodes: map[fid]*node{}} }

// path is where the directory is; "" for the root.
func (n *node) path() state.Path {
	if n.parent == nil {
		return ""
	}
	var parts []string
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.name)
	}
	var b strings.Builder
	for i, part := range slices.Backward(parts) {
		b.WriteString(part)
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return state.Path(b.String())
}

func join(dir state.Path, name string) state.Path {
	if dir == "" {
		return state.Path(name)
	}
	return dir + "/" + state.Path(name)
}

// place says that the directory id is now called name in parent (nil: it is the root). What was known by that name before, if it is another
// one, is taken out and returned. fresh tells that id was not known.
func (t *tree) place(parent *node, name string, id fid) (n, old *node, fresh bool) {
	n, known := t.nodes[id]
	if !known {
		n = &node{id: id}
		t.nodes[id] = n
	}
	if parent == nil {
		t.root, n.name = n, name
		return n, nil, !known
	}
	if o := parent.kids[name]; o != nil && o != n {
		old = o
		t.detach(o)
	}
	if n.parent != parent || n.name != name {
		for p := parent; p != nil; p = p.parent { // moved below itself? what we knew is old; the next events mend it
			if p == n {
				t.detach(parent)
				break
			}
		}
		t.detach(n)
		n.parent, n.name = parent, name
		if parent.kids == nil {
			parent.kids = map[string]*node{}
		}
		parent.kids[name] = n
	}
	return n, old, !known
}

// detach takes n out of its directory; it is still known by its handle.
func (t *tree) detach(n *node) {
	if n.parent != nil && n.parent.kids[n.name] == n {
		delete(n.parent.kids, n.name)
	}
	n.parent = nil
}

// forget drops n and all below it, and returns them.
func (t *tree) forget(n *node) []*node {
	t.detach(n)
	list := []*node{n}
	for i := 0; i < len(list); i++ {
		delete(t.nodes, list[i].id)
		for _, k := range list[i].kids {
			list = append(list, k)
		}
	}
	return list
}

// attached tells whether n hangs below the root: a directory that was moved away may still send events.
func (t *tree) attached(n *node) bool {
	for n.parent != nil {
		n = n.parent
	}
	return n == t.root
}

// fullest is the directory that holds most watched directories.
func (t *tree) fullest() (dir state.Path, held int) {
	for _, n := range t.nodes {
		if len(n.kids) > held && t.attached(n) {
			held, dir = len(n.kids), n.path()
		}
	}
	return dir, held
}
