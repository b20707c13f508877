package apply

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/sync/state"
)

// linkOut leads out of etc/d; it is relative, since an absolute one would cross mounts, which is refused already.
const linkOut = "../../outside/etc"

// Links in the way lead to a directory outside of all places, in which nothing may ever change.
func TestLinksInTheWay(t *testing.T) {
	before := with(map[string]*node{"etc/d/f": file("old"), "etc/d/sub/g": file("old"), "etc/plain": file("old")})
	for name, c := range map[string]struct {
		after model
		fails bool
	}{
		"write":      {with(map[string]*node{"etc/d/f": file("new"), "etc/d/sub/g": file("old"), "etc/plain": file("old")}), true},
		"deep":       {with(map[string]*node{"etc/d/f": file("old"), "etc/d/sub/g": file("new"), "etc/plain": file("old")}), true},
		"make deep":  {with(map[string]*node{"etc/d/f": file("old"), "etc/d/sub/g": file("old"), "etc/d/sub/new": file("new"), "etc/plain": file("old")}), true},
		"rm deep":    {with(map[string]*node{"etc/d/f": file("old"), "etc/d/sub": dir(), "etc/plain": file("old")}), false},
		"make":       {with(map[string]*node{"etc/d/f": file("old"), "etc/d/sub/g": file("old"), "etc/d/new": file("new"), "etc/plain": file("old")}), true},
		"remove":     {with(map[string]*node{"etc/d/sub/g": file("old"), "etc/plain": file("old")}), false}, // it is gone, and the link is another's
		"attributes": {with(map[string]*node{"etc/d/f": file("old"), "etc/d/sub": {kind: state.Dir, mode: 0o700}, "etc/d/sub/g": file("old"), "etc/plain": file("old")}), true},
		"the tree":   {with(map[string]*node{"etc/plain": file("old")}), false}, // the link itself is removed
		"itself":     {with(map[string]*node{"etc/d": link("nowhere"), "etc/plain": file("old")}), false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := memory(t)
			r := newRig(t, dir, before, c.after)
			outside := with(map[string]*node{"etc/f": file("old"), "etc/sub/g": file("old")})
			out := filepath.Join(dir, "outside")
			must(t, os.Mkdir(out, 0o755))
			outside.write(t, out)
			must(t, os.Rename(filepath.Join(r.root, "etc/d"), filepath.Join(dir, "aside")))
			must(t, os.Symlink(linkOut, filepath.Join(r.root, "etc/d")))
			r.a.o.Keep = keepNothing
			_, err := r.apply(diff(before, c.after))
			if c.fails != (err != nil) {
				t.Errorf("got %v", err)
			}
			if _, ok := errors.AsType[*ParentError](err); c.fails && !ok {
				t.Errorf("got %v; want a *ParentError", err)
			}
			if d := outside.compare(out, "etc", "var"); len(d) > 0 {
				t.Errorf("outside:\n%s", strings.Join(d, "\n"))
			}
			_, _ = r.a.Undo(t.Context())
			if d := outside.compare(out, "etc", "var"); len(d) > 0 {
				t.Errorf("outside, after undo:\n%s", strings.Join(d, "\n"))
			}
		})
	}
}

// Somebody exchanges a directory with a link all the time, while states are applied and undone.
func TestLinkRace(t *testing.T) {
	dir := memory(t)
	before := with(map[string]*node{"etc/d/f": file("old"), "etc/d/sub/g": file("old")})
	after := with(map[string]*node{"etc/d/f": file("old"), "etc/d/sub/h": file("new"), "etc/d/sub/x": {kind: state.Dir, mode: 0o700}})
	r := newRig(t, dir, before, after)
	r.a.o.Keep = keepNothing
	outside := with(map[string]*node{"etc/f": file("old"), "etc/sub/g": file("old")})
	out := filepath.Join(dir, "outside")
	must(t, os.Mkdir(out, 0o755))
	outside.write(t, out)
	decoy := filepath.Join(dir, "decoy")
	must(t, os.Symlink(linkOut, decoy))
	var stop atomic.Bool
	var wg sync.WaitGroup
	swaps := 0
	wg.Go(func() {
		for !stop.Load() {
			_ = unix.Renameat2(unix.AT_FDCWD, decoy, unix.AT_FDCWD, filepath.Join(r.root, "etc/d"), unix.RENAME_EXCHANGE)
			swaps++
		}
	})
	worked := 0
	for range 500 {
		if _, err := r.apply(diff(before, after)); err == nil {
			worked++
		}
		_, _ = r.a.Undo(t.Context())
		_, _ = r.a.Recover()
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d exchanges; %d of 500 worked", swaps, worked)
	if d := outside.compare(out, "etc", "var"); len(d) > 0 {
		t.Errorf("outside:\n%s", strings.Join(d, "\n"))
	}
}

func keepNothing(Clash, io.Reader) error { return nil }
