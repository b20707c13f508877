package md

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// partition is one entry of a GPT, in bytes.
type partition struct {
	Number int // from 1, as the kernel counts
	Name   string
	Start  int64
	Size   int64
}

var errNoGPT = errors.New("no GPT")

// readGPT reads the partition table of a disk: the primary one, else the backup at the end. Sizes in the header are bounded before
// they are believed, since the disk may be anybody's.
func readGPT(r io.ReaderAt, size, sector int64) ([]partition, error) {
	parts, err := readGPTAt(r, sector, size, sector)
	if errors.Is(err, errNoGPT) {
		return readGPTAt(r, size/sector*sector-sector, size, sector)
	}
	return parts, err
}

func readGPTAt(r io.ReaderAt, at, size, sector int64) ([]partition, error) {
	if at < sector || at+sector > size {
		return nil, errNoGPT
	}
	h := make([]byte, 92)
	if _, err := r.ReadAt(h, at); err != nil {
		return nil, fmt.Errorf("read GPT header: %w", err)
	}
	le := binary.LittleEndian
	if string(h[:8]) != "EFI PART" || le.Uint32(h[12:]) != 92 {
		return nil, errNoGPT
	}
	want := le.Uint32(h[16:])
	copy(h[16:20], []byte{0, 0, 0, 0})
	if crc32.ChecksumIEEE(h) != want || int64(le.Uint64(h[24:])) != at/sector {
		return nil, errNoGPT
	}
	lba, count, entry := le.Uint64(h[72:]), le.Uint32(h[80:]), le.Uint32(h[84:])
	if count > 1024 || entry < 128 || entry > 4096 || lba >= uint64(size/sector) {
		return nil, errNoGPT
	}
	b := make([]byte, count*entry)
	if _, err := r.ReadAt(b, int64(lba)*sector); err != nil {
		return nil, fmt.Errorf("read GPT entries: %w", err)
	}
	if crc32.ChecksumIEEE(b) != le.Uint32(h[88:]) {
		return nil, errNoGPT
	}
	var parts []partition
	for i := range int(count) {
		e := b[i*int(entry):]
		if [16]byte(e[:16]) == [16]byte{} {
			continue
		}
		first, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		if first > last || last >= uint64(size/sector) {
			continue
		}
		parts = append(parts, partition{
			Number: i + 1,
			Name:   gptName(e[56:128]),
			Start:  int64(first) * sector,
			Size:   int64(last-first+1) * sector,
		})
	}
	return parts, nil
}

func gptName(b []byte) string {
	var u []uint16
	for i := 0; i+1 < len(b); i += 2 {
		c := binary.LittleEndian.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

// find returns the partition with a name.
func find(parts []partition, name string) (partition, bool) {
	for _, p := range parts {
		if p.Name == name {
			return p, true
		}
	}
	return partition{}, false
}
