package steps

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestThereAndBackAtRandom mixes the lines of all cases, between any two releases: what nobody touched on the other side comes back
// as it was, what was
// changed there stays changed, and no step fails.
func TestThereAndBackAtRandom(t *testing.T) {
	var paths []state.Path
	var lines []string
	for _, dir := range golden(t) {
		tree := parseTree(read(t, dir, "before.txt"))
		for _, p := range tree.All() {
			paths = append(paths, p)
			lines = append(lines, slices.Collect(strings.Lines(string(tree.Text(p))))...)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	steps := trial(t)
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 1500 {
		before := convert.NewTree(nil)
		for _, p := range paths {
			if r.IntN(3) > 0 || p == "etc/sysctl.d/99-zz-sysctl.conf" { // two files of one place are told, and not kept apart
				continue
			}
			var b strings.Builder
			for range r.IntN(12) {
				b.WriteString(lines[r.IntN(len(lines))])
			}
			before.Write(p, []byte(b.String()))
		}
		from, to := 11+r.IntN(3), 11+r.IntN(3)
		there, err := convert.Convert(steps, from, to, before)
		if err != nil {
			t.Fatal(err)
		}
		kept := convert.Keep(from, to, before, there.Tree)
		back, err := convert.Return(steps, kept, there.Tree)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(printTree(before), printTree(back.Tree)); d != "" {
			t.Fatalf("%d: Debian %d to %d and back (-want +got):\n%s", n, from, to, d)
		}
		all := slices.DeleteFunc(there.Tree.All(), func(p state.Path) bool { return p == "etc/ntp.conf" }) // of which chrony takes the sources alone
		if len(all) == 0 {
			continue
		}
		p := all[r.IntN(len(all))]
		there.Tree.Write(p, append(slices.Clone(there.Tree.Text(p)), "# a remark of there\n"...))
		back, err = convert.Return(steps, kept, there.Tree)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(printTree(back.Tree), "# a remark of there") {
			t.Fatalf("%d: Debian %d to %d: a change of %s there is lost on the way back:\n%s", n, from, to, p, fmt.Sprint(printTree(back.Tree)))
		}
	}
}
