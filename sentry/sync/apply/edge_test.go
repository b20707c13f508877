package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

func file(data string) *node { return &node{kind: state.File, mode: 0o644, data: data} }

func dir() *node { return &node{kind: state.Dir, mode: 0o755} }

func link(target string) *node { return &node{kind: state.Link, mode: 0o777, target: target} }

// with is the base tree and more; directories above are made.
func with(more map[string]*node) model {
	m := base()
	for p, n := range more {
		m[p] = n
		for d := filepath.Dir(p); d != "."; d = filepath.Dir(d) {
			if m[d] == nil && more[d] == nil {
				m[d] = dir()
			}
		}
	}
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// One call fails, as on a disk with a fault or a full one, and all that come after it work.
func TestFailure(t *testing.T) {
	d := memory(t)
	for _, seed := range seeds(t, 10) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		before, after := random(rnd, 6)
		unfinished, done := 0, false
		for at := 0; !done; at++ {
			r := newRig(t, d, before, after)
			n := 0
			r.a.cut = func(string, string) error {
				if n++; n == at+1 {
					return unix.EIO
				}
				return nil
			}
			_, err := r.apply(diff(before, after))
			done = n <= at
			switch {
			case done:
				must(t, err)
				r.is(after, "applied")
			case err == nil:
				t.Fatalf("seed %d: a failure of call %d went unnoticed", seed, at)
			case errors.Is(err, ErrUnfinished):
				unfinished++
				_, err := r.a.Recover()
				must(t, err)
				if len(before.compare(r.root, "etc", "var")) > 0 {
					r.is(after, "recovered")
				}
			default:
				r.is(before, fmt.Sprintf("seed %d: call %d failed: %v", seed, at, err))
			}
			r.a.Close()
		}
	}
}

func TestClashes(t *testing.T) {
	before := with(map[string]*node{"etc/edited": file("old"), "etc/gone": file("old"), "etc/removed": file("old"), "etc/same": file("old"), "etc/d/x": file("old")})
	after := with(map[string]*node{"etc/edited": file("new"), "etc/gone": file("new"), "etc/same": file("new"), "etc/added": file("new"), "etc/late": file("new")})
	r := newRig(t, memory(t), before, after)
	at := func(p string) string { return filepath.Join(r.root, p) }
	must(t, os.WriteFile(at("etc/edited"), []byte("mine"), 0o644))
	must(t, os.WriteFile(at("etc/removed"), []byte("mine too"), 0o644))
	must(t, os.WriteFile(at("etc/added"), []byte("mine as well"), 0o600))
	must(t, os.WriteFile(at("etc/same"), []byte("new"), 0o644)) // no clash: it is what it should become
	must(t, os.WriteFile(at("etc/d/x"), []byte("in a tree that goes"), 0o644))
	must(t, os.Remove(at("etc/gone")))
	changes := diff(before, after)

	_, err := r.apply(changes)
	c, ok := errors.AsType[*ClashError](err)
	if !ok || len(c.Clashes) != 5 {
		t.Fatalf("without Keep: got %v; want a *ClashError with 5", err)
	}
	if got, _ := os.ReadFile(at("etc/edited")); string(got) != "mine" {
		t.Errorf("without Keep, the file has become %q", got)
	}

	kept := map[state.Path]string{}
	r.a.o.Keep = func(c Clash, content io.Reader) error {
		if content == nil {
			kept[c.Path] = "nothing"
			return nil
		}
		data, err := io.ReadAll(content)
		kept[c.Path] = string(data)
		if c.Found == nil || c.Found.Data != blob(string(data)) {
			t.Errorf("%s: found %+v, content %q", c.Path, c.Found, data)
		}
		return err
	}
	g, err := r.a.Stage(t.Context(), changes)
	must(t, err)
	must(t, os.WriteFile(at("etc/late"), []byte("made after staging"), 0o644))
	rep, err := g.Apply(t.Context())
	must(t, err)
	r.is(after, "applied over clashes")
	want := map[state.Path]string{
		"etc/edited": "mine", "etc/removed": "mine too", "etc/added": "mine as well", "etc/gone": "nothing", "etc/late": "made after staging",
		"etc/d/x": "in a tree that goes",
	}
	if d := cmp.Diff(want, kept); d != "" || len(rep.Clashes) != len(want) {
		t.Errorf("kept (-want +got):\n%s\nreport: %+v", d, rep.Clashes)
	}

	// And on the way back.
	clear(kept)
	must(t, os.WriteFile(at("etc/same"), []byte("edited since"), 0o644))
	must(t, os.WriteFile(at("etc/removed"), []byte("made anew"), 0o644))
	must(t, os.Remove(at("etc/late")))
	must(t, os.Rename(at("etc/added"), at("etc/edited")))
	_, err = r.a.Undo(t.Context())
	must(t, err)
	if d := cmp.Diff(map[state.Path]string{"etc/removed": "made anew", "etc/late": "nothing", "etc/added": "nothing", "etc/edited": "new"}, kept); d != "" {
		t.Errorf("kept on the way back (-want +got):\n%s", d)
	}
	for p, want := range map[string]string{"etc/edited": "mine", "etc/removed": "mine too", "etc/d/x": "in a tree that goes", "etc/same": "edited since"} {
		if got, _ := os.ReadFile(at(p)); string(got) != want {
			t.Errorf("%s has become %q; want %q", p, got, want)
		}
	}
}

