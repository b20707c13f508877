package convert

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	keptFormat = 1
	keptMost   = 100_000 // paths
)

// KeptLimit is how long the text of a record may be, in bytes.
const KeptLimit = 64 << 20

// What follows is Kept as JSON. Names may be any bytes: those that are no UTF-8 stand in Go's quotes.
type (
	keptText struct {
		Format int       `json:"kept"`
		From   int       `json:"from"`
		To     int       `json:"to"`
		Before keptFiles `json:"before"`
		After  keptFiles `json:"after"`
		Same   keptSums  `json:"same"`
		Gone   []string  `json:"gone"`
		Sum    string    `json:"sum"` // of all before it: a damaged record must not pass for a whole one
	}
	keptFiles map[string]keptFile
	keptSums  map[string]string
	keptFile  struct {
		Kind   string            `json:"kind"`
		Mode   uint32            `json:"mode"`
		Owner  string            `json:"owner"`
		Group  string            `json:"group"`
		Target string            `json:"target,omitempty"`
		Hard   string            `json:"hard,omitempty"`
		Xattrs map[string][]byte `json:"xattrs,omitempty"`
		Data   []byte            `json:"data,omitempty"`
	}
)

// Encode writes it as text, the same for the same record.
func (k Kept) Encode() ([]byte, error) {
	t := keptText{Format: keptFormat, From: k.From, To: k.To, Before: filesText(k.Before), After: filesText(k.After), Same: keptSums{}, Gone: []string{}}
	for p, s := range k.Same {
		t.Same[quoted(string(p))] = hex.EncodeToString(s[:])
	}
	for _, p := range k.Gone {
		t.Gone = append(t.Gone, quoted(string(p)))
	}
	var err error
	if t.Sum, err = t.sum(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("record of a conversion: %w", err)
	}
	if len(text) >= KeptLimit {
		return nil, fmt.Errorf("record of a conversion: %d bytes are too many, it may have %d", len(text), KeptLimit)
	}
	return append(text, '\n'), nil
}

// ParseKept reads what Encode wrote. An error means that the record is damaged, or of another make.
func ParseKept(text []byte) (Kept, error) {
	k, err := parseKept(text)
	if err != nil {
		return Kept{}, fmt.Errorf("record of a conversion: %w", err)
	}
	return k, nil
}

func parseKept(text []byte) (Kept, error) {
	if len(text) > KeptLimit {
		return Kept{}, fmt.Errorf("more than %d bytes", KeptLimit)
	}
	var head struct {
		Format int `json:"kept"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return Kept{}, err
	}
	if head.Format != keptFormat {
		return Kept{}, fmt.Errorf("format %d is not known here, only %d", head.Format, keptFormat)
	}
	var t keptText
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return Kept{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Kept{}, errors.New("something follows its end")
	}
	if n := len(t.Before) + len(t.After) + len(t.Same) + len(t.Gone); n > keptMost {
		return Kept{}, fmt.Errorf("it names %d files; at most %d are allowed", n, keptMost)
	}
	if sum, err := t.sum(); err != nil || sum != t.Sum {
		return Kept{}, errors.Join(errors.New("its checksum is not right"), err)
	}
	return t.kept()
}

func (t keptText) kept() (Kept, error) {
	k := Kept{From: t.From, To: t.To, Same: map[state.Path]Sum{}}
	var err error
	if k.Before, err = t.Before.files(); err != nil {
		return k, err
	}
	if k.After, err = t.After.files(); err != nil {
		return k, err
	}
	for _, name := range slices.Sorted(maps.Keys(t.Same)) {
		p, err := pathOf(name)
		if err != nil {
			return k, err
		}
		sum, err := hex.DecodeString(t.Same[name])
		if err != nil || len(sum) != len(Sum{}) {
			return k, fmt.Errorf("checksum of %s is none", name)
		}
		k.Same[p] = Sum(sum)
	}
	for _, name := range t.Gone {
		p, err := pathOf(name)
		if err != nil {
			return k, err
		}
		k.Gone = append(k.Gone, p)
	}
	return k, nil
}

// sum is that of the record without it.
func (t keptText) sum() (string, error) {
	t.Sum = ""
	text, err := json.Marshal(t) // maps are sorted
	if err != nil {
		return "", fmt.Errorf("record of a conversion: %w", err)
	}
	return string(state.Blob(text)), nil
}

func filesText(files map[state.Path]File) keptFiles {
	out := keptFiles{}
	for p, f := range files {
		e := f.Entry
		x := map[string][]byte{}
		for name, v := range e.Xattrs {
			x[name] = []byte(v)
		}
		out[quoted(string(p))] = keptFile{
			Kind: string(rune(e.Kind)), Mode: e.Mode, Owner: e.Owner, Group: e.Group, Target: quoted(e.Target), Hard: quoted(string(e.Hard)), Xattrs: x, Data: f.Data,
		}
	}
	return out
}

func (files keptFiles) files() (map[state.Path]File, error) {
	out := map[state.Path]File{}
	for name, f := range files {
		p, err := pathOf(name)
		if err != nil {
			return nil, err
		}
		e := state.Entry{Mode: f.Mode & 0o7777, Owner: f.Owner, Group: f.Group}
		switch {
		case f.Kind == string(rune(state.File)):
			e.Kind = state.File
			e.Data, e.Size = state.Blob(f.Data), int64(len(f.Data))
		case f.Kind == string(rune(state.Dir)) && f.Data == nil:
			e.Kind = state.Dir
		case f.Kind == string(rune(state.Link)) && f.Data == nil:
			e.Kind = state.Link
		default:
			return nil, fmt.Errorf("kind %q of %s is not known", f.Kind, name)
		}
		if e.Target, err = unquoted(f.Target); err != nil || strings.ContainsRune(e.Target, 0) || (e.Target != "") != (e.Kind == state.Link) {
			return nil, fmt.Errorf("target %q of %s is none", f.Target, name)
		}
		if f.Hard != "" {
			if e.Hard, err = pathOf(f.Hard); err != nil {
				return nil, err
			}
		}
		for x, v := range f.Xattrs {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[x] = string(v)
		}
		out[p] = File{Entry: e, Data: f.Data}
	}
	return out, nil
}

func quoted(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, `"`) {
		return s
	}
	return strconv.Quote(s)
}

func unquoted(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	return strconv.Unquote(s)
}

func pathOf(name string) (state.Path, error) {
	s, err := unquoted(name)
	if err != nil {
		return "", fmt.Errorf("path %s: %w", name, err)
	}
	p := state.Path(s)
	return p, p.Check()
}
