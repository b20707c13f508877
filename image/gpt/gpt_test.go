package gpt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	diskgpt "github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/google/go-cmp/cmp"
)

const size = 8 << 20

// table has go-diskfs write one.
func table(t testing.TB) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	tab := diskgpt.Table{
		LogicalSectorSize: 512, PhysicalSectorSize: 512, ProtectiveMBR: true, GUID: "5C1F0B9E-6A2B-4B52-9B4F-0123456789AB",
		Partitions: []*diskgpt.Partition{
			{Index: 1, Start: 2048, End: 4095, Type: diskgpt.EFISystemPartition, Name: "atlas-esp", GUID: "11111111-2222-3333-4444-555555555555"},
			{Index: 2, Start: 4096, End: 8191, Type: diskgpt.LinuxFilesystem, Name: "atlas-root-ä", GUID: "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE"},
		},
	}
	if err := tab.Write(f, size); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRead(t *testing.T) {
	want := []Partition{
		{1, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "11111111-2222-3333-4444-555555555555", "atlas-esp", 1 << 20, 1 << 20},
		{2, "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE", "atlas-root-ä", 2 << 20, 2 << 20},
	}
	whole := table(t)
	for _, tc := range []struct {
		name   string
		damage func([]byte)
		ok     bool
	}{
		{"whole", func([]byte) {}, true},
		{"header lost", func(b []byte) { clear(b[512:1024]) }, true},
		{"header bit", func(b []byte) { b[512+40] ^= 1 }, true},
		{"entries damaged", func(b []byte) { b[1024+60] ^= 1 }, true},
		{"both headers lost", func(b []byte) { clear(b[512:1024]); clear(b[size-512:]) }, false},
		{"blank", func(b []byte) { clear(b) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := append([]byte(nil), whole...)
			tc.damage(b)
			got, err := Read(bytes.NewReader(b), size, 512)
			if (err == nil) != tc.ok {
				t.Fatalf("Read: %v; want ok = %v", err, tc.ok)
			}
			if tc.ok {
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("Read (-want +got):\n%s", d)
				}
			}
		})
	}
	if _, err := Read(bytes.NewReader(make([]byte, size)), size, 512); !errors.Is(err, ErrNone) {
		t.Errorf("Read of zeroes: %v; want ErrNone", err)
	}
}

func TestFind(t *testing.T) {
	parts := []Partition{{Name: "a"}, {Name: "b", Number: 2}}
	if p, ok := Find(parts, "b"); !ok || p.Number != 2 {
		t.Errorf("Find(b) = %v, %v", p, ok)
	}
	if _, ok := Find(parts, "c"); ok {
		t.Error("Find(c) found something")
	}
}

func FuzzRead(f *testing.F) {
	b := table(f)
	f.Add(b[:40<<10])
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, in []byte) {
		parts, err := Read(bytes.NewReader(in), int64(len(in)), 512)
		for _, p := range parts {
			if err != nil || p.Size <= 0 || p.Start < 0 {
				t.Errorf("partition %+v, error %v", p, err)
			}
		}
	})
}
