package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Edit is what is now at a path.
type Edit struct {
	Path state.Path
	// Entry is nil if nothing is there now: what lay below it is gone too. Of a file, Data and Size need not be told with Content or Open, and
	// are computed. A directory that was one already keeps what lies below it.
	Entry *state.Entry
	// Content is a file's bytes; if it is nil Open gives them; if both are nil Entry.Data names content that is recorded already.
	Content []byte
	Open    func() (io.ReadCloser, error)
}

// Meta is what a commit says beside its changes.
type Meta struct {
	Who   state.Who
	Title string // "changed etc/hosts"; made from the changes if empty
	Note  string
	// Rollback is the commit that was gone back to, Image the version of the image that runs.
	Rollback string
	Image    string
	// Amend replaces the newest commit of the line, with its number: several writes of one action become one commit. This Meta replaces its.
	Amend bool
}

// Record makes a commit of the edits on top of branch. When it returns without an error the commit is durable. If the edits change nothing,
// nothing is written and changed is false. At most one edit counts for each path, the last one; their order does not matter otherwise.
func (r *Repo) Record(branch state.Branch, edits []Edit, m Meta) (c state.Commit, changed bool, err error) {
	if err := checkBranch(branch); err != nil {
		return c, false, fmt.Errorf("record a change: %w", err)
	}
	r.wmu.Lock()
	defer r.wmu.Unlock()
	b := r.newBatch()
	defer b.drop()
	if c, changed, err = r.record(b, branch, edits, m); err != nil {
		return c, false, fmt.Errorf("record a change: %w", err)
	}
	r.settleSoon()
	return c, changed, nil
}

func (r *Repo) record(b *batch, branch state.Branch, edits []Edit, m Meta) (c state.Commit, changed bool, err error) {
	if err := r.writable(); err != nil {
		return c, false, err
	}
	var head commitRec
	root := &draft{}
	if h, ok := r.head(branch); ok {
		rec, err := r.commit(h)
		if err != nil {
			return c, false, err
		}
		head = *rec
		root.tree = head.tree
	}
	if err := b.apply(root, edits); err != nil {
		return c, false, err
	}
	if !root.dirty || head.ID == "" && len(root.items) == 0 {
		return head.Commit, false, nil
	}
	tree, err := b.write(root)
	if err != nil || tree == head.tree {
		return head.Commit, false, err
	}
	now := r.opt.Now().UTC().Truncate(time.Second)
	c = state.Commit{
		Parent: head.ID, Seq: head.Seq + 1, At: now, Server: r.opt.Server, Who: plainWho(m.Who),
		Title: m.Title, Note: manyLines(m.Note), Rollback: m.Rollback, Image: strings.ToValidUTF8(m.Image, "?"),
	}
	if m.Amend && head.ID != "" {
		c.Parent, c.Seq = head.Parent, head.Seq
	}
	if c.Rollback != "" && !isID(c.Rollback) {
		return c, false, fmt.Errorf("the commit %.80q gone back to is not named in full", c.Rollback)
	}
	if c.Title == "" {
		if c.Title, err = r.title(b.loadDir, c.Parent, tree); err != nil {
			return c, false, err
		}
	}
	c.Title = oneLine(c.Title)
	c, err = b.commitTo(branch, c, tree)
	return c, err == nil, err
}

func (b *batch) commitTo(branch state.Branch, c state.Commit, tree plumbing.Hash) (state.Commit, error) {
	raw, err := formatCommit(&c, tree)
	if err != nil {
		return c, err
	}
	rec, err := parseCommit(raw)
	if err != nil {
		return c, fmt.Errorf("a commit that could not be read again: %w", err)
	}
	h, err := b.put(plumbing.CommitObject, raw)
	if err != nil {
		return c, err
	}
	return rec.Commit, b.commit(branch, h, rec.Commit)
}

func (r *Repo) writable() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return errors.New("the history is closed")
	}
	return nil
}

// draft is a directory that is being changed. Its items are read when it is first needed.
type draft struct {
	tree  plumbing.Hash // before; zero if it is new
	read  bool
	items []item
	kids  map[string]*draft
	dirty bool
}

func (b *batch) open(d *draft) error {
	if d.read {
		return nil
	}
	d.read = true
	if d.tree.IsZero() {
		d.dirty = true
		return nil
	}
	old, err := b.loadDir(d.tree)
	if err != nil {
		return err
	}
	d.items = slices.Clone(old.items)
	return nil
}

func (d *draft) find(name string) (int, bool) { return (&dir{items: d.items}).find(name) }

