package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// bench is a watcher on a directory of the test's, and all that it told.
type bench struct {
	t    testing.TB
	root string
	w    *Watcher
	mu   sync.Mutex
	acts []Action
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("watching takes the administrator's rights: run the test as root")
	}
}

// watching starts to watch roots below a new directory, in which make was called before. Changes by the test itself are told.
func watching(t testing.TB, roots []state.Path, prepare func(root string), more ...func(*Options)) *bench {
	t.Helper()
	b := unstarted(t, roots, prepare, more...)
	b.start()
	return b
}

func unstarted(t testing.TB, roots []state.Path, prepare func(root string), more ...func(*Options)) *bench {
	t.Helper()
	needRoot(t)
	root := t.TempDir()
	if prepare != nil {
		prepare(root)
	}
	o := Options{Root: root, Roots: roots, Own: true, User: func(uid uint32) string { return map[uint32]string{0: "root", 1000: "anna"}[uid] }}
	for _, f := range more {
		f(&o)
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, root: root, w: w}
}

func (b *bench) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	read := make(chan struct{})
	go func() { done <- b.w.Run(ctx) }()
	go func() {
		defer close(read)
		for a := range b.w.Actions() {
			b.mu.Lock()
			b.acts = append(b.acts, a)
			b.mu.Unlock()
		}
	}()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run() = %v; want no error", err)
		}
		<-read
	})
}

func (b *bench) p(path string) string { return filepath.Join(b.root, path) }

// all waits until no action goes on, and returns what was told since the last call.
func (b *bench) all() []Action {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		b.w.mu.Lock()
		busy := len(b.w.group.groups)+len(b.w.group.hints) > 0
		b.w.mu.Unlock()
		b.mu.Lock()
		more := map[uint64]bool{}
		for _, a := range b.acts {
			more[a.ID] = a.More
		}
		for _, m := range more {
			busy = busy || m
		}
		if !busy && len(b.acts) > 0 {
			out := b.acts
			b.acts = nil
			b.mu.Unlock()
			return out
		}
		b.mu.Unlock()
	}
	b.t.Fatal("nothing was told, or it never ended")
	return nil
}

