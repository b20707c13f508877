package apply

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the name that git gives to content
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Generation is a staged state. Apply or Discard it.
type Generation struct {
	Number  uint64
	Clashes []Clash   // changed here since; Apply overwrites them or refuses, see Options.Keep
	Aside   []Aside   // will be kept aside
	Skipped []Skipped // will not be made

	a    *Applier
	dir  *os.File
	name string
	plan *plan
}

// many is the number of files from which on the whole filesystem is made durable, not file by file.
const many = 32

// Stage writes all that is new beside the live tree; Apply makes it durable. Nothing live is changed. Errors: *NoSpaceError, *LockedError, *ParentError,
// *ContentError, *snapshot.UnknownNameError for an owner that this server does not have, and those of Content and the system.
func (a *Applier) Stage(ctx context.Context, changes []state.Change) (*Generation, error) {
	p, err := a.plan(changes)
	if err != nil {
		return nil, fmt.Errorf("prepare the new state: %w", err)
	}
	if err := a.space(p); err != nil {
		return nil, fmt.Errorf("prepare the new state: %w", err)
	}
	g, err := a.generation()
	if err != nil {
		return nil, fmt.Errorf("prepare the new state: %w", err)
	}
	g.plan, g.Clashes, g.Aside, g.Skipped = p, p.clashes, p.aside, p.skipped
	if err := g.stage(ctx); err != nil {
		return nil, fmt.Errorf("prepare the new state: %w", errors.Join(err, g.Discard()))
	}
	return g, nil
}

// Discard removes a staged generation that was not applied.
func (g *Generation) Discard() error {
	if g.dir == nil {
		return nil
	}
	g.dir.Close()
	g.dir = nil
	return os.RemoveAll(filepath.Join(g.a.o.Staging, g.name))
}

func (g *Generation) stage(ctx context.Context) error {
	names, err := g.names()
	if err != nil {
		return err
	}
	tree, err := snapshot.Open(filepath.Join(g.a.o.Staging, g.name), snapshot.Options{Names: names, NoSync: true})
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	for i := range g.plan.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := &g.plan.steps[i]
		if s.Do == remove {
			continue
		}
		if err := g.fill(tree, i); err != nil {
			if u, ok := errors.AsType[*snapshot.UnknownNameError](err); ok {
				u.Path = s.change.Path
				return u
			}
			return g.a.named(s.change.Path, err)
		}
		id, err := lstat(g.dir, strconv.Itoa(i))
		if err != nil {
			return err
		}
		s.New, s.Mtime, s.Size = id.Ino, id.Mtime, id.Size
	}
	return nil
}

// fill makes the slot of one step.
func (g *Generation) fill(tree *snapshot.Tree, i int) error {
	s, slot := &g.plan.steps[i], state.Path(strconv.Itoa(i))
	e := *s.change.After
	if err := g.a.cut("make", string(s.change.Path)); err != nil {
		return err
	}
	if e.Hard != "" {
		return g.link(s, string(slot))
	}
	var content io.Reader
	var sum *checked
	if e.Kind == state.File {
		rc, err := g.a.o.Content(e.Data)
		if err != nil {
			return fmt.Errorf("content: %w", err)
		}
		defer rc.Close()
		sum = newChecked(rc, e.Size)
		content = sum
	}
	n, err := tree.Make(slot, e, content)
	if err != nil {
		if sum != nil && (sum.n > e.Size || sum.end && sum.n < e.Size) {
			return &ContentError{s.change.Path, fmt.Sprintf("%d bytes were announced", e.Size)}
		}
		return err
	}
	if sum != nil && sum.hash() != e.Data {
		n.Discard()
		return &ContentError{s.change.Path, fmt.Sprintf("it has the checksum %s, announced was %s", sum.hash(), e.Data)}
	}
	if err := n.Replace(); err != nil || s.Do != dress {
		return err
	}
	// What the directory is like now is kept in the same way as what it shall be like: by a directory.
	old := string(slot) + ".old"
	if err := unix.Mkdirat(int(g.dir.Fd()), old, 0o700); err != nil {
		return err
	}
	keep, err := openDir(g.dir, old)
	if err != nil {
		return err
	}
	defer keep.Close()
	live, err := g.a.openPath(s.change.Path)
	if err != nil {
		return err
	}
	defer live.Close()
	return g.a.copyAttributes(live, keep)
}

// link makes the slot another name of the slot of the first name, or of that itself where it stays as it is.
func (g *Generation) link(s *planned, slot string) error {
	if i, ok := g.plan.at[s.change.After.Hard]; ok {
		return unix.Linkat(int(g.dir.Fd()), strconv.Itoa(i), int(g.dir.Fd()), slot, 0)
	}
	dir, base, err := g.a.parent(s.change.After.Hard)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Linkat(int(dir.Fd()), base, int(g.dir.Fd()), slot, 0)
}

