package steps

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/facts"
	"sayasystems.com/atlas/sentry/sync/state"
)

var update = flag.Bool("update", false, "write what is wanted anew")

// trial are the steps, with the facts of testdata: where the releases differ, measured on their packages.
func trial(t *testing.T) []convert.Step {
	t.Helper()
	known := map[int]*facts.Release{}
	for _, n := range []int{11, 12, 13} {
		data, err := os.ReadFile(fmt.Sprintf("testdata/facts-%d.json", n))
		if err != nil {
			t.Fatal(err)
		}
		r := new(facts.Release)
		if err := json.Unmarshal(data, r); err != nil {
			t.Fatal(err)
		}
		known[n] = r
	}
	with := func(f func(*convert.Work) error) func(*convert.Work) error {
		if f == nil {
			return nil
		}
		return func(w *convert.Work) error {
			w.From, w.To = known[w.From.Number], known[w.To.Number]
			return f(w)
		}
	}
	all := All()
	for i := range all {
		all[i].Forward, all[i].Back = with(all[i].Forward), with(all[i].Back)
	}
	return all
}

// A golden case is a directory in testdata, SERVICE-FROM-TO-NAME, with files "before.txt" and "after.txt", each a row of files that begin with
// "=== path", "=== path (stock)", and the findings in "findings.txt".
func golden(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/*-1[123]-1[123]-*")
	if err != nil || len(dirs) < 9 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	return dirs
}

func parseTree(text string) *convert.Tree {
	tree := convert.NewTree(nil)
	for _, part := range strings.Split("\n"+text, "\n=== ")[1:] {
		head, body, _ := strings.Cut(part+"\n", "\n")
		head, stock := strings.CutSuffix(head, " (stock)")
		tree.Write(state.Path(head), []byte(strings.TrimRight(body, "\n")+"\n"))
		if stock {
			f, _ := tree.Get(state.Path(head))
			f.Stock = true
			tree.Put(state.Path(head), f)
		}
	}
	return tree
}

func printTree(tree *convert.Tree) string {
	var b strings.Builder
	for _, p := range tree.All() {
		f, _ := tree.Get(p)
		mark := ""
		if f.Stock {
			mark = " (stock)"
		}
		fmt.Fprintf(&b, "=== %s%s\n%s", p, mark, f.Data)
	}
	return b.String()
}

func printFindings(all []convert.Finding) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s:%d: %s [%s] %s\n", f.Path, f.Line, f.Class, f.Step, f.What)
		if f.Next != "" {
			fmt.Fprintf(&b, "\t%s\n", f.Next)
		}
	}
	return b.String()
}

func releases(t *testing.T, dir string) (from, to int) {
	t.Helper()
	parts := strings.Split(filepath.Base(dir), "-")
	if _, err := fmt.Sscan(parts[1]+" "+parts[2], &from, &to); err != nil {
		t.Fatal(err)
	}
	return from, to
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !*update {
		t.Fatal(err)
	}
	return string(data)
}

// TestGolden: every case becomes what is wanted, and comes back as it was.
func TestGolden(t *testing.T) {
	seen := map[string]bool{}
	for _, dir := range golden(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			from, to := releases(t, dir)
			before := parseTree(read(t, dir, "before.txt"))
			steps := trial(t)
			got, err := convert.Convert(steps, from, to, before)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range got.Findings {
				seen[fmt.Sprintf("%s %t", f.Step, from < to)] = true
			}
			for name, text := range map[string]string{"after.txt": printTree(got.Tree), "findings.txt": printFindings(got.Findings)} {
				if *update {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if d := cmp.Diff(read(t, dir, name), text); d != "" {
					t.Errorf("%s (-want +got):\n%s", name, d)
				}
			}
			back, err := convert.Return(steps, convert.Keep(from, to, before, got.Tree), got.Tree)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(printTree(before), printTree(back.Tree)); d != "" {
				t.Errorf("there and back (-want +got):\n%s", d)
			}
			again, err := convert.Convert(steps, from, to, before)
			if err != nil || printTree(again.Tree) != printTree(got.Tree) {
				t.Errorf("converted once more it is different: %v", err)
			}
		})
	}
	nested := slices.Concat(Accounts(), Apache(), PHP(), Postfix(), Dovecot(), OpenLDAP(), Kerberos(), Firewall(), Sendmail()) // their cases are in testdata/nested
	for _, s := range All() {
		if slices.ContainsFunc(nested, func(n convert.Step) bool { return n.ID == s.ID }) {
			continue
		}
		for ahead, f := range map[bool]func(*convert.Work) error{true: s.Forward, false: s.Back} {
			if f != nil && !seen[fmt.Sprintf("%s %t", s.ID, ahead)] && !silent[fmt.Sprintf("%s %t", s.ID, ahead)] {
				t.Errorf("no case has step %s speak (to the newer release: %t)", s.ID, ahead)
			}
		}
	}
}

// silent are ways of steps that have nothing to do with these facts.
var silent = map[string]bool{"ssh-unknown true": true, "samba-modules false": true, "mariadb-plugins-12 true": true, "openldap-modules true": true}

// TestStock: what nobody has changed stays as it is, whatever it says, and nothing is told of it.
func TestStock(t *testing.T) {
	for _, dir := range golden(t) {
		from, to := releases(t, dir)
		tree := parseTree(read(t, dir, "before.txt"))
		for _, p := range tree.All() {
			f, _ := tree.Get(p)
			f.Stock = true
			tree.Put(p, f)
		}
		got, err := convert.Convert(trial(t), from, to, tree)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(printTree(tree), printTree(got.Tree)); d != "" {
			t.Errorf("%s (-want +got):\n%s", dir, d)
		}
	}
}

func TestSteps(t *testing.T) {
	ids := map[string]int{}
	for _, s := range All() {
		ids[s.ID]++
		if s.ID == "" || s.Title == "" || s.Source == "" || s.Class == "" || s.Old < 11 || s.Old > 12 || s.Forward == nil && s.Back == nil {
			t.Errorf("step %q is not complete: %+v", s.ID, s)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if ids[id] > 1 {
			t.Errorf("%d steps are called %s", ids[id], id)
		}
	}
}

// TestFacts: with the facts that are built in every case is converted without a mistake and comes back.
func TestFacts(t *testing.T) {
	for _, n := range []int{11, 12, 13} {
		if r, err := facts.Of(n); err != nil || len(r.Services["ssh"].Params) == 0 {
			t.Fatalf("the facts of Debian %d are not there: %v", n, err)
		}
	}
	for _, dir := range golden(t) {
		from, to := releases(t, dir)
		before := parseTree(read(t, dir, "before.txt"))
		got, err := convert.Convert(All(), from, to, before)
		if err != nil {
			t.Fatal(err)
		}
		back, err := convert.Return(All(), convert.Keep(from, to, before, got.Tree), got.Tree)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(printTree(before), printTree(back.Tree)); d != "" {
			t.Errorf("%s, there and back (-want +got):\n%s", dir, d)
		}
		if len(got.Findings) == 0 && len(read(t, dir, "findings.txt")) > 0 {
			t.Errorf("%s: nothing is found with these facts; want\n%s", dir, read(t, dir, "findings.txt"))
		}
	}
}
