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
