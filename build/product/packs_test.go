package product

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"sayasystems.com/atlas/build/profile"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/settings"
)

const head = "name: x\nversion: 1.0.0\nrelease: \"13\"\n"

func TestLoadPacks(t *testing.T) {
	for _, c := range []struct{ name, profile, want, err string }{
		{"all but the absent", "", "mta web wiki", ""},
		{"one left out", "without: [wiki]\n", "mta web", ""},
		{"one instead of another", "with: [mtb]\nwithout: [mta]\n", "mtb web wiki", ""},
		{"only these", "packs: [web]\n", "web", ""},
		{"unknown", "packs: [web, wki]\n", "", "p.yaml:4: packs[1]: no pack is called wki; known: mta, mtb, web, wiki"},
		{"unknown to put in", "with: [sendmail]\n", "", "p.yaml:4: with[0]: no pack is called sendmail"},
		{"unknown to leave out", "without: [samba]\n", "", "p.yaml:4: without[0]: no pack is called samba"},
		{"what is needed left out", "without: [mta, web]\n", "", "p.yaml:4: without[1]: pack wiki needs web, which is left out; put web in or leave wiki out too"},
		{"what is needed not listed", "packs: [wiki]\n", "", "p.yaml:4: packs[0]: pack wiki needs web"},
		{"two that exclude each other", "with: [mtb]\n", "", "p.yaml:4: with[0]: the packs mta and mtb exclude each other; put one of them under `without`"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := profile.Parse("p.yaml", []byte(head+c.profile))
			if err != nil {
				t.Fatal(err)
			}
			got, err := loadPacks(filepath.Join("testdata", "packs"), p)
			if c.err != "" {
				var e *settings.Error
				if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), c.err) {
					t.Errorf("loadPacks error = %v;\nwant prefix        %s", err, c.err)
				}
				return
			}
			var list []string
			for _, k := range got {
				list = append(list, k.Name)
			}
			if s := strings.Join(list, " "); err != nil || s != c.want {
				t.Errorf("loadPacks = %s, %v; want %s", s, err, c.want)
			}
		})
	}
}

// Each folder in testdata/bad has a pack with a mistake that only sentry's probe kinds show.
func TestBadProbes(t *testing.T) {
	for name, want := range map[string]string{
		"probe-kind":  ":9: probes[0].kind: \"htpp\" is not a kind of probe; known: [browser command dns http ",
		"probe-param": ":10: probes[0].params: probe kind http has no parameter \"pth\"; it has [",
	} {
		p, err := profile.Parse("p.yaml", []byte(head))
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join("testdata", "bad", name)
		_, err = loadPacks(dir, p)
		var e *settings.Error
		if prefix := filepath.Join(dir, "app", pack.FileName) + want; !errors.As(err, &e) || !strings.HasPrefix(err.Error(), prefix) {
			t.Errorf("loadPacks error = %v;\nwant prefix        %s", err, prefix)
		}
	}
}

// The standard profiles' packs pass the same checks as a vendor's.
func TestStandardPacks(t *testing.T) {
	files, err := filepath.Glob("../profiles/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("profiles: %v, %v", files, err)
	}
	for _, f := range files {
		p, err := profile.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := loadPacks("../../image/packs", p); err != nil || len(got) == 0 {
			t.Errorf("%s: loadPacks = %d packs, %v", f, len(got), err)
		}
	}
}

func TestUnknownPackageNamesItsPack(t *testing.T) {
	p, err := profile.Parse("p.yaml", []byte(head+"packages: [nothing-here]\n"))
	if err != nil {
		t.Fatal(err)
	}
	packs, err := loadPacks(filepath.Join("testdata", "packs"), p)
	if err != nil {
		t.Fatal(err)
	}
	m := &maker{profile: p, packs: packs}
	for said, want := range map[string]string{
		"mmdebstrap: exit status 100\nE: Unable to locate package apache2\n":                      filepath.Join("testdata/packs/mta", pack.FileName) + ":4: packages[0]: Debian 13 has no package apache2",
		"mmdebstrap: exit status 100\nE: Unable to locate package nothing-here\nE: apt failed":    "p.yaml:4: packages[0]: Debian 13 has no package nothing-here",
		"mmdebstrap: exit status 100\nE: Package 'apache2' has no installation candidate\n":       filepath.Join("testdata/packs/mta", pack.FileName) + ":4: packages[0]: ",
		"mmdebstrap: exit status 100\nE: Failed to fetch http://mirror.example/debian: timed out": "mmdebstrap: ",
	} {
		if err := m.nameSource(errors.New(said)); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("nameSource(%q) = %v; want prefix %s", said, err, want)
		}
	}
}