// paths are all paths that actions name, each once.
func paths(acts []Action) []state.Path {
	var out []state.Path
	for _, a := range acts {
		out = append(append(out, a.Paths...), a.Attrs...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func ids(acts []Action) map[uint64]bool {
	m := map[uint64]bool{}
	for _, a := range acts {
		m[a.ID] = true
	}
	return m
}

// covers tells whether one of the actions has the consumer look at p.
func covers(acts []Action, p state.Path) bool {
	for _, a := range acts {
		if a.Rescan || slices.Contains(a.Attrs, p) || slices.ContainsFunc(a.Paths, func(d state.Path) bool { return p.Under(d) }) {
			return true
		}
	}
	return false
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func etc(root string) { _ = os.MkdirAll(root+"/etc/sub/deep", 0o755) }

// TestEveryKind makes each kind of change and sees that it, and only it, is told.
func TestEveryKind(t *testing.T) {
	prepare := func(root string) {
		etc(root)
		write(t, root+"/etc/hosts", "1")
		write(t, root+"/etc/sub/deep/f", "1")
		must(t, os.MkdirAll(root+"/out/tree/in", 0o755), os.MkdirAll(root+"/etc/gone/in", 0o755), os.Symlink("hosts", root+"/etc/link"))
		write(t, root+"/out/tree/in/f", "1")
	}
	b := watching(t, []state.Path{"etc"}, prepare)
	for _, c := range []struct {
		name string
		do   func() error
		want []state.Path
	}{
		{"write", func() error { return os.WriteFile(b.p("etc/hosts"), []byte("2"), 0o644) }, []state.Path{"etc/hosts"}},
		{"create", func() error { return os.WriteFile(b.p("etc/new"), nil, 0o644) }, []state.Path{"etc/new"}},
		{"deep", func() error { return os.WriteFile(b.p("etc/sub/deep/f"), []byte("2"), 0o644) }, []state.Path{"etc/sub/deep/f"}},
		{"truncate", func() error { return os.Truncate(b.p("etc/hosts"), 0) }, []state.Path{"etc/hosts"}},
		{"chmod", func() error { return os.Chmod(b.p("etc/hosts"), 0o600) }, []state.Path{"etc/hosts"}},
		{"chmod of a directory", func() error { return os.Chmod(b.p("etc/sub"), 0o700) }, []state.Path{"etc/sub"}},
		{"chmod of a root", func() error { return os.Chmod(b.p("etc"), 0o700) }, []state.Path{"etc"}},
		{"chown", func() error { return os.Chown(b.p("etc/hosts"), 7, 7) }, []state.Path{"etc/hosts"}},
		{"attribute", func() error { return unix.Setxattr(b.p("etc/hosts"), "user.a", []byte("1"), 0) }, []state.Path{"etc/hosts"}},
		{"link", func() error { return os.Symlink("hosts", b.p("etc/other")) }, []state.Path{"etc/other"}},
		{"owner of a link", func() error { return os.Lchown(b.p("etc/link"), 7, 7) }, []state.Path{"etc/link"}},
		{"hard link", func() error { return os.Link(b.p("etc/hosts"), b.p("etc/hard")) }, []state.Path{"etc/hard"}},
		{"FIFO", func() error { return unix.Mkfifo(b.p("etc/fifo"), 0o600) }, []state.Path{"etc/fifo"}},
		{"rename", func() error { return os.Rename(b.p("etc/new"), b.p("etc/newer")) }, []state.Path{"etc/new", "etc/newer"}},
		{"replace", func() error { return os.Rename(b.p("etc/newer"), b.p("etc/hosts")) }, []state.Path{"etc/hosts", "etc/newer"}},
		{"remove", func() error { return os.Remove(b.p("etc/other")) }, []state.Path{"etc/other"}},
		{"mkdir", func() error { return os.Mkdir(b.p("etc/dir"), 0o755) }, []state.Path{"etc/dir"}},
		{"file in a new directory", func() error { return os.WriteFile(b.p("etc/dir/f"), nil, 0o644) }, []state.Path{"etc/dir/f"}},
		{"rename of a directory", func() error { return os.Rename(b.p("etc/dir"), b.p("etc/sub/dir")) }, []state.Path{"etc/dir", "etc/sub/dir"}},
		{"file in a renamed one", func() error { return os.WriteFile(b.p("etc/sub/dir/f"), nil, 0o600) }, []state.Path{"etc/sub/dir/f"}},
		{"moved in", func() error { return os.Rename(b.p("out/tree"), b.p("etc/tree")) }, []state.Path{"etc/tree"}},
		{"file in one moved in", func() error { return os.WriteFile(b.p("etc/tree/in/f"), []byte("2"), 0o644) }, []state.Path{"etc/tree/in/f"}},
		{"moved out", func() error { return os.Rename(b.p("etc/tree"), b.p("out/back")) }, []state.Path{"etc/tree"}},
		{"remove a tree", func() error { return os.RemoveAll(b.p("etc/gone")) }, []state.Path{"etc/gone"}},
		{"odd name", func() error { return os.WriteFile(b.p("etc/a\n\xff b"), nil, 0o644) }, []state.Path{"etc/a\n\xff b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			must(t, c.do())
			acts := b.all()
			got := paths(acts)
			for _, p := range c.want {
				if !slices.Contains(got, p) {
					t.Errorf("told %q; want %q", got, c.want)
				}
			}
			for _, p := range got { // a slow machine may tell what is in a directory before the directory itself
				if !slices.ContainsFunc(c.want, p.Under) || len(c.want) == 2 && len(got) != 2 {
					t.Errorf("told %q; want %q alone", got, c.want)
				}
			}
			if n := len(ids(acts)); n != 1 {
				t.Errorf("%d actions; want one: %+v", n, acts)
			}
			if last := acts[len(acts)-1]; last.More {
				t.Errorf("the last part says that more comes: %+v", last)
			}
		})
	}
	b.t = t
	// What was moved out is silent, and dropped.
	write(t, b.p("out/back/in/f"), "3")
	write(t, b.p("etc/hosts"), "3")
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"etc/hosts"}) {
		t.Errorf("told %q; want etc/hosts alone", got)
	}
}

// TestOpenFile sees that writing to a file that stays open is told, and not too often.
func TestOpenFile(t *testing.T) {
	b := watching(t, []state.Path{"etc"}, func(root string) { etc(root); write(t, root+"/etc/db", "") })
	f, err := os.OpenFile(b.p("etc/db"), os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	for range 200 {
		_, err := f.WriteString("x")
		must(t, err)
		time.Sleep(10 * time.Millisecond)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var told int
	for _, a := range b.acts {
		told += len(a.Paths)
	}
	if told != 1 {
		t.Errorf("told %d times within 2 s; want once: %+v", told, b.acts)
	}
}

func TestNestedStorm(t *testing.T) {
	b := watching(t, []state.Path{"etc"}, etc)
	var all []state.Path
	for i := range 100 { // 500 nested directories with 20 files each
		for j := range 5 {
			dir := fmt.Sprintf("etc/s%d/a/b/c%d", i, j)
			must(t, os.MkdirAll(b.p(dir), 0o755))
			for k := range 20 {
				p := fmt.Sprintf("%s/f%d", dir, k)
				write(t, b.p(p), "x")
				all = append(all, state.Path(p))
			}
		}
	}
	acts := b.all()
	if s := b.w.Stats(); s.Dirs != 1+3+300+500 && s.Overflows == 0 {
		t.Errorf("%d directories watched; want %d", s.Dirs, 1+3+300+500)
	}
	for _, p := range all {
		if !covers(acts, p) {
			t.Fatalf("%s was not told, of %d files: %+v", p, len(all), b.w.Stats())
		}
	}
	// The last change of each directory must have been told after it was made: write all once more.
	for _, p := range all[:2000] {
		write(t, b.p(string(p)), "yy")
	}
	acts = b.all()
	for _, p := range all[:2000] {
		if !covers(acts, p) {
			t.Fatalf("%s was not told when it was written again", p)
		}
	}
	t.Logf("%+v", b.w.Stats())
}

func TestOverflow(t *testing.T) {
	b := unstarted(t, []state.Path{"etc"}, etc)
	n := 17000
	if data, err := os.ReadFile("/proc/sys/fs/fanotify/max_queued_events"); err == nil {
		var limit int
		if _, err := fmt.Sscan(string(data), &limit); err == nil && limit > 100_000 {
			t.Skipf("the kernel keeps %d events: too many to overflow here", limit)
		} else if err == nil {
			n = limit + 1000
		}
	}
	for i := range n {
		write(t, b.p(fmt.Sprintf("etc/f%d", i)), "")
	}
	must(t, os.MkdirAll(b.p("etc/late/in"), 0o755)) // its event is lost
	b.start()
	acts := b.all()
	if !slices.ContainsFunc(acts, func(a Action) bool { return a.Rescan }) || b.w.Stats().Overflows == 0 {
		t.Fatalf("no rescan after an overflow: %+v", b.w.Stats())
	}
	time.Sleep(100 * time.Millisecond)
	write(t, b.p("etc/late/in/f"), "x")
	for end := time.Now().Add(5 * time.Second); !covers(b.soFar(), "etc/late/in/f"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a directory made during the overflow is not watched")
		}
	}
}

// soFar returns what was told without waiting.
func (b *bench) soFar() []Action {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.acts)
}

func TestRootsAppear(t *testing.T) {
	b := watching(t, []state.Path{"srv/a/b", "etc/krb5.keytab", "etc/in"}, func(root string) { must(t, os.Mkdir(root+"/etc", 0o755)) })
	must(t, os.MkdirAll(b.p("srv/a/b/c"), 0o755), os.MkdirAll(b.p("srv/a/other"), 0o755))
	write(t, b.p("srv/a/b/c/f"), "x")
	write(t, b.p("srv/a/other/f"), "x")
	write(t, b.p("srv/a/f"), "x")
	write(t, b.p("etc/passwd"), "x")
	acts := b.all()
	if got := paths(acts); !covers(acts, "srv/a/b/c/f") || slices.ContainsFunc(got, func(p state.Path) bool { return !p.Under("srv/a/b") }) {
		t.Errorf("told %q; want srv/a/b and what is in it", got)
	}
	write(t, b.p("etc/krb5.keytab"), "x")
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"etc/krb5.keytab"}) {
		t.Errorf("told %q; want the root that is a file", got)
	}
	must(t, os.Rename(b.p("etc/krb5.keytab"), b.p("etc/old")), os.Rename(b.p("etc/old"), b.p("etc/krb5.keytab")))
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"etc/krb5.keytab"}) {
		t.Errorf("told %q; want the root that is a file", got)
	}
	must(t, os.Rename(b.p("srv"), b.p("away")))
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"srv/a/b"}) {
		t.Errorf("told %q; want srv/a/b, since what it lies in is gone", got)
	}
	must(t, os.Rename(b.p("away"), b.p("srv")))
	b.all()
	write(t, b.p("srv/a/b/c/f"), "y")
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"srv/a/b/c/f"}) {
		t.Errorf("told %q; want srv/a/b/c/f after it came back", got)
	}
	must(t, b.w.SetRoots([]state.Path{"srv/a/other"}))
	write(t, b.p("srv/a/b/c/f"), "z")
	write(t, b.p("srv/a/other/f"), "z")
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"srv/a/other/f"}) {
		t.Errorf("told %q; want what the new roots hold", got)
	}
}

