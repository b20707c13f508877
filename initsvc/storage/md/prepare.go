package md

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
)

const (
	tableEnd = layout.MiB     // for the backup GPT
	slack    = 8 * layout.MiB // so that a replacement which is a little smaller fits
)

// memberSize is how large the member partitions of a new set become: as large as its smallest disk allows, less the slack.
func memberSize(disks []roles.Disk) (uint64, error) {
	var least *roles.Disk
	for i, d := range disks {
		if least == nil || d.Size < least.Size {
			least = &disks[i]
		}
	}
	const around = memberStart + tableEnd + slack
	if need := uint64(around + 64*layout.MiB); least == nil || least.Size < need {
		e := &array.TooSmallError{Need: need}
		if least != nil {
			e.Dev, e.Have = least.Dev, least.Size
		}
		return 0, e
	}
	return (least.Size - around) / layout.MiB * layout.MiB, nil
}

// runningSize is how large the member partitions of the running array are.
func (m *MD) runningSize() uint64 {
	var least uint64
	for _, part := range m.parts {
		if n := 512 * m.sysNumber("class/block/"+part+"/size"); n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// Fits implements the store's hands.
func (m *MD) Fits(d roles.Disk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fits(d, m.runningSize())
}

func fits(d roles.Disk, member uint64) error {
	if need := memberStart + member + tableEnd; d.Size < need {
		return &array.TooSmallError{Dev: d.Dev, Have: d.Size, Need: need}
	}
	return nil
}

// Prepare implements the store's hands.
func (m *MD) Prepare(ctx context.Context, set string, disks ...roles.Disk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var size uint64
	if m.running {
		size = m.runningSize()
	} else {
		var err error
		if size, err = memberSize(disks); err != nil {
			return err
		}
	}
	for _, d := range disks {
		if err := fits(d, size); err != nil {
			return err
		}
		if err := m.prepare(ctx, set, d, size); err != nil {
			return fmt.Errorf("prepare the disk %s in bay %d: %w", d.Dev, d.Bay, err)
		}
	}
	return nil
}

func (m *MD) prepare(ctx context.Context, set string, d roles.Disk, member uint64) error {
	if err := m.verify(d); err != nil {
		return err
	}
	// Exclusive: fails as long as anything on the disk is mounted or in an array.
	f, err := os.OpenFile(d.Dev, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: %w", array.ErrBusy, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sector := int64(m.sysNumber("block/" + filepath.Base(d.Dev) + "/queue/logical_block_size"))
	if err := partitionDisk(f, set, int64(d.Size), max(sector, 512), int64(member)); err != nil {
		return err
	}
	return m.reread(ctx, f, filepath.Base(d.Dev), member)
}

// blockDevice is a whole disk opened for writing; *os.File is one.
type blockDevice interface {
	backend.WritableFile
	Sync() error
}

// partitionDisk writes a member's partition table. Step by step the disk reads as what it was, and from then on as blank.
func partitionDisk(f blockDevice, set string, size, sector, member int64) error {
	type write struct {
		what string
		at   int64
		data []byte
	}
	blank := func(n int64) []byte { return make([]byte, n) }
	for _, w := range []write{
		{"marker", labelStart + markerInPart, marker(set)},
		{"label", labelStart, blank(markerInPart)},
		{"start of the member", memberStart, blank(layout.MiB)},
		{"end of the member", memberStart + member - layout.MiB, blank(layout.MiB)},
		{"start of the disk", 0, blank(layout.MiB)},
		{"end of the disk", size - tableEnd, blank(tableEnd)},
	} {
		if _, err := f.WriteAt(w.data, w.at); err != nil {
			return fmt.Errorf("empty the %s: %w", w.what, err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("empty the %s: %w", w.what, err)
		}
	}
	t := &gpt.Table{
		LogicalSectorSize:  int(sector),
		PhysicalSectorSize: int(sector),
		ProtectiveMBR:      true,
		Partitions: []*gpt.Partition{
			entry(1, layout.SetLabel, layout.TypeLabel, labelStart, layout.LabelSize, sector),
			entry(memberNumber, layout.SetMember, layout.TypeRAID, memberStart, member, sector),
		},
	}
	if err := t.Write(f, size); err != nil {
		return fmt.Errorf("write partition table: %w", err)
	}
	return nil
}

func entry(index int, name, kind string, start, size, sector int64) *gpt.Partition {
	return &gpt.Partition{
		Index: index, Name: name, Type: gpt.Type(kind),
		Start: uint64(start / sector), End: uint64((start+size)/sector - 1), Size: uint64(size),
	}
}

// reread has the kernel read the new table, and waits until the member partition is there.
func (m *MD) reread(ctx context.Context, f *os.File, disk string, member uint64) error {
	last := unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0)
	err := m.until(ctx, "the new partitions of "+disk, func() bool {
		if last != nil {
			last = unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0)
			return false
		}
		part := partitionName(disk, memberNumber)
		st, err := os.Stat(m.path(part))
		return err == nil && st.Mode()&os.ModeDevice != 0 && m.sysNumber("class/block/"+part+"/size") == member/512
	})
	return errors.Join(err, last)
}
