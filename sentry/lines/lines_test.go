package lines

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name, base, ours, theirs, want string
		clashes                        int
	}{
		{"nothing", "abc", "abc", "abc", "abc", 0},
		{"ours", "abc", "aXc", "abc", "aXc", 0},
		{"theirs", "abc", "abc", "abY", "abY", 0},
		{"both, apart", "abcdef", "Xbcdef", "abcdeY", "XbcdeY", 0},
		{"both the same", "abc", "aXc", "aXc", "aXc", 0},
		{"both differ", "abc", "aXc", "aYc", "aYc", 1},
		{"inserted by both, apart", "abc", "1abc", "abc2", "1abc2", 0},
		{"deleted and kept", "abcdef", "adef", "abcdef2", "adef2", 0},
		{"deleted here, changed there", "abc", "ac", "aYc", "aYc", 1},
		{"all new", "", "x", "", "x", 0},
		{"all gone", "abc", "", "abc", "", 0},
		{"restored", "ace", "abcde", "acXe", "abcXe", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, clashes := Merge(letters(c.base), letters(c.ours), letters(c.theirs))
			if d := cmp.Diff(c.want, strings.Join(got, "")); d != "" || len(clashes) != c.clashes {
				t.Errorf("%d clashes, want %d (-want +got):\n%s", len(clashes), c.clashes, d)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 0))
	for range 300 {
		make1 := func() []string {
			var s []string
			for range rng.IntN(30) {
				s = append(s, fmt.Sprint(rng.IntN(6)))
			}
			return s
		}
		x, y := make1(), make1()
		a, b, common := 0, 0, 0
		for _, r := range Match(x, y) {
			if r.A < a || r.B < b || r.N <= 0 || !slices.Equal(x[r.A:r.A+r.N], y[r.B:r.B+r.N]) {
				t.Fatalf("Match(%q, %q): run %+v", x, y, r)
			}
			a, b, common = r.A+r.N, r.B+r.N, common+r.N
		}
		if want := lcs(x, y); common != want {
			t.Fatalf("Match(%q, %q) finds %d lines in common; want %d", x, y, common, want)
		}
	}
}

func lcs(x, y []string) int {
	t := make([][]int, len(x)+1)
	for i := range t {
		t[i] = make([]int, len(y)+1)
	}
	for i := range x {
		for j := range y {
			if x[i] == y[j] {
				t[i+1][j+1] = t[i][j] + 1
			} else {
				t[i+1][j+1] = max(t[i][j+1], t[i+1][j])
			}
		}
	}
	return t[len(x)][len(y)]
}

func letters(s string) []string { return strings.Split(s, "")[:len(s):len(s)] }

// TestMergeLaws: whatever one side leaves as it was follows the other.
func TestMergeLaws(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func() []string {
		out := make([]string, r.IntN(12))
		for i := range out {
			out[i] = string(rune('a' + r.IntN(4)))
		}
		return out
	}
	for range 50_000 {
		base, other := text(), text()
		for _, c := range [][2][]string{{base, other}, {other, base}, {other, other}} {
			got, clashes := Merge(base, c[0], c[1])
			if !slices.Equal(got, other) || len(clashes) > 0 {
				t.Fatalf("Merge(%v, %v, %v) = %v with %d clashes; want %v", base, c[0], c[1], got, len(clashes), other)
			}
		}
		Merge(base, text(), text()) // must end
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("a\nb")
	f.Fuzz(func(t *testing.T, s string) {
		if got := strings.Join(Split([]byte(s)), ""); got != s {
			t.Errorf("Split loses bytes: %q became %q", s, got)
		}
	})
}
