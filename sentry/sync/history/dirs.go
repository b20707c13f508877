package history

import (
	"bytes"
	"container/list"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// dir is a recorded directory, decoded. Nobody changes it.
type dir struct {
	items   []item // in the order of their names
	sidecar plumbing.Hash
}

func (d *dir) find(name string) (int, bool) {
	return slices.BinarySearchFunc(d.items, name, func(it item, name string) int { return strings.Compare(it.name, name) })
}

func (d *dir) item(name string) *item {
	if i, ok := d.find(name); ok {
		return &d.items[i]
	}
	return nil
}

// cost is about what d takes in memory.
func (d *dir) cost() int64 {
	n := int64(100)
	for i := range d.items {
		it := &d.items[i]
		n += 144 + int64(len(it.name)+len(it.target))
		if it.more != nil {
			n += 300 + int64(len(it.more.hard))
			for k, v := range it.more.xattrs {
				n += int64(len(k) + len(v) + 64)
			}
		}
	}
	return n
}

func gitMode(it *item) string {
	switch {
	case it.kind == state.Dir:
		return "40000"
	case it.kind == state.Link:
		return "120000"
	case it.mode&0o111 != 0:
		return "100755"
	default:
		return "100644"
	}
}

// formatTree writes a directory as git's tree object.
func formatTree(items []item, sidecar plumbing.Hash) []byte {
	type line struct {
		key  string // git sorts directories as if their names ended in a slash
		item *item
	}
	lines := make([]line, 0, len(items)+1)
	lines = append(lines, line{key: sidecarName})
	size := 40
	for i := range items {
		key := escape(items[i].name)
		if items[i].kind == state.Dir {
			key += "/"
		}
		lines = append(lines, line{key, &items[i]})
		size += len(key) + 28
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.key, b.key) })
	out := make([]byte, 0, size)
	for _, l := range lines {
		mode, hash := "100644", sidecar
		if l.item != nil {
			mode, hash = gitMode(l.item), l.item.hash
		}
		out = append(append(out, mode...), ' ')
		out = append(append(out, strings.TrimSuffix(l.key, "/")...), 0)
		out = append(out, hash[:]...)
	}
	return out
}

type treeEntry struct {
	mode string
	hash plumbing.Hash
}

func parseTree(b []byte) (map[string]treeEntry, error) {
	out := make(map[string]treeEntry, len(b)/40+1)
	for s := string(b); s != ""; {
		mode, rest, ok := strings.Cut(s, " ")
		name, rest, ok2 := strings.Cut(rest, "\x00")
		if !ok || !ok2 || len(rest) < 20 {
			return nil, errors.New("a directory is cut short")
		}
		if _, twice := out[name]; twice {
			return nil, errors.New("a directory has a name twice")
		}
		out[name] = treeEntry{mode, plumbing.Hash([]byte(rest[:20]))}
		s = rest[20:]
	}
	return out, nil
}

// errDir: a directory's objects are there and whole, but are none of ours.
var errDir = errors.New("it is not as ATLAS writes it")

// loader gives the directory whose tree is h.
type loader func(h plumbing.Hash) (*dir, error)

// loadDir gives a recorded directory, from memory if it is there.
func (r *Repo) loadDir(h plumbing.Hash) (*dir, error) {
	if d, ok := r.dirs.get(h); ok {
		return d, nil
	}
	d, err := readDir(r.store, h)
	if errors.Is(err, errDir) {
		err = &DamagedError{Where: "directory " + h.String(), What: "it cannot be read", Err: err}
	}
	if err == nil {
		r.dirs.put(h, d)
	}
	return d, err
}

// loadDir gives a directory that is recorded, or about to be.
func (b *batch) loadDir(h plumbing.Hash) (*dir, error) {
	if d, ok := b.dirs[h]; ok {
		return d, nil
	}
	if d, ok := b.r.dirs.get(h); ok {
		return d, nil
	}
	if !b.own(h) {
		return b.r.loadDir(h)
	}
	d, err := readDir(b, h)
	if err == nil {
		b.remember(h, d)
	}
	return d, err
}

