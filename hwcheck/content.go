package hwcheck

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// probed is how much at either end of a disk is looked at.
const probed = 1 << 20

// Content tells whether a disk, partition or image file is blank, that is without any partition table, filesystem, array or
// volume, and with nothing but zeros in its first and last MiB; if not, what is on it, in words. It only reads. wipefs of
// util-linux is asked where it is there, since it knows far more; the common kinds are recognised without it.
func Content(dev string) (blank bool, what string, err error) {
	f, err := os.Open(dev)
	if err != nil {
		return false, "", fmt.Errorf("look at %s: %w", dev, err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, "", fmt.Errorf("look at %s: %w", dev, err)
	}
	head, err := readAt(f, 0, min(probed, size))
	if err != nil {
		return false, "", fmt.Errorf("look at %s: %w", dev, err)
	}
	tail, err := readAt(f, max(0, size-probed), min(probed, size))
	if err != nil {
		return false, "", fmt.Errorf("look at %s: %w", dev, err)
	}
	found := recognise(head, tail, size)
	if lib, err := wipefs(dev); err == nil {
		found = merge(found, lib)
	}
	switch {
	case len(found) > 0:
		return false, strings.Join(found, ", "), nil
	case !zero(head) || !zero(tail):
		return false, "data of an unknown kind", nil
	}
	return true, "", nil
}

func readAt(r io.ReaderAt, offset, n int64) ([]byte, error) {
	b := make([]byte, n)
	if m, err := r.ReadAt(b, offset); err != nil && (!errors.Is(err, io.EOF) || int64(m) != n) {
		return nil, err
	}
	return b, nil
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// wipefs lists all signatures that util-linux finds on dev.
func wipefs(dev string) ([]string, error) {
	path, err := exec.LookPath("wipefs")
	if err != nil {
		if path = "/usr/sbin/wipefs"; !executable(path) {
			return nil, err
		}
	}
	out, err := exec.Command(path, "--no-act", "--json", "--output", "TYPE", dev).Output()
	if err != nil {
		return nil, fmt.Errorf("wipefs %s: %w", dev, err)
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return nil, nil
	}
	var list struct {
		Signatures []struct {
			Type string `json:"type"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("wipefs %s: %w", dev, err)
	}
	var found []string
	for _, s := range list.Signatures {
		if w := word(s.Type); !slices.Contains(found, w) {
			found = append(found, w)
		}
	}
	return found, nil
}

func executable(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.Mode()&0o111 != 0
}

// word says a type of libblkid in words.
func word(t string) string {
	words := map[string]string{
		"gpt": "GPT", "dos": "MBR partition table", "PMBR": "GPT", "linux_raid_member": "member of a Linux RAID array",
		"LVM2_member": "LVM volume", "crypto_LUKS": "encrypted volume (LUKS)", "swap": "swap space", "iso9660": "ISO 9660 image",
		"zfs_member": "member of a ZFS pool", "isw_raid_member": "member of an Intel RAID", "ddf_raid_member": "member of a firmware RAID",
	}
	if w, ok := words[t]; ok {
		return w
	}
	return t + " filesystem"
}

// merge adds to what was recognised what the library knows besides.
func merge(own, lib []string) []string {
	for _, l := range lib {
		if !slices.ContainsFunc(own, func(o string) bool { return strings.HasPrefix(o, l) }) {
			own = append(own, l)
		}
	}
	return own
}

// signature is a magic number at an offset from the start.
type signature struct {
	offset int
	magic  string
	what   string
}

// signatures are from libblkid's probers and the formats' own headers.
var signatures = []signature{
	{0, "XFSB", "xfs filesystem"},
	{64<<10 + 0x40, "_BHRfS_M", "btrfs filesystem"},
	{3, "NTFS    ", "ntfs filesystem"},
	{3, "EXFAT   ", "exfat filesystem"},
	{54, "FAT12   ", "vfat filesystem"},
	{54, "FAT16   ", "vfat filesystem"},
	{82, "FAT32   ", "vfat filesystem"},
	{0, "LUKS\xba\xbe", "encrypted volume (LUKS)"},
	{4086, "SWAPSPACE2", "swap space"},
	{4086, "SWAP-SPACE", "swap space"},
	{32769, "CD001", "ISO 9660 image"},
	{0, "hsqs", "squashfs filesystem"},
	{1024, "\x10\x20\xf5\xf2", "f2fs filesystem"},
	{0, "\xfc\x4e\x2b\xa9", "member of a Linux RAID array"},    // metadata 1.1
	{4096, "\xfc\x4e\x2b\xa9", "member of a Linux RAID array"}, // metadata 1.2
}

func recognise(head, tail []byte, size int64) []string {
	var found []string
	add := func(what string) {
		if !slices.Contains(found, what) {
			found = append(found, what)
		}
	}
	for _, sector := range []int{512, 4096} {
		if n, ok := gpt(head, sector); ok {
			add(fmt.Sprintf("GPT with %d partition%s", n, map[bool]string{false: "s"}[n == 1]))
		} else if at := len(tail) - sector; at >= 0 && bytes.HasPrefix(tail[at:], []byte("EFI PART")) && len(found) == 0 {
			add("GPT (its backup at the end of the disk)")
		}
	}
	if len(head) >= 512 && head[510] == 0x55 && head[511] == 0xaa && len(found) == 0 && mbr(head) {
		add("MBR partition table")
	}
	for _, s := range signatures {
		if s.offset+len(s.magic) <= len(head) && string(head[s.offset:s.offset+len(s.magic)]) == s.magic {
			add(s.what)
		}
	}
	if name, ok := ext(head); ok {
		add(name + " filesystem")
	}
	for i := range 4 { // the LVM label is in one of the first four sectors
		if at := i * 512; at+32 <= len(head) && string(head[at:at+8]) == "LABELONE" && string(head[at+24:at+29]) == "LVM2 " {
			add("LVM volume")
		}
	}
	if mdAtEnd(tail, size) {
		add("member of a Linux RAID array")
	}
	if zfs(head) || zfs(tail) {
		add("member of a ZFS pool")
	}
	return found
}

// gpt counts the partitions of a GUID partition table (UEFI 2.10, chapter 5).
func gpt(head []byte, sector int) (int, bool) {
	if len(head) < 2*sector || string(head[sector:sector+8]) != "EFI PART" {
		return 0, false
	}
	le := binary.LittleEndian
	start, count, entry := le.Uint64(head[sector+72:]), le.Uint32(head[sector+80:]), le.Uint32(head[sector+84:])
	n := 0
	for i := uint64(0); i < uint64(min(count, 1024)) && entry >= 128; i++ {
		if start > probed {
			break
		}
		at := start*uint64(sector) + i*uint64(entry)
		if at+16 > uint64(len(head)) {
			break
		}
		if !zero(head[at : at+16]) {
			n++
		}
	}
	return n, true
}

// mbr tells a partition table from a boot sector without one.
func mbr(head []byte) bool {
	used := false
	for i := range 4 {
		e := head[446+16*i : 462+16*i]
		if e[0] != 0 && e[0] != 0x80 {
			return false
		}
		used = used || e[4] != 0
	}
	return used
}

// ext tells ext2, 3 and 4 apart as libblkid does: by their feature words.
func ext(head []byte) (string, bool) {
	if len(head) < 2048 || head[1024+56] != 0x53 || head[1024+57] != 0xef {
		return "", false
	}
	le := binary.LittleEndian
	compat, incompat, ro := le.Uint32(head[1024+92:]), le.Uint32(head[1024+96:]), le.Uint32(head[1024+100:])
	switch {
	case incompat&^uint32(0x16) != 0 || ro&^uint32(0x7) != 0: // beyond filetype, recover, meta_bg; sparse_super, large_file, btree_dir
		return "ext4", true
	case compat&4 != 0:
		return "ext3", true
	}
	return "ext2", true
}

// mdAtEnd finds md metadata 0.90 (64 KiB aligned, 64 KiB before the end) and 1.0 (8 KiB before the end, 4 KiB aligned).
func mdAtEnd(tail []byte, size int64) bool {
	base := size - int64(len(tail))
	for _, at := range []int64{size&^0xffff - 0x10000, (size/512 - 16) &^ 7 * 512} {
		if i := at - base; i >= 0 && i+4 <= int64(len(tail)) {
			switch binary.LittleEndian.Uint32(tail[i:]) {
			case 0xa92b4efc:
				return true
			case 0xfc4e2ba9: // 0.90 of a machine with the other byte order
				return true
			}
		}
	}
	return false
}

// zfs looks for an uberblock in the ring that starts 128 KiB into a label; labels are 256 KiB, two at either end.
func zfs(part []byte) bool {
	for label := 0; label+256<<10 <= len(part); label += 256 << 10 {
		for at := label + 128<<10; at+8 <= label+256<<10; at += 1024 {
			if u := binary.LittleEndian.Uint64(part[at:]); u == 0x00bab10c || u == 0x0cb1ba00_00000000 {
				return true
			}
		}
	}
	return false
}
