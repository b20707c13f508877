package steps

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeep(t *testing.T) {
	t.Setenv("ATLAS_CACHE", t.TempDir())
	var out bytes.Buffer
	r, err := New(&out, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	fill := func(_ context.Context, dir string) error {
		runs++
		return os.WriteFile(filepath.Join(dir, "x"), []byte("y"), 0o644)
	}
	for range 2 {
		dir, err := r.Keep(t.Context(), "step", "k1", fill)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(filepath.Join(dir, "x")); err != nil || string(data) != "y" {
			t.Errorf("result = %q, %v", data, err)
		}
	}
	if _, err := r.Keep(t.Context(), "step", "k2", fill); err != nil || runs != 2 {
		t.Errorf("runs = %d, %v; want 2: once for each key", runs, err)
	}
	if n := strings.Count(out.String(), "reused"); n != 1 {
		t.Errorf("%d steps are told as reused; want 1:\n%s", n, &out)
	}
}

// A step that fails leaves nothing that the next build takes for a result.
func TestKeepFails(t *testing.T) {
	t.Setenv("ATLAS_CACHE", t.TempDir())
	r, err := New(&bytes.Buffer{}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if _, err := r.Keep(t.Context(), "step", "k", func(_ context.Context, dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o644); err != nil {
			return err
		}
		return boom
	}); !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "step: ") {
		t.Fatalf("Keep: %v; want step: boom", err)
	}
	dir, err := r.Keep(t.Context(), "step", "k", func(context.Context, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "half")); err == nil {
		t.Error("the failed run's file is in the result")
	}
}
