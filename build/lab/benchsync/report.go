package benchsync

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// result is what was measured of one contender with one tree.
type result struct {
	name    string
	tree    int
	fill    time.Duration // from the first of the other files to the last on the other side
	fillCPU time.Duration
	rest    time.Duration // processor time while nothing was written
	took    []time.Duration
	ended   []time.Duration // until all that was to be done had ended; the same as took for who works on unseen
	cpu     time.Duration   // of all measured writes
	memory  int             // KiB at rest
	most    int             // KiB while a write is carried
}

// report prints the tables. The first contender's p50 is compared with the others' of the same tree.
func report(out io.Writer, results []*result) {
	fmt.Fprintf(out, "\nFrom a write on one server to the same bytes on the other, in turn, %v between two writes:\n\n", apart)
	fmt.Fprintln(out, "| other files | | writes | p50 | p99 | most | p50 of ATLAS to it | processor a write | memory at rest | most at work |")
	fmt.Fprintln(out, "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	var first *result
	for _, r := range results {
		slices.Sort(r.took)
		slices.Sort(r.ended)
		ratio := ""
		if first == nil || first.tree != r.tree {
			first = r
		} else {
			ratio = fmt.Sprintf("%.3f", float64(at(first.took, 0.5))/float64(max(at(r.took, 0.5), 1)))
		}
		fmt.Fprintf(out, "| %d | %s | %d | %.1f ms | %.1f ms | %.1f ms | %s | %.3f s | %.1f MiB | %.1f MiB |\n", r.tree, r.name, len(r.took), ms(at(r.took, 0.5)),
			ms(at(r.took, 0.99)), ms(at(r.took, 1)), ratio, (r.cpu / time.Duration(max(len(r.took), 1))).Seconds(), float64(r.memory)/1024, float64(r.most)/1024)
	}
	fmt.Fprintf(out, "\nPutting the other files there, and doing nothing for %v:\n\n", atRest)
	fmt.Fprintln(out, "| other files | | until all were there | processor for it | processor at rest | p50 until the last program has ended |")
	fmt.Fprintln(out, "| ---: | --- | ---: | ---: | ---: | ---: |")
	for _, r := range results {
		fmt.Fprintf(out, "| %d | %s | %.1f s | %.1f s | %.1f s | %.1f ms |\n", r.tree, r.name, r.fill.Seconds(), r.fillCPU.Seconds(), r.rest.Seconds(), ms(at(r.ended, 0.5)))
	}
	fmt.Fprintf(out, `
Processor time is user's and system's of all processes of both sides, counted by their control groups from the write until %v after all has
ended; memory is their PSS. With less than a hundred writes p99 is the longest of them.

Not the same: ATLAS keeps each change in a history on both sides, durable before it is acknowledged and before it is live on the other side, and
its processes also probe all services meanwhile (their processor time and memory are counted). lsyncd (delay 0, rsync daemon, TCP_NODELAY) keeps none and
flushes nothing. With csync2 and etckeeper the commands are called directly after the write (etckeeper commit, csync2 -x, and etckeeper commit on
the other side after the file is there), so nothing has to notice it; without TLS. csync2 flushes its database, git hardly
anything. The other files were not carried by csync2, but written to both sides, committed and made known to it: it would take minutes.
`, apart)
}

// at is a quantile of sorted times.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
