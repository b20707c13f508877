package siteconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const head = `# Our site.
site: 11111111-1111-1111-1111-111111111111
name: Miller Dental   # as on the door

hostname: office
service: {address: 10.7.0.10/24, mac: '02:a7:1a:50:00:01'} # do not change
`

func TestSetServices(t *testing.T) {
	for _, tt := range []struct {
		name, list string
		set        string
		want       string
	}{
		{name: "none yet", set: "a b", want: "services: [a, b]\n"},
		{name: "one line", list: "services: [a, b] # ours\n\n# the end\n", set: "a c", want: "services: [a, c] # ours\n\n# the end\n"},
		{name: "a line each", list: "services:\n  - a # first\n  # b is for later\n  - b\n\n# the end\n", set: "a c d", want: "services:\n  - a # first\n  # b is for later\n  - c\n  - d\n\n# the end\n"},
		{name: "not indented", list: "services:\n- a\n- b\n- c\n", set: "c d", want: "services:\n- c\n- d\n"},
		{name: "no end of line", list: "services:\n  - a", set: "a b", want: "services:\n  - a\n  - b\n"},
		{name: "first gone", list: "services: [\"a\", b]\ndomain: office.example\n", set: "b", want: "services: [b]\ndomain: office.example\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, SiteFile)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(head+tt.list), 0o640); err != nil {
				t.Fatal(err)
			}
			if err := SetServices(dir, strings.Fields(tt.set)); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(head+tt.want, string(got)); d != "" {
				t.Error(d)
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
		})
	}
}

// TestSetServicesByNodes: lists written in other ways change too; comments stay, whatever becomes of the lines.
func TestSetServicesByNodes(t *testing.T) {
	for name, list := range map[string]string{
		"empty":         "services: [] # none\n",
		"null":          "services:\n",
		"over lines":    "services: [a, # first\n  b]\n",
		"comma at end":  "services: [a, b,]\n",
		"quoted hashes": "services: [\"a\", 'b'] # see ] there\n",
	} {
		t.Run(name, func(t *testing.T) {
			out, err := editServices("site.yaml", []byte(head+list), []string{"b", "c"})
			if err != nil {
				t.Fatal(err)
			}
			for _, keep := range []string{"# Our site.", "# as on the door", "# do not change"} {
				if !strings.Contains(string(out), keep) {
					t.Errorf("lost %q:\n%s", keep, out)
				}
			}
		})
	}
	if _, err := editServices("site.yaml", []byte("site: [broken\n"), []string{"a"}); err == nil {
		t.Error("a broken file was edited")
	}
}
