package history

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/sync/state"
)

func TestCommitIsWhatWasTold(t *testing.T) {
	dir := t.TempDir()
	r := mustOpen(t, dir, Options{Server: "web1"})
	who := state.Who{Program: "vi <x>\n", PID: 7, User: "root", Login: "anna", From: "10.7.0.50"}
	first := mustRecord(t, r, state.Site, Meta{Who: who, Title: "  a\ntitle\x1b[2J ", Note: "note\n\nAtlas-Seq: 9\n", Image: "1.4.0"}, folder("etc"))
	want := state.Commit{
		ID: first.ID, Seq: 1, At: time.Date(2026, 11, 22, 12, 1, 0, 0, time.UTC), Server: "web1", Title: "a title [2J", Image: "1.4.0",
		Note: "note\n\nAtlas-Seq: 9", Who: state.Who{Program: "vi <x>", PID: 7, User: "root", Login: "anna", From: "10.7.0.50"},
	}
	if d := cmp.Diff(want, first); d != "" {
		t.Errorf("commit (-want +got):\n%s", d)
	}
	second := mustRecord(t, r, state.Site, Meta{Rollback: first.ID}, folder("srv"))
	if err := r.Settle(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	r = mustOpen(t, dir, Options{})
	for _, c := range []state.Commit{first, second} {
		if got, err := r.Commit(c.ID); err != nil || !cmp.Equal(c, got) {
			t.Errorf("Commit after reopening = %v, %v; want %v", got, err, c)
		}
	}
	out := git(t, r, "log", "--format=%an <%ae> %s", "-1", first.ID)
	if want := "vi--x- by anna <anna@web1> a title [2J\n"; out != want {
		t.Errorf("git log says %q; want %q", out, want)
	}
	if out := git(t, r, "show", second.ID); !strings.Contains(out, "Atlas-Rollback: "+first.ID) || !strings.Contains(out, "+d 0755 root root - srv\n") {
		t.Errorf("git show says\n%s", out)
	}
	if _, _, err := r.Record(state.Site, []Edit{folder("x")}, Meta{Rollback: "HEAD"}); err == nil {
		t.Error("a Rollback that is no commit was taken")
	}
}

func TestTitles(t *testing.T) {
	r := mustOpen(t, t.TempDir(), Options{})
	x := file("etc/hosts", "y")
	x.Entry.Mode = 0o600
	for i, step := range []struct {
		edits []Edit
		want  string
	}{
		{[]Edit{folder("etc")}, "added etc"},
		{[]Edit{file("etc/hosts", "x")}, "added etc/hosts"},
		{[]Edit{file("etc/hosts", "y")}, "changed etc/hosts"},
		{[]Edit{x}, "changed attributes of etc/hosts"},
		{[]Edit{folder("etc/a"), file("etc/a/1", ""), file("etc/a/2", ""), file("etc/a/3", "")}, "added 3 files below etc/a"},
		{[]Edit{gone("etc/a/1"), file("etc/new line\n", "")}, "changed 2 files below etc"},
		{[]Edit{gone("etc/new line\n")}, `removed "etc/new line\n"`},
		{[]Edit{folder("srv"), file("srv/x", ""), gone("etc/a")}, "changed 3 files"},
	} {
		c := mustRecord(t, r, state.Site, Meta{}, step.edits...)
		if c.Title != step.want {
			t.Errorf("step %d: title %q; want %q", i, c.Title, step.want)
		}
	}
}

func TestRecordRefuses(t *testing.T) {
	r := mustOpen(t, t.TempDir(), Options{MaxFile: 2 << 20})
	mustRecord(t, r, state.Site, Meta{}, folder("etc"), file("etc/f", "x"))
	before := head(t, r)
	fifo := folder("etc/fifo")
	fifo.Entry.Kind = 'p'
	nothing := file("etc/n", "")
	nothing.Content = nil
	broken := Edit{Path: "etc/b", Entry: file("", "").Entry, Open: nil}
	for name, step := range map[string]struct {
		edit Edit
		want error
	}{
		"no parent":        {file("srv/x", ""), ErrNoParent},
		"parent is a file": {file("etc/f/x", ""), ErrNoParent},
		"bad path":         {file("etc/../x", ""), nil},
		"fifo":             {fifo, nil},
		"no content":       {nothing, nil},
		"no content 2":     {broken, nil},
		"empty link":       {link("etc/l", ""), nil},
		"too large":        {file("etc/big", strings.Repeat("x", 2<<20+1)), ErrTooLarge},
		"too large 2":      {file("etc/big", strings.Repeat("x", 5<<20)), ErrTooLarge},
	} {
		_, changed, err := r.Record(state.Site, []Edit{file("etc/with", "it"), step.edit}, Meta{})
		if err == nil || changed || step.want != nil && !errors.Is(err, step.want) {
			t.Errorf("%s: Record = %v, %v; want an error", name, changed, err)
		}
		if head(t, r) != before {
			t.Fatalf("%s: something was recorded", name)
		}
	}
	if _, changed, err := r.Record(state.Site, []Edit{folder("etc"), file("etc/f", "x"), gone("srv"), gone("a/b")}, Meta{}); changed || err != nil {
		t.Errorf("Record of what is there already = %v, %v; want nothing written", changed, err)
	}
	if _, changed, err := r.Record(state.Live, []Edit{gone("srv")}, Meta{}); changed || err != nil {
		t.Errorf("Record of nothing on a new line = %v, %v; want nothing written", changed, err)
	}
}

func TestAmend(t *testing.T) {
	r := mustOpen(t, t.TempDir(), Options{})
	a := mustRecord(t, r, state.Site, Meta{}, folder("etc"))
	mustRecord(t, r, state.Site, Meta{}, file("etc/f", "1"))
	c := mustRecord(t, r, state.Site, Meta{Amend: true}, file("etc/g", "2"))
	if c.Parent != a.ID || c.Seq != 2 || c.Title != "added 2 files below etc" {
		t.Errorf("amended commit = %+v; want the second one, on top of %s, of both files", c, a.ID)
	}
}

func threeStates(t *testing.T) (*Repo, []state.Commit) {
	r := mustOpen(t, t.TempDir(), Options{})
	var out []state.Commit
	add := func(e ...Edit) { out = append(out, mustRecord(t, r, state.Site, Meta{}, e...)) }
	add(folder("etc"), file("etc/hosts", "one\ntwo\nthree\n"), file("etc/other", "x\n"))
	add(file("etc/other", "y\n"))
	add(file("etc/hosts", "one\n2\nthree\nfour"))
	add(gone("etc/other"))
	return r, out
}

func TestLogAtResolve(t *testing.T) {
	r, c := threeStates(t)
	ids := func(l []state.Commit) string {
		var s []string
		for _, x := range l {
			s = append(s, fmt.Sprint(x.Seq))
		}
		return strings.Join(s, " ")
	}
	for _, q := range []struct {
		o    LogOptions
		want string
	}{
		{LogOptions{}, "4 3 2 1"},
		{LogOptions{Limit: 2}, "4 3"},
		{LogOptions{Path: "etc/hosts"}, "3 1"},
		{LogOptions{Path: "etc/other"}, "4 2 1"},
		{LogOptions{Path: "etc"}, "4 3 2 1"},
		{LogOptions{Path: "none/at/all"}, ""},
		{LogOptions{Before: c[2].ID}, "2 1"},
		{LogOptions{Until: c[1].At}, "2 1"},
	} {
		l, err := r.Log(state.Site, q.o)
		if err != nil || ids(l) != q.want {
			t.Errorf("Log(%+v) = %s, %v; want %s", q.o, ids(l), err, q.want)
		}
	}
	for s, want := range map[string]uint64{
		"HEAD": 4, "HEAD~0": 4, "HEAD~3": 1, "HEAD~4": 0, "HEAD~x": 0, "HEAD3": 0, c[1].ID: 2, c[1].ID[:8]: 2, "2026-11-22": 4, "": 0, "abc": 0,
		c[1].At.Format("2006-01-02 15:04"): 2, c[2].At.Format(time.RFC3339): 3, "2026-11-22 12:00": 0, "2027-01-01 00:00:01": 4, "zzzz": 0, "00000000": 0,
	} {
		got, err := r.Resolve(state.Site, s)
		if got.Seq != want || (err == nil) != (want > 0) {
			t.Errorf("Resolve(%q) = number %d, %v; want %d", s, got.Seq, err, want)
		}
	}
	if got, err := r.At(state.Site, c[0].At.Add(-time.Second)); !errors.Is(err, ErrNotFound) {
		t.Errorf("At before the first = %v, %v; want ErrNotFound", got, err)
	}
}

func TestBlameAndPatch(t *testing.T) {
	r, c := threeStates(t)
	hide := func(_ state.Path, b []byte) []byte { return bytes.ReplaceAll(b, []byte("one"), []byte("***")) }
	lines, err := r.Blame(c[3].ID, "etc/hosts", hide)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprint(l.Commit.Seq, " ", l.Text))
	}
	if d := cmp.Diff([]string{"1 ***", "3 2", "1 three", "3 four"}, got); d != "" {
		t.Errorf("Blame (-want +got):\n%s", d)
	}
	for name, q := range map[string]struct {
		a, b string
		hide Hide
		want string
	}{
		"text": {c[1].ID, c[3].ID, hide, "etc/hosts: changed\n--- etc/hosts\n+++ etc/hosts\n@@ -1,3 +1,4 @@\n ***\n-two\n+2\n three\n+four\n" +
			"\\ No newline at end of file\n" +
			"etc/other: removed (file, mode 0644, owner root, group root)\n--- etc/other\n+++ /dev/null\n@@ -1 +0,0 @@\n-y\n"},
		"nobody hides":     {c[1].ID, c[2].ID, nil, "etc/hosts: changed\ncontent: 14 bytes → 16 bytes, not shown, since it may hold secrets\n"},
		"hides a line off": {c[1].ID, c[2].ID, func(state.Path, []byte) []byte { return []byte("x") }, "etc/hosts: changed\ncontent: 14 bytes → 16 bytes, not shown, since it may hold secrets\n"},
	} {
		out, err := r.Patch(q.a, q.b, "", q.hide)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(q.want, string(out)); d != "" {
			t.Errorf("%s: Patch (-want +got):\n%s", name, d)
		}
	}
}

