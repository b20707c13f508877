package history

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // git's
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

const lots = 1 << 30

func export(t testing.TB, r *Repo, have []string, want string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Export(&b, have, want); err != nil {
		t.Fatalf("Export: %v", err)
	}
	return b.Bytes()
}

// TestCarryFollows has one history follow another, one commit or several at a time, with packing and reopening in between.
func TestCarryFollows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "to")
	from, to := mustOpen(t, t.TempDir(), Options{}), mustOpen(t, dir, Options{Server: "web2"})
	m := newModel(21)
	var have []string
	for i := range 120 {
		c, changed, err := from.Record(state.Site, m.step(), Meta{Who: state.Who{Program: "vi"}})
		if err != nil {
			t.Fatal(err)
		}
		m.note(c, changed, false)
		if m.rng.IntN(3) > 0 || !changed {
			continue
		}
		if i%5 == 0 {
			have = nil // a peer that says nothing gets all, and that is right too
		}
		got, err := to.Import(iotest.OneByteReader(bytes.NewReader(export(t, from, have, c.ID))), lots, state.Site, c.ID, ImportOptions{})
		if err != nil || got.ID != c.ID {
			t.Fatalf("step %d: Import = %v, %v", i, got, err)
		}
		have = []string{c.ID, strings.Repeat("0", 40), "x"}
		switch m.rng.IntN(6) {
		case 0:
			_ = to.Close()
			to = mustOpen(t, dir, Options{Server: "web2"})
		case 1:
			if err := errors.Join(to.Pack(context.Background()), from.Pack(context.Background())); err != nil {
				t.Fatal(err)
			}
		}
	}
	top := head(t, from)
	if _, err := to.Import(bytes.NewReader(export(t, from, have, top)), lots, state.Site, top, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	m.check(t, to, state.Site)
	if _, err := to.Import(bytes.NewReader(export(t, from, []string{top}, top)), lots, state.Site, top, ImportOptions{}); err != nil {
		t.Errorf("Import of what is there = %v; want no error", err)
	}
	if err := to.Settle(); err != nil {
		t.Fatal(err)
	}
	git(t, to, "fsck", "--full", "--strict")
}

func TestCarryIsReadByGit(t *testing.T) {
	r, c := threeStates(t)
	pack := export(t, r, nil, c[3].ID)
	other := mustOpen(t, t.TempDir(), Options{})
	// git index-pack --strict refuses packs that are not well-formed or whose objects miss others.
	f := filepath.Join(t.TempDir(), "x.pack")
	if err := replaceFile(f, pack); err != nil {
		t.Fatal(err)
	}
	git(t, other, "index-pack", "--strict", "--fsck-objects", f)
}

