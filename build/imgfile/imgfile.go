// Package imgfile writes the file that a vendor hands out: one image that boots from a USB stick and from a CD. As a stick it
// is a GPT disk with two partitions; as a CD it is an ISO 9660 volume whose El Torito entry points at the first of them. Both live in
// one file without getting in each other's way: the GPT takes the first 17 KiB, the ISO's descriptors lie from 32 KiB on, and the
// partitions start at 1 MiB. The same content gives the same bytes.
package imgfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/diskfs/go-diskfs/partition/gpt"

	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/layout"
)

// Content is what goes into an image.
type Content struct {
	ESP    []esp.File
	Root   string    // squashfs
	When   time.Time // of every time stamp
	Volume string    // name of the volume, at most 11 characters
	Seed   string    // what the GUIDs are made from: same seed, same GUIDs
}

// spare is what stays free on the stick's ESP for install.yaml, join.yaml and the installer's report.
const spare = 16 * layout.MiB

// Write writes the image to name.
func Write(name string, c Content) (err error) {
	root, err := os.Open(c.Root)
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	defer root.Close()
	st, err := root.Stat()
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	espSize, err := espSize(c.ESP)
	if err != nil {
		return err
	}
	espAt := int64(layout.MiB)
	rootAt := espAt + espSize
	rootSize := roundUp(st.Size(), layout.MiB)
	size := rootAt + rootSize + layout.MiB // the last for the backup table

	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	table := gpt.Table{
		LogicalSectorSize: 512, PhysicalSectorSize: 512, ProtectiveMBR: true, GUID: guid(c.Seed, "disk"),
		Partitions: []*gpt.Partition{
			partition(1, espAt, espSize, layout.TypeESP, layout.InstallESP, c.Seed),
			partition(2, rootAt, rootSize, layout.TypeLinux, layout.InstallRoot, c.Seed),
		},
	}
	if err := table.Write(f, size); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := esp.Write(f, espAt, espSize, c.Volume, c.ESP, c.When); err != nil {
		return err
	}
	if _, err := io.Copy(io.NewOffsetWriter(f, rootAt), root); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return writeISO(f, iso{volume: c.Volume, size: size, boot: espAt, when: c.When, root: rootAt, rootSize: st.Size()})
}

func partition(n int, at, size int64, kind, name, seed string) *gpt.Partition {
	return &gpt.Partition{
		Index: n, Start: uint64(at / 512), End: uint64((at+size)/512 - 1), Size: uint64(size), Type: gpt.Type(kind), Name: name, GUID: guid(seed, name),
	}
}

// espSize is room for the files, the FAT, and spare.
func espSize(files []esp.File) (int64, error) {
	var sum int64
	for _, f := range files {
		n := int64(len(f.Data))
		if f.From != "" {
			st, err := os.Stat(f.From)
			if err != nil {
				return 0, fmt.Errorf("write image: %w", err)
			}
			n = st.Size()
		}
		sum += roundUp(n, 4096)
	}
	return max(roundUp(sum+sum/64+spare, layout.MiB), roundUp(esp.MinSize, layout.MiB)), nil
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// guid makes a GUID (version 8 of RFC 9562: by own rules) from a seed.
func guid(seed, what string) string {
	h := sha256.Sum256([]byte("atlas\x00" + seed + "\x00" + what))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
