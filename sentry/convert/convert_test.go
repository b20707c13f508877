package convert

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/sync/state"
)

// trial steps: a file moves, a word is called otherwise, a word is not known any more.
func trial() []Step {
	word := func(from, to string) func(*Work) error {
		return func(w *Work) error {
			for _, p := range w.Changed("etc/*") {
				if old := w.Text(p); bytes.Contains(old, []byte(from)) {
					w.Write(p, bytes.ReplaceAll(old, []byte(from), []byte(to)))
					w.Tell(Finding{Path: p, Line: 1, What: from + " is " + to + " there."})
				}
			}
			return nil
		}
	}
	return []Step{
		{ID: "move", Old: 12, Class: Moved, Forward: func(w *Work) error { w.Move("etc/old", "etc/new"); return nil }, Back: func(w *Work) error { w.Move("etc/new", "etc/old"); return nil }},
		{ID: "word", Old: 12, Class: Renamed, Forward: word("colour", "color"), Back: word("color", "colour")},
		{ID: "gone", Old: 12, Class: Ignored, Forward: func(w *Work) error {
			for _, p := range w.Changed("etc/*") {
				var out strings.Builder
				for l := range strings.Lines(string(w.Text(p))) {
					if !strings.HasPrefix(l, "legacy") {
						out.WriteString(l)
					}
				}
				if out.String() != string(w.Text(p)) {
					w.Write(p, []byte(out.String()))
				}
			}
			return nil
		}},
		{ID: "earlier", Old: 11, Class: Renamed, Forward: word("couleur", "colour"), Back: word("colour", "couleur")},
	}
}

func tree(files map[string]string) *Tree {
	t := NewTree(nil)
	for p, text := range files {
		t.Write(state.Path(p), []byte(text))
	}
	return t
}

func texts(t *Tree) map[string]string {
	out := map[string]string{}
	for _, p := range t.All() {
		out[string(p)] = string(t.Text(p))
	}
	return out
}

func TestConvert(t *testing.T) {
	in := tree(map[string]string{"etc/old": "couleur 1\nlegacy x\n", "etc/stock": "couleur 2\n"})
	stock, _ := in.Get("etc/stock")
	stock.Stock = true
	in.Put("etc/stock", stock)
	got, err := Convert(trial(), 11, 13, in)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"etc/new": "color 1\n", "etc/stock": "couleur 2\n"}, texts(got.Tree)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]Finding{
		{Step: "earlier", Class: Renamed, Path: "etc/old", Line: 1, What: "couleur is colour there."},
		{Step: "word", Class: Renamed, Path: "etc/old", Line: 1, What: "colour is color there."},
	}, got.Findings); d != "" {
		t.Errorf("findings name the place where it came from (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]string{"etc/old": "couleur 1\nlegacy x\n", "etc/stock": "couleur 2\n"}, texts(in)); d != "" {
		t.Errorf("what was converted has changed (-want +got):\n%s", d)
	}
	if _, err := Convert(trial(), 13, 15, in); err == nil || !strings.Contains(err.Error(), "nothing is known of Debian 14") {
		t.Errorf("a release that is not known: %v", err)
	}
}

// TestMistakes: a step that fails or panics is told and blocks, the others go on.
func TestMistakes(t *testing.T) {
	steps := append([]Step{
		{ID: "bad", Old: 12, Forward: func(*Work) error { return errors.New("line 3 is not understood") }},
		{ID: "worse", Old: 12, Forward: func(*Work) error { panic("index") }},
	}, trial()...)
	got, err := Convert(steps, 12, 13, tree(map[string]string{"etc/a": "colour\n"}))
	if err == nil || !strings.Contains(err.Error(), "bad: line 3") || !strings.Contains(err.Error(), "worse: mistake in the program: index") {
		t.Errorf("error %v", err)
	}
	if string(got.Tree.Text("etc/a")) != "color\n" || !got.Findings[0].Class.Blocks() || !got.Findings[1].Class.Blocks() {
		t.Errorf("got %q, %+v", got.Tree.Text("etc/a"), got.Findings)
	}
}

func TestThereAndBack(t *testing.T) {
	before := tree(map[string]string{"etc/old": "a 1\ncolour 1\nlegacy x\nz 9\n", "etc/same": "b\n"})
	there, err := Convert(trial(), 12, 13, before)
	if err != nil {
		t.Fatal(err)
	}
	kept := Keep(12, 13, before, there.Tree)
	for _, c := range []struct {
		name   string
		change func(*Tree)
		want   map[string]string
	}{
		{"untouched", func(*Tree) {}, map[string]string{"etc/old": "a 1\ncolour 1\nlegacy x\nz 9\n", "etc/same": "b\n"}},
		{"changed there", func(t *Tree) { t.Write("etc/new", []byte("a 2\ncolor 1\nz 9\n")) }, map[string]string{"etc/old": "a 2\ncolour 1\nlegacy x\nz 9\n", "etc/same": "b\n"}},
		{"removed there", func(t *Tree) { t.Remove("etc/new") }, map[string]string{"etc/same": "b\n"}},
		{"made there", func(t *Tree) { t.Write("etc/more", []byte("color\n")) }, map[string]string{"etc/old": "a 1\ncolour 1\nlegacy x\nz 9\n", "etc/same": "b\n", "etc/more": "colour\n"}},
		{"what was left alone is changed", func(t *Tree) { t.Write("etc/same", []byte("color\n")) }, map[string]string{"etc/old": "a 1\ncolour 1\nlegacy x\nz 9\n", "etc/same": "colour\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := there.Tree.clone()
			c.change(now)
			got, err := Return(trial(), kept, now)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, texts(got.Tree)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestThereAndBackAtRandom: untouched, every text comes back as it was.
func TestThereAndBackAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	words := []string{"colour", "color", "legacy", "couleur", "x", ""}
	for range 2000 {
		files := map[string]string{}
		for _, p := range []string{"etc/old", "etc/new", "etc/a"} {
			if r.IntN(3) == 0 {
				continue
			}
			var b strings.Builder
			for range r.IntN(5) {
				fmt.Fprintf(&b, "%s %d\n", words[r.IntN(len(words))], r.IntN(3))
			}
			files[p] = b.String()
		}
		from, to := 11+r.IntN(3), 11+r.IntN(3)
		before := tree(files)
		there, err := Convert(trial(), from, to, before)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Return(trial(), Keep(from, to, before, there.Tree), there.Tree)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(files, texts(got.Tree)); d != "" {
			t.Fatalf("Debian %d to %d and back (-want +got):\n%s", from, to, d)
		}
	}
}
