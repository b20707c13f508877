package history

import (
	"bytes"
	"slices"
	"strings"
)

// Text is shown up to these bounds.
const (
	textMax  = 1 << 20
	patchMax = 8 << 20
	editsMax = 2000 // beyond, two texts are taken as wholly different
)

func isBinary(b []byte) bool { return bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 }

// textLines splits a text into lines. That the last line has no end is told apart, as unified diffs do.
func textLines(b []byte) (lines []string, noEnd bool) {
	if len(b) == 0 {
		return nil, false
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), b[len(b)-1] != '\n'
}

// run is a stretch of lines that are equal in both texts: n lines from a and from b on.
type run struct{ a, b, n int }

// matchLines finds what two texts have in common: E. Myers, "An O(ND) difference algorithm and its variations" (1986).
func matchLines(x, y []string) []run {
	pre := 0
	for pre < len(x) && pre < len(y) && x[pre] == y[pre] {
		pre++
	}
	post := 0
	for post < len(x)-pre && post < len(y)-pre && x[len(x)-1-post] == y[len(y)-1-post] {
		post++
	}
	var out []run
	if pre > 0 {
		out = append(out, run{0, 0, pre})
	}
	for _, m := range myers(x[pre:len(x)-post], y[pre:len(y)-post]) {
		out = appendRun(out, run{m.a + pre, m.b + pre, m.n})
	}
	if post > 0 {
		out = appendRun(out, run{len(x) - post, len(y) - post, post})
	}
	return out
}

func appendRun(out []run, m run) []run {
	if n := len(out); n > 0 && out[n-1].a+out[n-1].n == m.a && out[n-1].b+out[n-1].n == m.b {
		out[n-1].n += m.n
		return out
	}
	return append(out, m)
}

func myers(x, y []string) []run {
	n, m := len(x), len(y)
	if n == 0 || m == 0 {
		return nil
	}
	limit := min(n+m, editsMax)
	v := make([]int32, 2*limit+3) // v[k+limit+1]: how far in x the best path on diagonal k has come
	var trace [][]int32
	for d := 0; d <= limit; d++ {
		for k := -d; k <= d; k += 2 {
			at := k + limit + 1
			var i int32
			if k == -d || k != d && v[at-1] < v[at+1] {
				i = v[at+1]
			} else {
				i = v[at-1] + 1
			}
			j := i - int32(k)
			for int(i) < n && j >= 0 && int(j) < m && x[i] == y[j] {
				i, j = i+1, j+1
			}
			v[at] = i
			if int(i) >= n && int(j) >= m {
				return traceBack(x, y, trace, d)
			}
		}
		trace = append(trace, append([]int32(nil), v[limit+1-d:limit+2+d]...))
	}
	return nil
}

// traceBack goes the way of d edits from the end to the start. trace[d] holds the diagonals -d to d.
func traceBack(x, y []string, trace [][]int32, d int) []run {
	i, j := len(x), len(y)
	var back []run
	for ; d > 0; d-- {
		last := trace[d-1]
		get := func(k int) int {
			if k < -(d-1) || k > d-1 {
				return -1
			}
			return int(last[k+d-1])
		}
		k := i - j
		pk := k - 1
		if k == -d || k != d && get(k-1) < get(k+1) {
			pk = k + 1
		}
		pi := get(pk)
		pj := pi - pk
		i0, j0 := pi, pj // after the edit
		if pk == k+1 {
			j0++
		} else {
			i0++
		}
		if i > i0 {
			back = append(back, run{i0, j0, i - i0})
		}
		i, j = pi, pj
	}
	if i > 0 {
		back = append(back, run{0, 0, i})
	}
	var out []run
	for _, m := range slices.Backward(back) {
		out = appendRun(out, m)
	}
	return out
}
