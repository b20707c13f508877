package pack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sayasystems.com/atlas/image/settings"
)

func TestLoad(t *testing.T) {
	dir := filepath.Join("testdata", "good", "web")
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Pack{
		Name: "web", Title: "Web server", Scope: ScopeSite, Default: On, Address: AddressSite, Packages: []string{"apache2"},
		PackagesFor: []ReleasePackages{{"13", []string{"php8.4"}}},
		Accounts:    []Account{{"web", 601, "/srv/www", []string{"users"}}},
		Files:       []File{{"web.conf", "/etc/web.conf", "0644", true}},
		Init:        []Step{{Name: "make", Unless: "/srv/www", Command: []string{"/bin/mkdir", "/srv/www"}, Timeout: "5m"}},
		Processes: []Process{{
			Name: "web", Command: []string{"/usr/sbin/web", "-l", "{{.Service}}"}, User: "web", Env: []string{"NAME={{.Hostname}}"},
			RunDirs: []RunDir{{Path: "/run/web", Mode: "0755"}}, Ready: Ready{TCP: 80, Timeout: "60s"}, Stop: "TERM", StopTimeout: "20s",
		}},
		Config: []string{"/etc/web.conf", "/etc/web.d"}, Data: []string{"/srv/www"}, Formats: []Format{{"/srv/www", FormatCopy}},
		Ports:  []Port{{Port: 80, Proto: "tcp"}},
		Probes: []Probe{{Name: "page", Title: "Page", Kind: "http", Params: map[string]string{"path": "/"}}},
		Trial:  &Check{Command: []string{"/bin/t"}, Timeout: "2m", Fresh: []string{"/var/lib/web"}},
		Effective: &Effective{
			Command: []string{"/bin/e"}, Timeout: "30s", Exports: []string{"users.sql"}, Service: "web", Own: []string{"listen*"}, Guards: []string{`\[*\] allow`},
			Ships: []Shipped{{Name: "modules", Values: map[string]string{"12": "a", "13": "b"}}},
		},
		Check: &Check{Command: []string{"/usr/sbin/web", "-t"}, User: "web", Timeout: "30s", Show: []string{"/run/web"}},
		Exports: []Export{{
			Name: "users.sql", Title: "Users", Watch: []string{"/var/lib/web"}, Every: "1s", Changed: []string{"/bin/a"}, Dump: []string{"/bin/b"},
			Load: []string{"/bin/c"}, User: "web", Timeout: "1m", Secret: true, Clients: []string{"/usr/bin/webuser"},
		}},
		Own: []string{"/etc/web.own"}, Derived: []string{"/etc/web.*"}, Derive: &Derive{Command: []string{"/bin/d"}, Timeout: "1m"},
		Conversions: []Conversion{
			{ID: "folder", Between: []int{11, 12}, Title: "Moves", Move: &ConvMove{"/etc/web.d/old", "/etc/web.d/new"}},
			{ID: "key", Between: []int{12, 13}, Title: "Renamed", RenameKey: &ConvRename{"/etc/web.conf", "ini", "a", "b", "c"}},
			{
				ID: "text", Between: []int{12, 13}, Title: "Replaced", Source: "measured", Next: "Look",
				Replace: &ConvText{File: "/etc/web.d/*", Regexp: "a(b)", With: "$1", Back: &ConvBack{"b", "ab"}},
			},
			{ID: "pin", Between: []int{12, 13}, Title: "Pinned", PinDefault: &ConvPin{"/etc/web.conf", "equals", "", "k", "1", "2"}},
			{ID: "run", Between: []int{12, 13}, Title: "Run", Program: &ConvRun{Files: []string{"/etc/web.conf"}, Command: []string{"/bin/e"}, Timeout: "10s"}},
		},
		Dir: dir,
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Pack{})); d != "" {
		t.Errorf("Load (-want +got):\n%s", d)
	}
}

// TestLoadRefuses loads packs with one mistake each; the first line of each file is the beginning of the error.
func TestLoadRefuses(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join("testdata", "bad", "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no bad packs: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, FileName))
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(data), "\n")
			want := filepath.Join(dir, strings.TrimPrefix(first, "# want: "))
			_, err = Load(dir)
			var e *settings.Error
			if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("Load error = %v;\nwant prefix   %s", err, want)
			}
		})
	}
	if _, err := Load(filepath.Join("testdata", "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of no folder = %v; want it not to exist", err)
	}
}

func TestLoadAllRefuses(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join("testdata", "sets", "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no sets of packs: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join(dir, "want"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = LoadAll(dir)
			var e *settings.Error
			if p := filepath.Join(dir, strings.TrimSpace(string(want))); !errors.As(err, &e) || !strings.HasPrefix(err.Error(), p) {
				t.Errorf("LoadAll error = %v;\nwant prefix      %s", err, p)
			}
		})
	}
	if _, err := LoadAll(t.TempDir()); err == nil || !strings.Contains(err.Error(), FileName) {
		t.Errorf("LoadAll of an empty folder = %v; want an error that says what is looked for", err)
	}
}

// TestShippedPacks loads the packs that the image is made of.
func TestShippedPacks(t *testing.T) {
	packs, err := LoadAll(filepath.Join("..", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, p := range packs {
		for _, n := range p.Needs {
			if _, ok := at[n]; !ok {
				t.Errorf("pack %s stands before %s, which it needs", p.Name, n)
			}
		}
		at[p.Name] = i
	}
	for _, name := range []string{"apache", "mariadb", "samba", "ssh", "notes"} {
		if _, ok := at[name]; !ok {
			t.Errorf("pack %s is missing", name)
		}
	}
}

func TestExpand(t *testing.T) {
	v := Vars{Service: "10.7.0.10", Hostname: "office"}
	for _, tc := range []struct{ in, want, err string }{
		{"plain", "plain", ""},
		{"{{.Service}}:80 {{ .Hostname }}{{.Site}}", "10.7.0.10:80 office", ""},
		{"}} and { are nothing", "}} and { are nothing", ""},
		{"{{.Nothing}}", "", "{{.Nothing}} is not a known variable; known: {{.Service}}, {{.Service6}}"},
		{"{{Service}}", "", "{{Service}} is not a known variable"},
		{"{{if .Service}}", "", "{{if .Service}} is not a known variable"},
		{"a {{.Service", "", `"{{.Service" is not closed by }}`},
	} {
		got, err := Expand(tc.in, v)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
			t.Errorf("Expand(%q) = %q, %v; want %q, %q", tc.in, got, err, tc.want, tc.err)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"{{.Service}}", "{{", "{{.Site}", "{{{.Site}}}", "a{{.Prefix}}b{{.X}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out, err := Expand(in, Vars{})
		if err != nil {
			return
		}
		// Empty variables only take away; what is left stood there before.
		if len(out) > len(in) || !strings.Contains(in, "{{") && out != in {
			t.Errorf("Expand(%q) = %q", in, out)
		}
	})
}

// FuzzLoad gives the loader whatever bytes as a pack.yaml: it answers with a pack or an error that names the file.
func FuzzLoad(f *testing.F) {
	good, err := os.ReadFile(filepath.Join("testdata", "good", "web", FileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("name: web\nprocesses: [{name: a, after: [a]}]\n"))
	dir := filepath.Join(f.TempDir(), "web")
	if err := os.Mkdir(dir, 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if err := os.WriteFile(filepath.Join(dir, FileName), in, 0o644); err != nil {
			t.Fatal(err)
		}
		var e *settings.Error
		if _, err := Load(dir); err != nil && !errors.As(err, &e) {
			t.Errorf("Load error %v is not a *settings.Error", err)
		}
	})
}
