// Package gpt reads GUID partition tables from any reader: a disk, an image file, or a CD whose table counts in 512-byte blocks
// although the drive has 2048-byte ones, so that the kernel does not see the partitions. It follows the UEFI specification,
// section 5.3: header and entries are checked by their CRC, and the backup table is used when the first is damaged. It
// writes nothing.
package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// Partition is one entry in use. Start and Size are in bytes.
type Partition struct {
	Number int    // from 1
	Type   string // GUID in capitals
	GUID   string // unique; in capitals
	Name   string
	Start  int64
	Size   int64
}

// ErrNone tells that there is no GUID partition table.
var ErrNone = errors.New("no GUID partition table")

const (
	headerSize   = 92
	maxEntries   = 1024
	minEntrySize = 128
	maxEntrySize = 4096
)

// Read reads the table of a disk of size bytes (0 if unknown: then no backup is looked for) with blocks of block bytes, 512 or
// 4096.
func Read(r io.ReaderAt, size int64, block int) ([]Partition, error) {
	parts, err := readAt(r, int64(block), block)
	if err == nil || size < int64(block) {
		return parts, err
	}
	if backup, berr := readAt(r, size/int64(block)*int64(block)-int64(block), block); berr == nil {
		return backup, nil
	}
	return nil, err
}

func readAt(r io.ReaderAt, at int64, block int) ([]Partition, error) {
	h := make([]byte, block)
	if _, err := r.ReadAt(h, at); err != nil {
		return nil, fmt.Errorf("read partition table: %w", err)
	}
	if !bytes.Equal(h[:8], []byte("EFI PART")) {
		return nil, ErrNone
	}
	le := binary.LittleEndian
	n := le.Uint32(h[12:])
	if n < headerSize || int(n) > block {
		return nil, fmt.Errorf("partition table: header of %d bytes", n)
	}
	want := le.Uint32(h[16:])
	copied := append([]byte(nil), h[:n]...)
	le.PutUint32(copied[16:], 0)
	if crc32.ChecksumIEEE(copied) != want {
		return nil, errors.New("partition table: header damaged (checksum)")
	}
	first, count, entry := le.Uint64(h[72:]), le.Uint32(h[80:]), le.Uint32(h[84:])
	if count > maxEntries || entry < minEntrySize || entry > maxEntrySize || first > 1<<50 {
		return nil, fmt.Errorf("partition table: %d entries of %d bytes at block %d", count, entry, first)
	}
	table := make([]byte, int(count)*int(entry))
	if _, err := r.ReadAt(table, int64(first)*int64(block)); err != nil {
		return nil, fmt.Errorf("read partition table: %w", err)
	}
	if crc32.ChecksumIEEE(table) != le.Uint32(h[88:]) {
		return nil, errors.New("partition table: entries damaged (checksum)")
	}
	var parts []Partition
	for i := range int(count) {
		e := table[i*int(entry):][:minEntrySize]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		start, end := le.Uint64(e[32:]), le.Uint64(e[40:])
		if end < start || end > 1<<50 {
			return nil, fmt.Errorf("partition table: partition %d ends before it starts", i+1)
		}
		parts = append(parts, Partition{
			Number: i + 1, Type: guid(e[:16]), GUID: guid(e[16:32]), Name: name(e[56:128]),
			Start: int64(start) * int64(block), Size: int64(end-start+1) * int64(block),
		})
	}
	return parts, nil
}

// Find returns the first partition with the given name.
func Find(parts []Partition, name string) (Partition, bool) {
	for _, p := range parts {
		if p.Name == name {
			return p, true
		}
	}
	return Partition{}, false
}

// guid writes the mixed-endian form of UEFI as text.
func guid(b []byte) string {
	le, be := binary.LittleEndian, binary.BigEndian
	return fmt.Sprintf("%08X-%04X-%04X-%04X-%012X", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), be.Uint16(b[8:]), b[10:16])
}

func name(b []byte) string {
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
