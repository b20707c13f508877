// Package steps runs a build as named steps, tells how long each took, and keeps what a step made under a key of everything
// that went into it, so that an unchanged step is reused. A result is a directory that is complete or not there: it is made
// under another name and renamed at the end.
package steps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/build/cache"
)

// Done is what one step took.
type Done struct {
	Name   string        `json:"name"`
	Took   time.Duration `json:"took_ns"`
	Reused bool          `json:"reused"`
}

// Runner runs steps. Its methods may be called concurrently.
type Runner struct {
	Out  io.Writer // progress, one line a step
	Work string    // where results are kept

	mu   sync.Mutex
	done []Done
}

// New makes a runner that keeps results in work, which it makes.
func New(out io.Writer, work string) (*Runner, error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	return &Runner{Out: out, Work: work}, nil
}

// Say prints one line of progress.
func (r *Runner) Say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.Out, format+"\n", args...)
}

// Do runs a step that keeps nothing.
func (r *Runner) Do(ctx context.Context, name string, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	start := time.Now()
	if err := f(ctx); err != nil {
		r.Say("  %-22s failed after %s", name, since(start))
		return fmt.Errorf("%s: %w", name, err)
	}
	r.finish(name, start, false)
	return nil
}

// Keep returns the directory of the step's result for key, having f fill it if it is not there yet.
func (r *Runner) Keep(ctx context.Context, name, key string, f func(ctx context.Context, dir string) error) (string, error) {
	start := time.Now()
	dir := filepath.Join(r.Work, name+"-"+key)
	if complete(dir) {
		r.finish(name, start, true)
		return dir, nil
	}
	unlock, err := cache.Lock(ctx, "step-"+name+"-"+cache.Key(r.Work))
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(dir) {
		r.finish(name, start, true)
		return dir, nil
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return "", fmt.Errorf("%s: remove unfinished result: %w", name, err)
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if err := f(ctx, tmp); err != nil {
		r.Say("  %-22s failed after %s", name, since(start))
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(tmp, mark), nil, 0o644); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	r.finish(name, start, false)
	r.prune(name, dir)
	return dir, nil
}

// mark is in every complete result.
const mark = ".complete"

func complete(dir string) bool {
	at := filepath.Join(dir, mark)
	if _, err := os.Stat(at); err != nil {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(at, now, now) // last use, for prune
	return true
}

// prune removes results of a step that nothing has used for a day, but for the two used last: each may be most of a gigabyte.
func (r *Runner) prune(name, keep string) {
	type old struct {
		dir  string
		used time.Time
	}
	var all []old
	dirs, err := filepath.Glob(filepath.Join(r.Work, name+"-*"))
	if err != nil {
		return
	}
	for _, d := range dirs {
		key := strings.TrimPrefix(filepath.Base(d), name+"-")
		st, err := os.Stat(filepath.Join(d, mark))
		if d == keep || strings.Contains(key, "-") || errors.Is(err, fs.ErrNotExist) || err != nil {
			continue
		}
		all = append(all, old{d, st.ModTime()})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].used.After(all[j].used) })
	for i, o := range all {
		if i >= 2 && time.Since(o.used) > 24*time.Hour {
			_ = os.RemoveAll(o.dir)
		}
	}
}

func (r *Runner) finish(name string, start time.Time, reused bool) {
	d := Done{Name: name, Took: time.Since(start), Reused: reused}
	r.mu.Lock()
	r.done = append(r.done, d)
	r.mu.Unlock()
	note := ""
	if reused {
		note = " (unchanged, reused)"
	}
	r.Say("  %-22s %s%s", name, since(start), note)
}

// All returns the steps done so far.
func (r *Runner) All() []Done {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Done(nil), r.done...)
}

func since(t time.Time) string { return fmt.Sprintf("%.1fs", time.Since(t).Seconds()) }
