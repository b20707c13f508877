// Package systemdisk writes a server's system disk: the GPT of package layout, the image's root into slot A with a read-back, the
// state filesystem, the ESP with boot loader and kernel, and a mark that says "unfinished" from the first write to the last. It
// asks nothing and checks nothing about what was on the disk: image/install does before it calls.
package systemdisk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	diskfs "github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/partition/gpt"

	"sayasystems.com/atlas/image/layout"
)

// MinSize is the smallest disk that holds all partitions and both tables, in bytes.
const MinSize = layout.ESPSize + 2*layout.RootSize + layout.StateMinSize + 2*layout.MiB

type partition struct {
	name, kind string
	size       int64
}

// partitions are those of a system disk in their order; state is the size of the last.
func partitions(state int64) []partition {
	return []partition{
		{layout.ESP, layout.TypeESP, layout.ESPSize},
		{layout.RootA, layout.TypeRootAB, layout.RootSize},
		{layout.RootB, layout.TypeRootAB, layout.RootSize},
		{layout.State, layout.TypeLinux, state},
	}
}

// Table is the partition table of a system disk of size bytes with logical sectors of sector bytes.
func Table(size int64, sector int) (*gpt.Table, error) {
	if size < MinSize {
		return nil, fmt.Errorf("disk has %d MiB; a system disk needs %d", size/layout.MiB, int64(MinSize)/layout.MiB)
	}
	if sector != 512 && sector != 4096 {
		return nil, fmt.Errorf("disk has sectors of %d bytes; only 512 and 4096 are known", sector)
	}
	// The last MiB is left to the second table and to alignment.
	rest := size/layout.MiB*layout.MiB - 2*layout.MiB - layout.ESPSize - 2*layout.RootSize
	t := &gpt.Table{LogicalSectorSize: sector, PhysicalSectorSize: sector, ProtectiveMBR: true}
	at := int64(layout.MiB)
	for i, p := range partitions(rest) {
		s := uint64(sector)
		t.Partitions = append(t.Partitions, &gpt.Partition{
			Index: i + 1, Name: p.name, Type: gpt.Type(p.kind),
			Start: uint64(at) / s, End: uint64(at+p.size)/s - 1, Size: uint64(p.size),
		})
		at += p.size
	}
	return t, nil
}

// Partition writes the table onto dev, a disk or a disk image, and makes the kernel read it.
func Partition(dev string) error {
	d, err := diskfs.Open(dev, diskfs.WithOpenMode(diskfs.ReadWriteExclusive))
	if err != nil {
		return fmt.Errorf("open system disk: %w", err)
	}
	defer func() { _ = d.Close() }() // every write was synced
	t, err := Table(d.Size, int(d.LogicalBlocksize))
	if err != nil {
		return fmt.Errorf("partition %s: %w", dev, err)
	}
	if err := d.Partition(t); err != nil {
		return fmt.Errorf("partition %s: %w", dev, err)
	}
	return nil
}

// Find waits for the partition of dev that carries name and returns its device. Sysfs tells its number, so no udev is needed.
func Find(ctx context.Context, dev, name string) (string, error) {
	number := 1 + slices.IndexFunc(partitions(0), func(p partition) bool { return p.name == name })
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	disk := filepath.Base(dev)
	for {
		part, err := lookUp("/sys/class/block", disk, number)
		if err == nil {
			if _, err = os.Stat("/dev/" + part); err == nil {
				return "/dev/" + part, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("partition %s of %s does not appear: %w", name, dev, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lookUp finds the name of disk's partition with the given number.
func lookUp(sys, disk string, number int) (string, error) {
	files, err := filepath.Glob(filepath.Join(sys, disk, disk+"*", "partition"))
	if err != nil {
		return "", fmt.Errorf("look for partitions: %w", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the kernel is just reading the table again
		}
		if err != nil {
			return "", fmt.Errorf("look for partitions: %w", err)
		}
		if strings.TrimSpace(string(b)) == strconv.Itoa(number) {
			return filepath.Base(filepath.Dir(f)), nil
		}
	}
	return "", fmt.Errorf("none of %d partitions has number %d", len(files), number)
}
