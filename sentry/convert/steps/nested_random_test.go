package steps

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestNestedThereAndBackAtRandom mixes the lines of all cases of a service, between any two releases: what nobody touched on the other side comes back
// as it was, and no step fails, whatever the lines say.
func TestNestedThereAndBackAtRandom(t *testing.T) {
	files, err := filepath.Glob("testdata/nested/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	paths, lines := map[string][]state.Path{}, map[string][]string{}
	for _, file := range files {
		service, _, _ := strings.Cut(filepath.Base(file), "-")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "=== before\n")
		before, _, _ := strings.Cut(rest, "=== after\n")
		tree := nestedRead(before)
		for _, p := range tree.All() {
			if f, _ := tree.Get(p); f.Entry.Kind == state.File {
				paths[service] = append(paths[service], p)
				lines[service] = append(lines[service], slices.Collect(strings.Lines(string(f.Data)))...)
			}
		}
	}
	for service := range paths {
		t.Run(service, func(t *testing.T) {
			slices.Sort(paths[service])
			paths := slices.Compact(paths[service])
			lines := lines[service]
			r := rand.New(rand.NewPCG(7, 8))
			for n := range 150 {
				before := convert.NewTree(nil)
				for _, p := range paths {
					if r.IntN(3) > 0 {
						continue
					}
					var b strings.Builder
					for range r.IntN(12) {
						b.WriteString(lines[r.IntN(len(lines))])
					}
					before.Write(p, []byte(b.String()))
				}
				from, to := 11+r.IntN(3), 11+r.IntN(3)
				there, err := convert.Convert(All(), from, to, before)
				if err != nil {
					t.Fatal(err)
				}
				back, err := convert.Return(All(), convert.Keep(from, to, before, there.Tree), there.Tree)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(nestedText(before), nestedText(back.Tree)); d != "" {
					t.Fatalf("%d: Debian %d to %d and back (-want +got):\n%s", n, from, to, d)
				}
			}
		})
	}
}
