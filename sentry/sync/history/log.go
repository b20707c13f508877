package history

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// LogOptions choose commits.
type LogOptions struct {
	Path   state.Path // that changed: it, or anything below it
	Limit  int        // 0: all
	Before string     // commit: only what comes before it in the line
	Until  time.Time  // only what was recorded until then
}

// Log lists commits of a branch, the newest first.
func (r *Repo) Log(branch state.Branch, o LogOptions) ([]state.Commit, error) {
	h, ok := r.head(branch)
	if !ok {
		return nil, nil
	}
	if o.Before != "" {
		c, err := r.byID(o.Before)
		if err != nil {
			return nil, err
		}
		h = plumbing.NewHash(c.Parent)
	}
	var out []state.Commit
	err := r.line(h, o.Path, func(c *commitRec) (bool, error) {
		if o.Until.IsZero() || !c.At.After(o.Until) {
			out = append(out, c.Commit)
		}
		return o.Limit <= 0 || len(out) < o.Limit, nil
	})
	return out, err
}

// line calls fn for the commits from h back to the first one that changed path (all of them if it is ""), as long as fn wants more.
func (r *Repo) line(h plumbing.Hash, path state.Path, fn func(*commitRec) (bool, error)) error {
	var now *item // at path in the commit looked at
	known := false
	for !h.IsZero() {
		c, err := r.commit(h)
		if err != nil {
			return err
		}
		h = plumbing.NewHash(c.Parent)
		touched := true
		if path != "" {
			if !known {
				if now, err = r.lookup(c.tree, path); err != nil {
					return err
				}
				known = true
			}
			var before *item
			if !h.IsZero() {
				p, err := r.commit(h)
				if err != nil {
					return err
				}
				if before, err = r.lookup(p.tree, path); err != nil {
					return err
				}
			}
			touched = !same(now, before)
			now = before
		}
		if touched {
			if more, err := fn(c); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// At is the newest commit of a branch that was recorded at t or before. ErrNotFound if all are later.
func (r *Repo) At(branch state.Branch, t time.Time) (state.Commit, error) {
	list, err := r.Log(branch, LogOptions{Until: t, Limit: 1})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("a state of line %q at %s: %w", branch, t.Format("2006-01-02 15:04:05"), ErrNotFound)
	}
	if err != nil {
		return state.Commit{}, err
	}
	return list[0], nil
}

// Resolve understands what people write for a commit: "HEAD", "HEAD~3", the start of its name (4 characters at least), or a time in the zone of
// Options.Now ("2026-11-22 14:00", "2026-11-22": the end of that day, or RFC 3339).
func (r *Repo) Resolve(branch state.Branch, s string) (state.Commit, error) {
	s = strings.TrimSpace(s)
	if back, ok := strings.CutPrefix(s, "HEAD"); ok {
		return r.back(branch, back)
	}
	for _, f := range []struct {
		layout string
		more   time.Duration
	}{
		{"2006-01-02 15:04:05", 0},
		{"2006-01-02 15:04", time.Minute - time.Second},
		{"2006-01-02", 24*time.Hour - time.Second},
		{time.RFC3339, 0},
	} {
		if t, err := time.ParseInLocation(f.layout, s, r.opt.Now().Location()); err == nil {
			return r.At(branch, t.Add(f.more))
		}
	}
	if len(s) < 4 || len(s) > 40 || strings.Trim(s, "0123456789abcdef") != "" {
		return state.Commit{}, fmt.Errorf("%.80q is no commit: write the start of its name, a time like \"2026-11-22 14:00\", or HEAD~3", s)
	}
	h, ok := r.head(branch)
	if !ok {
		return state.Commit{}, fmt.Errorf("commit %s: %w", s, ErrNotFound)
	}
	var found []state.Commit
	err := r.line(h, "", func(c *commitRec) (bool, error) {
		if strings.HasPrefix(c.ID, s) {
			found = append(found, c.Commit)
		}
		return len(found) < 2, nil
	})
	switch {
	case err != nil:
		return state.Commit{}, err
	case len(found) == 0:
		return state.Commit{}, fmt.Errorf("commit %s in line %q: %w", s, branch, ErrNotFound)
	case len(found) > 1:
		return state.Commit{}, fmt.Errorf("more than one commit begins with %s: write more of its name", s)
	}
	return found[0], nil
}

func (r *Repo) back(branch state.Branch, s string) (state.Commit, error) {
	n := 0
	if s != "" {
		num, ok := strings.CutPrefix(s, "~")
		var err error
		if n, err = strconv.Atoi(num); err != nil || !ok || n < 0 {
			return state.Commit{}, fmt.Errorf("%.80q is no commit: HEAD is the newest, HEAD~1 the one before it", "HEAD"+s)
		}
	}
	var found *commitRec
	h, _ := r.head(branch)
	err := r.line(h, "", func(c *commitRec) (bool, error) {
		if n == 0 {
			found = c
		}
		n--
		return found == nil, nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("HEAD%s of line %q: %w", s, branch, ErrNotFound)
	}
	if err != nil {
		return state.Commit{}, err
	}
	return found.Commit, nil
}

// SetBranch puts a branch to a commit, durably; "" removes the branch. Its states stay readable until Pack drops what no branch leads to.
func (r *Repo) SetBranch(branch state.Branch, id string) error {
	if err := checkBranch(branch); err != nil {
		return fmt.Errorf("set a line: %w", err)
	}
	r.wmu.Lock()
	defer r.wmu.Unlock()
	if err := r.writable(); err != nil {
		return err
	}
	to := plumbing.ZeroHash
	var top state.Commit
	if id != "" {
		c, err := r.byID(id)
		if err != nil {
			return err
		}
		if _, err := r.loadDir(c.tree); err != nil {
			return fmt.Errorf("commit %s: %w", short(id), err)
		}
		to, top = plumbing.NewHash(id), c.Commit
	}
	if at, _ := r.head(branch); at == to {
		return nil
	}
	// While Pack runs it could drop what only this branch leads to from now on.
	r.mu.Lock()
	r.moved = true
	r.mu.Unlock()
	if err := r.newBatch().commit(branch, to, top); err != nil {
		return fmt.Errorf("set line %q: %w", branch, err)
	}
	return nil
}

// isAncestor tells whether a is b, or a commit before it.
func (r *Repo) isAncestor(a, b plumbing.Hash) (bool, error) {
	first, err := r.commit(a)
	if err != nil {
		return false, err
	}
	for !b.IsZero() {
		if a == b {
			return true, nil
		}
		c, err := r.commit(b)
		if err != nil {
			return false, err
		}
		if c.Seq <= first.Seq {
			return false, nil
		}
		b = plumbing.NewHash(c.Parent)
	}
	return false, nil
}
