package tree

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/etcdir"
	"sayasystems.com/atlas/sentry/initapi"
)

// TestConvert: a set of Debian 12 meets an image of 13, with what a running secondary makes of it, and goes back to 12 with every file as it was.
func TestConvert(t *testing.T) { thereAndBack(t, newFixture(t, "")) }

// TestConvertReal is the same with what the packages of both releases really ship.
func TestConvertReal(t *testing.T) {
	trees := os.Getenv("ATLAS_TREES")
	if trees == "" {
		t.Skip("ATLAS_TREES names no folder with unpacked root trees of Debian, tree12 and tree13")
	}
	thereAndBack(t, newFixture(t, trees))
}

func thereAndBack(t *testing.T, f *fixture) {
	c := conversion(t)
	if from, to := Crossing(f.set, f.thirteen, "2"); from != 12 || to != 13 {
		t.Fatalf("Crossing = %d, %d; want 12, 13", from, to)
	}
	before := scan(t, f.etc("1"))
	r := f.prepare(t, f.thirteen, "2", c)
	if d := r.Converted; d == nil || d.Not != "" || d.From != 12 || d.To != 13 || d.Files < 10 || d.Back || d.Took <= 0 || len(d.Findings) < 10 {
		t.Fatalf("converted: %+v", d)
	}
	t.Logf("%d files converted in %v, %d findings", r.Converted.Files, r.Converted.Took, len(r.Converted.Findings))
	if d := cmp.Diff(before, scan(t, f.etc("1"))); d != "" {
		t.Errorf("the old generation was changed (-want +got):\n%s", d)
	}
	f.sameAsRehearsed(t, c)
	for path, want := range map[string]string{
		"machine-id": "0123456789abcdef0123456789abcdef", "network/interfaces": "auto eth7", "mine/notes": "mine",
		"debian_version": read(t, filepath.Join(f.thirteen, "etc/debian_version")),
	} {
		if got := read(t, filepath.Join(f.etc("2"), path)); got != want {
			t.Errorf("%s = %q; want %q", path, got, want)
		}
	}
	if passwd := read(t, f.etc("2/passwd")); !strings.Contains(passwd, "anna:x:1000") {
		t.Errorf("accounts: %s", passwd)
	}
	after := scan(t, f.etc("2"))
	for _, p := range []string{"mine", "mine/notes", "mine/second", "mine/link", "mine/fifo", "mine/\xff odd name"} {
		if after[p] != before[p] {
			t.Errorf("%s: %+v; want %+v", p, after[p], before[p])
		}
	}
	if d := cmp.Diff(scan(t, filepath.Join(f.thirteen, "etc")), scan(t, f.etc("2.image"))); d != "" {
		t.Errorf("the image's own (-want +got):\n%s", d)
	}
	r = f.prepare(t, f.twelve, "3", c)
	if d := r.Converted; d == nil || d.Not != "" || !d.Back || len(d.Findings) > 0 {
		t.Errorf("back: %+v", d)
	}
	if d := cmp.Diff(before, scan(t, f.etc("3"))); d != "" {
		t.Errorf("there and back (-want +got):\n%s", d)
	}
}

// sameAsRehearsed compares with what Meet gives in memory.
func (f *fixture) sameAsRehearsed(t *testing.T, c Conversion) {
	t.Helper()
	dir := func(path string) etcdir.Dir { return etcdir.Dir{Path: path, Shared: c.Shared} }
	theirs, _, err := dir(filepath.Join(f.twelve, "etc")).Stock(t.Context(), 12, "")
	must(t, err)
	ours, _, err := dir(filepath.Join(f.thirteen, "etc")).Stock(t.Context(), 13, "")
	must(t, err)
	was, _, err := dir(f.etc("1")).Tree(t.Context(), theirs, nil)
	must(t, err)
	want, err := convert.Meet(c.Steps, theirs, ours, was, nil)
	must(t, err)
	got, _, err := dir(f.etc("2")).Tree(t.Context(), convert.Stock{}, nil)
	must(t, err)
	for _, p := range slices.Concat(want.Tree.All(), got.All()) {
		w, inWant := want.Tree.Get(p)
		g, inGot := got.Get(p)
		w.Entry.Data, w.Entry.Hard, g.Entry.Hard = g.Entry.Data, "", ""
		if inWant != inGot || !w.Entry.Equal(g.Entry) || !w.Stock && string(w.Data) != string(g.Data) {
			t.Errorf("%s: (%t, %t) (-rehearsed +made):\n%s", p, inWant, inGot, cmp.Diff(w, g))
		}
	}
}

