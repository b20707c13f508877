package steps

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// nested runs the cases of testdata/nested/NAME-*.txt. The first line of each gives the two releases; then come the files before, the
// files after and the findings. ATLAS_UPDATE=1 writes what came out. There and back must give the text from before.
func nested(t *testing.T, name string, steps []convert.Step) {
	t.Helper()
	files, err := filepath.Glob("testdata/nested/" + name + "-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases of %s: %v", name, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, rest, _ := strings.Cut(string(data), "=== before\n")
			beforeText, rest, _ := strings.Cut(rest, "=== after\n")
			var from, to int
			if _, err := fmt.Sscanf(head, "%d %d", &from, &to); err != nil {
				t.Fatalf("%s: first line: %v", file, err)
			}
			before := nestedRead(beforeText)
			got, err := convert.Convert(steps, from, to, before)
			if err != nil {
				t.Fatal(err)
			}
			out := nestedText(got.Tree) + "=== findings\n" + nestedFindings(got.Findings)
			if os.Getenv("ATLAS_UPDATE") != "" {
				if err := os.WriteFile(file, []byte(head+"=== before\n"+beforeText+"=== after\n"+out), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if d := cmp.Diff(rest, out); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			back, err := convert.Return(steps, convert.Keep(from, to, before, got.Tree), got.Tree)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(nestedText(before), nestedText(back.Tree)); d != "" {
				t.Errorf("there and back (-want +got):\n%s", d)
			}
		})
	}
}

func nestedRead(text string) *convert.Tree {
	tree := convert.NewTree(nil)
	for part := range strings.SplitSeq("\n"+text, "\n--- ") {
		name, body, _ := strings.Cut(part, "\n")
		if name == "" {
			continue
		}
		if body != "" && !strings.HasSuffix(body, "\n") {
			body += "\n"
		}
		name, stock := strings.CutSuffix(name, " (stock)")
		if path, target, ok := strings.Cut(name, " -> "); ok {
			tree.Put(state.Path(path), convert.File{Entry: state.Entry{Kind: state.Link, Mode: 0o777, Target: target}, Stock: stock})
			continue
		}
		tree.Write(state.Path(name), []byte(body))
		f, _ := tree.Get(state.Path(name))
		f.Stock = stock
		tree.Put(state.Path(name), f)
	}
	return tree
}

func nestedText(tree *convert.Tree) string {
	var b strings.Builder
	for _, p := range tree.All() {
		f, _ := tree.Get(p)
		switch f.Entry.Kind {
		case state.Link:
			fmt.Fprintf(&b, "--- %s -> %s", p, f.Entry.Target)
		default:
			fmt.Fprintf(&b, "--- %s", p)
		}
		if f.Stock {
			b.WriteString(" (stock)")
		}
		b.WriteString("\n")
		b.Write(f.Data)
	}
	return b.String()
}

func nestedFindings(findings []convert.Finding) string {
	var out []string
	for _, f := range findings {
		s := fmt.Sprintf("%s: %s: %s:%d: %s", f.Step, f.Class, f.Path, f.Line, f.What)
		if f.Next != "" {
			s += " | " + f.Next
		}
		out = append(out, s+"\n")
	}
	slices.Sort(out)
	return strings.Join(out, "")
}
