package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// BenchmarkMany: what an /etc with 50,000 files costs: to record it at first, to compare all of it when nothing has changed, and to record one
// change. The last must not depend on how many there are.
func BenchmarkMany(b *testing.B) {
	for _, n := range []int{700, 50_000} {
		rules, err := class.New(nil)
		if err != nil {
			b.Fatal(err)
		}
		root := b.TempDir()
		for i := range n {
			dir := filepath.Join(root, "etc", fmt.Sprint(i/1000), fmt.Sprint(i/50%20))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), fmt.Appendf(nil, "%d\n%s", i, strings.Repeat("# a line\n", 80)), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		open := func(b *testing.B) *Engine {
			f := facts(root)
			f.Class = rules.Classify
			e, err := Open(Config{Dir: b.TempDir(), Root: root, Server: "left", Role: roles.Primary, Facts: f, Findings: &Findings{}, Places: []apply.Place{{Prefix: "etc", Dir: filepath.Join(root, "etc")}}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = e.Close() })
			return e
		}
		ctx := context.Background()
		b.Run(fmt.Sprintf("first/%d", n), func(b *testing.B) {
			for b.Loop() {
				open(b).rescan(ctx, "")
			}
		})
		e := open(b)
		e.rescan(ctx, "")
		b.Run(fmt.Sprintf("again/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				e.rescan(ctx, "")
			}
		})
		i := 0
		b.Run(fmt.Sprintf("one/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				i++
				if err := os.WriteFile(filepath.Join(root, "etc/0/0/7"), fmt.Appendf(nil, "change %d\n", i), 0o644); err != nil {
					b.Fatal(err)
				}
				e.record(ctx, e.look(ctx, []state.Path{"etc/0/0/7"}), history.Meta{}, 0)
			}
		})
	}
}
