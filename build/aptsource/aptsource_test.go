package aptsource

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  []Source
		want []Source
	}{
		{"list", ParseList(`# comment
deb http://archive.example/debian/ bookworm main contrib # tail
deb [arch=amd64 signed-by=/a b.gpg] https://archive.example/debian bookworm-updates main
deb-src http://archive.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
deb broken
`), []Source{
			{"http://archive.example/debian", "bookworm", []string{"main", "contrib"}},
			{"https://archive.example/debian", "bookworm-updates", []string{"main"}},
		}},
		{"deb822", ParseDeb822(`Types: deb deb-src
# a comment
URIs: http://one.example/debian http://two.example/debian/
Suites: trixie
 trixie-updates
Components: main

Types: deb
Enabled: no
URIs: http://three.example/debian
Suites: trixie
Components: main

Types: deb-src
URIs: http://four.example/debian
Suites: trixie
Components: main`), []Source{
			{"http://one.example/debian", "trixie", []string{"main"}},
			{"http://one.example/debian", "trixie-updates", []string{"main"}},
			{"http://two.example/debian", "trixie", []string{"main"}},
			{"http://two.example/debian", "trixie-updates", []string{"main"}},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, tc.got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestPick(t *testing.T) {
	src := func(uri, suite, component string) Source { return Source{uri, suite, []string{component}} }
	for _, tc := range []struct {
		name string
		in   []Source
		want Mirrors
		err  error
	}{
		{"none", nil, Mirrors{}, ErrNone},
		{"another vendor's", []Source{src("http://vendor.example/apt", "nodistro", "main"), src("http://cloud.example/apt", "cloud-sdk-bookworm", "main")}, Mirrors{}, ErrNone},
		{"ubuntu", []Source{src("http://u.example/ubuntu", "noble", "main")}, Mirrors{}, ErrNone},
		{"no main", []Source{src("http://a.example/debian", "bookworm", "contrib")}, Mirrors{}, ErrNone},
		{"main only", []Source{src("http://a.example/debian", "bookworm", "main")}, Mirrors{Main: "http://a.example/debian"}, nil},
		{"both", []Source{
			src("http://s.example/debian-security", "bookworm-security", "main"), src("http://a.example/debian", "bookworm-updates", "main"), src("http://b.example/debian", "sid", "main"),
		}, Mirrors{Main: "http://a.example/debian", Security: "http://s.example/debian-security"}, nil},
		{"security as buster wrote it", []Source{
			src("http://a.example/debian", "buster", "main"), src("http://s.example", "buster/updates", "main"),
		}, Mirrors{Main: "http://a.example/debian"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Pick(tc.in)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("Pick = %v, %v; want %v, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestLines(t *testing.T) {
	got, err := Mirrors{Main: "http://a.example/debian", Security: "http://s.example/sec"}.Lines("13", []string{"main", "non-free-firmware"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"deb http://a.example/debian trixie main non-free-firmware", "deb http://a.example/debian trixie-updates main non-free-firmware",
		"deb http://s.example/sec trixie-security main non-free-firmware",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Lines (-want +got):\n%s", d)
	}
	if _, err := (Mirrors{}).Lines("9", nil); err == nil {
		t.Error("Lines of release 9 succeeded; want an error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("deb [a=b] http://x/debian sid main\nTypes: deb\nURIs: http://x\nSuites: sid\nComponents: main\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(ParseList(text), ParseDeb822(text)...) {
			if s.URI == "" || s.Suite == "" {
				t.Errorf("source without address or suite: %+v", s)
			}
		}
	})
}
