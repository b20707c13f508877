package slots

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/layout"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name  string
		want  Entry
		state State
		ok    bool
	}{
		{"atlas-1.2.0-a.efi", Entry{File: "atlas-1.2.0-a.efi", Version: "1.2.0", Slot: "a"}, Good, true},
		{"atlas-1.2.0-b+3.efi", Entry{File: "atlas-1.2.0-b+3.efi", Version: "1.2.0", Slot: "b", Counted: true, Left: 3}, Trying, true},
		{"atlas-1.2.0-b+1-2.efi", Entry{File: "atlas-1.2.0-b+1-2.efi", Version: "1.2.0", Slot: "b", Counted: true, Left: 1, Done: 2}, Trying, true},
		{"ATLAS-1.2.0-B+0-3.EFI", Entry{File: "ATLAS-1.2.0-B+0-3.EFI", Version: "1.2.0", Slot: "b", Counted: true, Done: 3}, Bad, true},
		{"atlas-install.efi", Entry{}, "", false},
		{"atlas-1.2.0-c.efi", Entry{}, "", false},
		{"atlas-1.2.0-a+.efi", Entry{}, "", false},
		{"new.tmp", Entry{}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := Parse(tc.name)
			if ok != tc.ok {
				t.Fatalf("Parse = %v, %v; want %v", got, ok, tc.ok)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("Parse (-want +got):\n%s", d)
			}
			if ok && got.State() != tc.state {
				t.Errorf("State = %s; want %s", got.State(), tc.state)
			}
		})
	}
}

func TestParseReadsWhatLayoutWrites(t *testing.T) {
	for _, tries := range []int{0, 1, Tries} {
		e, ok := Parse(layout.UKIName("1.0~rc.1", "b", tries))
		if !ok || e.Version != "1.0~rc.1" || e.Slot != "b" || e.Left != tries || e.Counted != (tries > 0) {
			t.Errorf("Parse(UKIName(%d tries)) = %+v, %v", tries, e, ok)
		}
	}
}

func esp(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, layout.UKIDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, layout.UKIDir, n), []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	all, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range all {
		out = append(out, e.File)
	}
	return out
}

func TestBless(t *testing.T) {
	for _, tc := range []struct {
		name          string
		files         []string
		version, slot string
		counted       string
		want          []string
		wantErr       error
	}{
		{"counted", []string{"atlas-1-a.efi", "atlas-2-b+2-1.efi"}, "2", "b", "EFI/Linux/atlas-2-b+2-1.efi", []string{"atlas-1-a.efi", "atlas-2-b.efi"}, nil},
		{"counter told as it was", []string{"atlas-2-b+2-1.efi"}, "2", "b", "EFI/Linux/atlas-2-b+3.efi", []string{"atlas-2-b.efi"}, nil},
		{"the loader said nothing", []string{"atlas-2-b+2-1.efi"}, "2", "b", "", []string{"atlas-2-b.efi"}, nil},
		{"already good", []string{"atlas-1-a.efi"}, "1", "a", "", []string{"atlas-1-a.efi"}, nil},
		{"last try", []string{"atlas-2-b+0-3.efi"}, "2", "b", "", []string{"atlas-2-b.efi"}, nil},
		{"not there", []string{"atlas-1-a.efi"}, "2", "b", "", []string{"atlas-1-a.efi"}, fs.ErrNotExist},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := esp(t, tc.files...)
			if _, err := Bless(dir, tc.version, tc.slot, tc.counted); !errors.Is(err, tc.wantErr) {
				t.Errorf("Bless: %v; want %v", err, tc.wantErr)
			}
			if d := cmp.Diff(tc.want, names(t, dir)); d != "" {
				t.Errorf("ESP (-want +got):\n%s", d)
			}
		})
	}
}

func TestCondemn(t *testing.T) {
	dir := esp(t, "atlas-1-a.efi", "atlas-2-b+2-1.efi")
	if err := Condemn(dir, "2", "b"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"atlas-1-a.efi", "atlas-2-b+0-1.efi"}, names(t, dir)); d != "" {
		t.Errorf("ESP (-want +got):\n%s", d)
	}
}

func TestBootCountPath(t *testing.T) {
	dir := t.TempDir()
	if got, err := BootCountPath(dir); got != "" || err != nil {
		t.Errorf("BootCountPath without the variable = %q, %v; want nothing", got, err)
	}
	data := []byte{6, 0, 0, 0}
	for _, c := range utf16.Encode([]rune(`\EFI\Linux\atlas-2-b+2-1.efi` + "\x00")) {
		data = append(data, byte(c), byte(c>>8))
	}
	if err := os.WriteFile(filepath.Join(dir, "LoaderBootCountPath"+loaderVendor), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := BootCountPath(dir); got != "EFI/Linux/atlas-2-b+2-1.efi" || err != nil {
		t.Errorf("BootCountPath = %q, %v", got, err)
	}
}

func TestWrite(t *testing.T) {
	dir := esp(t, "atlas-1-a.efi", "atlas-1-b+0-3.efi")
	root := filepath.Join(t.TempDir(), "root")
	if err := os.WriteFile(root, make([]byte, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	u := Update{Version: "2", Slot: "b", UKI: []byte("kernel"), Root: strings.NewReader("squashfs"), Size: 8}
	if err := Write(dir, root, u); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"atlas-1-a.efi", "atlas-2-b+3.efi"}, names(t, dir)); d != "" {
		t.Errorf("ESP (-want +got):\n%s", d)
	}
	if data, err := os.ReadFile(root); err != nil || string(data[:8]) != "squashfs" || len(data) != 100 {
		t.Errorf("root = %q, %v", data, err)
	}
}

// A write that fails leaves the slot without a kernel image, so that nobody boots half of it.
func TestWriteFails(t *testing.T) {
	for name, u := range map[string]Update{
		"too large": {Version: "2", Slot: "b", Root: strings.NewReader("123456789"), Size: 9},
		"cut short": {Version: "2", Slot: "b", Root: strings.NewReader("1234"), Size: 5},
	} {
		t.Run(name, func(t *testing.T) {
			dir := esp(t, "atlas-1-a.efi", "atlas-1-b.efi")
			root := filepath.Join(t.TempDir(), "root")
			if err := os.WriteFile(root, make([]byte, 8), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := Write(dir, root, u); err == nil {
				t.Error("Write succeeded; want an error")
			}
			if d := cmp.Diff([]string{"atlas-1-a.efi"}, names(t, dir)); d != "" {
				t.Errorf("ESP (-want +got):\n%s", d)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("atlas-1.2.0-b+2-1.efi")
	f.Fuzz(func(t *testing.T, name string) {
		e, ok := Parse(name)
		if ok && (e.Slot != "a" && e.Slot != "b" || e.Version == "" || e.Left < 0 || e.Left > 999) {
			t.Errorf("Parse(%q) = %+v", name, e)
		}
	})
}
