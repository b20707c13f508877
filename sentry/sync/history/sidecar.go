package history

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"sayasystems.com/atlas/sentry/sync/state"
)

// item is one entry of a recorded directory. It is kept small: tens of thousands are held in memory.
type item struct {
	name   string
	kind   state.Kind
	mode   uint32
	owner  string
	group  string
	size   int64
	target string
	hash   plumbing.Hash // of the content, of the link's target, or of the directory's tree
	more   *more
}

// more is what few entries have.
type more struct {
	hard   state.Path
	xattrs map[string]string
}

func (it *item) entry() state.Entry {
	e := state.Entry{Kind: it.kind, Mode: it.mode, Owner: it.owner, Group: it.group, Target: it.target}
	if it.kind == state.File {
		e.Size, e.Data = it.size, state.Hash(it.hash.String())
	}
	if it.more != nil {
		e.Hard, e.Xattrs = it.more.hard, maps.Clone(it.more.xattrs)
	}
	return e
}

// sameMeta compares all but what lies below a directory.
func sameMeta(a, b *item) bool {
	if a.kind != b.kind || a.mode != b.mode || a.owner != b.owner || a.group != b.group || a.target != b.target || a.size != b.size ||
		(a.kind != state.Dir && a.hash != b.hash) || (a.more == nil) != (b.more == nil) {
		return false
	}
	return a.more == nil || a.more.hard == b.more.hard && maps.Equal(a.more.xattrs, b.more.xattrs)
}

func same(a, b *item) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.hash == b.hash && sameMeta(a, b)
}

// toItem checks e and makes an item of it, without a hash.
func toItem(name string, e *state.Entry) (item, error) {
	it := item{name: name, kind: e.Kind, mode: e.Mode, owner: e.Owner, group: e.Group}
	switch e.Kind {
	case state.File, state.Dir:
	case state.Link:
		it.target = e.Target
	default:
		return it, fmt.Errorf("kind %q cannot be recorded; only files, directories and symbolic links", byte(e.Kind))
	}
	if e.Hard != "" || len(e.Xattrs) > 0 {
		it.more = &more{hard: e.Hard}
		if len(e.Xattrs) > 0 {
			it.more.xattrs = maps.Clone(e.Xattrs)
		}
	}
	return it, it.check()
}

func (it *item) check() error {
	switch {
	case it.mode > 0o7777:
		return fmt.Errorf("mode %o has more than permission bits", it.mode)
	case len(it.owner) > 1024 || len(it.group) > 1024:
		return errors.New("the owner's or group's name is too long")
	case it.kind == state.Link && (it.target == "" || len(it.target) > 4096 || strings.IndexByte(it.target, 0) >= 0):
		return errors.New("the link's target is empty, too long or holds a zero byte")
	}
	if it.more != nil && it.more.hard != "" {
		return it.more.hard.Check()
	}
	return nil
}

const sidecarHead = "atlas 1\n"

// formatSidecar writes one line for each item in the order of names, and after it an indented one for each thing that few have:
//
//	atlas 1
//	f 0644 root root 158 hosts
//	  xattr system.posix_acl_access user::rw-,user:anna:r--,mask::r--,group::r--,other::---
//	d 0755 root "DOM\\web admins" - apache2
//	l 0777 root root - localtime -> /usr/share/zoneinfo/UTC
//
// Words that hold anything unusual are quoted as in Go. There is one way only to write given items.
func formatSidecar(items []item) []byte {
	b := make([]byte, 0, len(sidecarHead)+40*len(items))
	b = append(b, sidecarHead...)
	for i := range items {
		it := &items[i]
		b = append(b, byte(it.kind), ' ', '0'+byte(it.mode>>9&7), '0'+byte(it.mode>>6&7), '0'+byte(it.mode>>3&7), '0'+byte(it.mode&7), ' ')
		b = append(appendWord(b, it.owner), ' ')
		b = append(appendWord(b, it.group), ' ')
		if it.kind == state.File {
			b = strconv.AppendInt(b, it.size, 10)
		} else {
			b = append(b, '-')
		}
		b = appendWord(append(b, ' '), it.name)
		if it.kind == state.Link {
			b = appendWord(append(b, " -> "...), it.target)
		}
		b = append(b, '\n')
		if it.more == nil {
			continue
		}
		if it.more.hard != "" {
			b = append(appendWord(append(b, "  hard "...), string(it.more.hard)), '\n')
		}
		for _, k := range slices.Sorted(maps.Keys(it.more.xattrs)) {
			b = append(appendWord(append(b, "  xattr "...), k), ' ')
			b = append(appendWord(b, it.more.xattrs[k]), '\n')
		}
	}
	return b
}

