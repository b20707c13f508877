package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/settings"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/steps"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

// fault is what is wrong with the configuration of a primary when a server of the other release has to take it over, and what must be found.
// They stand in testdata/conversion-faults, some files with a list each; to add one is to add an entry there.
type fault struct {
	Name  string     `yaml:"name"`
	From  int        `yaml:"from"` // release of the primary: 12 or 13; the secondary has the other
	Run   string     `yaml:"run"`  // script on the primary, before Add
	Add   []addition `yaml:"add"`
	Undo  string     `yaml:"undo"` // script on the primary that takes back what is no configuration; the rest is undone by `atlas rollback`
	Found found      `yaml:"found"`
	// Breaks is the service of the primary that fails as long as the fault is there, since its daemon reads the file by itself at any time; "" = none.
	Breaks string `yaml:"breaks"`

	file string // that it stands in: "postfix"
}

// addition is text that is appended to a file, which is made if it is not there.
type addition struct {
	To   string `yaml:"to"`
	Text string `yaml:"text"`
}

// found is the finding that must come.
type found struct {
	On       string `yaml:"on"`       // "primary" or "" = secondary
	ID       string `yaml:"id"`       // what its name begins with
	Says     string `yaml:"says"`     // regexp
	Severity string `yaml:"severity"` // of the finding
	Blocks   bool   `yaml:"blocks"`   // the site is not ready with it
	At       string `yaml:"at"`       // file of the primary that it must name; "" if the service has none for it
	Line     string `yaml:"line"`     // text of the line that it must name as well; "" = none
}

// by says for people how it is found.
func (f found) by() string {
	switch {
	case strings.HasPrefix(f.ID, "sync-convert-"):
		return "conversion (" + strings.TrimPrefix(f.ID, "sync-convert-") + ")"
	case f.ID == "sync-held":
		return "checker on the primary"
	case f.ID == "sync-refused":
		return "checker or trial on the secondary"
	}
	return "comparison of what is in effect"
}

// place is what the finding must say of where it is, where the line has a number.
func (f found) place(line int) string {
	switch {
	case f.Line != "":
		return fmt.Sprintf("%s:%d", f.At, line)
	case strings.HasPrefix(f.ID, "sync-convert-") && f.At != "":
		return f.At
	}
	return f.At
}

// mistake tells what is wrong with a finding; "" if it is the one that is wanted.
func (f found) mistake(n initapi.Finding, line int) string {
	said := n.What + " " + n.Next
	switch {
	case !regexp.MustCompile(f.Says).MatchString(n.What):
		return "it says other words"
	case n.Severity != f.Severity:
		return "it is " + n.Severity
	case !strings.Contains(said, f.place(line)):
		return "it does not name " + f.place(line)
	}
	return ""
}

// loadFaults reads the table.
func loadFaults(t *testing.T) []fault {
	t.Helper()
	files, err := filepath.Glob("testdata/conversion-faults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no faults: %v", err)
	}
	var all []fault
	seen := map[string]bool{}
	for _, name := range files {
		var list struct {
			Faults []fault `yaml:"faults"`
		}
		if _, err := settings.Load(name, &list); err != nil {
			t.Fatal(err)
		}
		for i, f := range list.Faults {
			f.file = strings.TrimSuffix(filepath.Base(name), ".yaml")
			key := fmt.Sprintf("%s/%s/%d", f.file, f.Name, f.From)
			_, err := regexp.Compile(f.Found.Says)
			switch {
			case f.Name == "" || f.From != 12 && f.From != 13 || len(f.Add) == 0 && f.Run == "":
				t.Errorf("%s: faults[%d] must have name, from (12 or 13), and add or run", name, i)
			case seen[key]:
				t.Errorf("%s: %q stands there twice", name, f.Name)
			case f.Found.ID == "" || f.Found.Says == "" || err != nil || !slices.Contains([]string{"", "primary"}, f.Found.On) || !slices.Contains([]string{"warning", "critical"}, f.Found.Severity):
				t.Errorf("%s: %q: found must have id, says (a regexp), severity (warning or critical), and on (primary) or not: %v", name, f.Name, err)
			}
			seen[key] = true
			all = append(all, f)
		}
	}
	return all
}

// script plants the fault.
func (f fault) script() string {
	s := "set -e\n" + f.Run + "\n"
	for _, a := range f.Add {
		s += fmt.Sprintf("mkdir -p %[1]s\nprintf %%s %[2]s >>%[3]s\n", quoted(filepath.Dir(a.To)), quoted(a.Text), quoted(a.To))
		if strings.HasPrefix(a.To, "/etc/sudoers.d/") {
			s += "chmod 0440 " + quoted(a.To) + "\n"
		}
	}
	return s
}

// lineOf finds the last line with a text, since what is planted is appended; 0 if there is none.
func lineOf(data, text string) int {
	no, at := 0, 0
	for l := range strings.Lines(data) {
		if no++; text != "" && strings.Contains(l, text) {
			at = no
		}
	}
	return at
}

// TestFaultTable converts the text of each fault that conversion has to find, beside the files that the packs ship, and looks whether it tells it as
// the table wants. TestConversionFaults does all of them with real daemons.
func TestFaultTable(t *testing.T) {
	all := loadFaults(t)
	packs, err := pack.LoadAll("../../../image/packs")
	if err != nil {
		t.Fatal(err)
	}
	converted := 0
	for _, f := range all {
		if !strings.HasPrefix(f.Found.ID, "sync-convert-") || f.Run != "" {
			continue
		}
		converted++
		t.Run(f.file+"/"+f.Name, func(t *testing.T) {
			tree := convert.NewTree(nil)
			for _, p := range packs {
				for _, s := range p.Files {
					if data, err := os.ReadFile(filepath.Join(p.Dir, s.From)); err == nil && !s.Template && strings.HasPrefix(s.To, "/etc/") {
						tree.Write(state.Path(s.To[1:]), data)
					}
				}
			}
			for _, a := range f.Add {
				p := state.Path(a.To[1:])
				tree.Write(p, append(slices.Clone(tree.Text(p)), a.Text...))
			}
			line := lineOf(string(tree.Text(state.Path(strings.TrimPrefix(f.Found.At, "/")))), f.Found.Line)
			if f.Found.Line != "" && line == 0 {
				t.Fatalf("%s has no line with %q", f.Found.At, f.Found.Line)
			}
			res, err := convert.Convert(steps.All(), f.From, 25-f.From, tree)
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			for _, c := range res.Findings {
				n, ok := c.Told("sync-convert-", "right", "of the primary, on right")
				if !ok || !strings.HasPrefix(n.ID, f.Found.ID) {
					continue
				}
				why := f.Found.mistake(n, line)
				if why == "" {
					return
				}
				told = append(told, n.ID+": "+n.Severity+": "+n.What+" ("+why+")")
			}
			t.Errorf("it is not found as it should be; found is:\n%s", strings.Join(told, "\n"))
		})
	}
	t.Logf("%d faults, %d of a primary with Debian 12; conversion finds %d by their text", len(all), len(slices.DeleteFunc(slices.Clone(all), func(f fault) bool { return f.From != 12 })), converted)
	if len(all) < 45 {
		t.Errorf("there are %d faults; want 45", len(all))
	}
}
