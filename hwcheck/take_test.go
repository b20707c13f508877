package hwcheck

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// grow makes the tree that a file in testdata describes.
func grow(t *testing.T, file string) string {
	t.Helper()
	root := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if path, target, ok := strings.Cut(line, " -> "); ok {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
			must(t, os.Symlink(target, filepath.Join(root, path)))
			continue
		}
		path, content, _ := strings.Cut(line, " =")
		s, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.TrimPrefix(content, " "), `"`, `\"`) + `"`)
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, path), []byte(s), 0o644))
	}
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTake(t *testing.T) {
	root := grow(t, "server.tree")
	inv, err := Take(t.Context(), Options{Root: root, Server: "left"})
	must(t, err)
	for i := range inv.Problems {
		// The words are the library's and name the temporary directory.
		inv.Problems[i].What = ""
	}
	got, err := json.MarshalIndent(inv, "", "  ")
	must(t, err)
	golden := "testdata/server.json"
	if *update {
		must(t, os.WriteFile(golden, append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("Take (-want +got):\n%s", diff)
	}
	back, err := Decode(got)
	must(t, err)
	if diff := cmp.Diff(inv, back); diff != "" {
		t.Errorf("JSON round trip (-want +got):\n%s", diff)
	}
}

func TestBayOverrides(t *testing.T) {
	root := grow(t, "server.tree")
	inv, err := Take(t.Context(), Options{Root: root, Bays: []Bay{
		{Number: 6, Path: "0000:00:1f.2/ata-1/lun-0:0:0"},
		{Number: 0, Path: "0000:00:1c.0/0000:02:00.0"},
		{Number: 2, Path: "0000:00:1e.0/0000:04:00.0"},
	}})
	must(t, err)
	got := map[string]int{}
	for _, d := range inv.Disks {
		got[d.Dev] = d.Bay
	}
	want := map[string]int{"/dev/nvme0n1": 0, "/dev/nvme1n1": 2, "/dev/sda": 6, "/dev/sdb": 5, "/dev/sdc": 0, "/dev/vda": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bays (-want +got):\n%s", diff)
	}
	shared := false
	for _, p := range inv.Problems {
		shared = shared || p.ID == "inventory-bays"
	}
	if !shared {
		t.Error("two disks in bay 2 and no finding")
	}
}

// A machine that shows nothing at all is no reason to fail.
func TestTakeFromNothing(t *testing.T) {
	inv, err := Take(t.Context(), Options{Root: t.TempDir()})
	must(t, err)
	if len(inv.Problems) == 0 {
		t.Error("nothing could be read, and no problem is told")
	}
}

func TestTakeThisMachine(t *testing.T) {
	inv, err := Take(t.Context(), Options{})
	must(t, err)
	if inv.Memory == 0 || inv.CPU.Threads == 0 {
		t.Errorf("memory %d, threads %d; want more than none", inv.Memory, inv.CPU.Threads)
	}
}
