package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// stamps remember which content a file had when its times were these, so that a comparison of everything does not read everything.
type stamps map[state.Path]struct {
	stamp snapshot.Stamp
	hash  state.Hash
}

func (s stamps) known(p state.Path, st snapshot.Stamp) state.Hash {
	if k, ok := s[p]; ok && k.stamp == st && st != (snapshot.Stamp{}) {
		return k.hash
	}
	return ""
}

func (s stamps) keep(i snapshot.Item) {
	if i.Entry.Kind != state.File || i.Stamp == (snapshot.Stamp{}) {
		delete(s, i.Path)
		return
	}
	s[i.Path] = struct {
		stamp snapshot.Stamp
		hash  state.Hash
	}{i.Stamp, i.Entry.Data}
}

// one looks at one path only, not at what lies below it.
func (e *Engine) one(p state.Path) []history.Edit {
	if e.ignored(p) {
		return nil
	}
	var buf bytes.Buffer
	item, err := e.tree.Read(p, func(size int64) (io.Writer, error) {
		if size > inMemory {
			return nil, nil //nolint:nilnil // not wanted: it is read again when it is recorded
		}
		buf.Reset()
		return &buf, nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		e.kept(p, nil)
		delete(e.seen, p)
		return []history.Edit{{Path: p}}
	case err != nil:
		e.unreadable(p, err)
		return nil
	}
	e.good(item)
	d := history.Edit{Path: p, Entry: &item.Entry}
	if item.Entry.Kind == state.File {
		d.Content = buf.Bytes()
		if item.Entry.Size > inMemory {
			d.Content, d.Open = nil, e.opener(p)
		} else if d.Content == nil {
			d.Content = []byte{}
		}
	}
	return []history.Edit{d}
}

// inMemory is up to which size a file is held in memory while it is recorded.
const inMemory = 1 << 20

// opener reads a file anew when it is recorded.
func (e *Engine) opener(p state.Path) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			begun := false
			_, err := e.tree.Read(p, func(int64) (io.Writer, error) {
				if begun { // what went down the pipe already cannot be taken back
					return nil, snapshot.ErrBusy
				}
				begun = true
				return w, nil
			})
			w.CloseWithError(err)
		}()
		return r, nil
	}
}

// everything looks at all that is watched, in one go: only so are all names of a file are seen.
func (e *Engine) everything(ctx context.Context) []history.Edit {
	e.links = map[state.Path]bool{}
	return e.look(ctx, roots(e.facts.Packs))
}

// linked looks at everything where edits concern files with several names: what was done by one name has changed the others, which the
// kernel does not tell, and which of them is the first is not known from one of them. Such files are rare.
func (e *Engine) linked(ctx context.Context, edits []history.Edit) []history.Edit {
	for _, d := range edits {
		for p := range e.links {
			if p == d.Path || d.Entry == nil && p.Under(d.Path) {
				return e.everything(ctx)
			}
		}
	}
	return edits
}

// good notes that a path could be read.
func (e *Engine) good(item snapshot.Item) {
	e.cfg.Findings.Clear(notKept + string(item.Path))
	delete(e.busy, item.Path)
	e.seen.keep(item)
	if item.Entry.Kind != state.Dir && item.Links > 1 {
		e.links[item.Path] = true
	}
}

// kept takes findings back about p and what lies below it, where bad does not name the path.
func (e *Engine) kept(p state.Path, bad map[state.Path]bool) {
	for _, f := range e.cfg.Findings.List() {
		if q, ok := strings.CutPrefix(f.ID, notKept); ok && state.Path(q).Under(p) && !bad[state.Path(q)] {
			e.cfg.Findings.Clear(f.ID)
		}
	}
}

// notKept begins the names of findings about paths that are not recorded.
const notKept = "sync-not-kept-"

