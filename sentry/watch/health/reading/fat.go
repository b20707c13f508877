package reading

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// FAT counts the free clusters of the FAT32 filesystem on dev (Microsoft's FAT specification, 1.03): the ESP is not mounted while a server runs, and
// the number that the filesystem keeps of its free clusters is a hint only.
func (r Root) FAT(dev string) (Space, error) {
	f, err := os.Open(r.path(dev))
	if errors.Is(err, fs.ErrNotExist) {
		return Space{}, fmt.Errorf("%s: %w", dev, ErrAbsent)
	}
	if err != nil {
		return Space{}, err
	}
	defer f.Close()
	s, err := fatSpace(f)
	if err != nil {
		return Space{}, fmt.Errorf("%s: %w", dev, err)
	}
	return s, nil
}

// maxClusters is what FAT32 can number; a filesystem that claims more is broken.
const maxClusters = 0x0ffffff5

func fatSpace(f io.ReaderAt) (Space, error) {
	boot := make([]byte, 512)
	if _, err := f.ReadAt(boot, 0); err != nil {
		return Space{}, fmt.Errorf("read the boot sector: %w", err)
	}
	le := binary.LittleEndian
	sector, perCluster := uint64(le.Uint16(boot[11:])), uint64(boot[13])
	reserved, copies := uint64(le.Uint16(boot[14:])), uint64(boot[16])
	total, perFAT := uint64(le.Uint32(boot[32:])), uint64(le.Uint32(boot[36:]))
	if boot[510] != 0x55 || boot[511] != 0xaa || sector < 512 || sector > 4096 || sector&(sector-1) != 0 || perCluster == 0 || perFAT == 0 || copies == 0 || copies > 2 {
		return Space{}, errors.New("no FAT32 filesystem")
	}
	meta := reserved + copies*perFAT
	if meta >= total {
		return Space{}, errors.New("the FAT32 filesystem claims more tables than it has room for")
	}
	clusters := (total - meta) / perCluster
	if clusters > maxClusters || clusters+2 > perFAT*sector/4 {
		return Space{}, fmt.Errorf("the FAT32 filesystem claims %d clusters, which its table cannot hold", clusters)
	}
	var free uint64
	table := io.NewSectionReader(f, int64(reserved*sector), int64((clusters+2)*4))
	buf := make([]byte, 64<<10)
	for first := true; ; first = false {
		n, err := io.ReadFull(table, buf)
		for i := 0; i+4 <= n; i += 4 {
			if first && i < 8 { // the two entries before the first cluster
				continue
			}
			if le.Uint32(buf[i:])&0x0fffffff == 0 {
				free++
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return Space{}, fmt.Errorf("read the allocation table: %w", err)
		}
	}
	return Space{Size: clusters * perCluster * sector, Free: free * perCluster * sector}, nil
}
