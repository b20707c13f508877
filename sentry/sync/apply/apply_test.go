package apply

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// rig is a live tree with an applier.
type rig struct {
	t    testing.TB
	dir  string
	root string
	o    Options
	a    *Applier
}

// memory is a directory where durable costs nothing; the tests of durability watch the calls instead.
func memory(t testing.TB) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("owners need root")
	}
	if st, err := os.Stat("/dev/shm"); err != nil || !st.IsDir() || os.Getenv("ATLAS_ON_DISK") != "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "atlas-apply-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newRig(t testing.TB, dir string, before model, more ...model) *rig {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("owners need root")
	}
	root, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		t.Fatal(err)
	}
	before.write(t, root)
	r := &rig{t: t, dir: dir, root: root}
	r.o = Options{
		Places:  []Place{{"etc", filepath.Join(root, "etc")}, {"var", filepath.Join(root, "var")}},
		Staging: root + ".staging", Root: root, Names: snapshot.NewNames(root), Content: content(append(more, before)...), Reserve: 1,
	}
	r.open()
	t.Cleanup(func() { r.a.Close(); os.RemoveAll(root); os.RemoveAll(r.o.Staging) })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.a, err = Open(r.o); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) apply(changes []state.Change) (Report, error) {
	g, err := r.a.Stage(r.t.Context(), changes)
	if err != nil {
		return Report{}, err
	}
	rep, err := g.Apply(r.t.Context())
	if err != nil {
		err = errors.Join(err, g.Discard())
	}
	return rep, err
}

func (r *rig) is(m model, what string) {
	r.t.Helper()
	if d := m.compare(r.root, "etc", "var"); len(d) > 0 {
		r.t.Fatalf("%s: %d differences:\n%s", what, len(d), strings.Join(d, "\n"))
	}
}

func (r *rig) staged() []string {
	r.t.Helper()
	names, err := r.a.entries()
	if err != nil {
		r.t.Fatal(err)
	}
	return names
}

func seeds(t testing.TB, n int) []uint64 {
	t.Helper()
	first := uint64(time.Now().UnixNano())
	if s := os.Getenv("ATLAS_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &first); err != nil {
			t.Fatal(err)
		}
		n = 1
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = first + uint64(i)
	}
	return out
}

// Random trees and changes, applied one after the other, and then undone one after the other.
func TestRandom(t *testing.T) {
	dir := memory(t)
	n := 400
	if testing.Short() {
		n = 50
	}
	for _, seed := range seeds(t, n) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		first, second := random(rnd, 1+rnd.IntN(20))
		third := second.clone()
		for range rnd.IntN(20) {
			third.mutate(rnd)
		}
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newRig(t, dir, first, second, third)
			for _, s := range []struct{ from, to model }{{first, second}, {second, third}} {
				rep, err := r.apply(diff(s.from, s.to))
				if err != nil {
					t.Fatal(err)
				}
				if len(rep.Clashes)+len(rep.Aside)+len(rep.Skipped) > 0 {
					t.Errorf("told %+v", rep)
				}
				r.is(s.to, "after apply")
			}
			// The same again finds nothing to complain about.
			if _, err := r.apply(diff(second, third)); err != nil {
				t.Fatal(err)
			}
			r.is(third, "after the same again")
			r.back(first, second, third)
			if left := r.staged(); len(left) > 0 {
				t.Errorf("left in the staging folder: %q", left)
			}
		})
		if !ok {
			t.Fatalf("run again with ATLAS_SEED=%d", seed)
		}
	}
}

