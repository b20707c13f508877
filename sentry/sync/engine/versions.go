package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// stockPath is where a primary records what its image ships, for servers with another image.
const stockPath state.Path = state.Exports + "/image/files"

// converted is the line of what the primary's states are in the words of this server's image. Each of its commits stands on one of the site's.
const converted state.Branch = "converted"

const findConvert = "sync-convert-"

// versions is what a secondary knows of converting.
type versions struct {
	stock  *convert.Stock
	head   string       // commit of the site's line that was converted last
	target state.Commit // and what became of it
	told   []convert.Finding
}

// ownStock is what this server's image ships, read once.
func (e *Engine) ownStock(ctx context.Context) (*convert.Stock, error) {
	if e.versions.stock != nil {
		return e.versions.stock, nil
	}
	release, err := strconv.Atoi(e.cfg.Debian)
	if err != nil {
		return nil, fmt.Errorf("the release of Debian, %q, is no number", e.cfg.Debian)
	}
	t, err := snapshot.Open(e.cfg.ImageRoot, snapshot.Options{MaxFile: maxFile})
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.Close() }()
	s := convert.Stock{Release: release, Image: e.cfg.Image, Files: map[state.Path]state.Entry{}}
	for item, err := range t.Scan(ctx, []state.Path{"etc"}, snapshot.ScanOptions{}) {
		var not *snapshot.NotKeptError
		switch {
		case errors.As(err, &not):
		case err != nil:
			return nil, fmt.Errorf("look at what the image ships: %w", err)
		case e.facts.Class(item.Path) == class.Shared:
			s.Files[item.Path] = item.Entry
		}
	}
	e.versions.stock = &s
	return &s, nil
}

// recordStock lets the other servers know what this image ships.
func (e *Engine) recordStock(ctx context.Context) {
	if e.cfg.ImageRoot == "" || e.cfg.Sender == nil {
		return
	}
	s, err := e.ownStock(ctx)
	var text []byte
	if err == nil {
		text, err = s.Encode()
	}
	if err == nil {
		_, _, err = e.repo.Record(e.line(), noFile(stockPath, text), history.Meta{Title: "files of image " + e.cfg.Image, Image: e.cfg.Image})
	}
	if err != nil && ctx.Err() == nil {
		e.log.Error("what the image ships is not recorded; a server with another image cannot follow", "err", err)
	}
}

// wanted is what this server is to have of a state of the primary: the state itself if both run the same image, else what conversion makes of it.
func (e *Engine) wanted(ctx context.Context, head state.Commit) (state.Commit, error) {
	v := &e.versions
	if head.Image == e.cfg.Image {
		v.head, v.target = head.ID, head
		e.tellConverted(nil)
		return head, nil
	}
	if v.head == head.ID {
		return v.target, nil
	}
	if e.cfg.ImageRoot == "" {
		return head, &versionsError{theirs: head.Image, ours: e.cfg.Image}
	}
	theirs, err := e.theirStock(head)
	if err != nil {
		return head, err
	}
	ours, err := e.ownStock(ctx)
	if err != nil {
		return head, err
	}
	was, err := e.shared(head, theirs)
	if err != nil {
		return head, fmt.Errorf("read the primary's files: %w", err)
	}
	res, err := convert.Meet(e.cfg.Steps, theirs, *ours, was, e.imageFile)
	if err != nil { // told as findings; all else is converted
		e.log.Error("some of the primary's files could not be converted", "err", err)
	}
	edits, err := e.converting(was, res.Tree)
	if err != nil {
		return head, err
	}
	target := head
	if len(edits) > 0 {
		if err := e.repo.SetBranch(converted, head.ID); err != nil {
			return head, err
		}
		c, _, err := e.repo.Record(converted, edits, history.Meta{Who: head.Who, Title: head.Title, Note: "for image " + e.cfg.Image + " of: " + head.ID, Image: e.cfg.Image})
		if err != nil {
			return head, fmt.Errorf("keep what was converted: %w", err)
		}
		target = c
	}
	v.head, v.target = head.ID, target
	e.tellConverted(res.Findings)
	return target, nil
}

