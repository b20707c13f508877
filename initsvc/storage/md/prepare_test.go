package md

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
)

// memDisk is a disk in memory whose power can go at any write.
type memDisk struct {
	data   []byte
	off    int64
	writes int
	cutAt  int // number of the write that is torn in the middle; 0 = never
}

var errCut = errors.New("power cut")

func newMemDisk(size int64) *memDisk { return &memDisk{data: make([]byte, size)} }

func (d *memDisk) WriteAt(p []byte, off int64) (int, error) {
	d.writes++
	if d.writes == d.cutAt {
		return copy(d.data[off:], p[:len(p)/2&^511]), errCut
	}
	return copy(d.data[off:], p), nil
}

func (d *memDisk) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(d.data)) {
		return 0, io.EOF
	}
	n := copy(p, d.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *memDisk) Seek(off int64, whence int) (int64, error) {
	d.off = []int64{0, d.off, int64(len(d.data))}[whence] + off
	return d.off, nil
}

func (d *memDisk) Read([]byte) (int, error)   { return 0, io.EOF }
func (d *memDisk) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (d *memDisk) Close() error               { return nil }
func (d *memDisk) Sync() error                { return nil }

const testSize = 18 << 20

// read probes the disk as Disks does.
func (d *memDisk) read(t *testing.T) roles.Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	sparse(t, path, d.data)
	out := []roles.Disk{{Dev: path, Size: uint64(len(d.data))}}
	mark, err := probe(d, int64(len(d.data)), 512, &out[0], hwcheck.Content)
	if err != nil {
		t.Fatal(err)
	}
	array.Unfinished(out, map[string]string{path: mark})
	return out[0]
}

// sparse writes a file without its zeros.
func sparse(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(data))); err != nil {
		t.Fatal(err)
	}
	const piece = 64 << 10
	for at := 0; at < len(data); at += piece {
		if p := data[at:min(at+piece, len(data))]; len(bytes.Trim(p, "\x00")) > 0 {
			if _, err := f.WriteAt(p, int64(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func testLabel() roles.Label {
	return roles.Label{
		Version: roles.LabelVersion, Site: "site", Set: "set", Array: "array", Role: roles.Primary, Level: roles.RAID1, Generation: 5,
		Members: []roles.Member{{ID: "a"}, {ID: "b", Ejected: 3}}, Self: 1,
	}
}

// TestPartitionCutAtEveryWrite cuts the partitioning of a blank disk, of a stale member, and of a disk with a filesystem at every write,
// and reads what is there: never a member that nobody made, never something that stops the next try.
func TestPartitionCutAtEveryWrite(t *testing.T) {
	for name, start := range map[string]func(d *memDisk){
		"blank": func(*memDisk) {},
		"stale member": func(d *memDisk) {
			if err := partitionDisk(d, "old", testSize, 512, 8<<20); err != nil {
				t.Fatal(err)
			}
			if err := roles.WriteLabel(labelOf(d), testLabel()); err != nil {
				t.Fatal(err)
			}
			copy(d.data[labelStart+markerInPart:], make([]byte, markerSize))
		},
		"filesystem": func(d *memDisk) { d.data[0x438], d.data[0x439] = 0x53, 0xef },
	} {
		before := newMemDisk(testSize)
		start(before)
		was := before.read(t)
		for n := 1; ; n++ {
			d := newMemDisk(testSize)
			copy(d.data, before.data)
			d.cutAt = n
			err := partitionDisk(d, "set", testSize, 512, 8<<20)
			if err != nil && !strings.Contains(err.Error(), errCut.Error()) {
				t.Fatal(err)
			}
			got := d.read(t)
			switch {
			case got.Blank && got.Label == nil && got.LabelErr == "":
			case was.Label != nil && got.Label != nil && got.Label.ID() == was.Label.ID():
			case was.Content != "" && got.Content == was.Content:
			default:
				t.Errorf("%s, cut at write %d: %+v", name, n, got)
			}
			d.cutAt = 0
			if err := partitionDisk(d, "set", testSize, 512, 8<<20); err != nil {
				t.Errorf("%s, cut at write %d, again: %v", name, n, err)
			}
			if got := d.read(t); !got.Blank {
				t.Errorf("%s, cut at write %d, again: %+v", name, n, got)
			}
			if err == nil {
				if n < 10 {
					t.Errorf("%s: only %d writes", name, n)
				}
				break
			}
		}
	}
}

// labelOf is the label partition of a disk in memory.
func labelOf(d *memDisk) roles.File { return memSection{d} }

type memSection struct{ d *memDisk }

func (s memSection) ReadAt(p []byte, off int64) (int, error) { return s.d.ReadAt(p, labelStart+off) }

func (s memSection) WriteAt(p []byte, off int64) (int, error) {
	return s.d.WriteAt(p, labelStart+off)
}
func (s memSection) Sync() error { return nil }

func TestPartitionTableIsGood(t *testing.T) {
	for _, sector := range []int64{512, 4096} {
		d := newMemDisk(testSize)
		if err := partitionDisk(d, "set", testSize, sector, 8<<20); err != nil {
			t.Fatal(err)
		}
		parts, err := readGPT(d, testSize, sector)
		if err != nil {
			t.Fatal(err)
		}
		label, ok := find(parts, layout.SetLabel)
		member, ok2 := find(parts, layout.SetMember)
		if !ok || !ok2 || label.Start != labelStart || label.Size != layout.LabelSize || member.Start != memberStart || member.Size != 8<<20 || member.Number != 2 {
			t.Errorf("sector %d: partitions %+v", sector, parts)
		}
		if sgdisk, err := exec.LookPath("sgdisk"); err == nil && sector == 512 {
			path := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(path, d.data, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(sgdisk, "-v", path).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "No problems found") {
				t.Errorf("sgdisk -v: %v: %s", err, out)
			}
		}
		copy(d.data[sector:], make([]byte, sector))
		if parts, err := readGPT(d, testSize, sector); err != nil || len(parts) != 2 {
			t.Errorf("sector %d: from the backup: %+v, %v", sector, parts, err)
		}
	}
}

func TestMarkerDoesNotHideOtherThings(t *testing.T) {
	d := newMemDisk(testSize)
	copy(d.data[labelStart+markerInPart:], marker("set"))
	copy(d.data[3:], "NTFS    ")
	if got := d.read(t); got.Blank {
		t.Errorf("a filesystem beside an old marker: %+v; want it not to be blank", got)
	}
}

func TestUnknownDataIsNotBlank(t *testing.T) {
	d := newMemDisk(testSize)
	d.data[700] = 1
	if got := d.read(t); got.Blank || got.Content == "" {
		t.Errorf("disk with one byte: %+v; want it not to be blank", got)
	}
}
