package roles

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// node is a state and how it was reached.
type node struct {
	m      model
	parent int
	move   string
}

func trace(nodes []node, i int) string {
	var s []string
	for ; i >= 0; i = nodes[i].parent {
		s = append([]string{nodes[i].move}, s...)
	}
	return strings.Join(s, "\n  ")
}

// tally is what a search went through.
type tally struct{ states, moves, decisions int }

// explore visits all states that are at most depth moves away, and fails at the first broken promise with the moves that lead to
// it. It stops early when it has met limit states.
func explore(t *testing.T, w *world, first model, depth, limit int) tally {
	t.Helper()
	nodes := []node{{m: first, parent: -1}}
	seen := map[string]bool{w.key(&first): true}
	sum, from, level := tally{}, 0, 0
	for ; level < depth && len(nodes) < limit && from < len(nodes); level++ {
		to := len(nodes)
		for i := from; i < to && len(nodes) < limit; i++ {
			all, bad := w.moves(&nodes[i].m)
			if bad != "" {
				t.Fatalf("after%s\n  %s", trace(nodes, i), bad)
			}
			sum.moves += len(all)
			for _, n := range all {
				if k := w.key(&n.m); !seen[k] {
					seen[k] = true
					nodes = append(nodes, node{n.m, i, n.move})
				}
			}
		}
		from = to
	}
	sum.states, sum.decisions = len(nodes), w.decisions
	return sum
}

// wander takes long random walks, which reach what an exhaustive search is too slow for: histories of many boots, orders and swaps.
func wander(t *testing.T, w *world, first model, walks, length int, seed uint64) tally {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	seen := map[string]bool{}
	sum := tally{}
	for range walks {
		nodes := []node{{m: first, parent: -1}}
		for i := range length {
			all, bad := w.moves(&nodes[i].m)
			if bad != "" {
				t.Fatalf("after%s\n  %s", trace(nodes, i), bad)
			}
			if len(all) == 0 || slices.Max(nodes[i].m.writes[:]) >= 38 {
				break
			}
			sum.moves += len(all)
			// Boots and orders are few among all that hands can do; without favour they would hardly happen.
			n := all[rng.IntN(len(all))]
			for range 2 {
				if strings.HasPrefix(n.move, "boot") || strings.HasPrefix(n.move, "order") || strings.Contains(n.move, "joins") {
					break
				}
				n = all[rng.IntN(len(all))]
			}
			seen[w.key(&n.m)] = true
			nodes = append(nodes, node{n.m, i, n.move})
		}
	}
	sum.states, sum.decisions = len(seen), w.decisions
	return sum
}

// With -args -seed N other walks are taken, with -walks N so many times as many: for nights.
var (
	walkSeed  = flag.Uint64("seed", 0, "seed of the random walks of TestEveryArrangement")
	walkTimes = flag.Int("walks", 1, "how many times the usual number of random walks")
)

func TestEveryArrangement(t *testing.T) {
	attested := Policy{StartAttested: true}
	tests := []struct {
		name                  string
		servers, sets, spares int
		policy                Policy
		primaries             int
		limit                 int
		walks                 int
	}{
		{"two servers, one set", 2, 1, 0, Policy{}, 1, 8000, 40},
		{"two servers, one set, attested starts", 2, 1, 0, attested, 1, 8000, 40},
		{"two servers, one set, a blank disk", 2, 1, 1, Policy{}, 1, 5000, 30},
		{"two servers, two sets", 2, 2, 0, Policy{}, 1, 8000, 40},
		{"two servers, two sets, attested starts", 2, 2, 0, attested, 1, 5000, 30},
		{"two servers, two primary sets", 2, 2, 0, Policy{}, 2, 4000, 20},
		{"three servers, three sets", 3, 3, 0, Policy{}, 1, 5000, 20},
		{"three servers, one set, attested starts", 3, 1, 0, attested, 1, 5000, 30},
	}
	total := tally{}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, m := newWorld(tt.servers, tt.sets, tt.spares, tt.policy, tt.primaries)
			near := explore(t, w, m, 100, tt.limit)
			w.decisions = 0
			far := wander(t, w, m, tt.walks**walkTimes, 40, *walkSeed+uint64(i))
			t.Logf("near: %+v; far: %+v", near, far)
			total.states += near.states + far.states
			total.moves += near.moves + far.moves
			total.decisions += near.decisions + far.decisions
		})
	}
	t.Logf("in all %d states, %d moves, %d decisions", total.states, total.moves, total.decisions)
}