// apply brings edits into the draft of the root.
func (b *batch) apply(root *draft, edits []Edit) error {
	order := make([]int, len(edits))
	for i := range edits {
		if err := edits[i].Path.Check(); err != nil {
			return err
		}
		order[i] = i
	}
	// By path, so that a directory comes before what lies in it; of two for one path the later one is last.
	slices.SortStableFunc(order, func(i, j int) int { return strings.Compare(string(edits[i].Path), string(edits[j].Path)) })
	for k, i := range order {
		if k+1 < len(order) && edits[order[k+1]].Path == edits[i].Path {
			continue
		}
		if err := b.edit(root, &edits[i]); err != nil {
			return fmt.Errorf("%q: %w", string(edits[i].Path), err)
		}
	}
	return nil
}

func (b *batch) edit(root *draft, e *Edit) error {
	chain := []*draft{root}
	names := strings.Split(string(e.Path), "/")
	d := root
	for _, name := range names[:len(names)-1] {
		if err := b.open(d); err != nil {
			return err
		}
		i, ok := d.find(name)
		if !ok || d.items[i].kind != state.Dir {
			if e.Entry == nil {
				return nil // its directory is gone already
			}
			return ErrNoParent
		}
		d = d.kid(i)
		chain = append(chain, d)
	}
	if err := b.open(d); err != nil {
		return err
	}
	changed, err := b.set(d, names[len(names)-1], e)
	if err != nil || !changed {
		return err
	}
	for _, d := range chain {
		d.dirty = true
	}
	return nil
}

func (d *draft) kid(i int) *draft {
	name := d.items[i].name
	if k, ok := d.kids[name]; ok {
		return k
	}
	if d.kids == nil {
		d.kids = map[string]*draft{}
	}
	k := &draft{tree: d.items[i].hash}
	d.kids[name] = k
	return k
}

func (b *batch) set(d *draft, name string, e *Edit) (bool, error) {
	i, there := d.find(name)
	if e.Entry == nil {
		if there {
			d.items = slices.Delete(d.items, i, i+1)
			delete(d.kids, name)
		}
		return there, nil
	}
	it, err := toItem(name, e.Entry)
	if err != nil {
		return false, err
	}
	if there {
		it.name = d.items[i].name
	}
	switch it.kind {
	case state.Dir:
		if there && d.items[i].kind == state.Dir {
			it.hash = d.items[i].hash
		}
	case state.Link:
		it.hash, err = b.put(plumbing.BlobObject, []byte(it.target))
	default:
		it.hash, it.size, err = b.content(e)
	}
	if err != nil {
		return false, err
	}
	if there && same(&it, &d.items[i]) {
		return false, nil
	}
	if there && (it.kind != state.Dir || it.hash.IsZero()) {
		delete(d.kids, name)
	}
	if there {
		d.items[i] = it
	} else {
		d.items = slices.Insert(d.items, i, it)
	}
	if it.kind == state.Dir {
		d.kid(i)
	}
	return true, nil
}

func (b *batch) content(e *Edit) (plumbing.Hash, int64, error) {
	limit := b.r.opt.MaxFile
	switch {
	case e.Content != nil:
		return b.putFile(bytes.NewReader(e.Content), limit)
	case e.Open != nil:
		f, err := e.Open()
		if err != nil {
			return plumbing.ZeroHash, 0, err
		}
		defer f.Close()
		return b.putFile(f, limit)
	case !isID(string(e.Entry.Data)):
		return plumbing.ZeroHash, 0, errors.New("a file without content")
	}
	h := plumbing.NewHash(string(e.Entry.Data))
	if h == plumbing.ComputeHash(plumbing.BlobObject, nil) {
		return b.putFile(bytes.NewReader(nil), limit)
	}
	size, err := b.keep(plumbing.BlobObject, h)
	return h, size, err
}

// write makes git's objects of what is dirty, the lowest first.
func (b *batch) write(d *draft) (plumbing.Hash, error) {
	if !d.dirty && d.read || !d.read && !d.tree.IsZero() {
		return d.tree, nil
	}
	for name, k := range d.kids {
		i, ok := d.find(name)
		if !ok {
			continue
		}
		var err error
		if d.items[i].hash, err = b.write(k); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	out := &dir{items: d.items}
	var err error
	if out.sidecar, err = b.put(plumbing.BlobObject, formatSidecar(d.items)); err != nil {
		return plumbing.ZeroHash, err
	}
	h, err := b.put(plumbing.TreeObject, formatTree(d.items, out.sidecar))
	b.remember(h, out)
	return h, err
}
