package imgfile

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
)

// ISO 9660 (ECMA-119) and El Torito 1.0, as little of them as a CD needs that is only booted from: one directory with one file,
// which is the squashfs lying in the second partition.
const (
	isoBlock   = 2048
	isoPVD     = 16 // primary volume descriptor; blocks from here
	isoBoot    = 17 // boot record
	isoEnd     = 18 // terminator
	isoCatalog = 19 // El Torito's boot catalogue
	isoPathL   = 20
	isoPathM   = 21
	isoRoot    = 22
)

type iso struct {
	volume         string
	size           int64
	boot           int64 // offset of the EFI boot image, a FAT file system
	root, rootSize int64
	when           time.Time
}

func writeISO(w io.WriterAt, i iso) error {
	if i.boot%isoBlock != 0 || i.root%isoBlock != 0 || i.size%isoBlock != 0 || i.rootSize >= 1<<32 {
		return fmt.Errorf("write ISO 9660: sizes %+v do not fit its blocks", i)
	}
	b := make([]byte, (isoRoot+1)*isoBlock)
	at := func(n int) []byte { return b[n*isoBlock:][:isoBlock] }
	i.primary(at(isoPVD))
	i.bootRecord(at(isoBoot))
	copy(at(isoEnd), "\xffCD001\x01")
	i.catalog(at(isoCatalog))
	pathTable(at(isoPathL), binary.LittleEndian)
	pathTable(at(isoPathM), binary.BigEndian)
	i.directory(at(isoRoot))
	if _, err := w.WriteAt(b[isoPVD*isoBlock:], isoPVD*isoBlock); err != nil {
		return fmt.Errorf("write ISO 9660: %w", err)
	}
	return nil
}

func (i iso) primary(b []byte) {
	copy(b, "\x01CD001\x01")
	text(b[8:40], "")
	text(b[40:72], strings.ToUpper(i.volume))
	both32(b[80:], uint32(i.size/isoBlock))
	both16(b[120:], 1)
	both16(b[124:], 1)
	both16(b[128:], isoBlock)
	both32(b[132:], 10) // bytes of the path table
	binary.LittleEndian.PutUint32(b[140:], isoPathL)
	binary.BigEndian.PutUint32(b[148:], isoPathM)
	record(b[156:190], "\x00", isoRoot, isoBlock, true, i.when)
	for _, f := range [][2]int{{190, 318}, {318, 446}, {446, 574}, {574, 702}, {702, 739}, {739, 776}, {776, 813}} {
		text(b[f[0]:f[1]], "")
	}
	stamp := i.when.UTC().Format("20060102150405") + "00\x00"
	copy(b[813:], stamp)
	copy(b[830:], stamp)
	copy(b[847:], "0000000000000000\x00")
	copy(b[864:], "0000000000000000\x00")
	b[881] = 1
}

func (i iso) bootRecord(b []byte) {
	copy(b, "\x00CD001\x01EL TORITO SPECIFICATION")
	binary.LittleEndian.PutUint32(b[71:], isoCatalog)
}

// catalog has a validation entry for EFI and one entry without emulation. A sector count below 2 means "to the end of the
// medium" to firmware: the count is a 16-bit number of 512-byte sectors, and the ESP is larger than those 32 MiB.
func (i iso) catalog(b []byte) {
	le := binary.LittleEndian
	b[0], b[1] = 1, 0xef
	copy(b[4:28], "ATLAS")
	b[30], b[31] = 0x55, 0xaa
	var sum uint16
	for n := 0; n < 32; n += 2 {
		sum += le.Uint16(b[n:])
	}
	le.PutUint16(b[28:], -sum)
	e := b[32:]
	e[0] = 0x88 // bootable
	le.PutUint16(e[6:], 1)
	le.PutUint32(e[8:], uint32(i.boot/isoBlock))
}

func pathTable(b []byte, o binary.ByteOrder) {
	b[0] = 1
	o.PutUint32(b[2:], isoRoot)
	o.PutUint16(b[6:], 1)
}

func (i iso) directory(b []byte) {
	n := record(b, "\x00", isoRoot, isoBlock, true, i.when)
	n += record(b[n:], "\x01", isoRoot, isoBlock, true, i.when)
	record(b[n:], "ROOT.SFS;1", uint32(i.root/isoBlock), uint32(i.rootSize), false, i.when)
}

// record writes a directory record and returns its length.
func record(b []byte, name string, block, size uint32, dir bool, when time.Time) int {
	n := 33 + len(name)
	n += n % 2
	b[0] = byte(n)
	both32(b[2:], block)
	both32(b[10:], size)
	t := when.UTC()
	copy(b[18:], []byte{byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0})
	if dir {
		b[25] = 2
	}
	both16(b[28:], 1)
	b[32] = byte(len(name))
	copy(b[33:], name)
	return n
}

// both16 and both32 write a number in both byte orders, as ISO 9660 wants it.
func both16(b []byte, n uint16) {
	binary.LittleEndian.PutUint16(b, n)
	binary.BigEndian.PutUint16(b[2:], n)
}

func both32(b []byte, n uint32) {
	binary.LittleEndian.PutUint32(b, n)
	binary.BigEndian.PutUint32(b[4:], n)
}

func text(b []byte, s string) {
	for i := range b {
		b[i] = ' '
	}
	copy(b, s)
}
