package tree

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/steps"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/state"
)

// fixture is a set that was used with an image of Debian 12, and images of 12 and 13. Its configuration is edited as the cases of the steps
// are, all services at once.
type fixture struct {
	set, twelve, thirteen string
	edited                map[string]string // below etc: what people wrote
}

func conversion(t testing.TB) Conversion {
	t.Helper()
	rules, err := class.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return Conversion{Steps: steps.All(), Shared: func(p state.Path) bool { return rules.Classify(p) == class.Shared }}
}

// cases gives the files of the steps' cases on the way from 12 to 13, by path below etc: those that people wrote, and those as shipped.
func cases(t testing.TB) (edited, shipped map[string]string) {
	t.Helper()
	edited, shipped = map[string]string{}, map[string]string{}
	take := func(text, mark string) {
		for part := range strings.SplitSeq("\n"+text, "\n"+mark) {
			name, body, _ := strings.Cut(part, "\n")
			name, stock := strings.CutSuffix(name, " (stock)")
			name, inEtc := strings.CutPrefix(name, "etc/")
			if !inEtc || strings.Contains(name, " ") || convert.IsAccounts(state.Path("etc/"+name)) || // the images must have theirs
				edited[name]+shipped[name] != "" {
				continue
			}
			if stock {
				shipped[name] = body + "\n"
			} else {
				edited[name] = body + "\n"
			}
		}
	}
	const dir = "../../sentry/convert/steps/testdata"
	plain, err := filepath.Glob(dir + "/*-12-13-*/before.txt")
	if err != nil {
		t.Fatal(err)
	}
	nested, err := filepath.Glob(dir + "/nested/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Concat(plain, nested) {
		text := read(t, path)
		if slices.Contains(plain, path) {
			take(text, "=== ")
			continue
		}
		head, rest, _ := strings.Cut(text, "=== before\n")
		if before, _, _ := strings.Cut(rest, "\n=== after"); strings.HasPrefix(head, "12 13") {
			take(before, "--- ")
		}
	}
	if len(edited) < 15 {
		t.Fatalf("only %d files in the cases of the steps", len(edited))
	}
	return edited, shipped
}

// newFixture makes the images by itself, or of the /etc of real ones in the folders 12 and 13 of trees, if that is not "".
func newFixture(t testing.TB, trees string) *fixture {
	t.Helper()
	edited, shipped := cases(t)
	f := &fixture{set: t.TempDir(), twelve: t.TempDir(), thirteen: t.TempDir(), edited: edited}
	put := func(root, name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.RemoveAll(path))
		must(t, os.WriteFile(path, []byte(text), mode))
		must(t, os.Chmod(path, mode))
	}
	for n, root := range map[int]string{12: f.twelve, 13: f.thirteen} {
		if trees != "" {
			must(t, copyTree(filepath.Join(trees, fmt.Sprintf("tree%d", n), "etc"), filepath.Join(root, "etc")))
			continue
		}
		put(root, "etc/passwd", fmt.Sprintf("root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nold%d:x:9:9::/:/bin/false\n_of%d:x:7%d:7::/:/bin/false\n", n, n, n), 0o644)
		put(root, "etc/group", "root:x:0:\nwww-data:x:33:\n", 0o644)
		put(root, "etc/shadow", fmt.Sprintf("root:*::::::\n_of%d:!::::::\n", n), 0o640)
		put(root, "etc/debian_version", fmt.Sprintf("%d.4\n", n), 0o644)
		for i := range 100 {
			put(root, fmt.Sprintf("etc/stock.d/%d/file", i), fmt.Sprintf("file %d of %d\n", i, n*(1+i%2)), 0o644)
		}
		for name := range edited {
			put(root, "etc/"+name, fmt.Sprintf("# as shipped by Debian %d\n", n), 0o644)
		}
		for name, text := range shipped {
			put(root, "etc/"+name, text, 0o644)
		}
		put(root, fmt.Sprintf("etc/only%d", n), "x\n", 0o644)
		put(root, "etc/machine-id", "uninitialized\n", 0o444)
		put(root, "etc/modes", fmt.Sprintf("of %d\n", n), 0o644)
		put(root, "etc/removed", fmt.Sprintf("of %d\n", n), 0o644)
		must(t, os.Symlink("only"+fmt.Sprint(n), filepath.Join(root, "etc/link")))
	}
	_, err := Prepare(t.Context(), f.set, f.twelve, "1", Conversion{})
	must(t, err)
	etc := filepath.Join(f.set, "etc/1")
	for name, text := range edited {
		put(etc, name, text, 0o644)
	}
	add := func(name, line string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(etc, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(etc, name), append(text, line...), 0o644))
	}
	add("passwd", "anna:x:1000:1000::/home/anna:/bin/bash\n")
	add("group", "anna:x:1000:\n")
	add("shadow", "anna:$6$x$y:19000::::::\n")
	put(etc, "machine-id", "0123456789abcdef0123456789abcdef\n", 0o444)
	put(etc, "network/interfaces", "auto eth7\n", 0o600)
	put(etc, "mine/notes", "mine\n", 0o640)
	put(etc, "mine/\xff odd name", "mine\n", 0o640)
	must(t, os.Chmod(filepath.Join(etc, "mine"), 0o2750))
	must(t, os.Lchown(filepath.Join(etc, "mine/notes"), 33, 1000))
	must(t, os.Symlink("notes", filepath.Join(etc, "mine/link")))
	must(t, os.Link(filepath.Join(etc, "mine/notes"), filepath.Join(etc, "mine/second")))
	must(t, unix.Mkfifo(filepath.Join(etc, "mine/fifo"), 0o600))
	if trees == "" {
		must(t, os.Chmod(filepath.Join(etc, "modes"), 0o600))
		must(t, os.Remove(filepath.Join(etc, "removed")))
		must(t, os.Remove(filepath.Join(etc, "only12")))
	}
	return f
}

// copy is the same set once more.
func (f *fixture) copy(t testing.TB) *fixture {
	t.Helper()
	g := *f
	g.set = t.TempDir()
	must(t, copyTree(f.set, g.set))
	return &g
}

func (f *fixture) prepare(t testing.TB, image, version string, c Conversion) Report {
	t.Helper()
	r, err := Prepare(t.Context(), f.set, image, version, c)
	must(t, err)
	return r
}

func (f *fixture) etc(name string) string { return filepath.Join(f.set, "etc", name) }

func scan(t testing.TB, root string) Tree {
	t.Helper()
	tree, err := Scan(root)
	must(t, err)
	return tree
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