func TestLinkedRoot(t *testing.T) {
	b := watching(t, []state.Path{"var/www"}, func(root string) {
		must(t, os.MkdirAll(root+"/srv/one", 0o755), os.MkdirAll(root+"/srv/two", 0o755), os.Mkdir(root+"/var", 0o755),
			os.Symlink("../srv/one", root+"/var/www"))
	})
	write(t, b.p("var/www/f"), "x")
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"srv/one/f"}) {
		t.Errorf("told %q; want the real path", got)
	}
	must(t, os.Symlink("/../srv/two", b.p("var/new")), os.Rename(b.p("var/new"), b.p("var/www")))
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"srv/two", "var/www"}) {
		t.Errorf("told %q; want the link and what it leads to now", got)
	}
	write(t, b.p("srv/one/f"), "x")
	write(t, b.p("srv/two/f"), "x")
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"srv/two/f"}) {
		t.Errorf("told %q; want the real path", got)
	}
}

func TestSkipAndMounts(t *testing.T) {
	skip := func(o *Options) { o.Skip = func(p state.Path) bool { return p.Under("etc/sub") || p == "etc/mtab" } }
	root := ""
	b := watching(t, []state.Path{"etc"}, func(r string) {
		root = r
		etc(r)
		must(t, os.MkdirAll(r+"/etc/image", 0o755), os.MkdirAll(r+"/other/in", 0o755))
		if err := unix.Mount(r+"/other", r+"/etc/image", "", unix.MS_BIND, ""); err != nil {
			t.Skipf("mounting is not allowed here: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(root+"/etc/image", unix.MNT_DETACH) })
	}, skip)
	for _, f := range []string{"etc/sub/f", "etc/sub/deep/f", "etc/mtab", "etc/image/f", "etc/image/in/f", "etc/f"} {
		write(t, b.p(f), "x")
	}
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"etc/f"}) {
		t.Errorf("told %q; want etc/f alone", got)
	}
}

