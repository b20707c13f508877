package history

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/lines"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Line is a line of a file and the commit that it is from.
type Line struct {
	Text   string
	Commit state.Commit
}

// Blame tells for each line of the file at path in a commit which commit brought it. Text is as hide lets it be shown.
func (r *Repo) Blame(commitID string, path state.Path, hide Hide) ([]Line, error) {
	e, ok, err := r.Lookup(commitID, path)
	if err != nil {
		return nil, err
	}
	if !ok || e.Kind != state.File {
		return nil, fmt.Errorf("a file %s in commit %s: %w", pathWord(path), short(commitID), ErrNotFound)
	}
	now, err := r.show(path, &e, hide)
	if err != nil {
		return nil, err
	}
	if now.why != "" {
		return nil, &NotShownError{path, now.why}
	}
	out := make([]Line, len(now.lines))
	open := make([]int, len(now.lines)) // the line of the text looked at that is the i-th of it; -1 if its commit is found
	for i := range out {
		out[i].Text, open[i] = now.lines[i], i
	}
	left := len(open)
	text := now.real
	err = r.line(plumbing.NewHash(commitID), path, func(c *commitRec) (bool, error) {
		var before []string
		if c.Parent != "" {
			old, ok, err := r.Lookup(c.Parent, path)
			if err != nil {
				return false, err
			}
			if ok && old.Kind == state.File && old.Data == e.Data {
				return true, nil // attributes only
			}
			if ok && old.Kind == state.File {
				s, err := r.show(path, &old, ShowAll)
				if err != nil {
					return false, err
				}
				before, e = s.real, old
			}
		}
		was := make([]int, len(text)) // 1 + the line before
		for _, m := range lines.Match(before, text) {
			for k := range m.N {
				was[m.B+k] = m.A + k + 1
			}
		}
		for i, at := range open {
			if at < 0 {
				continue
			}
			if was[at] > 0 {
				open[i] = was[at] - 1
				continue
			}
			out[i].Commit, open[i] = c.Commit, -1
			left--
		}
		text = before
		return left > 0, nil
	})
	return out, err
}
