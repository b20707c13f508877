package hwcheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// image makes a file of size bytes with b at an offset; negative offsets count from the end.
func image(t *testing.T, size int64, parts map[int64]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(size))
	for at, s := range parts {
		if at < 0 {
			at += size
		}
		_, err := f.WriteAt([]byte(s), at)
		must(t, err)
	}
	return path
}

func TestContent(t *testing.T) {
	const size = 16 << 20
	tests := []struct {
		name  string
		parts map[int64]string
		want  string // "" = blank
	}{
		{"blank", nil, ""},
		{"something far from both ends", map[int64]string{5 << 20: "x"}, ""},
		{"a byte in the first MiB", map[int64]string{900 << 10: "x"}, "data of an unknown kind"},
		{"a byte in the last MiB", map[int64]string{-3: "x"}, "data of an unknown kind"},
		{"xfs", map[int64]string{0: "XFSB"}, "xfs filesystem"},
		{"btrfs", map[int64]string{64<<10 + 0x40: "_BHRfS_M"}, "btrfs filesystem"},
		{"ntfs", map[int64]string{3: "NTFS    "}, "ntfs filesystem"},
		{"swap", map[int64]string{4086: "SWAPSPACE2"}, "swap space"},
		{"iso", map[int64]string{32769: "CD001"}, "ISO 9660 image"},
		{"luks", map[int64]string{0: "LUKS\xba\xbe"}, "encrypted volume (LUKS)"},
		{"md 1.1", map[int64]string{0: "\xfc\x4e\x2b\xa9"}, "member of a Linux RAID array"},
		{"md 1.2", map[int64]string{4096: "\xfc\x4e\x2b\xa9"}, "member of a Linux RAID array"},
		{"md 1.0", map[int64]string{-8192: "\xfc\x4e\x2b\xa9"}, "member of a Linux RAID array"},
		{"md 0.90", map[int64]string{-65536: "\xfc\x4e\x2b\xa9"}, "member of a Linux RAID array"},
		{"lvm", map[int64]string{512: "LABELONE", 512 + 24: "LVM2 001"}, "LVM volume"},
		{"zfs", map[int64]string{128 << 10: "\x0c\xb1\xba\x00"}, "member of a ZFS pool"},
		{"lost GPT", map[int64]string{-512: "EFI PART"}, "GPT (its backup at the end of the disk)"},
		{"MBR", map[int64]string{446: "\x80\x00\x00\x00\x83", 510: "\x55\xaa"}, "MBR partition table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			blank, what, err := Content(image(t, size, tt.parts))
			must(t, err)
			if blank != (tt.want == "") || !strings.Contains(what, tt.want) {
				t.Errorf("Content = %v, %q; want %q", blank, what, tt.want)
			}
		})
	}
	if _, _, err := Content(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("Content of a disk that is not there gives no error")
	}
	if blank, _, err := Content(image(t, 0, nil)); err != nil || !blank {
		t.Errorf("Content of an empty file = %v, %v", blank, err)
	}
}

// What the real tools make is recognised, with and without wipefs.
func TestContentOfRealThings(t *testing.T) {
	tests := []struct{ name, command, want string }{
		{"ext4", "mkfs.ext4 -q $F", "ext4 filesystem"},
		{"ext3", "mkfs.ext3 -q $F", "ext3 filesystem"},
		{"ext2", "mkfs.ext2 -q $F", "ext2 filesystem"},
		{"vfat", "mkfs.vfat $F", "vfat filesystem"},
		{"swap", "mkswap -q $F", "swap space"},
		{"gpt", "printf 'label: gpt\\nsize=1M\\nsize=1M\\n' | sfdisk -q $F", "GPT with 2 partitions"},
		{"mbr", "printf 'label: dos\\nsize=1M\\n' | sfdisk -q $F", "MBR partition table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := image(t, 32<<20, nil)
			cmd := exec.CommandContext(t.Context(), "sh", "-c", "PATH=$PATH:/sbin:/usr/sbin; "+tt.command)
			cmd.Env = append(os.Environ(), "F="+f)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("%v: %s", err, out)
			}
			blank, what, err := Content(f)
			must(t, err)
			if blank || what != tt.want {
				t.Errorf("Content = %v, %q; want %q", blank, what, tt.want)
			}
			head, err := os.ReadFile(f)
			must(t, err)
			if got := strings.Join(recognise(head[:probed], head[len(head)-probed:], int64(len(head))), ", "); got != tt.want {
				t.Errorf("without wipefs: %q; want %q", got, tt.want)
			}
		})
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add([]byte("EFI PART"), []byte("x"), int64(4096))
	f.Fuzz(func(_ *testing.T, head, tail []byte, size int64) {
		_ = recognise(head, tail, size)
		_ = recognise(append(make([]byte, 512), head...), tail, size)
	})
}