// back undoes until there is nothing left; each state on the way must be one of the given.
func (r *rig) back(first model, others ...model) {
	r.t.Helper()
	for {
		_, err := r.a.Undo(r.t.Context())
		if errors.Is(err, ErrNothing) {
			r.is(first, "all undone")
			return
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if d := first.compare(r.root, "etc", "var"); len(d) > 0 && !slices.ContainsFunc(others, func(m model) bool {
			return len(m.compare(r.root, "etc", "var")) == 0
		}) {
			r.t.Fatalf("half undone:\n%s", strings.Join(d, "\n"))
		}
	}
}

var errCut = errors.New("the power is cut")

// after lets the n-th call and all later ones fail.
func (a *Applier) after(n int) (count *int) {
	count = new(int)
	a.cut = func(string, string) error {
		*count++
		if *count > n {
			return errCut
		}
		return nil
	}
	return count
}

// Power cuts: at each call of staging and applying, in recovering from it, and at each call of going back.
func TestCut(t *testing.T) {
	dir := memory(t)
	n := 25
	if testing.Short() {
		n = 3
	}
	cuts, finished, undone := 0, 0, 0
	for _, seed := range seeds(t, n) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		before, after := random(rnd, 6)
		changes := diff(before, after)
		for at := 0; ; at++ {
			r := newRig(t, dir, before, after)
			made := r.a.after(at)
			_, err := r.apply(changes)
			if err == nil {
				if *made > at {
					t.Fatal("a cut went unnoticed")
				}
				cuts += at
				r.a.Close()
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatalf("seed %d, cut %d: %v", seed, at, err)
			}
			r.recoverCut(rnd)
			rec, err := r.a.Recover()
			if err != nil {
				t.Fatalf("seed %d, cut %d: recover: %v", seed, at, err)
			}
			_ = rec
			if len(before.compare(r.root, "etc", "var")) == 0 {
				undone++
			} else {
				finished++
				r.is(after, fmt.Sprintf("seed %d, cut %d: neither before nor after", seed, at))
				if _, err := r.a.Undo(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.is(before, fmt.Sprintf("seed %d, cut %d: undone", seed, at))
			}
			if left := r.staged(); len(left) > 0 {
				t.Fatalf("left in the staging folder: %q", left)
			}
			r.a.Close()
			os.RemoveAll(r.root)
			os.RemoveAll(r.o.Staging)
		}
		for at := 0; ; at++ {
			r := newRig(t, dir, before, after)
			if _, err := r.apply(changes); err != nil {
				t.Fatal(err)
			}
			made := r.a.after(at)
			_, err := r.a.Undo(t.Context())
			if *made <= at {
				if err != nil && !errors.Is(err, ErrNothing) {
					t.Fatal(err)
				}
				cuts += at
				break
			}
			r.recoverCut(rnd)
			if _, err := r.a.Recover(); err != nil {
				t.Fatalf("seed %d, cut %d of undo: recover: %v", seed, at, err)
			}
			if len(before.compare(r.root, "etc", "var")) > 0 {
				r.is(after, fmt.Sprintf("seed %d, cut %d of undo", seed, at))
			}
			r.a.Close()
			os.RemoveAll(r.root)
			os.RemoveAll(r.o.Staging)
		}
	}
	t.Logf("%d cuts; of those in applying, %d ended as before and %d as after", cuts, undone, finished)
	if undone == 0 || finished == 0 {
		t.Error("the cuts did not reach both ends")
	}
}

// recoverCut starts anew as after a power cut, and cuts the recovery a few times too.
func (r *rig) recoverCut(rnd *rand.Rand) {
	r.t.Helper()
	for range rnd.IntN(3) {
		r.a.Close()
		r.open()
		r.a.after(rnd.IntN(12))
		_, _ = r.a.Recover()
	}
	r.a.Close()
	r.open()
}

// Nothing may be live before what it is made of is on the disk, and nothing is done before its directories are.
func TestDurable(t *testing.T) {
	dir := memory(t)
	for _, size := range []int{3, 100} {
		before, after := base(), base()
		for i := range size {
			after[fmt.Sprintf("etc/f%d", i)] = &node{kind: state.File, mode: 0o644, data: fmt.Sprint(i)}
		}
		delete(after, "etc/none")
		r := newRig(t, dir, before, after)
		var log []string
		r.a.cut = func(call, what string) error { log = append(log, call+" "+what); return nil }
		if _, err := r.apply(diff(before, after)); err != nil {
			t.Fatal(err)
		}
		decided := slices.Index(log, "rename journal.tmp journal")
		done := slices.Index(log, "rename journal journal.done")
		if decided < 0 || done < decided {
			t.Fatalf("no decision in %q", log)
		}
		for i := range size {
			if slot := slices.Index(log[:decided], fmt.Sprintf("sync slot %d", i)); slot < 0 && !slices.Contains(log[:decided], "syncfs ") {
				t.Errorf("slot %d is not on the disk before the decision", i)
			}
			move := slices.Index(log, fmt.Sprintf("rename %d f%d", i, i))
			if size == 3 && move < decided { // slots are numbered in the order of paths
				t.Errorf("file %d was moved before the decision: %q", i, log)
			}
		}
		if !slices.Contains(log[:decided], "sync journal.tmp") || !strings.HasPrefix(log[decided+1], "sync generation-") {
			t.Errorf("the decision is not on the disk: %q", log[decided-1:decided+2])
		}
		if !slices.Contains(log[decided:done], "sync etc") || !strings.HasPrefix(log[done+1], "sync generation-") {
			t.Errorf("not durable before it is called done: %q", log[decided:])
		}
	}
}

func TestContentIsChecked(t *testing.T) {
	before, after := base(), base()
	after["etc/f"] = &node{kind: state.File, mode: 0o644, data: "what was announced"}
	for name, data := range map[string]string{"short": "what", "long": "what was announced, and more", "mangled": "what was announceD"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, memory(t), before, after)
			r.a.o.Content = func(state.Hash) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil }
			_, err := r.apply(diff(before, after))
			if _, ok := errors.AsType[*ContentError](err); !ok {
				t.Errorf("got %v; want a *ContentError", err)
			}
			r.is(before, "after content that is wrong")
			if left := r.staged(); len(left) > 0 {
				t.Errorf("left in the staging folder: %q", left)
			}
		})
	}
}

