package history

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/sync/state"
)

// clock ticks a minute with each look.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { c.t = c.t.Add(time.Minute); return c.t }

func newClock() *clock { return &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

func mustOpen(t testing.TB, dir string, o Options) *Repo {
	t.Helper()
	if o.Server == "" {
		o.Server = "web1"
	}
	if o.Now == nil {
		o.Now = newClock().now
	}
	if o.journal == 0 {
		o.journal = 1 << 16
	}
	r, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func mustRecord(t testing.TB, r *Repo, b state.Branch, m Meta, edits ...Edit) state.Commit {
	t.Helper()
	c, changed, err := r.Record(b, edits, m)
	if err != nil || !changed {
		t.Fatalf("Record = %v, %v; want a commit", changed, err)
	}
	return c
}

func file(p, content string) Edit {
	return Edit{Path: state.Path(p), Content: []byte(content), Entry: &state.Entry{Kind: state.File, Mode: 0o644, Owner: "root", Group: "root"}}
}

func folder(p string) Edit {
	return Edit{Path: state.Path(p), Entry: &state.Entry{Kind: state.Dir, Mode: 0o755, Owner: "root", Group: "root"}}
}

func link(p, to string) Edit {
	return Edit{Path: state.Path(p), Entry: &state.Entry{Kind: state.Link, Mode: 0o777, Owner: "root", Group: "root", Target: to}}
}

func gone(p string) Edit { return Edit{Path: state.Path(p)} }

// model is what a history has to be equal to: all states, each a plain map.
type model struct {
	rng    *rand.Rand
	now    map[state.Path]state.Entry
	blobs  map[state.Hash]string
	states []map[state.Path]state.Entry
	ids    []string
}

func newModel(seed uint64) *model {
	return &model{rng: rand.New(rand.NewPCG(seed, 7)), now: map[state.Path]state.Entry{}, blobs: map[state.Hash]string{}}
}

func oddNames() []string {
	return []string{
		"hosts", "a", "a-b", "a.b", "a0", "b", ".git", ".GIT", ".gitignore", ".gitmodules", "git~1", ".atlas", ".atlas=x", ".ATLAS", "we ird",
		"new\nline", "\xff\xfe", "ü", "quo\"te", "back\\git", "%41", ".g\u200cit", "->", "tab\t", strings.Repeat("n", 255), "gi7eba~1", "x'y", "-r", "CON",
	}
}

func (m *model) name() string {
	if odd := oddNames(); m.rng.IntN(3) > 0 {
		return odd[m.rng.IntN(len(odd))]
	}
	return fmt.Sprintf("n%d", m.rng.IntN(40))
}

func (m *model) attrs(k state.Kind) state.Entry {
	pick := func(s ...string) string { return s[m.rng.IntN(len(s))] }
	e := state.Entry{Kind: k, Mode: uint32(m.rng.IntN(0o10000)), Owner: pick("root", "anna", "#1234", `DOM\web admin`, "ü"), Group: pick("root", "adm", "a b")}
	if m.rng.IntN(4) == 0 {
		e.Xattrs = map[string]string{"user.a": pick("", "x y", "\x00\x01", "->"), "system.posix_acl_access": "user::rw-,user:anna:r--"}
	}
	if k == state.Link {
		e.Mode, e.Target = 0o777, pick("/x", "../a b", "\xff", "->", "a -> b")
	}
	if k == state.File && m.rng.IntN(8) == 0 {
		e.Hard = state.Path(pick("etc/x", "a b/c"))
	}
	return e
}

func (m *model) content() string {
	switch m.rng.IntN(12) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("long\n", m.rng.IntN(2000))
	default:
		var b strings.Builder
		for range m.rng.IntN(20) {
			fmt.Fprintf(&b, "line %d\n", m.rng.IntN(50))
		}
		return b.String()
	}
}

// step makes a few edits, here and in the model.
func (m *model) step() []Edit {
	var edits []Edit
	next := maps.Clone(m.now)
	touched := map[state.Path]bool{}
	for range 1 + m.rng.IntN(4) {
		all := slices.Sorted(maps.Keys(next))
		var dirs []state.Path
		for _, p := range all {
			if next[p].Kind == state.Dir {
				dirs = append(dirs, p)
			}
		}
		var p state.Path
		switch {
		case len(all) > 0 && m.rng.IntN(2) == 0:
			p = all[m.rng.IntN(len(all))]
		case len(dirs) > 0 && m.rng.IntN(5) > 0:
			p = below(dirs[m.rng.IntN(len(dirs))], m.name())
		default:
			p = state.Path(m.name())
		}
		related := len(p) > 3000
		for q := range touched {
			related = related || q.Under(p) || p.Under(q)
		}
		if related {
			continue
		}
		touched[p] = true
		old, there := next[p]
		drop := func() {
			for _, q := range all {
				if q != p && q.Under(p) {
					delete(next, q)
				}
			}
		}
		switch n := m.rng.IntN(10); {
		case n < 2 && there:
			drop()
			delete(next, p)
			edits = append(edits, Edit{Path: p})
		case n < 4:
			e := m.attrs(state.Dir)
			if there && old.Kind != state.Dir {
				drop()
			}
			next[p] = e
			edits = append(edits, Edit{Path: p, Entry: &e})
		case n < 5:
			e := m.attrs(state.Link)
			drop()
			next[p] = e
			edits = append(edits, Edit{Path: p, Entry: &e})
		case n < 6 && there && old.Kind == state.File: // attributes only
			e := m.attrs(state.File)
			e.Data, e.Size = old.Data, old.Size
			next[p] = e
			edits = append(edits, Edit{Path: p, Entry: &e})
		default:
			e, c := m.attrs(state.File), m.content()
			in := e
			ed := Edit{Path: p, Entry: &in, Content: []byte(c)}
			if m.rng.IntN(2) == 0 {
				ed.Content, ed.Open = nil, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c)), nil }
			}
			e.Size, e.Data = int64(len(c)), state.Hash(plumbing.ComputeHash(plumbing.BlobObject, []byte(c)).String())
			m.blobs[e.Data] = c
			drop()
			next[p] = e
			edits = append(edits, ed)
		}
	}
	m.rng.Shuffle(len(edits), func(i, j int) { edits[i], edits[j] = edits[j], edits[i] })
	m.now = next
	return edits
}

