package effective_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/effective"
	"sayasystems.com/atlas/sentry/convert/facts"
	"sayasystems.com/atlas/sentry/convert/steps"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/state"
)

// TestSteps asks the real daemons what the cases of the steps come to: where conversion says nothing of a setting, it is the same on both.
func TestSteps(t *testing.T) {
	trees := os.Getenv("ATLAS_TREES")
	if trees == "" {
		t.Skip("ATLAS_TREES names no directory with tree12 and tree13")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount and chroot")
	}
	packs, err := pack.LoadAll(filepath.Join("..", "..", "..", "image", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := class.New(packs)
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(filepath.Join("..", "steps", "testdata", "*-1[23]-1[23]-*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	nested, err := filepath.Glob(filepath.Join("..", "steps", "testdata", "nested", "[pd]o*-*.txt" /* postfix, dovecot */))
	if err != nil || len(nested) == 0 {
		t.Fatalf("no nested cases: %v", err)
	}
	for _, dir := range append(dirs, nested...) {
		name, before := filepath.Base(dir), filepath.Join(dir, "before.txt")
		if kind, ok := strings.CutSuffix(name, ".txt"); ok { // with the releases in its first line
			before = dir
			head := strings.Fields(firstLine(t, dir))
			name = strings.Replace(kind, "-", "-"+strings.Join(head, "-")+"-", 1)
		}
		part := strings.Split(name, "-")
		if part[1] == "11" || part[2] == "11" {
			continue
		}
		from, err := strconv.Atoi(part[1])
		if err != nil {
			t.Fatal(err)
		}
		to, err := strconv.Atoi(part[2])
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(packs, func(p pack.Pack) bool { return p.Name == part[0] })
		if _, skip := differing[name]; i < 0 || packs[i].Effective == nil || part[0] == "ssh" || skip && differing[name] == nil {
			continue // sshd of the appliance reads none of /etc/ssh
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := packs[i]
			tree := filesOf(t, before)
			theirs := ask(t, packs, p, filepath.Join(trees, "tree"+part[1]), from, edited{files: tree, rules: rules})
			res, err := convert.Convert(steps.All(), from, to, theirs.tree)
			if err != nil {
				t.Error(err)
			}
			ours := ask(t, packs, p, filepath.Join(trees, "tree"+part[2]), to, edited{files: res.Tree, rules: rules})
			var told, got []string
			for _, f := range res.Findings {
				told = append(told, f.What+" "+f.Next)
			}
			a, _ := facts.Of(from)
			b, _ := facts.Of(to)
			for _, d := range effective.Compare(rulesOf(t, p), effective.Side{Settings: theirs.said, Facts: a}, effective.Side{Settings: ours.said, Facts: b}, told) {
				if d.Why == effective.None {
					what, _ := d.Words(p.Title, "left", "right")
					t.Log(what)
					got = append(got, d.Name)
				}
			}
			if d := cmp.Diff(differing[name], got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("unexplained differences (-want +got):\n%s\nconversion told: %s", d, strings.Join(told, "\n"))
			}
		})
	}
}

// differing are the cases where something really differs; nil: the first daemon does not start with such a piece of a file.
var differing = map[string][]string{
	"dovecot-12-13-blocking": {"passdb"}, "dovecot-13-12-back-blocking": {"passdb"}, // who is asked for passwords cannot be carried
	"postgresql-13-12-access": {"pg_ident"}, // whom an account may log in as cannot be carried either
	"mariadb-12-13-latin":     nil, "postgresql-12-13-main": nil, "postgresql-12-13-pack": nil, "postgresql-13-12-libraries": nil,
}

// filesOf reads a case's files: === PATH, and then the text.
func filesOf(t *testing.T, name string) *convert.Tree {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text, mark := "\n"+string(data), "\n=== "
	if _, rest, ok := strings.Cut(text, "\n=== before\n"); ok {
		text, _, _ = strings.Cut(rest, "\n=== after\n")
		text, mark = "\n"+text, "\n--- "
	}
	out := convert.NewTree(nil)
	for part := range strings.SplitSeq(text, mark) {
		if p, text, ok := strings.Cut(part, "\n"); ok && strings.TrimSpace(p) != "" && !strings.Contains(p, "(stock)") {
			out.Write(state.Path(strings.TrimSpace(p)), []byte(text+"\n"))
		}
	}
	return out
}

func firstLine(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}