// look looks at paths and all below them, and at what is recorded there and is gone.
func (e *Engine) look(ctx context.Context, paths []state.Path) []history.Edit {
	var out []history.Edit
	var dirs []state.Path
	here, bad := map[state.Path]bool{}, map[state.Path]bool{}
	for _, p := range paths {
		one := e.one(p)
		out = append(out, one...)
		if len(one) == 1 && one[0].Entry != nil && one[0].Entry.Kind == state.Dir {
			dirs = append(dirs, p)
			here[p] = true
		}
	}
	if len(dirs) == 0 {
		return out
	}
	named := len(out)
	scan := snapshot.ScanOptions{Skip: e.ignored, Known: e.seen.known}
	for item, err := range e.tree.Scan(ctx, dirs, scan) {
		if err != nil {
			e.unreadable(item.Path, err)
			if item.Path != "" {
				here[item.Path], bad[item.Path] = true, true
				continue
			}
			if _, ok := e.repo.Head(e.line()); !ok {
				return nil // the others would take a part for all of it, and remove the rest
			}
			return out[:named] // what is not here may still be there, and the first of far too many are not wanted
		}
		if here[item.Path] {
			continue
		}
		here[item.Path] = true
		entry := item.Entry
		d := history.Edit{Path: item.Path, Entry: &entry}
		if !e.differs(d) {
			e.good(item)
			continue
		}
		if entry.Kind == state.File && entry.Hard == "" {
			if one := e.one(item.Path); len(one) == 1 && one[0].Entry != nil {
				one[0].Entry.Hard = entry.Hard
				d = one[0]
			}
		}
		e.good(item)
		out = append(out, d)
	}
	if ctx.Err() != nil {
		return out
	}
	e.cfg.Findings.Clear("sync-too-many")
	head, ok := e.repo.Head(e.line())
	for _, p := range dirs {
		e.kept(p, bad)
		if !ok {
			continue
		}
		unread := slices.Collect(maps.Keys(bad)) // what lies below a directory that cannot be read is not gone
		err := e.repo.Walk(head.ID, p, func(q state.Path, _ state.Entry) error {
			if !here[q] && !e.ignored(q) && !slices.ContainsFunc(unread, q.Under) {
				out = append(out, history.Edit{Path: q})
			}
			return nil
		})
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			e.log.Warn("recorded state cannot be read", "path", p, "err", err)
		}
	}
	return out
}

// unreadable tells about a path that cannot be recorded now. What is recorded of it stays.
func (e *Engine) unreadable(p state.Path, err error) {
	f := initapi.Finding{ID: notKept + string(p), Severity: "warning", Where: e.cfg.Server, What: fmt.Sprintf("%s is not carried to the other servers: %v.", "/"+p, err)}
	var (
		notKept  *snapshot.NotKeptError
		tooLarge *snapshot.TooLargeError
		tooMany  *snapshot.TooManyError
	)
	switch {
	case errors.As(err, &notKept):
		f.Next = "Nothing needs to be done if a program made it for itself; otherwise remove it, or put it where it belongs: below /run."
	case errors.As(err, &tooLarge):
		f.Next = "Move it out of the configuration, to /srv or /home, if it is data."
	case errors.As(err, &tooMany):
		e.again[roots(e.facts.Packs)[0]] = time.Now().Add(e.cfg.patience)
		f.ID, f.Severity = "sync-too-many", "critical"
		f.What = "Changes of files are not recorded any more: " + err.Error() + "."
		f.Next = "Delete or move what was put there by mistake; everything is recorded by itself then."
	case errors.Is(err, snapshot.ErrBusy):
		e.again[p] = time.Now().Add(time.Second)
		if e.busy[p].IsZero() {
			e.busy[p] = time.Now()
		}
		if time.Since(e.busy[p]) < e.cfg.patience {
			return
		}
		f.Next = "Find the program that writes it all the time: fuser -v /" + string(p) + ". If it is no configuration, have it written elsewhere: below /run or /var."
	case errors.Is(err, context.Canceled):
		return
	default:
		f.Next = "Look at the file's rights and at the server's findings about its disks."
		e.again[p] = time.Now().Add(time.Minute)
	}
	e.cfg.Findings.Set(f)
}
