package site

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Ranks of troubles: the worst first. A cause has a lower rank than its effects, or the same and stands before them: so there are no circles.
const (
	rankTwo     = iota // two primaries
	rankServer         // a server does not answer or holds
	rankRole           // a role has no server
	rankSet            // disks
	rankCold           // a service did not start from cold
	rankService        // a service does not run
	rankProbe          // or does not work
	rankRests          // nor does one that rests on others
	rankFinding        // what else init has found
	rankSync           // configuration
	rankStart          // a start that is not proven
	rankData           // data
)

// trouble is a reason before it is known what it comes from. Causes and effects find each other by names such as "server right" or
// "service right apache".
type trouble struct {
	Reason
	rank    int
	is      []string // names by which it explains others
	excuses bool     // what it explains is as it should be meanwhile, and no fault, whatever was seen of it
	because []string // names of what explains it, the likeliest first
	group   string   // of troubles with the same group one is told, and the others under it; "" = none
	short   string   // how it is told under another one
	plural  string   // how several of its kind are: "%d transactions"
	seen    []string // observers
}

// merge tells each trouble under its root cause, and gives the causes, the worst first: what was seen before what is not known. What somebody has
// accepted explains its effects, but gathers no siblings: one transaction that may fail is no word about the others of its service.
func merge(all []trouble, accepted acceptor) []trouble {
	at := map[string]int{}
	for i, t := range all {
		for _, n := range t.is {
			if _, ok := at[n]; !ok {
				at[n] = i
			}
		}
	}
	root := make([]int, len(all))
	for i := range all {
		root[i] = i
		for next := causeOf(all, at, i); next >= 0; next = causeOf(all, at, next) {
			root[i] = next
		}
	}
	first := map[string]int{}
	for i, t := range all {
		if root[i] != i || t.group == "" {
			continue
		}
		if _, ok := accepted(t.Reason); ok {
			continue
		}
		group := t.group + fmt.Sprint(t.Unknown) // what is not known is no sibling of what is
		if f, ok := first[group]; ok {
			root[i] = f
		} else {
			first[group] = i
		}
	}
	effects := map[int][]trouble{}
	for i, t := range all {
		if r := root[root[i]]; r != i {
			effects[r] = append(effects[r], t)
		}
	}
	var out []trouble
	for i, t := range all {
		if root[i] == i {
			if !t.excuses { // what is as it should be meanwhile needs no words
				t.Also = also(effects[i])
			}
			for _, e := range effects[i] {
				t.Explains = append(t.Explains, e.ID)
			}
			// A fault that was seen stays one, though it is told under something that is not known.
			t.Unknown = t.Unknown && (t.excuses || !slices.ContainsFunc(effects[i], func(e trouble) bool { return !e.Unknown }))
			out = append(out, t)
		}
	}
	slices.SortStableFunc(out, func(a, b trouble) int {
		unknown := func(t trouble) int {
			if t.Unknown {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(unknown(a), unknown(b)), cmp.Compare(a.rank, b.rank), a.Since.Compare(b.Since))
	})
	return out
}

// causeOf is the trouble that explains all[i] directly; -1 if none does.
func causeOf(all []trouble, at map[string]int, i int) int {
	for _, n := range all[i].because {
		c, ok := at[n]
		if ok && (all[c].rank < all[i].rank || all[c].rank == all[i].rank && c < i) {
			return c
		}
	}
	return -1
}

// fewNamed of a kind are named one by one.
const fewNamed = 2

// also words effects: the few by name, the many by their number.
func also(effects []trouble) []string {
	many := map[string]int{}
	for _, t := range effects {
		if t.plural != "" {
			many[t.plural]++
		}
	}
	var out []string
	for _, t := range effects {
		s := t.short
		if s == "" {
			s = strings.TrimSuffix(t.Text, ".")
		}
		if many[t.plural] > fewNamed {
			s = fmt.Sprintf(t.plural, many[t.plural])
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
