package history

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// bigTree has n files, 100 to a directory, four directories deep.
func bigTree(n int) []Edit {
	out := []Edit{folder("etc")}
	for i := 0; i < n; i += 100 {
		top := fmt.Sprintf("etc/d%02d", i/100%40)
		if i/100 < 40 {
			out = append(out, folder(top))
		}
		dir := fmt.Sprintf("%s/s%04d", top, i/100)
		out = append(out, folder(dir))
		for k := i; k < min(n, i+100); k++ {
			out = append(out, file(fmt.Sprintf("%s/file%05d.conf", dir, k), strings.Repeat(fmt.Sprintf("setting%d = %d\n", k, k*7), 20)))
		}
	}
	return out
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkRecord records one changed file of a tree, durably.
func BenchmarkRecord(b *testing.B) {
	for _, n := range []int{700, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			before := heap()
			r, err := Open(b.TempDir(), Options{Server: "web1"})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = r.Close() })
			edits := bigTree(n)
			start := time.Now()
			if _, _, err := r.Record(state.Site, edits, Meta{}); err != nil {
				b.Fatal(err)
			}
			first := time.Since(start)
			edits = nil
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				k := i * 37 % n
				e := file(fmt.Sprintf("etc/d%02d/s%04d/file%05d.conf", k/100%40, k/100, k), fmt.Sprintf("changed %d\n", i))
				start := time.Now()
				if _, _, err := r.Record(state.Site, []Edit{e}, Meta{Who: state.Who{Program: "vi", User: "root"}}); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			report(b, took)
			b.ReportMetric(first.Seconds()*1000, "first-ms")
			b.ReportMetric(float64(heap()-before)/1e6, "MB-held")
			st, err := r.Stats()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(st.Bytes+st.Journal)/1e6, "MB-disk")
			runtime.KeepAlive(edits)
		})
	}
}

// BenchmarkGit does the same with C git, the quickest way that it has without a worktree; every object and the index flushed as git does.
func BenchmarkGit(b *testing.B) {
	bin, err := exec.LookPath("git")
	if err != nil {
		b.Skip("git is not installed")
	}
	for _, n := range []int{700, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			run := func(stdin string, args ...string) string {
				cmd := exec.Command(bin, append([]string{"--git-dir", dir, "-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync"}, args...)...)
				cmd.Stdin = strings.NewReader(stdin)
				cmd.Env = append(cmd.Environ(), "GIT_AUTHOR_NAME=x", "GIT_AUTHOR_EMAIL=x", "GIT_COMMITTER_NAME=x", "GIT_COMMITTER_EMAIL=x", "GIT_CONFIG_GLOBAL=/dev/null")
				out, err := cmd.CombinedOutput()
				if err != nil {
					b.Fatalf("git %v: %v\n%s", args, err, out)
				}
				return string(bytes.TrimSpace(out))
			}
			run("", "init", "--bare")
			blob := run("x", "hash-object", "-w", "--stdin")
			var index strings.Builder
			for _, e := range bigTree(n) {
				if e.Entry.Kind == state.File {
					fmt.Fprintf(&index, "100644 %s 0\t%s\n", blob, e.Path)
				}
			}
			run(index.String(), "update-index", "--add", "--index-info")
			run("", "update-ref", "refs/heads/site", run("", "commit-tree", "-m", "x", run("", "write-tree")))
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				k := i * 37 % n
				start := time.Now()
				blob := run(fmt.Sprintf("changed %d\n", i), "hash-object", "-w", "--stdin")
				run(fmt.Sprintf("100644 %s 0\tetc/d%02d/s%04d/file%05d.conf\n", blob, k/100%40, k/100, k), "update-index", "--index-info")
				c := run("", "commit-tree", "-p", "refs/heads/site", "-m", "x", run("", "write-tree"))
				run("", "update-ref", "refs/heads/site", c)
				took = append(took, time.Since(start))
			}
			report(b, took)
		})
	}
}

