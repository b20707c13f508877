package esp

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

func files() []File {
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	return []File{
		{Path: "EFI/Linux/atlas-1.0.0-a+3.efi", Data: big},
		{Path: "EFI/BOOT/BOOTX64.EFI", Data: []byte("loader")},
		{Path: "loader/loader.conf", Data: []byte("timeout 0\n")},
		{Path: "atlas/manifest.json", Data: []byte("{}")},
	}
}

func write(t *testing.T, start int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "esp.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 48 << 20
	if err := f.Truncate(start + size); err != nil {
		t.Fatal(err)
	}
	if err := Write(f, start, size, "ATLAS", files(), time.Unix(1_700_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWriteIsReadable(t *testing.T) {
	const start = 1 << 20
	f, err := os.Open(write(t, start))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fs, err := fat32.Read(file.New(f, true), 48<<20, start, 512)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range files() {
		r, err := fs.OpenFile("/"+want.Path, os.O_RDONLY)
		if err != nil {
			t.Errorf("open %s: %v", want.Path, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want.Data) {
			t.Errorf("%s: %d bytes, %v; want %d bytes", want.Path, len(got), err, len(want.Data))
		}
	}
}

func TestWriteIsReproducible(t *testing.T) {
	var sums [2][32]byte
	for i := range sums {
		data, err := os.ReadFile(write(t, 0))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(data)
	}
	if sums[0] != sums[1] {
		t.Error("two runs differ; want the same bytes")
	}
}

func TestWriteIsClean(t *testing.T) {
	fsck, err := exec.LookPath("fsck.vfat")
	if err != nil {
		if fsck, err = exec.LookPath("/usr/sbin/fsck.vfat"); err != nil {
			t.Skip("fsck.vfat is not on this machine; `build image` runs it from the tools root")
		}
	}
	out, err := exec.Command(fsck, "-n", "-v", write(t, 0)).CombinedOutput()
	if err != nil {
		t.Errorf("fsck.vfat: %v\n%s", err, out)
	}
}

func TestTooSmall(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, 0, 1<<20, "X", nil, time.Unix(0, 0)); err == nil {
		t.Error("Write of 1 MiB succeeded; want an error")
	}
}