// A file is edited after the last look at it, and before it is replaced.
func TestLateClash(t *testing.T) {
	before, after := with(map[string]*node{"etc/f": file("old"), "etc/g": file("old")}), with(map[string]*node{"etc/f": file("new"), "etc/new": file("new")})
	for _, keeps := range []bool{true, false} {
		r := newRig(t, memory(t), before, after)
		var kept []string
		if keeps {
			r.a.o.Keep = func(c Clash, content io.Reader) error {
				data, err := io.ReadAll(content)
				kept = append(kept, string(c.Path)+" "+string(data))
				return err
			}
		}
		r.a.cut = func(call, what string) error {
			if call == "rename" && what == "journal.tmp journal" {
				for _, p := range []string{"etc/f", "etc/g", "etc/new"} {
					must(t, os.WriteFile(filepath.Join(r.root, p), []byte("mine, late"), 0o644))
				}
			}
			return nil
		}
		rep, err := r.apply(diff(before, after))
		if !keeps {
			if _, ok := errors.AsType[*ClashError](err); !ok {
				t.Errorf("without Keep: got %v; want a *ClashError", err)
			}
			r.is(with(map[string]*node{"etc/f": file("mine, late"), "etc/g": file("mine, late"), "etc/new": file("mine, late")}), "taken back")
			continue
		}
		must(t, err)
		r.is(after, "applied")
		if d := cmp.Diff([]string{"etc/f mine, late", "etc/new mine, late", "etc/g mine, late"}, kept); d != "" || len(rep.Clashes) != 3 {
			t.Errorf("kept (-want +got):\n%s\n%+v", d, rep.Clashes)
		}
	}
}