func (e *Engine) theirStock(head state.Commit) (convert.Stock, error) {
	entry, ok, err := e.repo.Lookup(head.ID, stockPath)
	if err != nil {
		return convert.Stock{}, err
	}
	if !ok {
		return convert.Stock{}, &versionsError{theirs: head.Image, ours: e.cfg.Image}
	}
	text, err := e.content(entry.Data)
	if err != nil {
		return convert.Stock{}, err
	}
	s, err := convert.ParseStock(text)
	if err == nil && s.Image != head.Image { // it is recorded when the primary starts; a state from just before has none
		err = &versionsError{theirs: head.Image, ours: e.cfg.Image}
	}
	return s, err
}

func (e *Engine) content(h state.Hash) ([]byte, error) {
	r, err := e.repo.Content(h)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, maxFile+1))
}

// shared reads the files of a state that every server shares; of those that the image ships unchanged, not the content.
func (e *Engine) shared(head state.Commit, theirs convert.Stock) (*convert.Tree, error) {
	files := map[state.Path]convert.File{}
	watched := roots(e.facts.Packs)
	err := e.repo.Walk(head.ID, "", func(p state.Path, entry state.Entry) error {
		if p.Under(state.Exports) || e.facts.Class(p) != class.Shared || !slices.ContainsFunc(watched, p.Under) {
			return nil
		}
		f := convert.File{Entry: entry}
		if was, ok := theirs.Files[p]; entry.Kind == state.File && (!ok || !was.Equal(entry)) {
			var err error
			if f.Data, err = e.content(entry.Data); err != nil {
				return err
			}
		}
		files[p] = f
		return nil
	})
	return convert.NewTree(files), err
}

func (e *Engine) imageFile(p state.Path) ([]byte, error) {
	return os.ReadFile(filepath.Join(e.cfg.ImageRoot, string(p)))
}

// converting lists what conversion changes.
func (e *Engine) converting(was, is *convert.Tree) ([]history.Edit, error) {
	var edits []history.Edit
	for _, p := range was.All() {
		if _, ok := is.Get(p); !ok {
			edits = append(edits, history.Edit{Path: p})
		}
	}
	for _, p := range is.All() {
		f, _ := is.Get(p)
		if old, ok := was.Get(p); ok && old.Entry.Equal(f.Entry) && (f.Stock || bytes.Equal(old.Data, f.Data)) {
			continue
		}
		d := history.Edit{Path: p, Entry: &f.Entry}
		if f.Entry.Kind == state.File {
			d.Content = f.Data
			if f.Stock {
				data, err := e.imageFile(p)
				if err != nil {
					return nil, fmt.Errorf("read what the image ships: %w", err)
				}
				d.Content = data
			}
			if d.Content == nil {
				d.Content = []byte{}
			}
		}
		edits = append(edits, d)
	}
	return edits, nil
}

// tellConverted makes findings of what conversion could not do well, and forgets those of before.
func (e *Engine) tellConverted(list []convert.Finding) {
	e.versions.told = list
	told := map[string]bool{}
	for _, f := range list {
		severity := ""
		switch {
		case f.Class.Blocks():
			severity = "critical"
		case f.Class == convert.Approximated, f.Class == convert.Data:
			severity = "warning"
		default:
			e.log.Info("converted", "step", f.Step, "class", f.Class, "path", f.Path, "line", f.Line, "what", f.What)
			continue
		}
		place := "/" + string(f.Path)
		if f.Line > 0 {
			place += ":" + strconv.Itoa(f.Line)
		}
		id := findConvert + f.Step + "-" + strings.ReplaceAll(string(f.Path), "/", "-") + "-" + strconv.Itoa(f.Line)
		told[id] = true
		e.cfg.Findings.Set(initapi.Finding{ID: id, Severity: severity, Where: e.cfg.Server, What: fmt.Sprintf("%s of the primary, on %s: %s", place, e.cfg.Server, f.What), Next: f.Next})
	}
	e.cfg.Findings.clearAll(findConvert, func(rest string) bool { return told[findConvert+rest] })
}