func (m *model) note(c state.Commit, changed, amend bool) {
	if !changed {
		return
	}
	if amend && len(m.ids) > 0 {
		m.ids, m.states = m.ids[:len(m.ids)-1], m.states[:len(m.states)-1]
	}
	m.ids, m.states = append(m.ids, c.ID), append(m.states, m.now)
}

func stateOf(t testing.TB, r *Repo, id string) map[state.Path]state.Entry {
	t.Helper()
	got := map[state.Path]state.Entry{}
	if err := r.Walk(id, "", func(p state.Path, e state.Entry) error { got[p] = e; return nil }); err != nil {
		t.Fatalf("Walk(%s): %v", id, err)
	}
	return got
}

// check compares the whole history with the model.
func (m *model) check(t testing.TB, r *Repo, b state.Branch) {
	t.Helper()
	log, err := r.Log(b, LogOptions{})
	if err != nil {
		t.Fatalf("Log: %v", err)
	}
	var ids []string
	for i, c := range slices.Backward(log) {
		ids = append(ids, c.ID)
		if want := uint64(len(log) - i); c.Seq != want {
			t.Errorf("commit %s has number %d; want %d", c.ID, c.Seq, want)
		}
	}
	if d := cmp.Diff(m.ids, ids); d != "" {
		t.Fatalf("commits (-want +got):\n%s", d)
	}
	for i, id := range ids {
		got := stateOf(t, r, id)
		exactly := func(a, b state.Entry) bool { return a.Equal(b) && a.Size == b.Size }
		if !maps.EqualFunc(m.states[i], got, exactly) { // cmp is slow
			t.Fatalf("state %d (-want +got):\n%s", i, cmp.Diff(m.states[i], got))
		}
	}
	for h, want := range m.blobs {
		rc, err := r.Content(h)
		if err != nil {
			continue // of a commit that was amended
		}
		got, err := io.ReadAll(rc)
		rc.Close()
		if err != nil || string(got) != want {
			t.Fatalf("Content(%s) = %d bytes, %v; want %d", h, len(got), err, len(want))
		}
	}
	for _, e := range m.now {
		if e.Kind == state.File {
			if _, err := r.Content(e.Data); err != nil {
				t.Errorf("content of the newest state: %v", err)
			}
		}
	}
	m.checkDiffs(t, r, ids)
	if err := r.Verify(context.Background()); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

func (m *model) checkDiffs(t testing.TB, r *Repo, ids []string) {
	t.Helper()
	for range min(20, len(ids)) {
		i, j := m.rng.IntN(len(ids)), m.rng.IntN(len(ids))
		got, err := r.Diff(ids[i], ids[j])
		if err != nil {
			t.Fatalf("Diff: %v", err)
		}
		var want []state.Change
		a, b := m.states[i], m.states[j]
		for p, x := range a {
			if y, ok := b[p]; !ok {
				want = append(want, state.Change{Path: p, Before: &x})
			} else if !x.Equal(y) {
				want = append(want, state.Change{Path: p, Before: &x, After: &y})
			}
		}
		for p, y := range b {
			if _, ok := a[p]; !ok {
				want = append(want, state.Change{Path: p, After: &y})
			}
		}
		state.SortChanges(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("Diff(%d, %d) (-want +got):\n%s", i, j, d)
		}
	}
}

// git runs C git on the repository; the test goes on without where there is none.
func git(t testing.TB, r *Repo, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	cmd := exec.Command(bin, append([]string{"--git-dir", r.git()}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestRandomEditsAgainstModel(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "h")
			c := newClock()
			opt := Options{Now: c.now}
			r := mustOpen(t, dir, opt)
			m := newModel(seed)
			for i := range 200 {
				amend := m.rng.IntN(5) == 0
				before := len(m.ids)
				edits := m.step()
				got, changed, err := r.Record(state.Site, edits, Meta{Amend: amend, Who: state.Who{Program: "vi", User: "root"}})
				if err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				m.note(got, changed, amend)
				if changed && !amend && len(m.ids) != before+1 {
					t.Fatal("the model lost count")
				}
				if i%60 == 59 {
					if err := r.Close(); err != nil {
						t.Fatal(err)
					}
					r = mustOpen(t, dir, opt)
				}
				if i%80 == 70 {
					if err := r.Pack(context.Background()); err != nil {
						t.Fatalf("Pack: %v", err)
					}
				}
			}
			m.check(t, r, state.Site)
			if err := r.Pack(context.Background()); err != nil {
				t.Fatalf("Pack: %v", err)
			}
			if st, err := r.Stats(); err != nil || st.Packs != 1 || st.Commits != len(m.ids) {
				t.Errorf("Stats after Pack = %+v, %v; want 1 pack, %d commits", st, err, len(m.ids))
			}
			m.check(t, r, state.Site)
			if out := git(t, r, "fsck", "--full", "--strict"); strings.TrimSpace(out) != "" {
				t.Errorf("git fsck says:\n%.2000s", out)
			}
			if n := strings.Count(git(t, r, "log", "--format=%H", "site"), "\n"); n != len(m.ids) {
				t.Errorf("git log lists %d commits; want %d", n, len(m.ids))
			}
		})
	}
}

func readAll(t testing.TB, r *Repo, h state.Hash) []byte {
	t.Helper()
	rc, err := r.Content(h)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLargeFile(t *testing.T) {
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{MaxFile: 50 << 20})
	big := bytes.Repeat([]byte("0123456789abcde\n"), 3<<16) // 3 MiB
	mustRecord(t, r, state.Site, Meta{}, folder("srv"), file("srv/big", string(big)), file("srv/empty", ""))
	_ = r.Close()
	r = mustOpen(t, dir, Options{MaxFile: 50 << 20})
	head, _ := r.Head(state.Site)
	e, ok, err := r.Lookup(head.ID, "srv/big")
	if err != nil || !ok || e.Size != int64(len(big)) {
		t.Fatalf("Lookup = %+v, %v, %v; want a file of %d bytes", e, ok, err, len(big))
	}
	if !bytes.Equal(readAll(t, r, e.Data), big) {
		t.Error("the large file is not what was recorded")
	}
	if err := r.Pack(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readAll(t, r, e.Data), big) {
		t.Error("the large file is not what was recorded, after Pack")
	}
	git(t, r, "fsck", "--full", "--strict")
	if left, _ := filepath.Glob(filepath.Join(r.git(), "objects/pack/tmp_*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}
