package repro

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	for _, tc := range []struct {
		name, a, b string
		offset     int64 // -1: same
	}{
		{"same", big, big, -1},
		{"empty", "", "", -1},
		{"first", "abc", "xbc", 0},
		{"late", big + "a", big + "b", 3 << 20},
		{"longer", "abc", "abcd", 3},
		{"shorter", "abcd", "abc", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
			for n, s := range map[string]string{a: tc.a, b: tc.b} {
				if err := os.WriteFile(n, []byte(s), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := Compare(a, b)
			var d *DifferentError
			if tc.offset < 0 {
				if err != nil {
					t.Errorf("Compare: %v; want nil", err)
				}
			} else if !errors.As(err, &d) || d.Offset != tc.offset {
				t.Errorf("Compare: %v; want a difference at %d", err, tc.offset)
			}
		})
	}
}

func TestFirstDifference(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(dir string) error
		want   string
	}{
		{"same", func(string) error { return nil }, ""},
		{"content", func(d string) error { return os.WriteFile(filepath.Join(d, "etc/x"), []byte("abX"), 0o644) }, `/etc/x: content differs from byte 2 on: "c" and "X"`},
		{"gone", func(d string) error { return os.Remove(filepath.Join(d, "etc/x")) }, "/etc/x: only in the first"},
		{"new", func(d string) error { return os.WriteFile(filepath.Join(d, "etc/a"), nil, 0o644) }, "/etc/a: only in the second"},
		{"mode", func(d string) error { return os.Chmod(filepath.Join(d, "etc/x"), 0o600) }, "/etc/x: mode -rw-r--r-- and -rw-------"},
		{"link", func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "l")), os.Symlink("other", filepath.Join(d, "l")))
		}, "/l: links to etc and other"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var dirs [2]string
			for i := range dirs {
				dirs[i] = t.TempDir()
				if err := errors.Join(
					os.Chmod(dirs[i], 0o755), os.Mkdir(filepath.Join(dirs[i], "etc"), 0o755), os.WriteFile(filepath.Join(dirs[i], "etc/x"), []byte("abc"), 0o644),
					os.Symlink("etc", filepath.Join(dirs[i], "l")),
				); err != nil {
					t.Fatal(err)
				}
			}
			if err := tc.change(dirs[1]); err != nil {
				t.Fatal(err)
			}
			got, err := FirstDifference(dirs[0], dirs[1])
			if err != nil || got != tc.want {
				t.Errorf("FirstDifference = %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}