func TestImportRefuses(t *testing.T) {
	from, c := threeStates(t)
	all := export(t, from, nil, c[3].ID)
	step := export(t, from, []string{c[1].ID}, c[2].ID)
	to := mustOpen(t, t.TempDir(), Options{Server: "web2"})
	if _, err := to.Import(bytes.NewReader(export(t, from, nil, c[1].ID)), lots, state.Site, c[1].ID, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	foreign := mustOpen(t, t.TempDir(), Options{Server: "web3"})
	mustRecord(t, foreign, state.Site, Meta{}, folder("srv"))
	other := mustRecord(t, foreign, state.Site, Meta{}, folder("srv/x"))
	diverged, replayed := &DivergedError{}, &ReplayedError{}
	cutErr := errors.New("link cut")
	for name, q := range map[string]struct {
		src   io.Reader
		limit int64
		head  string
		is    error
		as    any
	}{
		"empty":            {src: strings.NewReader(""), head: c[2].ID, is: ErrMalformed},
		"no pack":          {src: strings.NewReader(strings.Repeat("no pack", 9)), head: c[2].ID, is: ErrMalformed},
		"bad name":         {src: bytes.NewReader(step), head: "HEAD", is: ErrMalformed},
		"head not in it":   {src: bytes.NewReader(step), head: other.ID, is: ErrMalformed},
		"too large":        {src: bytes.NewReader(all), limit: 200, head: c[3].ID, is: ErrTooLarge},
		"more than a pack": {src: bytes.NewReader(append(bytes.Clone(step), 0)), head: c[2].ID, is: ErrMalformed},
		"link cut":         {src: io.MultiReader(bytes.NewReader(step[:len(step)/2]), iotest.ErrReader(cutErr)), head: c[2].ID, is: cutErr},
		"gap":              {src: bytes.NewReader(export(t, from, []string{c[2].ID}, c[3].ID)), head: c[3].ID, is: ErrMalformed},
		"diverged":         {src: bytes.NewReader(export(t, foreign, nil, other.ID)), head: other.ID, as: &diverged},
		"replayed":         {src: bytes.NewReader(export(t, from, nil, c[0].ID)), head: c[0].ID, as: &replayed},
		"replayed, bare":   {src: bytes.NewReader(export(t, from, []string{c[0].ID}, c[0].ID)), head: c[0].ID, as: &replayed},
	} {
		if q.limit == 0 {
			q.limit = lots
		}
		_, err := to.Import(q.src, q.limit, state.Site, q.head, ImportOptions{})
		if err == nil || q.is != nil && !errors.Is(err, q.is) || q.as != nil && !errors.As(err, q.as) {
			t.Errorf("%s: Import = %v", name, err)
		}
		checkUntouched(t, to, c[1].ID, name)
	}
	for cut := range step {
		if _, err := to.Import(bytes.NewReader(step[:cut]), lots, state.Site, c[2].ID, ImportOptions{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut at %d: Import = %v; want ErrMalformed", cut, err)
		}
		b := bytes.Clone(step)
		b[cut] ^= 0x21
		if _, err := to.Import(bytes.NewReader(b), lots, state.Site, c[2].ID, ImportOptions{}); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("byte %d flipped: Import = %v; want ErrMalformed", cut, err)
		}
		checkUntouched(t, to, c[1].ID, fmt.Sprint("cut or flipped at ", cut))
	}
	if _, err := to.Import(bytes.NewReader(export(t, foreign, nil, other.ID)), lots, state.Site, other.ID, ImportOptions{Replace: true}); err != nil {
		t.Errorf("Import with Replace = %v", err)
	}
	if head(t, to) != other.ID {
		t.Error("the received line did not take the place of the one here")
	}
	if err := to.Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

func checkUntouched(t *testing.T, r *Repo, want, name string) {
	t.Helper()
	if got := head(t, r); got != want {
		t.Fatalf("%s: the line is at %s now", name, got)
	}
	if left, _ := filepath.Glob(filepath.Join(r.git(), "objects/pack/tmp_*")); len(left) > 0 {
		t.Fatalf("%s: temporary files are left: %v", name, left)
	}
}

// forge makes packs that are well-formed and lie.
type forge struct {
	typ  []plumbing.ObjectType
	data [][]byte
}

func (f *forge) add(typ plumbing.ObjectType, b []byte) plumbing.Hash {
	f.typ, f.data = append(f.typ, typ), append(f.data, b)
	return plumbing.ComputeHash(typ, b)
}

func (f *forge) dir(items ...item) plumbing.Hash {
	return f.add(plumbing.TreeObject, formatTree(items, f.add(plumbing.BlobObject, formatSidecar(items))))
}

func (f *forge) pack() []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(f.data)))
	for i, d := range f.data {
		b = appendEntryHead(b, f.typ[i], int64(len(d)))
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		_, _ = w.Write(d)
		_ = w.Close()
		b = append(b, z.Bytes()...)
	}
	sum := sha1.Sum(b) //nolint:gosec
	return append(b, sum[:]...)
}

