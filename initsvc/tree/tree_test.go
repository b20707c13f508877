package tree

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plant makes files from "path: content" lines; a path that ends in a slash is a directory, "-> target" a link.
func plant(t *testing.T, root string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		name, text, _ := strings.Cut(line, ": ")
		p := filepath.Join(root, name)
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(p, 0o755)
		} else {
			if err = os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if target, ok := strings.CutPrefix(text, "-> "); ok {
				err = os.Symlink(target, p)
			} else {
				err = os.WriteFile(p, []byte(text+"\n"), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func image(t *testing.T, lines ...string) string {
	dir := t.TempDir()
	plant(t, dir, "etc/", "var/lib/dpkg/status: packages", "var/log/", "srv/", "home/", "root/.profile: x")
	plant(t, dir, lines...)
	return dir
}

func TestPrepare(t *testing.T) {
	set := t.TempDir()
	one := image(t, "etc/hostname: image", "etc/apache.conf: one", "etc/old.conf: one", "etc/both.conf: one", "etc/passwd: root:x:0", "etc/link: -> hostname")
	r, err := Prepare(t.Context(), set, one, "1", Conversion{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Report{Version: "1", First: true, Dirs: []string{"var", "srv", "home", "root"}}, r); diff != "" {
		t.Errorf("first report (-want +got):\n%s", diff)
	}
	plant(t, set, "etc/1/hostname: mine", "etc/1/both.conf: mine", "etc/1/passwd: root:HASH:0", "etc/1/atlas/site.yaml: site", "var/lib/mine/data: 1")
	if r, err = Prepare(t.Context(), set, one, "1", Conversion{}); err != nil || !cmp.Equal(r, Report{Version: "1"}) {
		t.Errorf("Prepare again = %+v, %v; want nothing done", r, err)
	}

	two := image(t, "etc/hostname: image", "etc/apache.conf: two", "etc/both.conf: two", "etc/new.conf: two",
		"etc/passwd: root:x:0\nmysql:x:601", "etc/link: -> apache.conf", "var/lib/new/x: 1", "var/lib/mine/default: 1")
	r, err = Prepare(t.Context(), set, two, "2", Conversion{})
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Version: "2", From: "1",
		Updated: []string{"apache.conf", "link", "passwd"}, Added: []string{"new.conf"}, Removed: []string{"old.conf"},
		Conflicts: []Conflict{{Path: "both.conf", Why: "changed here, and differently in the new image", Kept: "both.conf" + Suffix}},
		Dirs:      []string{"var/lib/new"},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("second report (-want +got):\n%s", diff)
	}
	etc := filepath.Join(set, "etc/2")
	for path, want := range map[string]string{
		"hostname": "mine", "apache.conf": "two", "both.conf": "mine", "both.conf" + Suffix: "two", "new.conf": "two",
		"passwd": "root:HASH:0\nmysql:x:601", "atlas/site.yaml": "site", "link": "two",
	} {
		if got := read(t, filepath.Join(etc, path)); got != want {
			t.Errorf("%s = %q; want %q", path, got, want)
		}
	}
	if got := read(t, filepath.Join(set, "etc/1/apache.conf")); got != "one" {
		t.Errorf("the old generation was changed: %q", got)
	}
	if got := read(t, filepath.Join(set, "var/lib/mine/data")); got != "1" {
		t.Errorf("data = %q", got)
	}
	if _, err := os.Stat(filepath.Join(set, "var/lib/mine/default")); err == nil {
		t.Error("a file of the image was put into a directory of the set's /var")
	}

	t.Log("back to the old image: what was changed meanwhile comes along")
	plant(t, set, "etc/2/hostname: later")
	if _, err = Prepare(t.Context(), set, one, "1", Conversion{}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(set, "etc/1/hostname")); got != "later" {
		t.Errorf("hostname after going back = %q; want the later one", got)
	}
	if got := read(t, filepath.Join(set, "etc/1/apache.conf")); got != "one" {
		t.Errorf("apache.conf after going back = %q", got)
	}
	for _, e := range names(t, filepath.Join(set, "etc")) {
		if strings.HasSuffix(e, building) {
			t.Errorf("left behind: %s", e)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestPrepareCutOff leaves behind what a power cut may leave at each step, and prepares again.
func TestPrepareCutOff(t *testing.T) {
	one := image(t, "etc/a: one")
	two := image(t, "etc/a: two")
	for _, left := range [][]string{
		{"var.building/half: x"},
		{"etc/2.building/half: x", "etc/2.image.building/half: x"},
		{"etc/2.image/a: two"},
		{"etc/2.image/a: two", "etc/2/a: two", "etc/2/half: x"},
		{"etc/2.image/a: two", "etc/2/a: two", "etc/current.building: -> 2"},
		{"var/log.building/half: x"},
	} {
		set := t.TempDir()
		if _, err := Prepare(t.Context(), set, one, "1", Conversion{}); err != nil {
			t.Fatal(err)
		}
		plant(t, set, "etc/1/mine: mine")
		plant(t, set, left...)
		if _, err := Prepare(t.Context(), set, two, "2", Conversion{}); err != nil {
			t.Errorf("after %v: %v", left, err)
			continue
		}
		if diff := cmp.Diff([]string{"a", "mine"}, names(t, filepath.Join(set, "etc/2"))); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", left, diff)
		}
		if got := read(t, filepath.Join(set, "etc/current/a")); got != "two" {
			t.Errorf("after %v: a = %q", left, got)
		}
	}
}

func TestPrepareRefusesBadVersions(t *testing.T) {
	for _, v := range []string{"", "current", "../x", "1.image", ".1", "1.old"} {
		if _, err := Prepare(t.Context(), t.TempDir(), t.TempDir(), v, Conversion{}); err == nil {
			t.Errorf("Prepare with version %q succeeded", v)
		}
	}
}

func TestScanTellsAttributes(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "a: 1", "d/b: 2", "l: -> a")
	if err := os.Chmod(filepath.Join(root, "a"), 0o4755); err != nil {
		t.Fatal(err)
	}
	before, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := copyTree(root, to); err != nil {
		t.Fatal(err)
	}
	after, err := Scan(to)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("a copy differs (-original +copy):\n%s", diff)
	}
	if err := apply(to, root, Step{Path: "d", Content: Image, Attrs: Image}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(to, "d/b")); err != nil {
		t.Errorf("taking a directory's attributes lost its files: %v", err)
	}
}

func TestBindOrder(t *testing.T) {
	root, img := t.TempDir(), image(t, "etc/alternatives/x: 1", "etc/ld.so.cache: 1")
	plant(t, root, "etc/alternatives: a file in the way", "var/")
	var got []string
	bind := func(src, dst string) error {
		if _, err := os.Lstat(dst); err != nil && strings.Contains(src, img) {
			return err
		}
		rel, _ := filepath.Rel(root, dst)
		got = append(got, rel)
		return nil
	}
	if err := bindAt(root, "/set", img, "1", bind); err != nil {
		t.Fatal(err)
	}
	want := []string{"etc", "var", "srv", "home", "root", "etc/alternatives", "etc/ld.so.cache", "var/lib/dpkg"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("binds (-want +got):\n%s", diff)
	}
	order := unbindOrder("/", []string{"/", "/proc", "/etc", "/var", "/etc/alternatives", "/var/lib/nfs/rpc_pipefs", "/run/atlas/set"})
	if diff := cmp.Diff([]string{"/var/lib/nfs/rpc_pipefs", "/etc/alternatives", "/var", "/etc"}, order); diff != "" {
		t.Errorf("unbind order (-want +got):\n%s", diff)
	}
	failing := errors.New("no")
	if err := bindAt(root, "/set", img, "1", func(string, string) error { return failing }); !errors.Is(err, failing) {
		t.Errorf("bindAt = %v; want %v", err, failing)
	}
	if !slices.Contains(ours(), "var/lib/dpkg") {
		t.Error("the package database is not the image's")
	}
}
