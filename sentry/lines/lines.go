// Package lines compares texts line by line, and merges them. It works in memory on texts of configuration's size and does no I/O.
package lines

import (
	"slices"
	"strings"
)

const editsMax = 2000 // beyond, two texts are taken as wholly different

// Split parts a text into lines with their ends, so that joining them gives the same bytes.
func Split(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return slices.Collect(strings.Lines(string(text)))
}

// Run is a stretch of lines that are equal in both texts: n lines from a and from b on.
type Run struct{ A, B, N int }

// Match finds what two texts have in common: E. Myers, "An O(ND) difference algorithm and its variations" (1986).
func Match(x, y []string) []Run {
	pre := 0
	for pre < len(x) && pre < len(y) && x[pre] == y[pre] {
		pre++
	}
	post := 0
	for post < len(x)-pre && post < len(y)-pre && x[len(x)-1-post] == y[len(y)-1-post] {
		post++
	}
	var out []Run
	if pre > 0 {
		out = append(out, Run{0, 0, pre})
	}
	for _, m := range myers(x[pre:len(x)-post], y[pre:len(y)-post]) {
		out = appendRun(out, Run{m.A + pre, m.B + pre, m.N})
	}
	if post > 0 {
		out = appendRun(out, Run{len(x) - post, len(y) - post, post})
	}
	return out
}

func appendRun(out []Run, m Run) []Run {
	if n := len(out); n > 0 && out[n-1].A+out[n-1].N == m.A && out[n-1].B+out[n-1].N == m.B {
		out[n-1].N += m.N
		return out
	}
	return append(out, m)
}

func myers(x, y []string) []Run {
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
func traceBack(x, y []string, trace [][]int32, d int) []Run {
	i, j := len(x), len(y)
	var back []Run
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
			back = append(back, Run{i0, j0, i - i0})
		}
		i, j = pi, pj
	}
	if i > 0 {
		back = append(back, Run{0, 0, i})
	}
	var out []Run
	for _, m := range slices.Backward(back) {
		out = appendRun(out, m)
	}
	return out
}