// durable has everything staged on the disk, and what else is given; all of it together.
func (g *Generation) durable(more ...named) error {
	files := 0
	for i := range g.plan.steps {
		if s := &g.plan.steps[i]; s.Do != remove {
			files++
		}
	}
	if files >= many {
		if err := g.a.syncAll(); err != nil {
			return err
		}
		return g.a.flush(more)
	}
	list := more
	defer func() {
		for _, f := range list[len(more):] {
			f.Close()
		}
	}()
	for i := range g.plan.steps {
		s := &g.plan.steps[i]
		if s.Do == remove || s.change.After.Kind == state.Link {
			continue
		}
		slots := []string{strconv.Itoa(i)}
		if s.Do == dress {
			slots = append(slots, slots[0]+".old")
		}
		for _, slot := range slots {
			f, err := g.slot(slot)
			if err != nil {
				return g.a.named(s.change.Path, err)
			}
			list = append(list, named{f, "slot " + slot})
		}
	}
	return g.a.flush(list) // the slots' names become durable with the journal's
}

// slot opens a slot to be flushed.
func (g *Generation) slot(name string) (*os.File, error) {
	fd, err := unix.Openat(int(g.dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// names are the accounts that the new state will have: files may belong to accounts that come along with them.
func (g *Generation) names() (*snapshot.Names, error) {
	staged := false
	for _, p := range []state.Path{"etc/passwd", "etc/group"} {
		if e, ok := g.plan.want[p]; ok && e != nil && e.Kind == state.File {
			staged = true
		}
	}
	if !staged {
		return g.a.o.Names, nil
	}
	root := filepath.Join(g.a.o.Staging, g.name, "accounts")
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o700); err != nil {
		return nil, err
	}
	for _, p := range []state.Path{"etc/passwd", "etc/group"} {
		data, err := g.account(p)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(root, string(p)), data, 0o600); err != nil {
			return nil, err
		}
	}
	return snapshot.NewNames(root), nil
}

func (g *Generation) account(p state.Path) ([]byte, error) {
	if e, ok := g.plan.want[p]; ok && e != nil && e.Kind == state.File {
		rc, err := g.a.o.Content(e.Data)
		if err != nil {
			return nil, fmt.Errorf("content of %s: %w", p, err)
		}
		defer rc.Close()
		return io.ReadAll(io.LimitReader(rc, 64<<20))
	}
	pl, rel, err := g.a.place(p)
	if err != nil {
		return nil, nil //nolint:nilerr // this server keeps no accounts in step: then there are none but numbers
	}
	_, data, err := g.a.places[pl].tree.ReadBytes(state.Path(rel))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return bytes.Clone(data), err
}

// space looks whether all of it fits, before a byte is written.
func (a *Applier) space(p *plan) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(a.staging.Fd()), &fs); err != nil {
		return fmt.Errorf("free space in %s: %w", a.o.Staging, err)
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		return a.named(a.places[0].Prefix, unix.EROFS)
	}
	block := max(int64(fs.Bsize), 512)
	need, files := int64(0), int64(0)
	for _, s := range p.steps {
		need += int64(len(s.Path)) + 200 // its line in the journal
		if s.Do == remove || s.change.After.Hard != "" {
			continue
		}
		files++
		need += block
		if s.change.After.Kind == state.File {
			need += (s.change.After.Size + block - 1) / block * block
		}
	}
	if missing := need + a.o.Reserve - int64(fs.Bavail)*block; missing > 0 {
		return &NoSpaceError{Where: a.o.Staging, Missing: missing}
	}
	if missing := files + 16 - int64(fs.Ffree); missing > 0 && fs.Files > 0 { // filesystems without a fixed number tell 0
		return &NoSpaceError{Where: a.o.Staging, Missing: missing, Files: true}
	}
	return nil
}

// checked computes the hash of content as it passes.
type checked struct {
	r   io.Reader
	h   hash.Hash
	n   int64
	end bool
}

func newChecked(r io.Reader, size int64) *checked {
	h := sha1.New() //nolint:gosec // see above
	fmt.Fprintf(h, "blob %d\x00", size)
	return &checked{r: r, h: h}
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	c.n += int64(n)
	c.end = c.end || errors.Is(err, io.EOF)
	return n, err
}

func (c *checked) hash() state.Hash { return state.Hash(hex.EncodeToString(c.h.Sum(nil))) }
