package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"testing"
)

// stub makes a small PE32+ file with one section.
func stub(headerRoom uint32) []byte {
	b := make([]byte, 0x600)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x80)
	copy(b[0x80:], "PE\x00\x00")
	coff := b[0x84:]
	le.PutUint16(coff, pe.IMAGE_FILE_MACHINE_AMD64)
	le.PutUint16(coff[2:], 1)
	le.PutUint16(coff[16:], 240)
	le.PutUint16(coff[18:], 0x22)
	opt := coff[20:]
	le.PutUint16(opt, 0x20b)
	le.PutUint32(opt[32:], 0x1000)
	le.PutUint32(opt[36:], 0x200)
	le.PutUint32(opt[108:], 16)
	s := opt[240:]
	copy(s, ".text")
	le.PutUint32(s[8:], 0x123)
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], 0x200)
	le.PutUint32(s[20:], headerRoom)
	return b
}

func TestBuild(t *testing.T) {
	p := Parts{
		Stub: stub(0x400), Linux: bytes.Repeat([]byte("k"), 5000), Initrd: bytes.Repeat([]byte("i"), 3001), Cmdline: "atlas.slot=a quiet",
		OSRel: OSRelease("ATLAS", "1.2.0"), Uname: "6.12.0",
	}
	img, err := Build(p)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		".linux": string(p.Linux), ".initrd": string(p.Initrd), ".cmdline": p.Cmdline, ".osrel": p.OSRel, ".uname": p.Uname,
	} {
		got, err := Section(img, name)
		if err != nil || string(got) != want {
			t.Errorf("Section(%s) = %d bytes, %v; want %d bytes", name, len(got), err, len(want))
		}
	}
	f, err := pe.NewFile(bytes.NewReader(img))
	if err != nil {
		t.Fatal(err)
	}
	opt := f.OptionalHeader.(*pe.OptionalHeader64)
	end := uint32(0)
	for i, s := range f.Sections {
		if s.VirtualAddress%opt.SectionAlignment != 0 || s.Offset%opt.FileAlignment != 0 || s.Size%opt.FileAlignment != 0 {
			t.Errorf("section %s is not aligned: va %#x offset %#x size %#x", s.Name, s.VirtualAddress, s.Offset, s.Size)
		}
		if s.VirtualAddress < end {
			t.Errorf("section %s at %#x overlaps the one before, which ends at %#x", s.Name, s.VirtualAddress, end)
		}
		end = s.VirtualAddress + s.VirtualSize
		if i > 0 && s.Characteristics != sectionFlags {
			t.Errorf("section %s has flags %#x; want %#x", s.Name, s.Characteristics, sectionFlags)
		}
	}
	if opt.SizeOfImage < end || opt.SizeOfImage%opt.SectionAlignment != 0 {
		t.Errorf("SizeOfImage = %#x; want at least %#x and aligned", opt.SizeOfImage, end)
	}
	if c, err := Cmdline(img); err != nil || c != p.Cmdline {
		t.Errorf("Cmdline = %q, %v; want %q", c, err, p.Cmdline)
	}
	again, err := Build(p)
	if err != nil || !bytes.Equal(again, img) {
		t.Error("the second image differs from the first")
	}
}

func TestBuildRefuses(t *testing.T) {
	good := Parts{Stub: stub(0x400), Linux: []byte("k"), Initrd: []byte("i")}
	for _, tc := range []struct {
		name   string
		change func(*Parts)
	}{
		{"no kernel", func(p *Parts) { p.Linux = nil }},
		{"no initramfs", func(p *Parts) { p.Initrd = nil }},
		{"no stub", func(p *Parts) { p.Stub = []byte("MZ") }},
		{"no room for headers", func(p *Parts) { p.Stub = stub(0x200) }},
		{"made twice", func(p *Parts) { p.Stub, _ = Build(*p) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := good
			tc.change(&p)
			if _, err := Build(p); err == nil {
				t.Error("Build succeeded; want an error")
			}
		})
	}
}

func FuzzSection(f *testing.F) {
	img, err := Build(Parts{Stub: stub(0x400), Linux: []byte("k"), Initrd: []byte("i"), Cmdline: "c"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(img)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Cmdline(b); err == nil && len(b) < 64 {
			t.Error("a command line out of nothing")
		}
		_, _ = Build(Parts{Stub: b, Linux: []byte("k"), Initrd: []byte("i")})
	})
}
