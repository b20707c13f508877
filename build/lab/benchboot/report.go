package benchboot

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sayasystems.com/atlas/image/manifest"
)

// Goals of the comparison: at most this share of systemd's time and memory.
const (
	goalTime   = 0.7
	goalMemory = 0.5
)

// report prints the medians, their ratio and each port's.
func report(out io.Writer, info manifest.Manifest, our, their []Boot) {
	ready := func(b Boot) time.Duration { return b.Ready }
	a, s := median(our, ready), median(their, ready)
	fmt.Fprintf(out, "\nPower-on until every service answers a client, median of %d boots each, in turn on this machine (kernel %s)\n\n", len(our), info.Kernel)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tATLAS\tsystemd\tratio\t")
	row := func(name string, a, s float64, unit string) {
		fmt.Fprintf(w, "%s\t%.1f %s\t%.1f %s\t%.2f\t\n", name, a, unit, s, unit, a/s)
	}
	row("all services", a.Seconds(), s.Seconds(), "s")
	if len(our) > 0 {
		for _, port := range slices.Sorted(maps.Keys(our[0].Ports)) {
			at := func(b Boot) time.Duration { return b.Ports[port] }
			row(fmt.Sprintf("port %d", port), median(our, at).Seconds(), median(their, at).Seconds(), "s")
		}
	}
	pss, rss := func(b Boot) int { return total(b.Memory.PSS) }, func(b Boot) int { return total(b.Memory.RSS) }
	mib := func(kib int) float64 { return float64(kib) / 1024 }
	row("supervision, PSS", mib(median(our, pss)), mib(median(their, pss)), "MiB")
	row("supervision, RSS", mib(median(our, rss)), mib(median(their, rss)), "MiB")
	_ = w.Flush() // out is the user's terminal
	if len(our) > 0 && len(their) > 0 {
		fmt.Fprintf(out, "\nPSS by process: ATLAS %s; systemd %s\n", list(our[len(our)-1].Memory.PSS), list(their[len(their)-1].Memory.PSS))
	}
	fmt.Fprintf(out, "all boots: ATLAS %s; systemd %s\n", times(our), times(their))
	fmt.Fprintf(out, "goals: time at most %.1f: %s; memory at most %.1f: %s\n", goalTime, met(a.Seconds()/s.Seconds() <= goalTime), goalMemory,
		met(float64(median(our, pss)) <= goalMemory*float64(median(their, pss))))
	fmt.Fprint(out, `Not the same: ATLAS's services lie on a RAID 1 of two disks and its root is a compressed squashfs, systemd's lie on one disk with ext4; ATLAS
boots through systemd-boot, the other one's kernel image is the firmware's boot loader itself; sentry, which tests the services, runs already while
they start, and is not counted as supervision.
`)
}

// median of a property; of an even number of boots the lower one.
func median[T cmp.Ordered](boots []Boot, of func(Boot) T) T {
	var values []T
	for _, b := range boots {
		values = append(values, of(b))
	}
	slices.Sort(values)
	if len(values) == 0 {
		var none T
		return none
	}
	return values[(len(values)-1)/2]
}

func list(kib map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(kib)) {
		parts = append(parts, fmt.Sprintf("%s %.1f MiB", name, float64(kib[name])/1024))
	}
	return strings.Join(parts, ", ")
}

func times(boots []Boot) string {
	var parts []string
	for _, b := range boots {
		parts = append(parts, fmt.Sprintf("%.1f s", b.Ready.Seconds()))
	}
	return strings.Join(parts, " ")
}

func met(b bool) string {
	if b {
		return "reached"
	}
	return "not reached"
}