// TestConvertChangedBetween: what was changed on the other release is in the text that comes back, also when another image of that release
// came in between.
func TestConvertChangedBetween(t *testing.T) {
	f, c := newFixture(t, ""), conversion(t)
	before := scan(t, f.etc("1"))
	f.prepare(t, f.thirteen, "2", c)
	r := f.prepare(t, f.thirteen, "2b", c)
	if r.Converted != nil {
		t.Errorf("between images of one release: %+v", r.Converted)
	}
	sshd := read(t, f.etc("2b/ssh/sshd_config"))
	must(t, os.WriteFile(f.etc("2b/ssh/sshd_config"), []byte("# first line of 13\n"+sshd+"\n"), 0o644))
	must(t, os.WriteFile(f.etc("2b/mine/new"), []byte("made on 13\n"), 0o644))
	must(t, os.Remove(f.etc("2b/mine/link")))
	r = f.prepare(t, f.twelve, "3", c)
	if !r.Converted.Back {
		t.Errorf("back: %+v", r.Converted)
	}
	if got, want := read(t, f.etc("3/ssh/sshd_config")), "# first line of 13\n"+strings.TrimSpace(f.edited["ssh/sshd_config"]); got != want {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
	}
	after := scan(t, f.etc("3"))
	if read(t, f.etc("3/mine/new")) != "made on 13" {
		t.Error("what was made on 13 is lost")
	}
	if _, ok := after["mine/link"]; ok {
		t.Error("what was removed on 13 is there again")
	}
	for _, p := range []string{"mine/new", "mine/link", "ssh/sshd_config"} {
		delete(after, p)
		delete(before, p)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("all else (-want +got):\n%s", d)
	}
}

// TestConvertSameVersion: a product of one version is made on both releases.
func TestConvertSameVersion(t *testing.T) {
	f, c := newFixture(t, ""), conversion(t)
	before := scan(t, f.etc("1"))
	for n, way := range []struct{ image, generation string }{{f.thirteen, "1.debian13"}, {f.twelve, "1"}, {f.thirteen, "1.debian13"}} {
		for again := range 2 {
			from, to := Crossing(f.set, way.image, "1")
			r := f.prepare(t, way.image, "1", c)
			if crossed := again == 0; (r.Converted != nil) != crossed || (from != to) != crossed || crossed && (r.Converted.Not != "" || r.Converted.Back != (n > 0)) {
				t.Errorf("%d: %d to %d, converted: %+v", n, from, to, r.Converted)
			}
			if link, err := os.Readlink(f.etc(current)); err != nil || link != way.generation {
				t.Errorf("%d: current leads to %s, %v; want %s", n, link, err, way.generation)
			}
		}
		if n == 1 {
			if d := cmp.Diff(before, scan(t, f.etc("1"))); d != "" {
				t.Errorf("there and back (-want +got):\n%s", d)
			}
		}
	}
}

// TestConvertDamagedRecord: without a good record the way back is a plain conversion, and says so.
func TestConvertDamagedRecord(t *testing.T) {
	f, c := newFixture(t, ""), conversion(t)
	f.prepare(t, f.thirteen, "2", c)
	must(t, os.Truncate(f.etc("2"+layout.EtcKept), 1000))
	r := f.prepare(t, f.twelve, "3", c)
	if d := r.Converted; d.Damaged == "" || d.Back || d.Not != "" || d.Files == 0 {
		t.Errorf("converted: %+v", d)
	}
	told := r.Converted.Told("left")
	if len(told) == 0 || told[0].ID != "etc-kept" || told[0].Severity != "warning" {
		t.Errorf("told: %+v", told)
	}
	if got := read(t, f.etc("3/passwd")); !strings.Contains(got, "anna") {
		t.Errorf("accounts: %s", got)
	}
}

