// Package uki makes unified kernel images: it appends the kernel, the initramfs, the command line and the release's name to
// systemd's EFI stub as PE sections. Section names and meaning follow the UAPI group's "Unified Kernel Image" specification, the
// layout Microsoft's PE/COFF specification. It signs nothing.
package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Parts are what an image is made of.
type Parts struct {
	Stub    []byte // linuxx64.efi.stub
	Linux   []byte // bzImage
	Initrd  []byte
	Cmdline string
	OSRel   string // os-release: systemd-boot shows PRETTY_NAME and sorts by VERSION_ID
	Uname   string // kernel release
}

// OSRelease writes an os-release for the menu of systemd-boot.
func OSRelease(title, version string) string {
	return fmt.Sprintf("ID=atlas\nNAME=%q\nVERSION_ID=%q\nPRETTY_NAME=%q\n", title, version, title+" "+version)
}

const (
	peOffsetAt   = 0x3c
	coffSize     = 20
	sectionSize  = 40
	sectionFlags = 0x40000040 // initialised data, readable
	maxImage     = 1 << 31
)

// Build puts an image together. The same parts give the same bytes.
func Build(p Parts) ([]byte, error) {
	if len(p.Linux) == 0 || len(p.Initrd) == 0 {
		return nil, errors.New("unified kernel image: kernel or initramfs is empty")
	}
	h, err := parse(p.Stub)
	if err != nil {
		return nil, fmt.Errorf("unified kernel image: stub: %w", err)
	}
	type section struct {
		name string
		data []byte
	}
	all := []section{
		{".osrel", []byte(p.OSRel)},
		{".cmdline", []byte(p.Cmdline)},
		{".uname", []byte(p.Uname)},
		{".initrd", p.Initrd},
		{".linux", p.Linux}, // last: some kernels write beyond their file's size while unpacking in place
	}
	if room := h.firstData - h.tableEnd; room < uint32(len(all)*sectionSize) {
		return nil, fmt.Errorf("unified kernel image: stub has room for %d more section headers; %d are needed", room/sectionSize, len(all))
	}
	out := append([]byte(nil), p.Stub...)
	le := binary.LittleEndian
	va := h.nextVA
	var added uint32
	for i, s := range all {
		out = pad(out, h.fileAlign)
		raw := uint32(len(out))
		out = append(out, s.data...)
		out = pad(out, h.fileAlign)
		if len(out) > maxImage {
			return nil, errors.New("unified kernel image: larger than 2 GiB")
		}
		hdr := out[h.tableEnd+uint32(i*sectionSize):][:sectionSize]
		clear(hdr)
		copy(hdr, s.name)
		le.PutUint32(hdr[8:], uint32(len(s.data))) // exact: the stub takes this as the section's length
		le.PutUint32(hdr[12:], va)
		le.PutUint32(hdr[16:], uint32(len(out))-raw)
		le.PutUint32(hdr[20:], raw)
		le.PutUint32(hdr[36:], sectionFlags)
		added += uint32(len(out)) - raw
		va = align(va+uint32(len(s.data)), h.sectionAlign)
	}
	le.PutUint16(out[h.coff+2:], h.sections+uint16(len(all)))
	opt := out[h.coff+coffSize:]
	le.PutUint32(opt[8:], le.Uint32(opt[8:])+added) // SizeOfInitializedData
	le.PutUint32(opt[56:], va)                      // SizeOfImage
	le.PutUint32(opt[64:], 0)                       // CheckSum: firmware does not look at it
	return out, nil
}

// header is what matters of a stub's.
type header struct {
	coff                    uint32 // offset of the COFF header
	tableEnd                uint32 // behind the last section header
	firstData               uint32 // where the first section's data begin
	nextVA                  uint32 // behind the last section in memory, aligned
	sectionAlign, fileAlign uint32
	sections                uint16
}

func parse(b []byte) (header, error) {
	var h header
	f, err := pe.NewFile(bytes.NewReader(b))
	if err != nil {
		return h, err
	}
	opt, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 {
		return h, errors.New("is no 64-bit x86 EFI program")
	}
	le := binary.LittleEndian
	h.coff = le.Uint32(b[peOffsetAt:]) + 4
	h.sections = f.NumberOfSections
	h.tableEnd = h.coff + coffSize + uint32(f.SizeOfOptionalHeader) + uint32(h.sections)*sectionSize
	h.sectionAlign, h.fileAlign = opt.SectionAlignment, opt.FileAlignment
	h.firstData = uint32(len(b))
	if h.sectionAlign == 0 || h.fileAlign == 0 || h.sectionAlign > 1<<20 || h.fileAlign > 1<<16 {
		return h, errors.New("has impossible alignments")
	}
	for _, s := range f.Sections {
		if s.Size > 0 && s.Offset < h.firstData {
			h.firstData = s.Offset
		}
		switch s.Name {
		case ".linux", ".initrd", ".cmdline", ".osrel", ".uname":
			return h, fmt.Errorf("already has a section %s", s.Name)
		}
		h.nextVA = max(h.nextVA, align(s.VirtualAddress+s.VirtualSize, h.sectionAlign))
	}
	if h.firstData < h.tableEnd || int(h.tableEnd) > len(b) {
		return h, errors.New("has a damaged section table")
	}
	return h, nil
}

// Section returns the data of a section of an image, as the stub would see it.
func Section(image []byte, name string) ([]byte, error) {
	f, err := pe.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("unified kernel image: %w", err)
	}
	s := f.Section(name)
	if s == nil {
		return nil, fmt.Errorf("unified kernel image: no section %s", name)
	}
	data, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("unified kernel image: section %s: %w", name, err)
	}
	if int(s.VirtualSize) < len(data) {
		data = data[:s.VirtualSize]
	}
	return data, nil
}

// Cmdline reads the kernel command line out of an image.
func Cmdline(image []byte) (string, error) {
	b, err := Section(image, ".cmdline")
	return strings.TrimRight(string(b), "\x00\n"), err
}

func align(n, to uint32) uint32 { return (n + to - 1) / to * to }

func pad(b []byte, to uint32) []byte {
	return append(b, make([]byte, int(align(uint32(len(b)), to))-len(b))...)
}