func TestPatchTellsWhatItDoesNotShow(t *testing.T) {
	r := mustOpen(t, t.TempDir(), Options{})
	x := file("etc/b", "a\x00b")
	x.Entry.Xattrs = map[string]string{"user.x": "1"}
	a := mustRecord(t, r, state.Site, Meta{}, folder("etc"), x, file("etc/big", strings.Repeat("line\n", 1<<18)), link("etc/l", "a"))
	y := file("etc/b", "a\x00c")
	y.Entry.Mode, y.Entry.Owner = 0o600, "anna"
	b := mustRecord(t, r, state.Site, Meta{}, y, file("etc/big", ""), link("etc/l", "b c"))
	out, err := r.Patch(a.ID, b.ID, "etc", ShowAll)
	if err != nil {
		t.Fatal(err)
	}
	want := "etc/b: changed (mode 0644 → 0600, owner root → anna, user.x 1 → none)\ncontent: 3 bytes → 3 bytes, no text\n" +
		"etc/big: changed\ncontent: 1310720 bytes → 0 bytes, too large to be shown\n" +
		"etc/l: changed (target a → \"b c\")\n"
	if d := cmp.Diff(want, string(out)); d != "" {
		t.Errorf("Patch (-want +got):\n%s", d)
	}
}

// TestPatchApplies has patch(1) make the newer text out of the older one.
func TestPatchApplies(t *testing.T) {
	bin, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("patch is not installed")
	}
	r := mustOpen(t, t.TempDir(), Options{})
	mustRecord(t, r, state.Site, Meta{}, folder("etc"))
	m := newModel(5)
	for i := range 40 {
		var texts [2]string
		var ids [2]string
		for k := range texts {
			texts[k] = strings.Repeat("same\n", m.rng.IntN(9)) + m.content() + strings.Repeat("same\n", m.rng.IntN(9)) + m.content()
			if m.rng.IntN(3) == 0 {
				texts[k] += "no end"
			}
			mustRecord(t, r, state.Site, Meta{Amend: i > 0 || k > 0}, file("etc/f", texts[k]), file("etc/n", fmt.Sprint(i, k)))
			ids[k] = head(t, r)
		}
		if texts[0] == "" || texts[1] == "" {
			continue
		}
		p, err := r.Patch(ids[0], ids[1], "etc/f", ShowAll)
		if err != nil {
			t.Fatal(err)
		}
		f := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(f, []byte(texts[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bin, "--quiet", f)
		cmd.Stdin = bytes.NewReader(p)
		if out, err := cmd.CombinedOutput(); err != nil && texts[0] != texts[1] {
			t.Fatalf("patch: %v\n%s\n%s", err, out, p)
		}
		if got, _ := os.ReadFile(f); string(got) != texts[1] {
			t.Fatalf("patch made\n%q\nwant\n%q\nwith\n%s", got, texts[1], p)
		}
	}
}

func TestWalkSkipsAndStops(t *testing.T) {
	r := mustOpen(t, t.TempDir(), Options{})
	c := mustRecord(t, r, state.Site, Meta{}, folder("a"), folder("a/b"), file("a/b/c", ""), file("a/d", ""), file("e", ""))
	var got []string
	err := r.Walk(c.ID, "a", func(p state.Path, e state.Entry) error {
		got = append(got, string(p))
		if p == "a/b" {
			return fs.SkipDir
		}
		return nil
	})
	if want := []string{"a", "a/b", "a/d"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Walk saw %q, %v; want %q", got, err, want)
	}
	if err := r.Walk(c.ID, "a/d/x", nil); err != nil {
		t.Errorf("Walk below a file: %v", err)
	}
	stop := errors.New("stop")
	if err := r.Walk(c.ID, "", func(state.Path, state.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Walk = %v; want the error of the function", err)
	}
}