// BenchmarkLog asks for the history of one file among a thousand commits.
func BenchmarkLog(b *testing.B) {
	r, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	if _, _, err := r.Record(state.Site, bigTree(700), Meta{}); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		k := i * 37 % 700
		if _, _, err := r.Record(state.Site, []Edit{file(fmt.Sprintf("etc/d%02d/s%04d/file%05d.conf", k/100%40, k/100, k), fmt.Sprint(i))}, Meta{}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if l, err := r.Log(state.Site, LogOptions{Path: "etc/d00/s0000/file00037.conf"}); err != nil || len(l) < 2 {
			b.Fatal(len(l), err)
		}
	}
}

// BenchmarkCarry records, exports and imports one change: what history adds to the way from one server to the other.
func BenchmarkCarry(b *testing.B) {
	from, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = from.Close() })
	to, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = to.Close() })
	c, _, err := from.Record(state.Site, bigTree(50_000), Meta{})
	if err != nil {
		b.Fatal(err)
	}
	carry := func(have []string) {
		var buf bytes.Buffer
		if err := from.Export(&buf, have, c.ID); err != nil {
			b.Fatal(err)
		}
		if _, err := to.Import(&buf, lots, state.Site, c.ID, ImportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	carry(nil)
	first := time.Since(start)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		have := c.ID
		start := time.Now()
		if c, _, err = from.Record(state.Site, []Edit{file("etc/d01/s0001/file00137.conf", fmt.Sprint(i))}, Meta{}); err != nil {
			b.Fatal(err)
		}
		carry([]string{have})
		took = append(took, time.Since(start))
	}
	report(b, took)
	b.ReportMetric(first.Seconds()*1000, "first-ms")
}

// BenchmarkPack packs a thousand commits, and tells how long a commit had to wait at most meanwhile.
func BenchmarkPack(b *testing.B) {
	r, err := Open(b.TempDir(), Options{journal: 1 << 18})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	if _, _, err := r.Record(state.Site, bigTree(700), Meta{}); err != nil {
		b.Fatal(err)
	}
	n := 0
	record := func() time.Duration {
		k := n * 37 % 700
		n++
		e := file(fmt.Sprintf("etc/d%02d/s%04d/file%05d.conf", k/100%40, k/100, k), fmt.Sprint(n))
		start := time.Now()
		if _, _, err := r.Record(state.Site, []Edit{e}, Meta{}); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	var slowest time.Duration
	var before, after int64
	for b.Loop() {
		b.StopTimer()
		for range 1000 {
			record()
		}
		st, _ := r.Stats()
		before = st.Bytes
		b.StartTimer()
		done := make(chan error)
		go func() { done <- r.Pack(b.Context()) }()
		for waiting := true; waiting; {
			select {
			case err := <-done:
				if err != nil {
					b.Fatal(err)
				}
				waiting = false
			case <-time.After(10 * time.Millisecond):
				slowest = max(slowest, record())
			}
		}
		st, _ = r.Stats()
		after = st.Bytes
	}
	b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-record-ms")
	b.ReportMetric(float64(before)/1e6, "MB-before")
	b.ReportMetric(float64(after)/1e6, "MB-after")
}

// BenchmarkVerify reads a whole history, as it is settled by itself and when it is packed; "quick" by CheckFiles.
func BenchmarkVerify(b *testing.B) {
	for _, c := range []struct {
		files, commits int
		packed         bool
	}{{700, 2000, false}, {700, 2000, true}, {5000, 2000, true}} {
		b.Run(fmt.Sprintf("%d-files/%d-commits/packed-%v", c.files, c.commits, c.packed), func(b *testing.B) {
			r, err := Open(b.TempDir(), Options{Server: "web1"})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = r.Close() })
			if _, _, err := r.Record(state.Site, bigTree(c.files), Meta{}); err != nil {
				b.Fatal(err)
			}
			for i := range c.commits {
				k := i * 37 % c.files
				e := file(fmt.Sprintf("etc/d%02d/s%04d/file%05d.conf", k/100%40, k/100, k), strings.Repeat(fmt.Sprintf("setting%d = %d\n", k, i), 20))
				if _, _, err := r.Record(state.Site, []Edit{e}, Meta{}); err != nil {
					b.Fatal(err)
				}
			}
			if c.packed {
				if err := r.Pack(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.Run("whole", func(b *testing.B) {
				for b.Loop() {
					if err := r.Verify(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("quick", func(b *testing.B) {
				for b.Loop() {
					if err := r.CheckFiles(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
