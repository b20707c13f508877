package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/settings"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

func TestLoadAnswers(t *testing.T) {
	want := Answers{
		Server:     "left",
		SystemDisk: DiskChoice{Serial: "SYS-1", Erase: true},
		Set: SetChoice{
			Level: roles.RAID1, Role: roles.Primary,
			Disks: []DiskChoice{{Serial: "LAB-L1", Bay: 1}, {Serial: "LAB-L2", Bay: 2, Erase: true}},
		},
		New: &NewSite{
			Name: "Miller Dental", Hostname: "office",
			Service: siteconf.Service{Address: "10.7.0.10/24", Gateway: "10.7.0.1", DNS: []string{"10.7.0.1"}},
		},
		Management: siteconf.Management{Address: "10.7.0.11/24"},
		Password:   "correct horse",
		SSHKeys:    []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0vlrNgvxKeL8HcJXBpMJ8QJpHYX4ZAIRBzwQK1Pdd5 someone"},
		Then:       "off",
	}
	got, err := LoadAnswers("testdata/good-new.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("LoadAnswers (-want +got):\n%s", d)
	}
	for _, f := range []string{"good-join.yaml", "good-noset.yaml", "good-bond.yaml"} {
		if _, err := LoadAnswers(filepath.Join("testdata", f)); err != nil {
			t.Errorf("LoadAnswers(%s) = %v; want none", f, err)
		}
	}
}

// Each bad-*.yaml begins with lines "# want: …": prefixes of the error's lines, in order.
func TestLoadAnswersRefuses(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("only %d files in testdata (%v)", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(data)) {
				if w, ok := strings.CutPrefix(strings.TrimSpace(line), "# want: "); ok {
					want = append(want, w)
				}
			}
			_, err = LoadAnswers(f)
			if _, ok := errors.AsType[*settings.Error](err); !ok {
				t.Fatalf("LoadAnswers = %v; want a settings.Error", err)
			}
			got := strings.Split(strings.ReplaceAll(err.Error(), f, "FILE"), "\n")
			if len(got) != len(want) {
				t.Fatalf("%d mistakes told, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
			}
			for i := range want {
				if !strings.HasPrefix(got[i], want[i]) {
					t.Errorf("mistake %d = %q; want prefix %q", i, got[i], want[i])
				}
			}
		})
	}
}

func TestLoadJoin(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"site: x\nname: Miller\naddress: 10.7.0.11\ncode: A-B\n", ""},
		{"site: x\nname: Miller\naddress: left\ncode: A-B\n", "join.yaml:3: address: "},
		{"site: x\nname: Miller\naddress: 10.7.0.11\n", "join.yaml: code: is missing"},
		{"nonsense: x\n", "join.yaml:1: nonsense: "},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "join.yaml")
		if err := os.WriteFile(path, []byte(tc.in), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadJoin(path)
		if got := strings.TrimPrefix(errText(err), dir+"/"); (tc.want == "") != (err == nil) || !strings.HasPrefix(got, tc.want) {
			t.Errorf("LoadJoin(%q) = %q; want prefix %q", tc.in, got, tc.want)
		}
	}
}

func FuzzParseAnswers(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, file, err := ParseAnswers("install.yaml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "install.yaml") {
				t.Errorf("error %q does not name the file", err)
			}
			return
		}
		// What was accepted must also be safe to hold against no disks at all.
		if _, err := Check(a, nil, Limits{}); err == nil {
			t.Errorf("accepted without any disk: %+v", a)
		} else if text := Locate(file, err).Error(); !strings.HasPrefix(text, "install.yaml") {
			t.Errorf("located error %q does not name the file", text)
		}
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
