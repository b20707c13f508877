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

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/etcdir"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
)

// stockPath is where a primary records what its image ships, for servers with another image.
const stockPath state.Path = state.Exports + "/image/files"

// keptPath is where it records what was kept when its files were converted from another release, for servers of that: they get the words
// from before back.
const keptPath state.Path = state.Exports + "/image/kept"

// converted is the line of what the primary's states are in the words of this server's image. Each of its commits stands on one of the site's.
const converted state.Branch = "converted"

// Names of findings.
const (
	findConvert = "sync-convert-"
	findKept    = "sync-kept"
)

// versions is what a secondary knows of converting.
type versions struct {
	stock  *convert.Stock
	head   string       // commit of the site's line that was converted last
	target state.Commit // and what became of it
	told   []convert.Finding
	tree   *convert.Tree // nil where both run the same image
}

// origin tells where on the primary a converted file is.
func (v *versions) origin(p state.Path) state.Path {
	if v.tree == nil {
		return p
	}
	return v.tree.Origin(p)
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
	etc := etcdir.Dir{
		Path: filepath.Join(e.cfg.ImageRoot, "etc"), MaxFile: maxFile,
		Shared: func(p state.Path) bool { return p == "etc" || e.facts.Class(p) == class.Shared },
	}
	s, odd, err := etc.Stock(ctx, release, e.image)
	if err != nil {
		return nil, err
	}
	for _, err := range odd {
		if _, ok := errors.AsType[*snapshot.NotKeptError](err); !ok {
			return nil, fmt.Errorf("look at what the image ships: %w", err)
		}
	}
	e.versions.stock = &s
	return &s, nil
}

// recordImage lets the other servers know what this image ships, and what was kept when the files were converted for it: in one change, so
// that no server sees one without the other.
func (e *Engine) recordImage(ctx context.Context) {
	if e.cfg.ImageRoot == "" || e.cfg.Sender == nil {
		return
	}
	s, err := e.ownStock(ctx)
	var text []byte
	if err == nil {
		text, err = s.Encode()
	}
	if err == nil {
		edits := append(noFile(stockPath, text), e.ownKept(s.Release)...)
		_, _, err = e.repo.Record(e.line(), edits, history.Meta{Title: "files of image " + e.image, Image: e.image})
	}
	if err != nil && ctx.Err() == nil {
		e.log.Error("what the image ships is not recorded; a server with another image cannot follow", "err", err)
	}
}

// ownKept records what was kept when this server's files were converted, or that nothing was.
func (e *Engine) ownKept(release int) []history.Edit {
	k, err := etcdir.ReadKept(e.cfg.Kept)
	var text []byte
	if err == nil && k != nil && k.To == release {
		text, err = k.Encode()
	}
	if err != nil {
		e.log.Error("what was kept of the files in the words of another release cannot be read; servers of that release convert what is here", "err", err)
	}
	if err == nil && text != nil {
		return noFile(keptPath, text)
	}
	if head, ok := e.repo.Head(e.line()); ok {
		if _, there, err := e.repo.Lookup(head.ID, keptPath); err == nil && there {
			return []history.Edit{{Path: keptPath}}
		}
	}
	return nil
}

// wanted is what this server is to have of a state of the primary: the state itself if both run the same image, else what conversion makes of it.
func (e *Engine) wanted(ctx context.Context, head state.Commit) (state.Commit, error) {
	v := &e.versions
	if head.Image == e.image {
		v.head, v.target, v.tree = head.ID, head, nil
		e.tellConverted("", nil)
		e.cfg.Findings.Clear(findKept)
		return head, nil
	}
	if v.head == head.ID {
		return v.target, nil
	}
	if e.cfg.ImageRoot == "" {
		return head, &versionsError{theirs: head.Image, ours: e.image}
	}
	theirs, err := e.theirStock(head)
	if err != nil {
		return head, err
	}
	ours, err := e.ownStock(ctx)
	if err != nil {
		return head, err
	}
	kept, err := e.theirKept(head, theirs.Release, ours.Release)
	if err != nil {
		return head, err
	}
	was, err := e.shared(head, theirs, kept)
	if err != nil {
		return head, fmt.Errorf("read the primary's files: %w", err)
	}
	res, err := convert.Meet(e.cfg.Steps, theirs, *ours, was, kept)
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
		c, _, err := e.repo.Record(converted, edits, history.Meta{Who: head.Who, Title: head.Title, Note: "for image " + e.image + " of: " + head.ID, Image: e.image})
		if err != nil {
			return head, fmt.Errorf("keep what was converted: %w", err)
		}
		target = c
	}
	v.head, v.target, v.tree = head.ID, target, res.Tree
	e.tellConverted(head.ID, res.Findings)
	return target, nil
}

