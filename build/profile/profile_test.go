package profile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sayasystems.com/atlas/image/settings"
)

// Each file in testdata has one mistake; the error names the line and the key of it.
func TestBadProfiles(t *testing.T) {
	want := map[string]string{
		"broken":         "testdata/broken.yaml:",
		"components":     "testdata/components.yaml:4: components: has no main",
		"compression":    "testdata/compression.yaml:4: compression: 40 is not a level",
		"exclude":        "testdata/exclude.yaml:4: modules_exclude[1]: \"../../etc\"",
		"kernel":         "testdata/kernel.yaml:4: kernel: \"vmlinuz\"",
		"mirror":         "testdata/mirror.yaml:4: mirror: \"ftp.example.org\"",
		"name":           "testdata/name.yaml:1: name: \"My Image\"",
		"no-version":     "testdata/no-version.yaml: version: \"\"",
		"pack-name":      "testdata/pack-name.yaml:4: packs[0]: \"Apache2\"",
		"pack-twice":     "testdata/pack-twice.yaml:4: packs[2]: apache is listed twice",
		"older":          "testdata/older.yaml:4: older[0]: \"11\" is no release whose data an image of Debian 13 can bring forward",
		"older-twice":    "testdata/older-twice.yaml:4: older[1]: 12 is listed twice",
		"package":        "testdata/package.yaml:4: packages[1]: \"bad name\"",
		"release":        "testdata/release.yaml:3: release: \"11\"",
		"release-number": "testdata/release-number.yaml:3: release: ",
		"security-alone": "testdata/security-alone.yaml:4: security_mirror: is given without mirror",
		"twice":          "testdata/twice.yaml:4: ",
		"unknown-key":    "testdata/unknown-key.yaml:4: packges: is not a known key",
		"with-packs":     "testdata/with-packs.yaml:5: with: stands beside packs",
		"with-twice":     "testdata/with-twice.yaml:4: with[1]: sendmail is listed twice",
		"with-without":   "testdata/with-without.yaml:5: without[0]: sendmail stands under with too",
		"without-name":   "testdata/without-name.yaml:4: without[0]: \"Samba!\" is not the name",
		"without-packs":  "testdata/without-packs.yaml:5: without: stands beside packs",
		"version":        "testdata/version.yaml:2: version: \"one\"",
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		t.Run(name, func(t *testing.T) {
			_, err := Load(f)
			var e *settings.Error
			if !errors.As(err, &e) || want[name] == "" || !strings.HasPrefix(err.Error(), want[name]) {
				t.Errorf("Load error = %v; want prefix %q", err, want[name])
			}
			delete(want, name)
		})
	}
	for n := range want {
		t.Errorf("testdata/%s.yaml is missing", n)
	}
}

func TestOwnProfiles(t *testing.T) {
	files, err := filepath.Glob("../profiles/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("profiles: %v, %v", files, err)
	}
	for _, f := range files {
		p, err := Load(f)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Kernel == "" || p.Compression == 0 || len(p.ModulesExclude) == 0 || p.Title == "" {
			t.Errorf("%s: defaults are missing: %+v", f, p)
		}
	}
}

func TestPackDirsAreRelativeToTheProfile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(name, []byte("name: x\nversion: 1.0.0\nrelease: \"13\"\npack_dirs: [packs, /abs]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Load(name)
	if err != nil || p.PackDirs[0] != filepath.Join(filepath.Dir(name), "packs") || p.PackDirs[1] != "/abs" {
		t.Errorf("PackDirs = %v, %v", p.PackDirs, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name: x\nversion: 1.0.0\nrelease: \"13\"\npackages: [a1]\ncompression: 3\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse("p.yaml", in)
		if err != nil {
			if _, ok := errors.AsType[*settings.Error](err); !ok {
				t.Errorf("error %v is not an *settings.Error", err)
			}
			return
		}
		// What passes ends up on mmdebstrap's command line.
		for _, s := range append(append([]string{p.Kernel, p.Mirror, p.SecurityMirror}, p.Packages...), p.Components...) {
			if strings.HasPrefix(s, "-") || strings.ContainsAny(s, " \n,'\"$") {
				t.Errorf("%q got through", s)
			}
		}
	})
}