func appendWord(b []byte, s string) []byte {
	plain := s != "" && s != "->"
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("._-/+:@,=#~%$", c) < 0 {
			plain = false
			break
		}
	}
	if plain {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

// parseSidecar reads what formatSidecar writes, and nothing else: the same items written again must give the same bytes.
func parseSidecar(b []byte) ([]item, error) {
	rest, ok := strings.CutPrefix(string(b), sidecarHead)
	if !ok {
		return nil, errors.New("the first line is not \"atlas 1\"")
	}
	items := make([]item, 0, strings.Count(rest, "\n"))
	names := map[string]string{} // owners and groups are few: one string each
	for n := 2; rest != ""; n++ {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return nil, fmt.Errorf("line %d has no end", n)
		}
		rest = after
		var err error
		if attr, ok := strings.CutPrefix(line, "  "); ok {
			err = parseMore(items, attr)
		} else {
			items, err = parseItem(items, line, names)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if !bytes.Equal(formatSidecar(items), b) {
		return nil, errors.New("it is not written the way it has to be")
	}
	return items, nil
}

func parseItem(items []item, line string, names map[string]string) ([]item, error) {
	w, err := words(line)
	if err != nil {
		return nil, err
	}
	if len(w) < 6 || len(w[0]) != 1 || len(w[1]) != 4 {
		return nil, errors.New("it has not the fields of an entry")
	}
	mode, err := strconv.ParseUint(w[1], 8, 12)
	if err != nil {
		return nil, fmt.Errorf("mode: %w", err)
	}
	it := item{kind: state.Kind(w[0][0]), mode: uint32(mode), owner: intern(names, w[2]), group: intern(names, w[3]), name: w[5]}
	want := 6
	switch it.kind {
	case state.File:
		if it.size, err = strconv.ParseInt(w[4], 10, 64); err != nil || it.size < 0 {
			return nil, errors.New("the size is no number")
		}
	case state.Link:
		if want = 8; len(w) == want {
			it.target = w[7]
		}
	case state.Dir:
	default:
		return nil, errors.New("unknown kind")
	}
	if len(w) != want {
		return nil, errors.New("it has too many or too few fields")
	}
	if err := state.Path(it.name).Check(); err != nil || strings.IndexByte(it.name, '/') >= 0 {
		return nil, errors.New("the name is not one that a file can have")
	}
	if err := it.check(); err != nil {
		return nil, err
	}
	if len(items) > 0 && items[len(items)-1].name >= it.name {
		return nil, errors.New("names are not in order")
	}
	return append(items, it), nil
}

func parseMore(items []item, line string) error {
	w, err := words(line)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return errors.New("an attribute without an entry")
	}
	it := &items[len(items)-1]
	if it.more == nil {
		it.more = &more{}
	}
	switch {
	case len(w) == 2 && w[0] == "hard":
		it.more.hard = state.Path(w[1])
		return it.more.hard.Check()
	case len(w) == 3 && w[0] == "xattr":
		if it.more.xattrs == nil {
			it.more.xattrs = map[string]string{}
		}
		it.more.xattrs[w[1]] = w[2]
		return nil
	}
	return errors.New("unknown attribute")
}

// words splits a line at single spaces; a word that begins with a quote is a Go string.
func words(line string) ([]string, error) {
	out := make([]string, 0, 8)
	for {
		var w string
		if strings.HasPrefix(line, `"`) {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, errors.New("a quoted word has no end")
			}
			if w, err = strconv.Unquote(q); err != nil {
				return nil, errors.New("a quoted word cannot be read")
			}
			line = line[len(q):]
		} else {
			i := strings.IndexByte(line, ' ')
			if i < 0 {
				i = len(line)
			}
			w, line = line[:i], line[i:]
		}
		out = append(out, w)
		if line == "" {
			return out, nil
		}
		if line[0] != ' ' {
			return nil, errors.New("words are not parted by a space")
		}
		line = line[1:]
	}
}

func intern(names map[string]string, s string) string {
	if v, ok := names[s]; ok {
		return v
	}
	s = strings.Clone(s)
	names[s] = s
	return s
}