func TestImportRefusesForged(t *testing.T) {
	meta := func(name string, k state.Kind, h plumbing.Hash, size int64) item {
		return item{name: name, kind: k, mode: 0o755, owner: "root", group: "root", hash: h, size: size}
	}
	good := state.Commit{Seq: 1, At: newClock().now(), Server: "web1", Title: "x"}
	for name, make1 := range map[string]func(f *forge) (plumbing.Hash, state.Commit){
		"missing file": func(f *forge) (plumbing.Hash, state.Commit) {
			return f.dir(meta("f", state.File, plumbing.Hash{1}, 3)), good
		},
		"missing directory": func(f *forge) (plumbing.Hash, state.Commit) {
			return f.dir(meta("d", state.Dir, plumbing.Hash{1}, 0)), good
		},
		"missing sidecar": func(f *forge) (plumbing.Hash, state.Commit) {
			return f.add(plumbing.TreeObject, formatTree(nil, plumbing.Hash{2})), good
		},
		"missing root": func(f *forge) (plumbing.Hash, state.Commit) { return plumbing.Hash{3}, good },
		"wrong size": func(f *forge) (plumbing.Hash, state.Commit) {
			return f.dir(meta("f", state.File, f.add(plumbing.BlobObject, []byte("abc")), 4)), good
		},
		"bad name": func(f *forge) (plumbing.Hash, state.Commit) {
			return f.dir(meta("..", state.File, f.add(plumbing.BlobObject, []byte("abc")), 3)), good
		},
		"slash": func(f *forge) (plumbing.Hash, state.Commit) {
			return f.dir(meta("a/../../b", state.File, f.add(plumbing.BlobObject, []byte("abc")), 3)), good
		},
		"file as directory": func(f *forge) (plumbing.Hash, state.Commit) {
			return f.dir(meta("d", state.Dir, f.add(plumbing.BlobObject, []byte("abc")), 0)), good
		},
		"directory as file": func(f *forge) (plumbing.Hash, state.Commit) { return f.dir(meta("d", state.File, f.dir(), 10)), good },
		"link elsewhere": func(f *forge) (plumbing.Hash, state.Commit) {
			it := meta("l", state.Link, f.add(plumbing.BlobObject, []byte("abc")), 0)
			it.target = "/etc/shadow"
			return f.dir(it), good
		},
		"no sidecar": func(f *forge) (plumbing.Hash, state.Commit) { return f.add(plumbing.TreeObject, nil), good },
		"other sidecar": func(f *forge) (plumbing.Hash, state.Commit) {
			it := meta("f", state.File, f.add(plumbing.BlobObject, []byte("abc")), 3)
			return f.add(plumbing.TreeObject, formatTree([]item{it}, f.add(plumbing.BlobObject, formatSidecar(nil)))), good
		},
		"number": func(f *forge) (plumbing.Hash, state.Commit) { c := good; c.Seq = 2; return f.dir(), c },
		"orphan": func(f *forge) (plumbing.Hash, state.Commit) {
			c := good
			c.Parent = strings.Repeat("1", 40)
			return f.dir(), c
		},
		"title":   func(f *forge) (plumbing.Hash, state.Commit) { c := good; c.Title = "a\x1b[2J"; return f.dir(), c },
		"too big": func(f *forge) (plumbing.Hash, state.Commit) { return bomb(f, meta), good },
	} {
		r := mustOpen(t, t.TempDir(), Options{})
		var f forge
		tree, c := make1(&f)
		raw, err := formatCommit(&c, tree)
		if err != nil {
			t.Fatal(err)
		}
		id := f.add(plumbing.CommitObject, raw).String()
		if _, err := r.Import(bytes.NewReader(f.pack()), lots, state.Site, id, ImportOptions{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Import = %v; want ErrMalformed", name, err)
		}
		if st, err := r.Stats(); err != nil || st.Commits != 0 || st.Journal != 0 || st.Packs != 0 {
			t.Errorf("%s: something was kept: %+v, %v", name, st, err)
		}
	}
	// The forge itself is right: what does not lie is taken.
	r := mustOpen(t, t.TempDir(), Options{})
	var f forge
	raw, _ := formatCommit(&good, f.dir(meta("f", state.File, f.add(plumbing.BlobObject, []byte("abc")), 3)))
	id := f.add(plumbing.CommitObject, raw).String()
	if _, err := r.Import(bytes.NewReader(f.pack()), lots, state.Site, id, ImportOptions{}); err != nil {
		t.Errorf("Import of a forged one that does not lie = %v", err)
	}
}

// bomb is a few directories that hold each other so often that a walk would never end.
func bomb(f *forge, meta func(string, state.Kind, plumbing.Hash, int64) item) plumbing.Hash {
	h := f.dir()
	for range 30 {
		h = f.dir(meta("a", state.Dir, h, 0), meta("b", state.Dir, h, 0))
	}
	return h
}

func TestImportLargeFile(t *testing.T) {
	from, to := mustOpen(t, t.TempDir(), Options{}), mustOpen(t, t.TempDir(), Options{})
	big := strings.Repeat("0123456789abcde\n", 5<<16) // 5 MiB
	c := mustRecord(t, from, state.Site, Meta{}, file("big", big), file("small", "x"))
	pack := export(t, from, nil, c.ID)
	for cut := 100; cut < len(pack); cut += len(pack) / 7 {
		if _, err := to.Import(bytes.NewReader(pack[:cut]), lots, state.Site, c.ID, ImportOptions{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut at %d: %v; want ErrMalformed", cut, err)
		}
		checkUntouched(t, to, "", "cut")
	}
	if _, err := to.Import(bytes.NewReader(pack), 4<<20, state.Site, c.ID, ImportOptions{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Import = %v; want ErrTooLarge", err)
	}
	checkUntouched(t, to, "", "too large")
	if _, err := to.Import(bytes.NewReader(pack), lots, state.Site, c.ID, ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	e, _, err := to.Lookup(c.ID, "big")
	if err != nil || string(readAll(t, to, e.Data)) != big {
		t.Errorf("the large file is not what was sent: %v", err)
	}
}

func TestSetBranch(t *testing.T) {
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{})
	a := mustRecord(t, r, state.Site, Meta{}, folder("a"))
	b := mustRecord(t, r, state.Site, Meta{}, folder("b"))
	if err := errors.Join(r.SetBranch(state.Live, a.ID), r.SetBranch("image-1-4", b.ID), r.SetBranch("image-1-4", "")); err != nil {
		t.Fatal(err)
	}
	if err := r.SetBranch(state.Live, strings.Repeat("1", 40)); !errors.Is(err, ErrNotFound) {
		t.Errorf("SetBranch to nothing = %v; want ErrNotFound", err)
	}
	if err := r.SetBranch("../x", a.ID); err == nil {
		t.Error("SetBranch of a bad name worked")
	}
	for range 2 {
		if err := r.Settle(); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		r = mustOpen(t, dir, Options{})
		if c, _ := r.Head(state.Live); c.ID != a.ID {
			t.Errorf("Live is at %q; want %s", c.ID, a.ID)
		}
		if _, ok := r.Head("image-1-4"); ok {
			t.Error("a removed line is still there")
		}
	}
}

func FuzzImport(f *testing.F) {
	from := mustOpen(f, f.TempDir(), Options{})
	c := mustRecord(f, from, state.Site, Meta{}, folder("etc"), file("etc/a", "b"), link("etc/l", "x"))
	pack := export(f, from, nil, c.ID)
	f.Add(pack)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Open(dir, Options{settleAt: -1, journal: 1 << 12})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		if _, err := r.Import(bytes.NewReader(b), 1<<20, state.Site, c.ID, ImportOptions{}); err == nil {
			if err := r.Verify(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if err := r.SetBranch(state.Site, ""); err != nil {
			t.Fatal(err)
		}
	})
}
