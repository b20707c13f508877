package watch

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// TestRandomTree makes, moves, swaps and removes directories at full speed, into and out of what is watched, and sees afterwards that every
// directory that is left is watched under its right path, and nothing else is.
func TestRandomTree(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := watching(t, []state.Path{"etc", "srv/a/b"}, func(root string) {
				etc(root)
				must(t, os.MkdirAll(root+"/out", 0o755), os.MkdirAll(root+"/srv/a/b", 0o755))
			}, func(o *Options) { o.Skip = func(p state.Path) bool { return strings.HasPrefix(p.Base(), "skip") } })
			r := rand.New(rand.NewPCG(seed, 7))
			some := func() string {
				top := []string{"etc", "etc", "etc", "out", "srv/a/b", "srv/a", "srv"}[r.IntN(7)]
				for range r.IntN(4) {
					top += "/" + []string{"a", "b", "c", "d", "e", "f", "a", "b", "skip"}[r.IntN(9)]
				}
				return b.p(top)
			}
			for range 3000 {
				switch r.IntN(10) {
				case 0, 1, 2, 3, 4:
					_ = os.MkdirAll(some(), 0o755)
				case 5, 6, 7:
					_ = os.Rename(some(), some())
				case 8:
					if p := some(); strings.Count(strings.TrimPrefix(p, b.root), "/") > 2 {
						_ = os.RemoveAll(p)
					}
				case 9:
					_ = os.WriteFile(some()+"/f", nil, 0o644)
				}
			}
			_ = os.MkdirAll(b.p("etc"), 0o755)
			b.settle("etc/last")
			want := map[state.Path]bool{}
			must(t, filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
				rel, _ := filepath.Rel(b.root, path)
				if p := state.Path(rel); err == nil && d.IsDir() {
					below := (p.Under("etc") || p.Under("srv/a/b")) && !slices.ContainsFunc(strings.Split(rel, "/"), func(s string) bool { return s == "skip" })
					want[p] = below
					return os.WriteFile(path+"/probe", nil, 0o644)
				}
				return err
			}))
			acts := b.settle("etc/last2")
			if s := b.w.Stats(); s.Overflows > 0 {
				t.Fatalf("the queue overflowed, so this shows nothing: %+v", s)
			}
			told := paths(acts)
			for dir, below := range want {
				if p := dir + "/probe"; slices.Contains(told, p) != below {
					t.Errorf("%s was told: %v; want %v", p, !below, below)
				}
			}
			for _, p := range told {
				if !want[p.Dir()] {
					t.Errorf("%s was told, where nothing is watched", p)
				}
			}
			t.Logf("%d directories left, %+v", len(want), b.w.Stats())
		})
	}
}

// settle makes the file p and waits until it, and so all that was done before, is told.
func (b *bench) settle(p state.Path) []Action {
	b.t.Helper()
	write(b.t, b.p(string(p)), "x")
	for end := time.Now().Add(30 * time.Second); !covers(b.soFar(), p); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s is not told", p)
		}
	}
	time.Sleep(300 * time.Millisecond) // it may have been told with its directory
	return b.all()
}

// TestFilesystems watches on other filesystems than the test's own: it must work, or be told.
func TestFilesystems(t *testing.T) {
	for _, kind := range []string{"tmpfs", "overlay"} {
		t.Run(kind, func(t *testing.T) {
			mounted := ""
			b := watching(t, []state.Path{"etc"}, func(root string) {
				mounted = root
				data := ""
				if kind == "overlay" { // its upper directory must not be on an overlay itself
					work := t.TempDir()
					must(t, os.MkdirAll(work+"/low/etc/sub/deep", 0o755), os.Mkdir(work+"/up", 0o755), os.Mkdir(work+"/work", 0o755))
					data = fmt.Sprintf("lowerdir=%[1]s/low,upperdir=%[1]s/up,workdir=%[1]s/work", work)
				}
				if err := unix.Mount("none", root, kind, 0, data); err != nil {
					t.Skipf("%s cannot be mounted here: %v", kind, err)
				}
				t.Cleanup(func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) })
				etc(root)
			})
			if s := b.w.Stats(); len(s.Problems) > 0 {
				t.Logf("%s cannot be watched here, and that is told: %v", kind, s.Problems)
				return
			}
			must(t, os.MkdirAll(b.p("etc/new/dir"), 0o755))
			b.all()
			write(t, b.p("etc/new/dir/f"), "x")
			write(t, b.p("etc/sub/deep/f"), "x")
			if got := paths(b.all()); !slices.Equal(got, []state.Path{"etc/new/dir/f", "etc/sub/deep/f"}) {
				t.Errorf("told %q", got)
			}
		})
	}
}

// BenchmarkMark measures how long it takes to begin to watch 10,000 directories.
func BenchmarkMark(b *testing.B) {
	needRoot(b)
	root := b.TempDir()
	for i := range 10_000 {
		must(b, os.MkdirAll(fmt.Sprintf("%s/etc/%d/%d", root, i/100, i), 0o755))
	}
	for b.Loop() {
		w, err := New(Options{Root: root, Roots: []state.Path{"etc"}})
		must(b, err)
		began := time.Now()
		w.Close()
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-to-end")
	}
}

// TestExchanged: a file that was just made is exchanged with another; under both names there is something then.
func TestExchanged(t *testing.T) {
	b := watching(t, []state.Path{"etc"}, etc)
	write(t, b.p("etc/old"), "old")
	b.all()
	write(t, b.p("etc/made"), "x")
	must(t, unix.Renameat2(unix.AT_FDCWD, b.p("etc/old"), unix.AT_FDCWD, b.p("etc/made"), unix.RENAME_EXCHANGE))
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"etc/made", "etc/old"}) {
		t.Errorf("told %q; want both", got)
	}
}
