package imgfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/gpt"
	"sayasystems.com/atlas/image/layout"
)

func write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	if err := os.WriteFile(root, bytes.Repeat([]byte("squash"), 300_000), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "x.img")
	err := Write(out, Content{
		ESP:  []esp.File{{Path: layout.BootLoader, Data: []byte("loader")}, {Path: layout.InstallUKI, Data: bytes.Repeat([]byte("k"), 1<<20)}},
		Root: root, When: time.Unix(1_700_000_000, 0), Volume: "ATLAS", Seed: "s",
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStick(t *testing.T) {
	f, err := os.Open(write(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := gpt.Read(f, st.Size(), 512)
	if err != nil || len(parts) != 2 {
		t.Fatalf("partitions = %v, %v", parts, err)
	}
	e, _ := gpt.Find(parts, layout.InstallESP)
	fs, err := fat32.Read(file.New(f, true), e.Size, e.Start, 512)
	if err != nil {
		t.Fatal(err)
	}
	r, err := fs.OpenFile("/"+layout.BootLoader, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "loader" {
		t.Errorf("boot loader = %q, %v", data, err)
	}
	p, ok := gpt.Find(parts, layout.InstallRoot)
	b := make([]byte, 12)
	if _, err := f.ReadAt(b, p.Start); !ok || err != nil || string(b) != "squashsquash" {
		t.Errorf("root begins with %q, %v", b, err)
	}
	if e.GUID == p.GUID || e.GUID == "" {
		t.Errorf("GUIDs %q and %q; want two", e.GUID, p.GUID)
	}
}

// The same file as a CD: the volume can be read, and El Torito's EFI entry points at the ESP.
func TestCD(t *testing.T) {
	f, err := os.Open(write(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	fs, err := iso9660.Read(file.New(f, true), st.Size(), 0, isoBlock)
	if err != nil {
		t.Fatal(err)
	}
	list, err := fs.ReadDir(".")
	if err != nil || len(list) != 1 {
		t.Fatalf("files on the CD = %v, %v; want one", list, err)
	}
	if info, err := list[0].Info(); err != nil || info.Size() != 1_800_000 {
		t.Errorf("%s: %v; want 1,800,000 bytes", list[0].Name(), err)
	}
	cat := make([]byte, 64)
	if _, err := f.ReadAt(cat, isoCatalog*isoBlock); err != nil {
		t.Fatal(err)
	}
	var sum uint16
	for i := 0; i < 32; i += 2 {
		sum += binary.LittleEndian.Uint16(cat[i:])
	}
	if sum != 0 || cat[1] != 0xef || cat[32] != 0x88 {
		t.Errorf("boot catalogue: sum %d, platform %#x, indicator %#x", sum, cat[1], cat[32])
	}
	boot := make([]byte, 512)
	if _, err := f.ReadAt(boot, int64(binary.LittleEndian.Uint32(cat[40:]))*isoBlock); err != nil || string(boot[82:87]) != "FAT32" {
		t.Errorf("the boot entry does not point at the ESP: %q, %v", boot[82:90], err)
	}
}

func TestReproducible(t *testing.T) {
	var sums [2][32]byte
	for i := range sums {
		data, err := os.ReadFile(write(t))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(data)
	}
	if sums[0] != sums[1] {
		t.Error("two images of the same content differ")
	}
}
