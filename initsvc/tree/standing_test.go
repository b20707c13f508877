package tree

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestStanding: what was found is told at each start, until somebody has changed the file that it is about.
func TestStanding(t *testing.T) {
	f := newFixture(t, "")
	c := conversion(t)
	tell := func(path string, class convert.Class) convert.Step {
		return convert.Step{ID: "tell-" + path, Service: "ssh", Old: 12, Forward: func(w *convert.Work) error {
			if path == "fails" {
				return errors.New("not understood")
			}
			p := state.Path("etc/mine/notes")
			if strings.HasPrefix(path, "etc/") {
				p = state.Path(path)
			}
			w.Tell(convert.Finding{Path: p, Class: class, Line: 1, What: "x"})
			if path == "moves" {
				w.Move("etc/mine/notes", "etc/mine/moved")
			}
			return nil
		}}
	}
	for _, tt := range []struct {
		name   string
		step   convert.Step
		change func(g *fixture)
		told   int
	}{
		{"stands", tell("", convert.Blocking), func(*fixture) {}, 1},
		{"mended", tell("", convert.Blocking), func(g *fixture) { must(t, os.WriteFile(g.etc("2/mine/notes"), []byte("other\n"), 0o644)) }, 0},
		{"taken away", tell("", convert.Blocking), func(g *fixture) { must(t, os.Remove(g.etc("2/mine/notes"))) }, 0},
		{"moved", tell("moves", convert.Approximated), func(*fixture) {}, 1},
		{"moved and mended", tell("moves", convert.Approximated), func(g *fixture) { must(t, os.Remove(g.etc("2/mine/moved"))) }, 0},
		{"a link", tell("etc/mine/link", convert.Package), func(*fixture) {}, 1},
		{"another link", tell("etc/mine/link", convert.Package), func(g *fixture) {
			must(t, os.Symlink("x", g.etc("2/mine/link.new")))
			must(t, os.Rename(g.etc("2/mine/link.new"), g.etc("2/mine/link")))
		}, 0},
		{"a folder", tell("etc/mine", convert.Data), func(*fixture) {}, 1},
		{"as shipped", tell("etc/debian_version", convert.Data), func(*fixture) {}, 1},
		{"what is not there", tell("etc/nothing", convert.Package), func(*fixture) {}, 1},
		{"for the log", tell("", convert.Renamed), func(*fixture) {}, 0},
		{"failed", tell("fails", convert.Renamed), func(*fixture) {}, 1},
		{"damaged", tell("", convert.Blocking), func(g *fixture) { must(t, os.Truncate(g.etc("2"+toldSuffix), 9)) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := f.copy(t)
			r := g.prepare(t, g.thirteen, "2", Conversion{Steps: []convert.Step{tt.step}, Shared: c.Shared})
			first := r.Converted.Told("left")
			tt.change(g)
			for _, version := range []string{"2", "2b"} { // the same once more, and another image of that release
				r = g.prepare(t, g.thirteen, version, c)
				if r.Converted != nil || tt.told == 0 {
					if r.Converted != nil || r.Earlier != nil {
						t.Errorf("%s: %+v, %+v; want nothing", version, r.Converted, r.Earlier)
					}
					continue
				}
				if r.Earlier == nil {
					t.Fatalf("%s: nothing is told", version)
				}
				if d := cmp.Diff(first, r.Earlier.Told("left")); d != "" || len(first) != tt.told {
					t.Errorf("%s: (-first +now):\n%s", version, d)
				}
			}
		})
	}
}
