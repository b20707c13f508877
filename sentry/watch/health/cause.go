package health

import (
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/initapi"
)

// join tells each claim under what explains it, where that is told too: a disk that fails explains what the kernel cannot read from it. It is as bad
// as the worst of them.
func join(all []claim) []initapi.Finding {
	by := map[string]int{}
	for i, c := range all {
		for _, n := range c.is {
			if _, ok := by[n]; !ok {
				by[n] = i
			}
		}
	}
	cause := make([]int, len(all))
	for i := range all {
		cause[i] = i
	}
	root := func(i int) int {
		for cause[i] != i {
			i = cause[i]
		}
		return i
	}
	for i, c := range all {
		for _, n := range c.because {
			// What comes from i cannot explain it.
			if j, ok := by[n]; ok && root(j) != i {
				cause[i] = j
				break
			}
		}
	}
	var out []initapi.Finding
	for i, c := range all {
		if root(i) != i {
			continue
		}
		f := c.Finding
		var also []string
		for j, e := range all {
			if j == i || root(j) != i {
				continue
			}
			words := e.short
			if words == "" {
				words = strings.TrimSuffix(e.What, ".")
			}
			also = append(also, words)
			if rank(e.Severity) < rank(f.Severity) {
				f.Severity = e.Severity
			}
			if e.Since.Before(f.Since) {
				f.Since = e.Since
			}
		}
		if len(also) > 0 {
			f.What += " Probably from the same cause: " + strings.Join(also, "; ") + "."
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(x, y initapi.Finding) int { return rank(x.Severity) - rank(y.Severity) })
	return out
}