func TestTooManyDirs(t *testing.T) {
	b := watching(t, []state.Path{"etc"}, func(root string) {
		for i := range 30 {
			must(t, os.MkdirAll(fmt.Sprintf("%s/etc/many/d%d", root, i), 0o755))
		}
	}, func(o *Options) { o.MaxDirs = 20 })
	acts := b.all()
	var many *TooManyDirsError
	if len(acts) != 1 || !errors.As(acts[0].Problem, &many) || many.Limit != 20 || many.Dir != "etc/many" || many.Held < 15 {
		t.Fatalf("told %+v; want that etc/many holds too many directories", acts)
	}
	if s := b.w.Stats(); s.Dirs != 20 || len(s.Problems) != 1 {
		t.Errorf("%+v; want 20 directories and a problem", s)
	}
	for i := range 25 {
		must(t, os.Remove(b.p(fmt.Sprintf("etc/many/d%d", i))))
	}
	b.all()
	for i := 25; i < 30; i++ {
		write(t, b.p(fmt.Sprintf("etc/many/d%d/f", i)), "x")
	}
	if got := paths(b.all()); len(got) != 5 {
		t.Errorf("told %q; want the files of all five directories, for which there is room again", got)
	}
	if s := b.w.Stats(); len(s.Problems) != 0 {
		t.Errorf("%+v; want no problem any more", s)
	}
}

// TestSlowConsumer takes nothing while much is done, and sees that it is all told in few parts.
func TestSlowConsumer(t *testing.T) {
	b := unstarted(t, []state.Path{"etc"}, etc)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.w.Run(ctx) }()
	for i := range 3000 {
		write(t, b.p(fmt.Sprintf("etc/f%d", i)), "x")
	}
	time.Sleep(700 * time.Millisecond)
	var acts []Action
	for end := time.After(10 * time.Second); len(paths(acts)) < 3000 || acts[len(acts)-1].More; {
		select {
		case a := <-b.w.Actions():
			acts = append(acts, a)
		case <-end:
			t.Fatalf("%d paths in %d parts were told; want 3000", len(paths(acts)), len(acts))
		}
	}
	cancel()
	must(t, <-done)
	if n := len(ids(acts)); len(acts) > 3*n { // on a slow machine it takes longer than an action may
		t.Errorf("%d parts of %d actions; want few", len(acts), n)
	}
}

func TestOwnChanges(t *testing.T) {
	b := watching(t, []state.Path{"etc"}, etc, func(o *Options) { o.Own = false })
	must(t, os.MkdirAll(b.p("etc/made/by/us"), 0o755))
	write(t, b.p("etc/made/by/us/f"), "x")
	for end := time.Now().Add(10 * time.Second); b.w.Stats().Dirs < 7; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v; want the directories that we made to be watched", b.w.Stats())
		}
	}
	must(t, exec.Command("touch", b.p("etc/made/by/us/g")).Run())
	if got := paths(b.all()); !slices.Equal(got, []state.Path{"etc/made/by/us/g"}) {
		t.Errorf("told %q; want only what another process made, also in a directory that we made", got)
	}
}
