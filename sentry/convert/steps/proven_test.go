package steps

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sayasystems.com/atlas/sentry/convert"
)

// TestProven counts what the cases prove, and wants each step to speak in one that a real daemon is shown (TestDaemons, TestNestedDaemons), as far as
// there is a daemon: there is none of Debian 11.
func TestProven(t *testing.T) {
	type way struct {
		step  string
		ahead bool
	}
	spoke, proven := map[way]bool{}, map[way]bool{}
	cases, shown := 0, 0
	count := func(name string, from, to int, before *convert.Tree) {
		service, _, _ := strings.Cut(name, "-")
		got, err := convert.Convert(trial(t), from, to, before)
		if err != nil {
			t.Fatal(err)
		}
		cases++
		daemon := to >= 12 && checkers[service]+nestedCheckers[service] != ""
		if daemon {
			shown++
		}
		for _, f := range got.Findings {
			w := way{f.Step, from < to}
			spoke[w] = true
			proven[w] = proven[w] || daemon
		}
	}
	for _, dir := range golden(t) {
		from, to := releases(t, dir)
		count(filepath.Base(dir), from, to, parseTree(read(t, dir, "before.txt")))
	}
	files, err := filepath.Glob("testdata/nested/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut(string(data), "=== before\n")
		before, _, _ := strings.Cut(rest, "=== after\n")
		var from, to int
		if _, err := fmt.Sscanf(head, "%d %d", &from, &to); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		count(filepath.Base(file), from, to, nestedRead(before))
	}
	ways, steps := 0, map[string]bool{}
	for _, s := range All() {
		for ahead, f := range map[bool]func(*convert.Work) error{true: s.Forward, false: s.Back} {
			w := way{s.ID, ahead}
			if f == nil {
				continue
			}
			ways++
			switch {
			case proven[w]:
				steps[s.ID] = true
			case !spoke[w] && !silent[fmt.Sprintf("%s %t", s.ID, ahead)]:
				t.Errorf("no case has step %s speak (to the newer release: %t)", s.ID, ahead)
			case ahead || s.Old >= 12:
				t.Logf("no daemon is shown what step %s does (to the newer release: %t)", s.ID, ahead)
			}
		}
	}
	t.Logf("%d steps, %d ways; %d cases, of which daemons see %d; %d steps and %d ways are proven by a daemon",
		len(All()), ways, cases, shown, len(steps), len(slices.DeleteFunc(slices.Collect(maps.Keys(proven)), func(w way) bool { return !proven[w] })))
	if len(steps) < 60 {
		t.Errorf("%d steps are proven by a daemon; want 60", len(steps))
	}
}
