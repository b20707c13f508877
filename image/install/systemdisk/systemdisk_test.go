package systemdisk

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/gpt"
	"sayasystems.com/atlas/image/layout"
)

func image(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPartition(t *testing.T) {
	const size = 8_000_000_000 // not a multiple of 1 MiB
	disk := image(t, size)
	m := Mark{Server: "left", Begun: time.Unix(1_800_000_000, 0).UTC()}
	if err := Begin(disk, m); err != nil {
		t.Fatal(err)
	}
	if err := Partition(disk); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parts, err := gpt.Read(f, size, 512)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name, Type  string
		Start, Size int64 // MiB
	}
	var got []row
	for _, p := range parts {
		if p.Start%layout.MiB != 0 || p.Size%layout.MiB != 0 {
			t.Errorf("%s is not aligned: %d, %d", p.Name, p.Start, p.Size)
		}
		got = append(got, row{p.Name, p.Type, p.Start / layout.MiB, p.Size / layout.MiB})
	}
	want := []row{
		{layout.ESP, layout.TypeESP, 1, 384},
		{layout.RootA, layout.TypeRootAB, 385, 1024},
		{layout.RootB, layout.TypeRootAB, 1409, 1024},
		{layout.State, layout.TypeLinux, 2433, 7629 - 2433 - 1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("table (-want +got):\n%s", d)
	}
	// Neither the table nor anything after it has touched the mark.
	if got, ok, err := ReadMark(disk); err != nil || !ok || got != m {
		t.Errorf("ReadMark = %+v, %v, %v; want %+v", got, ok, err, m)
	}
	if err := ClearMark(disk); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := ReadMark(disk); ok || err != nil {
		t.Errorf("ReadMark after ClearMark = %v, %v", ok, err)
	}
}

func TestTableRefuses(t *testing.T) {
	if _, err := Table(MinSize-1, 512); err == nil {
		t.Error("Table took a disk that is too small")
	}
	if _, err := Table(1<<40, 520); err == nil {
		t.Error("Table took sectors of 520 bytes")
	}
	if tab, err := Table(1<<40, 4096); err != nil || tab.Partitions[0].Start != 256 {
		t.Errorf("Table with sectors of 4096 bytes: %v", err)
	}
	small := image(t, 1<<20)
	if err := Begin(small, Mark{}); err == nil {
		t.Error("Begin cleared a disk that is too small")
	}
}

func TestCopyRoot(t *testing.T) {
	dir := t.TempDir()
	root := make([]byte, 9<<20+100)
	if _, err := rand.Read(root); err != nil {
		t.Fatal(err)
	}
	copy(root, "hsqs")
	binary.LittleEndian.PutUint64(root[40:], uint64(len(root)))
	from, to := filepath.Join(dir, "from"), image(t, 20<<20)
	if err := os.WriteFile(from, append(root, make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	var last, verified int64
	if _, err := CopyRoot(t.Context(), from, to, func(d, _ int64) { last = d }, func(d, _ int64) { verified = d }); err != nil {
		t.Fatal(err)
	}
	const padded = 9<<20 + 4096
	if last != padded || verified != padded {
		t.Errorf("copied %d, verified %d; want %d", last, verified, padded)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got[:len(root)], root) {
		t.Errorf("the copy differs (%v)", err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"no squashfs there":    func(b []byte) []byte { b[0] = 'x'; return b },
		"the stick is damaged": func(b []byte) []byte { return b[:5<<20] },
		"read superblock":      func(b []byte) []byte { return b[:10] },
		"holds 20971520 bytes, t": func(b []byte) []byte {
			b = append(b, make([]byte, 20<<20)...)
			binary.LittleEndian.PutUint64(b[40:], 25<<20)
			return b
		},
	} {
		if err := os.WriteFile(from, spoil(bytes.Clone(root)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := CopyRoot(t.Context(), from, to, nil, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("CopyRoot = %v; want %q in it", err, name)
		}
	}
}

func TestLookUp(t *testing.T) {
	sys := t.TempDir()
	for part, number := range map[string]string{"vda1": "1", "vda4": "4"} {
		dir := filepath.Join(sys, "vda", part)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "partition"), []byte(number+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := lookUp(sys, "vda", 4); err != nil || got != "vda4" {
		t.Errorf("lookUp = %q, %v; want vda4", got, err)
	}
	if _, err := lookUp(sys, "vda", 2); err == nil {
		t.Error("lookUp found what is not there")
	}
}

func FuzzParseMark(f *testing.F) {
	b, err := encodeMark(Mark{Server: "left", Site: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(append([]byte(markMagic), 0, 0, '{'))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := parseMark(b); ok {
			if again, err := encodeMark(m); err == nil {
				if got, ok := parseMark(again); !ok || got.Server != m.Server || got.Site != m.Site {
					t.Errorf("parseMark(encodeMark(%+v)) = %+v, %v", m, got, ok)
				}
			}
		}
	})
}