func (e *Engine) theirStock(head state.Commit) (convert.Stock, error) {
	entry, ok, err := e.repo.Lookup(head.ID, stockPath)
	if err != nil {
		return convert.Stock{}, err
	}
	if !ok {
		return convert.Stock{}, &versionsError{theirs: head.Image, ours: e.image}
	}
	text, err := e.content(entry.Data)
	if err != nil {
		return convert.Stock{}, err
	}
	s, err := convert.ParseStock(text)
	if err == nil && s.Image != head.Image { // it is recorded when the primary starts; a state from just before has none
		err = &versionsError{theirs: head.Image, ours: e.image}
	}
	return s, err
}

// theirKept is what the primary's files were made of, if that was of this server's release; else nil. A damaged record is told, and the files
// are converted as they are.
func (e *Engine) theirKept(head state.Commit, theirs, ours int) (*convert.Kept, error) {
	entry, ok, err := e.repo.Lookup(head.ID, keptPath)
	if err != nil || !ok {
		e.cfg.Findings.Clear(findKept)
		return nil, err
	}
	text, err := e.content(entry.Data)
	if err != nil {
		return nil, err
	}
	k, err := convert.ParseKept(text)
	if err != nil {
		e.log.Error("what the primary has kept for the way back cannot be read", "err", err)
		f := convert.DamagedRecord(theirs, ours)
		f.ID, f.Where = findKept, e.cfg.Server
		e.cfg.Findings.Set(f)
		return nil, nil
	}
	e.cfg.Findings.Clear(findKept)
	if !k.Fits(theirs, ours) {
		return nil, nil
	}
	k.Only(func(p state.Path) bool { return e.facts.Class(p) == class.Shared })
	return &k, nil
}

func (e *Engine) content(h state.Hash) ([]byte, error) {
	r, err := e.repo.Content(h)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, maxFile+1))
}

// shared reads the files of a state that every server shares, and the exports; of files that the image ships unchanged, not the content.
func (e *Engine) shared(head state.Commit, theirs convert.Stock, kept *convert.Kept) (*convert.Tree, error) {
	files := map[state.Path]convert.File{}
	watched := roots(e.facts.Packs)
	err := e.repo.Walk(head.ID, "", func(p state.Path, entry state.Entry) error {
		switch {
		case p == stockPath, p.Under(effectiveDir):
			return nil
		case p.Under(state.Exports): // what a database holds has its words in each release too
		case e.facts.Class(p) != class.Shared || !slices.ContainsFunc(watched, p.Under):
			return nil
		}
		f := convert.File{Entry: entry}
		if was, ok := theirs.Files[p]; entry.Kind == state.File && (!ok || !was.Equal(entry) || kept.Made(p, entry)) {
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
		if p.Under(state.Exports) && f.Entry.Kind == state.Dir { // exports stand in none
			continue
		}
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

// tellConverted makes findings of what conversion of the primary's state head could not do well, and forgets those of before.
func (e *Engine) tellConverted(head string, list []convert.Finding) {
	e.versions.told = list
	told := map[string]bool{}
	for _, f := range list {
		n, ok := f.Told(findConvert, e.cfg.Server, "of the primary, on "+e.cfg.Server)
		if !ok {
			e.log.Info("converted", "step", f.Step, "class", f.Class, "path", f.Path, "line", f.Line, "what", f.What)
			continue
		}
		told[n.ID] = true
		n.What += e.brought(head, f.Path, f.Line)
		e.cfg.Findings.Set(n)
	}
	e.cfg.Findings.clearAll(findConvert, func(rest string) bool { return told[findConvert+rest] })
}
