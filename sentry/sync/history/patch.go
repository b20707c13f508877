package history

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/lines"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Hide makes a file's content fit to be shown: it returns it with what is secret replaced, line for line, so that there are as many lines as
// before; what has another number of lines, and nil, is not shown at all. Texts are compared as they are and shown as Hide returns them: that a
// password changed can be seen, the passwords cannot. It must not change content.
//
// Who gives a nil Hide sees no content.
type Hide func(path state.Path, content []byte) []byte

// ShowAll hides nothing.
func ShowAll(_ state.Path, content []byte) []byte { return content }

const contextLines = 3

// Patch shows what changed from commit a (may be "") to commit b, at path and below it ("" is everything): attributes in words, text as a
// unified diff. Of what is not text, larger than 1 MiB, or hidden, it tells that it changed. Bytes of files that are no UTF-8 are in it as
// they are; whoever shows it on a terminal has to take care of control characters.
func (r *Repo) Patch(a, b string, path state.Path, hide Hide) ([]byte, error) {
	list, err := r.diff(a, b, path)
	if err != nil {
		return nil, err
	}
	return r.PatchOf(list, hide)
}

// PatchOf is Patch of chosen changes.
func (r *Repo) PatchOf(list []state.Change, hide Hide) ([]byte, error) {
	var out bytes.Buffer
	for i, c := range list {
		if out.Len() > patchMax {
			fmt.Fprintf(&out, "… and %d more; ask for fewer of them\n", len(list)-i)
			break
		}
		writeHead(&out, c)
		if err := r.patchText(&out, c, hide); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// writeHead tells in one line what happened: "etc/hosts: attributes changed (mode 0644 → 0600)".
func writeHead(w io.Writer, c state.Change) {
	var more []string
	x, y := c.Before, c.After
	switch {
	case x == nil:
		more = append(more, describe(y))
	case y == nil:
		more = append(more, describe(x))
	default:
		note := func(what, a, b string) {
			if a != b {
				more = append(more, fmt.Sprintf("%s %s → %s", what, wordOr(a), wordOr(b)))
			}
		}
		note("kind", kindWord(x.Kind), kindWord(y.Kind))
		note("mode", fmt.Sprintf("%04o", x.Mode), fmt.Sprintf("%04o", y.Mode))
		note("owner", x.Owner, y.Owner)
		note("group", x.Group, y.Group)
		note("target", x.Target, y.Target)
		note("same file as", string(x.Hard), string(y.Hard))
		for _, k := range slices.Sorted(maps.Keys(joined(x.Xattrs, y.Xattrs))) {
			note(wordOr(k), x.Xattrs[k], y.Xattrs[k])
		}
	}
	s := fmt.Sprintf("%s: %s", pathWord(c.Path), c.Verb())
	if len(more) > 0 {
		s += " (" + strings.Join(more, ", ") + ")"
	}
	fmt.Fprintln(w, s)
}

func joined(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

func wordOr(s string) string {
	if s == "" {
		return "none"
	}
	return string(appendWord(nil, s))
}

func kindWord(k state.Kind) string {
	switch k {
	case state.Dir:
		return "directory"
	case state.Link:
		return "link"
	default:
		return "file"
	}
}

func describe(e *state.Entry) string {
	s := fmt.Sprintf("%s, mode %04o, owner %s, group %s", kindWord(e.Kind), e.Mode, wordOr(e.Owner), wordOr(e.Group))
	if e.Kind == state.Link {
		s = "link to " + wordOr(e.Target)
	}
	for _, k := range slices.Sorted(maps.Keys(e.Xattrs)) {
		s += ", " + wordOr(k) + " " + wordOr(e.Xattrs[k])
	}
	return s
}

func (r *Repo) patchText(w io.Writer, c state.Change, hide Hide) error {
	x, y := fileOf(c.Before), fileOf(c.After)
	if (x == nil || x.Size == 0) && (y == nil || y.Size == 0) || x != nil && y != nil && x.Data == y.Data {
		return nil
	}
	size := func(e *state.Entry) string {
		if e == nil {
			return "none"
		}
		return fmt.Sprintf("%d bytes", e.Size)
	}
	tell := func(why string) error {
		fmt.Fprintf(w, "content: %s → %s, %s\n", size(x), size(y), why)
		return nil
	}
	var sides [2]shown
	for i, e := range []*state.Entry{x, y} {
		var err error
		if sides[i], err = r.show(c.Path, e, hide); err != nil {
			return err
		}
		if sides[i].why != "" {
			return tell(sides[i].why)
		}
	}
	writeUnified(w, c, sides[0], sides[1])
	return nil
}

func fileOf(e *state.Entry) *state.Entry {
	if e == nil || e.Kind != state.File {
		return nil
	}
	return e
}

// shown is a text as it is and as it may be shown, or why it may not.
type shown struct {
	real, lines []string
	noEnd       bool
	why         string
}

func (r *Repo) show(path state.Path, e *state.Entry, hide Hide) (shown, error) {
	if e == nil {
		return shown{}, nil
	}
	if e.Size > textMax {
		return shown{why: "too large to be shown"}, nil
	}
	rc, err := r.Content(e.Data)
	if err != nil {
		return shown{}, err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return shown{}, err
	}
	if isBinary(b) {
		return shown{why: "no text"}, nil
	}
	var s shown
	s.real, s.noEnd = textLines(b)
	var may []byte
	if hide != nil {
		may = hide(path, b)
	}
	if s.lines, _ = textLines(may); len(s.lines) != len(s.real) {
		return shown{why: "not shown, since it may hold secrets"}, nil
	}
	return s, nil
}

// writeUnified writes hunks the way diff -u does, with the lines that may be shown.
func writeUnified(w io.Writer, c state.Change, x, y shown) {
	name := func(e *state.Entry) string {
		if e == nil {
			return "/dev/null"
		}
		return pathWord(c.Path)
	}
	fmt.Fprintf(w, "--- %s\n+++ %s\n", name(c.Before), name(c.After))
	a, b := marked(x), marked(y)
	runs := append(lines.Match(a, b), lines.Run{A: len(a), B: len(b)})
	// Each hunk is a stretch of changes that fewer than twice contextLines equal lines part.
	type change struct{ a0, a1, b0, b1 int }
	var hunk []change
	flush := func() {
		if len(hunk) == 0 {
			return
		}
		first, last := hunk[0], hunk[len(hunk)-1]
		lead := min(contextLines, first.a0, first.b0)
		tail := min(contextLines, len(a)-last.a1, len(b)-last.b1)
		at, to := first.a0-lead, last.a1+tail
		fmt.Fprintf(w, "@@ -%s +%s @@\n", span(at, to-at), span(first.b0-lead, last.b1+tail-(first.b0-lead)))
		for _, h := range hunk {
			writeLines(w, " ", x, at, h.a0)
			writeLines(w, "-", x, h.a0, h.a1)
			writeLines(w, "+", y, h.b0, h.b1)
			at = h.a1
		}
		writeLines(w, " ", x, at, to)
		hunk = nil
	}
	ia, ib := 0, 0
	for _, m := range runs {
		if m.A > ia || m.B > ib {
			hunk = append(hunk, change{ia, m.A, ib, m.B})
		}
		if m.N > 2*contextLines {
			flush()
		}
		ia, ib = m.A+m.N, m.B+m.N
	}
	flush()
}

// marked makes a last line without an end differ from the same line with one.
func marked(s shown) []string {
	if !s.noEnd || len(s.real) == 0 {
		return s.real
	}
	out := slices.Clone(s.real)
	out[len(out)-1] += "\x00"
	return out
}

func span(at, n int) string {
	if n > 0 {
		at++
	}
	if n == 1 {
		return fmt.Sprint(at)
	}
	return fmt.Sprintf("%d,%d", at, n)
}

func writeLines(w io.Writer, sign string, s shown, from, to int) {
	for i := from; i < to; i++ {
		fmt.Fprintf(w, "%s%s\n", sign, s.lines[i])
		if s.noEnd && i == len(s.lines)-1 {
			fmt.Fprintln(w, "\\ No newline at end of file")
		}
	}
}