// remember keeps a directory for the cache, where it gets when the batch is durable. A batch may hold a year of them; a few are enough.
func (b *batch) remember(h plumbing.Hash, d *dir) {
	if b.cost += d.cost(); b.cost < 8<<20 {
		b.dirs[h] = d
	}
}

// readDir reads a directory. Tree and sidecar have to agree in every entry; errDir if they do not.
func readDir(src source, h plumbing.Hash) (*dir, error) {
	typ, tree, err := src.get(h)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.TreeObject {
		return nil, fmt.Errorf("%w: it is a %s", errDir, typ)
	}
	entries, err := parseTree(tree)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDir, err)
	}
	side, ok := entries[sidecarName]
	if !ok {
		return nil, fmt.Errorf("%w: it has no %s", errDir, sidecarName)
	}
	typ, text, err := src.get(side.hash)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.BlobObject {
		return nil, fmt.Errorf("%w: its %s is a %s", errDir, sidecarName, typ)
	}
	d := &dir{sidecar: side.hash}
	if d.items, err = parseSidecar(text); err != nil {
		return nil, fmt.Errorf("%w: its %s: %w", errDir, sidecarName, err)
	}
	if err := d.join(entries, tree); err != nil {
		return nil, fmt.Errorf("%w: %w", errDir, err)
	}
	return d, nil
}

func (d *dir) join(entries map[string]treeEntry, tree []byte) error {
	for i := range d.items {
		it := &d.items[i]
		e, ok := entries[escape(it.name)]
		if !ok || e.mode != gitMode(it) {
			return fmt.Errorf("%q is not there as its %s has it", it.name, sidecarName)
		}
		it.hash = e.hash
		if it.kind == state.Link && plumbing.ComputeHash(plumbing.BlobObject, []byte(it.target)) != it.hash {
			return fmt.Errorf("the link %q leads elsewhere than its %s has it", it.name, sidecarName)
		}
	}
	if !bytes.Equal(formatTree(d.items, d.sidecar), tree) {
		return fmt.Errorf("it has entries that its %s has not, or not in order", sidecarName)
	}
	return nil
}

// dirCache keeps the directories used last, up to a bound in bytes.
type dirCache struct {
	mu    sync.Mutex
	limit int64
	used  int64
	list  *list.List // of *cached, the one used last in front
	byID  map[plumbing.Hash]*list.Element
}

type cached struct {
	h    plumbing.Hash
	d    *dir
	cost int64
}

func newDirCache(limit int64) *dirCache {
	return &dirCache{limit: limit, list: list.New(), byID: map[plumbing.Hash]*list.Element{}}
}

func (c *dirCache) get(h plumbing.Hash) (*dir, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[h]
	if !ok {
		return nil, false
	}
	c.list.MoveToFront(e)
	return e.Value.(*cached).d, true
}

func (c *dirCache) put(h plumbing.Hash, d *dir) {
	cost := d.cost()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byID[h]; ok || cost > c.limit {
		return
	}
	c.byID[h] = c.list.PushFront(&cached{h, d, cost})
	for c.used += cost; c.used > c.limit; {
		last := c.list.Remove(c.list.Back()).(*cached)
		c.used -= last.cost
		delete(c.byID, last.h)
	}
}

func (c *dirCache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// commitCache keeps commits read; when it is full it begins anew, since those who read many read them in a row.
type commitCache struct {
	mu   sync.Mutex
	byID map[plumbing.Hash]*commitRec
}

const commitsKept = 8192

func newCommitCache() *commitCache { return &commitCache{byID: map[plumbing.Hash]*commitRec{}} }

// commit reads the commit h.
func (r *Repo) commit(h plumbing.Hash) (*commitRec, error) {
	c := r.commits
	c.mu.Lock()
	rec, ok := c.byID[h]
	c.mu.Unlock()
	if ok {
		return rec, nil
	}
	typ, b, err := r.store.get(h)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.CommitObject {
		return nil, fmt.Errorf("%s is no commit: %w", h, ErrNotFound)
	}
	got, err := parseCommit(b)
	if err != nil {
		return nil, &DamagedError{Where: "commit " + h.String(), What: "it cannot be read", Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byID) >= commitsKept {
		clear(c.byID)
	}
	c.byID[h] = &got
	return &got, nil
}