// TestConvertFails: a step that fails is told for its service, and all else is converted; where nothing can be converted, files are merged.
func TestConvertFails(t *testing.T) {
	f, c := newFixture(t, ""), conversion(t)
	broken := func(name string, err error) convert.Step {
		return convert.Step{ID: name, Service: name, Old: 12, Forward: func(*convert.Work) error {
			if err == nil {
				panic("index")
			}
			return err
		}}
	}
	c.Steps = append([]convert.Step{broken("nut", errors.New("line 3 is not understood")), broken("sogo", nil)}, c.Steps...)
	g := f.copy(t)
	r := g.prepare(t, g.thirteen, "2", c)
	if r.Converted.Not != "" || r.Converted.Files < 10 {
		t.Errorf("converted: %+v", r.Converted)
	}
	for _, want := range []string{"left nut", "left sogo"} {
		told := r.Converted.Told("left")
		if i := slices.IndexFunc(told, func(n initapi.Finding) bool { return n.Where == want }); i < 0 || told[i].Severity != "critical" || told[i].Next == "" {
			t.Errorf("nothing is told for %s: %+v", want, told)
		}
	}
	for name, change := range map[string]func(g *fixture, c *Conversion){
		"nothing is known": func(g *fixture, _ *Conversion) {
			g.thirteen = t.TempDir()
			must(t, copyTree(f.thirteen, g.thirteen))
			must(t, os.WriteFile(filepath.Join(g.thirteen, "etc/debian_version"), []byte("15.0\n"), 0o644))
		},
		"too long":           func(_ *fixture, c *Conversion) { c.Not = "it took longer than 2m0s" },
		"nothing was given":  func(_ *fixture, c *Conversion) { c.Steps = nil },
		"mistake in classes": func(_ *fixture, c *Conversion) { c.Shared = nil; c.Steps = nil },
	} {
		t.Run(name, func(t *testing.T) {
			g, c := f.copy(t), c
			change(g, &c)
			r := g.prepare(t, g.thirteen, "2", c)
			told := r.Converted.Told("left")
			if r.Converted.Not == "" || len(told) != 1 || told[0].ID != "etc-not-converted" || told[0].Severity != "critical" {
				t.Errorf("converted: %+v, told %+v", r.Converted, told)
			}
			if got := read(t, g.etc("2/ssh/sshd_config")); got != strings.TrimSpace(f.edited["ssh/sshd_config"]) {
				t.Errorf("sshd_config = %q", got)
			}
			if got := read(t, g.etc("2/stock.d/1/file")); got != "file 1 of 26" && name != "nothing is known" {
				t.Errorf("a file that nobody changed: %q", got)
			}
			if _, err := os.Stat(g.etc("2" + layout.EtcKept)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a record of what was not converted: %v", err)
			}
		})
	}
}

// TestConvertInTheWay: the image has a file where there is a folder with something that conversion does not look at.
func TestConvertInTheWay(t *testing.T) {
	f, c := newFixture(t, ""), conversion(t)
	for _, dir := range []string{filepath.Join(f.twelve, "etc/way"), f.etc("1.image/way"), f.etc("1/way")} {
		must(t, os.Mkdir(dir, 0o755))
	}
	must(t, os.WriteFile(f.etc("1/way/.open.swp"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(f.thirteen, "etc/way"), []byte("13\n"), 0o644))
	r := f.prepare(t, f.thirteen, "2", c)
	if _, err := os.Stat(f.etc("2/way/.open.swp")); err != nil {
		t.Errorf("a file of ours is lost: %v", err)
	}
	if i := slices.IndexFunc(r.Converted.Findings, func(f convert.Finding) bool { return f.Path == "etc/way" }); i < 0 || r.Converted.Not != "" {
		t.Errorf("nothing is told of it: %+v", r.Converted)
	}
}
