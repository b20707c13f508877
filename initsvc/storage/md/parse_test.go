package md

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
)

// The samples in testdata were written by mdadm 4.4 and Linux 6.1: both members of a mirror, and one after the other was pulled.
func TestParseSuper(t *testing.T) {
	for name, want := range map[string]superblock{
		"whole-slot0":    {Level: 1, Slots: 2, Slot: 0},
		"whole-slot1":    {Level: 1, Slots: 2, Slot: 1},
		"degraded-slot0": {Level: 1, Slots: 2, Slot: 0, Missing: []int{1}},
	} {
		b, err := os.ReadFile(filepath.Join("testdata", "super-"+name+".bin"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseSuper(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(got.Array) != 35 || got.Events == 0 {
			t.Errorf("%s: array %q, events %d", name, got.Array, got.Events)
		}
		want.Array, want.Events = got.Array, got.Events
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, i := range []int{0, 16, 72, 92, 200, 220, 256} {
			broken := bytes.Clone(b)
			broken[i] ^= 1
			if _, err := parseSuper(broken); !errors.Is(err, errNoSuper) {
				t.Errorf("%s with byte %d changed: %v; want %v", name, i, err, errNoSuper)
			}
		}
	}
}

func FuzzParseSuper(f *testing.F) {
	samples, _ := filepath.Glob("testdata/super-*.bin")
	for _, s := range samples {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseSuper(b)
		if len(b) >= superFixed { // let it pass the checksum
			c := bytes.Clone(b)
			if n := superFixed + 2*int(binary.LittleEndian.Uint32(c[220:])); n <= len(c) && n >= superFixed {
				binary.LittleEndian.PutUint32(c[216:], superChecksum(c[:n]))
			}
			_, _ = parseSuper(c)
		}
	})
}

func FuzzReadGPT(f *testing.F) {
	d := newMemDisk(24 << 20)
	if err := partitionDisk(d, "set", 24<<20, 512, 8<<20); err != nil {
		f.Fatal(err)
	}
	f.Add(d.data[:40*512])
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = readGPT(bytes.NewReader(b), int64(len(b)), 512)
	})
}

func TestPartitionName(t *testing.T) {
	for dev, want := range map[string]string{"/dev/sda": "sda2", "/dev/vdb": "vdb2", "/dev/nvme0n1": "nvme0n1p2", "mmcblk0": "mmcblk0p2"} {
		if got := partitionName(dev, 2); got != want {
			t.Errorf("partitionName(%s, 2) = %s; want %s", dev, got, want)
		}
	}
}

func TestKnowsZeroes(t *testing.T) {
	for v, want := range map[string]bool{
		"mdadm - v4.4 - 2024-11-07 - Debian 4.4-11\n": true,
		"mdadm - v4.2 - 2021-12-30 - Debian 4.2-5":    false,
		"mdadm - v4.3": true, "mdadm - v5.0": true, "": false, "what": false,
	} {
		if got := knowsZeroes(v); got != want {
			t.Errorf("knowsZeroes(%q) = %t; want %t", v, got, want)
		}
	}
}

func TestWork(t *testing.T) {
	for _, c := range []struct {
		action, completed string
		speed             uint64
		want              string
	}{
		{"idle", "none", 0, ""},
		{"recover", "none", 0, "rebuilding"},
		{"recover", "1000 / 4000", 0, "rebuilding 25 %"},
		{"recover", "0 / 1953125000", 100000, "rebuilding 0 % (3 h left)"},
		{"resync", "976562500 / 1953125000", 1000000, "synchronising 50 % (8 min left)"},
		{"check", "5 / 4", 1, "checking"},
	} {
		if got := work(c.action, c.completed, c.speed); got != c.want {
			t.Errorf("work(%q, %q, %d) = %q; want %q", c.action, c.completed, c.speed, got, c.want)
		}
	}
}

func TestMemberSizeLeavesRoomForSmallerReplacement(t *testing.T) {
	const gb = 1000 * 1000 * 1000
	size, err := memberSize([]roles.Disk{{Size: 500 * gb}, {Size: 501 * gb}})
	if err != nil {
		t.Fatal(err)
	}
	if err := fits(roles.Disk{Size: 500*gb - slack}, size); err != nil {
		t.Errorf("a disk that is 8 MiB smaller: %v", err)
	}
	small := (*array.TooSmallError)(nil)
	if err := fits(roles.Disk{Size: 500*gb - slack - 2<<20}, size); !errors.As(err, &small) {
		t.Errorf("a disk that is 10 MiB smaller: %v; want TooSmallError", err)
	}
	if _, err := memberSize([]roles.Disk{{Size: 500 * gb}, {Size: 32 << 20}}); !errors.As(err, &small) {
		t.Errorf("a disk of 32 MiB: %v; want TooSmallError", err)
	}
}
