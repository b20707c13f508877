package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// toldSuffix ends the name of what was found when a generation was converted. A finding stands, also after the next start, until somebody has
// changed the file that it is about.
const toldSuffix = ".told"

const (
	toldFormat = 1
	toldLimit  = 8 << 20 // bytes
)

// told is what is written beside a generation.
type told struct {
	Format    int       `json:"told"`
	Converted Converted `json:"converted"`
	Places    []place   `json:"places"` // of Converted.Findings, in order
}

// place is the file that a finding is about, as the conversion left it.
type place struct {
	Path state.Path `json:"path"` // "" = none: nothing tells that it is mended
	Data state.Hash `json:"data"` // of its content, or of a link's target; "" = it was taken out
}

// note makes the record of what conversion found, nil if that is nothing.
func (c *Converted) note(is *convert.Tree) ([]byte, error) {
	t := told{Format: toldFormat, Converted: *c}
	t.Converted.Findings, t.Converted.Damaged = nil, "" // the damaged record is replaced by a good one
	for _, f := range c.Findings {
		if f.Severity() == "" {
			continue
		}
		p := place{}
		if f.Path != "" && is != nil {
			p.Path = is.Now(f.Path)
			if file, ok := is.Get(p.Path); ok {
				p.Data = left(file)
			}
		}
		t.Converted.Findings, t.Places = append(t.Converted.Findings, f), append(t.Places, p)
	}
	if len(t.Places) == 0 && c.Not == "" {
		return nil, nil
	}
	out, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("note what was found: %w", err)
	}
	return out, nil
}

// Standing is what was found when the generation in use of the set in setDir was converted, as far as it still stands; nil if nothing does.
func Standing(setDir string) (*Converted, error) {
	etc := filepath.Join(setDir, layout.SetEtc)
	generation, err := os.Readlink(filepath.Join(etc, current))
	if err != nil {
		return nil, fmt.Errorf("generation of /etc in use: %w", err)
	}
	return standing(filepath.Join(etc, generation))
}

// standing reads what was found when the generation in dir was converted and still stands; nil if nothing does.
func standing(dir string) (*Converted, error) {
	f, err := os.Open(dir + toldSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, toldLimit+1))
	if err != nil {
		return nil, err
	}
	var t told
	switch err := json.Unmarshal(text, &t); {
	case len(text) > toldLimit:
		return nil, fmt.Errorf("%s has more than %d bytes", f.Name(), toldLimit)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	case t.Format != toldFormat || len(t.Places) != len(t.Converted.Findings):
		return nil, fmt.Errorf("%s: format %d is not known here, or it is damaged", f.Name(), t.Format)
	}
	c := t.Converted
	n := -1
	c.Findings = slices.DeleteFunc(c.Findings, func(convert.Finding) bool { n++; return !t.Places[n].asLeft(dir) })
	if len(c.Findings) == 0 && c.Not == "" {
		return nil, nil
	}
	return &c, nil
}

// asLeft tells whether a file is as the conversion left it.
func (p place) asLeft(dir string) bool {
	rel, inEtc := strings.CutPrefix(string(p.Path), "etc/")
	if p.Path == "" {
		return true
	}
	if !inEtc || p.Path.Check() != nil {
		return false
	}
	path := filepath.Join(dir, rel)
	st, err := os.Lstat(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) && p.Data == ""
	}
	f := convert.File{Entry: state.Entry{Kind: state.File}}
	switch {
	case st.IsDir():
		f.Entry.Kind = state.Dir
	case st.Mode()&fs.ModeSymlink != 0:
		f.Entry.Kind = state.Link
		f.Entry.Target, err = os.Readlink(path)
	case st.Mode().IsRegular():
		f.Data, err = os.ReadFile(path)
	}
	return err == nil && left(f) == p.Data
}

// left tells one content from another.
func left(f convert.File) state.Hash {
	switch {
	case f.Entry.Kind == state.Dir:
		return "folder"
	case f.Entry.Kind == state.Link:
		return state.Blob([]byte("-> " + f.Entry.Target))
	case f.Stock:
		return f.Entry.Data
	}
	return state.Blob(f.Data)
}
