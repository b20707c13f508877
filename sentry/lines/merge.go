package lines

import (
	"slices"
)

// Clash is a stretch of base that both sides have changed, and not to the same.
type Clash struct {
	At                 int // line of the merged text, from 1
	Base, Ours, Theirs []string
}

// Merge makes one text of two that come from base. What one side changed is taken; where both changed the same stretch, theirs is taken and
// told as a clash.
func Merge(base, ours, theirs []string) ([]string, []Clash) {
	var (
		out     []string
		clashes []Clash
	)
	a, b := spans(base, ours), spans(base, theirs)
	at, ia, ib := 0, 0, 0 // lines of base, ours and theirs that are done
	for {
		// The next stretch of base that both have unchanged, and what is before it.
		sa, sb := next(a, at), next(b, at)
		from := max(sa.base, sb.base)
		for from >= min(sa.base+sa.n, sb.base+sb.n) && from < len(base) {
			switch { // the two do not overlap: go on in the one that ends first
			case sa.base+sa.n <= from:
				sa = next(a, from)
			default:
				sb = next(b, from)
			}
			from = max(sa.base, sb.base)
		}
		ea, eb := sa.other+from-sa.base, sb.other+from-sb.base
		if from >= len(base) {
			from, ea, eb = len(base), len(ours), len(theirs)
		}
		was, x, y := base[at:from], ours[ia:ea], theirs[ib:eb]
		switch {
		case slices.Equal(x, y), slices.Equal(y, was):
			out = append(out, x...)
		case slices.Equal(x, was):
			out = append(out, y...)
		default:
			clashes = append(clashes, Clash{At: len(out) + 1, Base: was, Ours: x, Theirs: y})
			out = append(out, y...)
		}
		if from == len(base) {
			return out, clashes
		}
		n := min(sa.base+sa.n, sb.base+sb.n) - from
		out = append(out, base[from:from+n]...)
		at, ia, ib = from+n, ea+n, eb+n
	}
}

// span is a stretch of n lines of base that stand unchanged at line other of another text.
type span struct{ base, other, n int }

// spans lists what base and text have in common, and the ends of both as a last, empty one.
func spans(base, text []string) []span {
	var out []span
	for _, m := range Match(base, text) {
		out = append(out, span{m.A, m.B, m.N})
	}
	return append(out, span{len(base), len(text), 0})
}

// next is the first span that ends after line at, cut to begin there.
func next(list []span, at int) span {
	for _, s := range list {
		if s.base+s.n > at {
			if d := at - s.base; d > 0 {
				s.base, s.other, s.n = at, s.other+d, s.n-d
			}
			return s
		}
	}
	return list[len(list)-1]
}