func TestKeepRefuses(t *testing.T) {
	before, after := with(map[string]*node{"etc/f": file("old")}), with(map[string]*node{"etc/f": file("new")})
	r := newRig(t, memory(t), before, after)
	r.a.o.Keep = func(Clash, io.Reader) error { return errors.New("the history is full") }
	must(t, os.WriteFile(filepath.Join(r.root, "etc/f"), []byte("mine"), 0o644))
	if _, err := r.apply(diff(before, after)); err == nil || !strings.Contains(err.Error(), "the history is full") {
		t.Errorf("got %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(r.root, "etc/f")); string(got) != "mine" {
		t.Errorf("the file has become %q", got)
	}
}

// What nobody tracks goes along with its directory, comes back with it, and is never deleted.
func TestForeignFiles(t *testing.T) {
	before := with(map[string]*node{"etc/d/sub/x": file("old"), "etc/kind/y": file("old"), "etc/pipe": file("old")})
	after := with(map[string]*node{"etc/kind": file("now a file"), "etc/pipe": file("new")})
	r := newRig(t, memory(t), before, after)
	at := func(p string) string { return filepath.Join(r.root, p) }
	foreign := []string{"etc/d/sub/foreign", "etc/kind/foreign", "etc/kind/deep/er/foreign"}
	for _, p := range foreign {
		must(t, os.MkdirAll(filepath.Dir(at(p)), 0o755))
		must(t, os.WriteFile(at(p), []byte("precious"), 0o600))
	}
	must(t, os.Remove(at("etc/pipe")))
	must(t, unix.Mkfifo(at("etc/pipe"), 0o600))
	l, err := net.Listen("unix", at("etc/kind/socket"))
	must(t, err)
	defer func() { _ = l.Close() }()
	var told []state.Path
	r.a.o.Keep = func(c Clash, _ io.Reader) error { told = append(told, c.Path); return nil }
	rep, err := r.apply(diff(before, after))
	must(t, err)
	r.is(after, "applied")
	var aside []state.Path
	for _, a := range rep.Aside {
		aside = append(aside, a.Path)
	}
	slices.Sort(aside)
	want := []state.Path{"etc/d/sub/foreign", "etc/kind/deep", "etc/kind/deep/er", "etc/kind/deep/er/foreign", "etc/kind/foreign", "etc/kind/socket"}
	if d := cmp.Diff(want, aside); d != "" {
		t.Errorf("told aside (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]state.Path{"etc/pipe"}, told); d != "" {
		t.Errorf("clashes (-want +got):\n%s", d)
	}
	_, err = r.a.Undo(t.Context())
	must(t, err)
	for _, p := range foreign {
		if got, _ := os.ReadFile(at(p)); string(got) != "precious" {
			t.Errorf("%s did not come back: %q", p, got)
		}
	}
	_, err = r.apply(diff(before, after))
	must(t, err)
	next := after.clone()
	next["etc/more"] = file("")
	r.a.o.Content = content(next)
	_, err = r.apply(diff(after, next))
	must(t, err)
	must(t, r.a.Confirm()) // the way back to the directory is over
	var kept []string
	must(t, filepath.Walk(filepath.Join(r.o.Staging, asideDir), func(p string, st os.FileInfo, err error) error {
		if err == nil && st.Mode().IsRegular() {
			kept = append(kept, filepath.Base(p))
		}
		return err
	}))
	if len(kept) != len(foreign) || slices.ContainsFunc(kept, func(s string) bool { return s != "foreign" }) {
		t.Errorf("kept aside: %q", kept)
	}
}

func TestConfirmKeepsTheLast(t *testing.T) {
	a, b, c := with(map[string]*node{"etc/f": file("1")}), with(map[string]*node{"etc/f": file("2")}), with(map[string]*node{"etc/f": file("3")})
	r := newRig(t, memory(t), a, b, c)
	_, err := r.apply(diff(a, b))
	must(t, err)
	must(t, r.a.Confirm())
	_, err = r.apply(diff(b, c))
	must(t, err)
	// Not confirmed: both can be undone.
	_, err = r.a.Undo(t.Context())
	must(t, err)
	r.is(b, "the last undone")
	_, err = r.apply(diff(b, c))
	must(t, err)
	must(t, r.a.Confirm())
	_, err = r.a.Undo(t.Context())
	must(t, err)
	r.is(b, "the last undone")
	if _, err = r.a.Undo(t.Context()); !errors.Is(err, ErrNothing) {
		t.Errorf("what was there before the last confirmed: got %v; want ErrNothing", err)
	}
}

func TestMounted(t *testing.T) {
	before := with(map[string]*node{"etc/ssl/certs/own": file("old"), "etc/ssl/other": file("old"), "etc/cache": file("old"), "etc/z": file("old")})
	after := with(map[string]*node{"etc/ssl/certs/own": file("new"), "etc/cache": file("new"), "etc/z": file("new")})
	delete(after, "etc/ssl/other")
	r := newRig(t, memory(t), before, after)
	at := func(p string) string { return filepath.Join(r.root, p) }
	image := t.TempDir()
	must(t, os.WriteFile(filepath.Join(image, "own"), []byte("the image's"), 0o644))
	for to, from := range map[string]string{"etc/ssl/certs": image, "etc/cache": filepath.Join(image, "own")} {
		if err := unix.Mount(from, at(to), "", unix.MS_BIND, ""); err != nil {
			t.Skip("mounts are not allowed here: ", err)
		}
		defer func() { _ = unix.Unmount(at(to), unix.MNT_DETACH) }()
	}
	check := func(changes []state.Change, want ...state.Path) {
		t.Helper()
		rep, err := r.apply(changes)
		must(t, err)
		var got []state.Path
		for _, s := range rep.Skipped {
			got = append(got, s.Path)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("skipped (-want +got):\n%s", d)
		}
	}
	check(diff(before, after), "etc/cache", "etc/ssl/certs/own")
	gone := base()
	check(diff(after, gone), "etc/cache", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/own")
	if got, _ := os.ReadFile(at("etc/ssl/certs/own")); string(got) != "the image's" {
		t.Errorf("the mounted file has become %q", got)
	}
	if _, err := os.Lstat(at("etc/z")); err == nil {
		t.Error("what is not hindered was not removed")
	}
}

// flags gives a file these flags of chattr(1) and takes the other of the two.
func flags(t *testing.T, path string, flag int) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	now, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(int32(now))&^(immutable|appendOnly)|flag) //nolint:gosec // 32 bits are written
	}
	if err != nil {
		t.Skip("this filesystem has no such flags: ", err)
	}
}

