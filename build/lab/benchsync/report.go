package benchsync

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// result is what was measured of one contender with one tree.
type result struct {
	name   string
	tree   int
	took   []time.Duration
	cpu    time.Duration // of all measured writes
	memory int           // KiB
}

// report prints the table; the first contender's ratio to the second stands beside it.
func report(out io.Writer, writes int, results []result) {
	fmt.Fprintf(out, "\nFrom a write on one server to the same bytes on the other, %d writes of each in turn, one a second\n\n", writes)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "other files\t\tp50\tp99\tmost\tprocessor a write\tmemory (PSS)\t")
	for _, r := range results {
		slices.Sort(r.took)
		fmt.Fprintf(w, "%d\t%s\t%.1f ms\t%.1f ms\t%.1f ms\t%.1f ms\t%.1f MiB\t\n", r.tree, r.name, ms(at(r.took, 0.5)), ms(at(r.took, 0.99)), ms(at(r.took, 1)),
			ms(r.cpu/time.Duration(max(len(r.took), 1))), float64(r.memory)/1024)
	}
	_ = w.Flush() // out is the user's terminal
	for i := 0; i+1 < len(results); i += 2 {
		a, b := at(results[i].took, 0.5), at(results[i+1].took, 0.5)
		fmt.Fprintf(out, "%d other files: p50 is %.2f of %s's\n", results[i].tree, float64(a)/float64(max(b, 1)), results[i+1].name)
	}
	fmt.Fprint(out, `
Not the same: ATLAS keeps each change in a history on both sides, durable before it is acknowledged, and its processes also probe all services
meanwhile (their processor time and memory are counted); lsyncd keeps none and flushes nothing. csync2 with etckeeper is not measured yet.
`)
}

// at is a quantile of sorted times.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