// The usual change: one small file, on a real disk.
func BenchmarkSmallFile(b *testing.B) {
	before := base()
	r := newRig(b, b.TempDir(), before)
	at := before
	var times, staging []time.Duration
	for i := 0; b.Loop(); i++ {
		next := at.clone()
		next["etc/hosts"] = &node{kind: state.File, mode: 0o644, data: fmt.Sprintf("192.0.2.%d host\n", i)}
		changes := diff(at, next)
		r.a.o.Content = content(next)
		start := time.Now()
		g, err := r.a.Stage(b.Context(), changes)
		if err != nil {
			b.Fatal(err)
		}
		staging = append(staging, time.Since(start))
		if _, err := g.Apply(b.Context()); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
		if err := r.a.Confirm(); err != nil {
			b.Fatal(err)
		}
		at = next
	}
	slices.Sort(times)
	slices.Sort(staging)
	b.ReportMetric(float64(staging[len(staging)/2].Microseconds())/1000, "stage-p50-ms")
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

// Many files at once: a package's, or a server that was off for a month.
func BenchmarkManyFiles(b *testing.B) {
	const n = 5000
	before, after := base(), base()
	for i := range n {
		if i%100 == 0 {
			after[fmt.Sprintf("etc/d%d", i/100)] = &node{kind: state.Dir, mode: 0o755}
		}
		after[fmt.Sprintf("etc/d%d/f%d", i/100, i)] = &node{kind: state.File, mode: 0o644, data: fmt.Sprintf("file %d\n", i)}
	}
	r := newRig(b, b.TempDir(), before, after)
	changes := diff(before, after)
	for b.Loop() {
		if _, err := r.apply(changes); err != nil {
			b.Fatal(err)
		}
		if _, err := r.a.Undo(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
