package convert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Stock is what an image ships as configuration. It tells what nobody has changed, which follows the image of the server.
type Stock struct {
	Release int    // of Debian
	Image   string // version
	Files   map[state.Path]state.Entry
	// Accounts are those of AccountFiles, with what is in them: they are merged account by account. One that was recorded by an older
	// image has none.
	Accounts map[state.Path][]byte
}

type stockHead struct {
	Format  int    `json:"stock"`
	Release int    `json:"release"`
	Image   string `json:"image"`
}

type stockLine struct {
	Path  state.Path  `json:"path"`
	Entry state.Entry `json:"entry"`
	Text  []byte      `json:"text,omitempty"` // of AccountFiles
}

const (
	stockFormat = 2       // 1 had no texts
	stockMost   = 100_000 // files
)

// Encode writes it as text: a head, and a line of JSON for each file, in order.
func (s Stock) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	if err := enc.Encode(stockHead{stockFormat, s.Release, s.Image}); err != nil {
		return nil, err
	}
	for _, p := range slices.Sorted(maps.Keys(s.Files)) {
		if err := enc.Encode(stockLine{p, s.Files[p], s.Accounts[p]}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// ParseStock reads what Encode wrote.
func ParseStock(text []byte) (Stock, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var h stockHead
	if err := dec.Decode(&h); err != nil {
		return Stock{}, fmt.Errorf("list of the image's files: %w", err)
	}
	if h.Format < 1 || h.Format > stockFormat {
		return Stock{}, fmt.Errorf("list of the image's files: format %d is not known here, only 1 to %d", h.Format, stockFormat)
	}
	s := Stock{Release: h.Release, Image: h.Image, Files: map[state.Path]state.Entry{}}
	for dec.More() {
		var l stockLine
		if err := dec.Decode(&l); err != nil {
			return Stock{}, fmt.Errorf("list of the image's files: %w", err)
		}
		if err := l.Path.Check(); err != nil {
			return Stock{}, fmt.Errorf("list of the image's files: %w", err)
		}
		if len(s.Files) == stockMost {
			return Stock{}, fmt.Errorf("list of the image's files: more than %d", stockMost)
		}
		s.Files[l.Path] = l.Entry
		if l.Text == nil {
			continue
		}
		if !IsAccounts(l.Path) {
			return Stock{}, fmt.Errorf("list of the image's files: %s is no file of accounts", l.Path)
		}
		if s.Accounts == nil {
			s.Accounts = map[state.Path][]byte{}
		}
		s.Accounts[l.Path] = l.Text
	}
	return s, nil
}