const immutable, appendOnly = 0x10, 0x20

func TestLocked(t *testing.T) {
	before := with(map[string]*node{"etc/a": file("old"), "etc/d/f": file("old"), "etc/z": file("old"), "etc/x": dir()})
	after := with(map[string]*node{"etc/a": file("new"), "etc/d/f": file("new"), "etc/x": {kind: state.Dir, mode: 0o700}})
	for name, c := range map[string]struct {
		flag       int
		path, want string
	}{
		"immutable": {immutable, "etc/a", "chattr -i '/etc/a'"}, "directory": {immutable, "etc/d", "chattr -i '/etc/d'"},
		"append only": {appendOnly, "etc/z", "chattr -a '/etc/z'"}, "attributes": {immutable, "etc/x", "chattr -i '/etc/x'"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, t.TempDir(), before, after)
			at := filepath.Join(r.root, c.path)
			flags(t, at, c.flag)
			_, err := r.apply(diff(before, after))
			l, ok := errors.AsType[*LockedError](err)
			if !ok || string(l.Path) != c.path || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want a *LockedError for %s that says %s", err, c.path, c.want)
			}
			flags(t, at, 0)
			r.is(before, "locked")
			// Locked only after it was staged.
			g, err := r.a.Stage(t.Context(), diff(before, after))
			must(t, err)
			flags(t, at, c.flag)
			_, err = g.Apply(t.Context())
			if _, ok := errors.AsType[*LockedError](err); !ok {
				t.Errorf("late: got %v; want a *LockedError", err)
			}
			must(t, g.Discard())
			flags(t, at, 0)
			r.is(before, "locked late")
			// Locked between the decision and its step.
			r.a.cut = func(call, what string) error {
				if call == "rename" && what == "journal.tmp journal" {
					flags(t, at, c.flag)
				}
				return nil
			}
			_, err = r.apply(diff(before, after))
			if _, ok := errors.AsType[*LockedError](err); !ok {
				t.Errorf("in the last moment: got %v; want a *LockedError", err)
			}
			flags(t, at, 0)
			r.is(before, "locked in the last moment")
			r.a.cut = func(string, string) error { return nil }
			_, err = r.apply(diff(before, after))
			must(t, err)
			r.is(after, "not locked any more")
		})
	}
}

