package etcdir

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

func plant(t *testing.T, files map[string]string) Dir {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "1.0")
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return Dir{Path: dir, MaxFile: 100, Shared: func(p state.Path) bool { return !p.Under("etc/own") }}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func paths[V any](m map[state.Path]V) []state.Path { return slices.Sorted(maps.Keys(m)) }

func TestStockAndTree(t *testing.T) {
	d := plant(t, map[string]string{
		"passwd": "root:x:0:0::/:/bin/sh\nanna:x:4711:4711::/:/bin/sh\n", "group": "root:x:0:\nstaff:x:4712:\n", "shipped": "1", "edited": "1", "dir/own": "x", "own/secret": "x",
		"large": strings.Repeat("x", 101),
	})
	must(t, os.Link(filepath.Join(d.Path, "edited"), filepath.Join(d.Path, "second")))
	must(t, os.Symlink("edited", filepath.Join(d.Path, "link")))
	must(t, unix.Mkfifo(filepath.Join(d.Path, "fifo"), 0o600))
	must(t, os.Chown(filepath.Join(d.Path, "edited"), 4711, 4712))
	stock, odd, err := d.Stock(t.Context(), 12, "1.0")
	must(t, err)
	if d := cmp.Diff([]state.Path{"etc/fifo", "etc/large"}, paths(odd)); d != "" {
		t.Errorf("odd (-want +got):\n%s", d)
	}
	all := []state.Path{"etc", "etc/dir", "etc/dir/own", "etc/edited", "etc/group", "etc/link", "etc/passwd", "etc/second", "etc/shipped"}
	if d := cmp.Diff(all, paths(stock.Files)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]state.Path{"etc/group", "etc/passwd"}, paths(stock.Accounts)); d != "" || stock.Release != 12 || stock.Image != "1.0" {
		t.Errorf("%d %s, accounts (-want +got):\n%s", stock.Release, stock.Image, d)
	}
	if e := stock.Files["etc/edited"]; e.Owner != "anna" || e.Group != "staff" || e.Data != state.Blob([]byte("1")) || stock.Files["etc/second"].Hard != "etc/edited" {
		t.Errorf("%+v, %+v: owners are named by the folder's own accounts", e, stock.Files["etc/second"])
	}
	must(t, os.WriteFile(filepath.Join(d.Path, "edited"), []byte("2"), 0o644))
	before := convert.NewTree(nil)
	kept := convert.Keep(11, 12, before, convert.NewTree(map[state.Path]convert.File{"etc/shipped": {Entry: stock.Files["etc/shipped"], Data: []byte("1")}}))
	tree, _, err := d.Tree(t.Context(), stock, &kept)
	must(t, err)
	if d := cmp.Diff(all, tree.All()); d != "" {
		t.Errorf("tree (-want +got):\n%s", d)
	}
	for p, want := range map[state.Path]string{"etc/edited": "2", "etc/second": "2", "etc/dir/own": "", "etc/shipped": "1"} { // a conversion made the last
		if got := string(tree.Text(p)); got != want {
			t.Errorf("%s = %q; want %q", p, got, want)
		}
	}
}

func TestRelease(t *testing.T) {
	for text, want := range map[string]int{"12.11\n": 12, "13": 13, "forky/sid\n": 0, "": 0, "-3": 0} {
		d := plant(t, map[string]string{"debian_version": text})
		if got, err := Release(d.Path); got != want || err != nil {
			t.Errorf("Release of %q = %d, %v; want %d", text, got, err, want)
		}
	}
	if got, err := Release(t.TempDir()); got != 0 || err != nil {
		t.Errorf("Release of nothing = %d, %v", got, err)
	}
}

func TestReadKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kept")
	if k, err := ReadKept(path); k != nil || err != nil {
		t.Errorf("where none is: %v, %v", k, err)
	}
	text, err := convert.Keep(12, 13, convert.NewTree(nil), convert.NewTree(nil)).Encode()
	must(t, err)
	must(t, os.WriteFile(path, text, 0o600))
	if k, err := ReadKept(path); k == nil || !k.Fits(13, 12) || k.Fits(12, 13) || err != nil {
		t.Errorf("ReadKept = %+v, %v", k, err)
	}
	must(t, os.Truncate(path, convert.KeptLimit+1))
	if k, err := ReadKept(path); k != nil || err == nil {
		t.Errorf("too long: %v, %v", k, err)
	}
}