// A filesystem of its own, of the given size.
func small(t *testing.T, size string) string {
	t.Helper()
	d := t.TempDir()
	if err := unix.Mount("tmpfs", d, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("mounts are not allowed here: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d, unix.MNT_DETACH) })
	return d
}

func TestNoSpace(t *testing.T) {
	before, after := base(), with(map[string]*node{"etc/big": file(strings.Repeat("x", 3<<20)), "etc/a": file("")})
	r := newRig(t, small(t, "2m"), before, after)
	_, err := r.apply(diff(before, after))
	n, ok := errors.AsType[*NoSpaceError](err)
	if !ok || n.Missing < 1<<20 || n.Where != r.o.Staging {
		t.Errorf("got %v; want a *NoSpaceError", err)
	}
	// It is the sizes that lied.
	changes := diff(before, after)
	for i := range changes {
		if changes[i].After != nil {
			changes[i].After.Size = 1
		}
	}
	if _, err := r.apply(changes); err == nil {
		t.Error("a wrong size was taken")
	}
	// Somebody else fills the disk between the look at it and the writing.
	full := with(map[string]*node{"etc/big": file(strings.Repeat("x", 1<<20))})
	r.a.o.Content = content(full)
	r.a.cut = func(call, _ string) error {
		if call == "make" {
			return os.WriteFile(filepath.Join(r.dir, "filler"), make([]byte, 1700<<10), 0o600)
		}
		return nil
	}
	if _, err := r.apply(diff(before, full)); err == nil {
		t.Error("a full disk was not told")
	} else if _, ok := errors.AsType[*NoSpaceError](err); !ok {
		t.Errorf("got %v; want a *NoSpaceError", err)
	}
	r.is(before, "no space")
	if left := r.staged(); len(left) > 0 {
		t.Errorf("left in the staging folder: %q", left)
	}
}

func TestReadOnly(t *testing.T) {
	before, after := base(), with(map[string]*node{"etc/a": file("x")})
	d := small(t, "4m")
	r := newRig(t, d, before, after)
	must(t, unix.Mount("", d, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err := r.apply(diff(before, after))
	if l, ok := errors.AsType[*LockedError](err); !ok || !strings.Contains(l.Why, "read-only") {
		t.Errorf("got %v; want a *LockedError", err)
	}
	must(t, unix.Mount("", d, "", unix.MS_REMOUNT, ""))
}

func TestOtherFilesystem(t *testing.T) {
	r := newRig(t, memory(t), base())
	o := r.o
	o.Staging = small(t, "1m")
	if a, err := Open(o); err == nil {
		a.Close()
		t.Error("a staging folder on another filesystem was taken")
	}
	if a, err := Open(r.o); err == nil {
		a.Close()
		t.Error("two at once in one staging folder")
	}
}

func TestRefused(t *testing.T) {
	e := func(p state.Path, n *node) *state.Entry {
		x := model{string(p): n}.entries()[p]
		return &x
	}
	f := e("etc/f", file("x"))
	hard := *f
	hard.Hard = "etc/a"
	self := *f
	self.Hard = "etc/f"
	unknown := *f
	unknown.Owner = "nobody-here"
	device := *f
	device.Kind = 'c'
	for name, changes := range map[string][]state.Change{
		"out":            {{Path: "etc/../x", After: f}},
		"absolute":       {{Path: "/etc/f", After: f}},
		"no place":       {{Path: "usr/f", After: f}},
		"export":         {{Path: "@db/x", After: f}},
		"twice":          {{Path: "etc/f", After: f}, {Path: "etc/f"}},
		"the place":      {{Path: "etc"}},
		"below a file":   {{Path: "etc/x", After: f}, {Path: "etc/x/f", After: f}},
		"below nothing":  {{Path: "etc/none/f", After: f}},
		"below removed":  {{Path: "etc/there", Before: e("etc/there", dir())}, {Path: "etc/there/f", After: f}},
		"device":         {{Path: "etc/f", After: &device}},
		"name of itself": {{Path: "etc/f", After: &self}},
		"name of none":   {{Path: "etc/f", After: &hard}, {Path: "etc/a"}},
		"unknown owner":  {{Path: "etc/f", After: &unknown}},
		"empty link":     {{Path: "etc/f", After: e("etc/f", link(""))}},
	} {
		t.Run(name, func(t *testing.T) {
			start := with(map[string]*node{"etc/there": dir()})
			r := newRig(t, memory(t), start, model{"x": file("x")})
			rep, err := r.apply(changes)
			if err == nil {
				t.Errorf("was taken: %+v", rep)
			}
			if _, ok := errors.AsType[*snapshot.UnknownNameError](err); name == "unknown owner" && !ok {
				t.Errorf("got %v; want an *UnknownNameError", err)
			}
			r.is(start, "refused")
			if left := r.staged(); len(left) > 0 {
				t.Errorf("left in the staging folder: %q", left)
			}
		})
	}
}

// A second name of a file that was changed here is made only of what it should be.
func TestHardLinkToChanged(t *testing.T) {
	shared := file("one")
	before := with(map[string]*node{"etc/a": shared})
	after := with(map[string]*node{"etc/a": shared, "etc/b": shared})
	r := newRig(t, memory(t), before, after)
	must(t, os.WriteFile(filepath.Join(r.root, "etc/a"), []byte("mine"), 0o644))
	var kept []string
	r.a.o.Keep = func(c Clash, content io.Reader) error {
		data, err := io.ReadAll(content)
		kept = append(kept, string(c.Path)+" "+string(data))
		return err
	}
	_, err := r.apply(diff(before, after))
	must(t, err)
	r.is(after, "linked")
	if d := cmp.Diff([]string{"etc/a mine"}, kept); d != "" {
		t.Errorf("kept (-want +got):\n%s", d)
	}
}

func TestCalledOff(t *testing.T) {
	before, after := base(), with(map[string]*node{"etc/a": file("x")})
	r := newRig(t, memory(t), before, after)
	g, err := r.a.Stage(t.Context(), diff(before, after))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Apply(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	r.is(before, "called off")
	_, err = g.Apply(t.Context())
	must(t, err)
	r.is(after, "and yet")
	if _, err := g.Apply(t.Context()); err == nil {
		t.Error("a generation was applied twice")
	}
}
