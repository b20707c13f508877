// Package esp makes FAT32 file systems for EFI system partitions: on an image being built and on a server's disk being
// installed. go-diskfs writes them; this package then mends what fsck.vfat finds wrong with its work ('..' of directories in
// the root, the free cluster count) and sets every time stamp, so that the same files give the same bytes and a clean check.
package esp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

// File is one file to put on the ESP. Exactly one of Data and From is used.
type File struct {
	Path string // relative, with slashes: "EFI/BOOT/BOOTX64.EFI"
	Data []byte
	From string // a file to copy
}

// MinSize is the smallest file system: below it FAT32 is not what firmware expects, as it needs 65,525 clusters.
const MinSize = 36 << 20

// Write makes a file system of size bytes at offset start of f, which may be an image or a block device, and fills it. The
// directories of files are made as needed. when is every time stamp.
func Write(f *os.File, start, size int64, label string, files []File, when time.Time) error {
	if size < MinSize {
		return fmt.Errorf("make ESP: %d bytes are too few: at least %d", size, int64(MinSize))
	}
	if err := blank(f, start, size); err != nil {
		return err
	}
	fs, err := fat32.Create(file.New(f, false), size, start, 512, label, true)
	if err != nil {
		return fmt.Errorf("make ESP: %w", err)
	}
	files = append([]File(nil), files...)
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	made := map[string]bool{".": true}
	for _, e := range files {
		for _, d := range parents(e.Path) {
			if made[d] {
				continue
			}
			if err := fs.Mkdir(d); err != nil {
				return fmt.Errorf("make ESP: directory %s: %w", d, err)
			}
			made[d] = true
		}
		if err := copyIn(fs, e); err != nil {
			return fmt.Errorf("make ESP: %s: %w", e.Path, err)
		}
	}
	if err := mend(f, start, when); err != nil {
		return fmt.Errorf("make ESP: %w", err)
	}
	return nil
}

// blank zeroes what lies before the data, so that an old file system's FATs do not shine through on a used disk.
func blank(f *os.File, start, size int64) error {
	n := min(size, 8<<20)
	if _, err := f.WriteAt(make([]byte, n), start); err != nil {
		return fmt.Errorf("make ESP: %w", err)
	}
	return nil
}

func parents(p string) []string {
	var out []string
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		out = append([]string{d}, out...)
	}
	return out
}

func copyIn(fs *fat32.FileSystem, e File) error {
	data := e.Data
	if e.From != "" {
		var err error
		if data, err = os.ReadFile(e.From); err != nil {
			return err
		}
	}
	w, err := fs.OpenFile(e.Path, os.O_CREATE|os.O_RDWR|os.O_TRUNC)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, w.Close())
	}
	return w.Close()
}

// device is what mend works on.
type device interface {
	io.ReaderAt
	io.WriterAt
}

// volume is the geometry of a FAT32 file system, from its boot sector (Microsoft's FAT specification, 1.03).
type volume struct {
	dev         device
	start       int64
	sector      int64
	cluster     int64 // bytes
	fat         []byte
	fatAt       int64
	data        int64 // offset of cluster 2
	root        uint32
	clusters    uint32 // highest number + 1
	info, spare int64  // offsets of FSInfo and its backup
	when        time.Time
}

func mend(dev device, start int64, when time.Time) error {
	v := volume{dev: dev, start: start, when: when.UTC()}
	boot := make([]byte, 512)
	if _, err := dev.ReadAt(boot, start); err != nil {
		return fmt.Errorf("read boot sector: %w", err)
	}
	le := binary.LittleEndian
	v.sector = int64(le.Uint16(boot[11:]))
	v.cluster = v.sector * int64(boot[13])
	reserved, fats, per := int64(le.Uint16(boot[14:])), int64(boot[16]), int64(le.Uint32(boot[36:]))
	total := int64(le.Uint32(boot[32:]))
	if v.sector == 0 || v.cluster == 0 || per == 0 {
		return errors.New("boot sector is not FAT32's")
	}
	v.root = le.Uint32(boot[44:])
	v.fatAt = start + reserved*v.sector
	v.data = v.fatAt + fats*per*v.sector
	v.clusters = uint32((total-reserved-fats*per)*v.sector/v.cluster) + 2
	v.info, v.spare = start+int64(le.Uint16(boot[48:]))*v.sector, start+(int64(le.Uint16(boot[50:]))+1)*v.sector
	v.fat = make([]byte, per*v.sector)
	if _, err := dev.ReadAt(v.fat, v.fatAt); err != nil {
		return fmt.Errorf("read FAT: %w", err)
	}
	if err := v.directory(v.root, v.root, 0); err != nil {
		return err
	}
	return v.freeCount()
}

func (v *volume) next(c uint32) uint32 { return binary.LittleEndian.Uint32(v.fat[c*4:]) & 0x0fffffff }

// chain lists the clusters of a file or directory.
func (v *volume) chain(c uint32) ([]uint32, error) {
	var out []uint32
	for c < 0x0ffffff8 {
		if c < 2 || c >= v.clusters || len(out) > int(v.clusters) {
			return nil, fmt.Errorf("cluster chain leads to %d", c)
		}
		out = append(out, c)
		c = v.next(c)
	}
	return out, nil
}

// maxDepth bounds the walk; an ESP is three deep.
const maxDepth = 16

func (v *volume) directory(first, parent uint32, depth int) error {
	if depth > maxDepth {
		return errors.New("directories nest too deep")
	}
	clusters, err := v.chain(first)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	buf := make([]byte, v.cluster)
	for _, c := range clusters {
		at := v.data + int64(c-2)*v.cluster
		if _, err := v.dev.ReadAt(buf, at); err != nil {
			return fmt.Errorf("read directory: %w", err)
		}
		for e := buf; len(e) >= 32 && e[0] != 0; e = e[32:] {
			if e[0] == 0xe5 || e[11] == 0x0f { // deleted, or part of a long name
				continue
			}
			v.stamp(e)
			child := uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:]))
			switch name := string(e[:11]); {
			case name == "..         ":
				if parent == v.root { // the specification wants 0 for the root here
					parent = 0
				}
				le.PutUint16(e[20:], uint16(parent>>16))
				le.PutUint16(e[26:], uint16(parent))
			case name == ".          ":
				le.PutUint16(e[20:], uint16(first>>16))
				le.PutUint16(e[26:], uint16(first))
			case e[11]&0x10 != 0:
				if err := v.directory(child, first, depth+1); err != nil {
					return fmt.Errorf("%s: %w", strings.TrimSpace(name), err)
				}
			}
		}
		if _, err := v.dev.WriteAt(buf, at); err != nil {
			return fmt.Errorf("write directory: %w", err)
		}
	}
	return nil
}

// stamp sets creation, access and modification to v.when.
func (v *volume) stamp(e []byte) {
	t := v.when
	date := uint16(max(t.Year()-1980, 0))<<9 | uint16(t.Month())<<5 | uint16(t.Day())
	clock := uint16(t.Hour())<<11 | uint16(t.Minute())<<5 | uint16(t.Second()/2)
	le := binary.LittleEndian
	e[13] = 0
	le.PutUint16(e[14:], clock)
	le.PutUint16(e[16:], date)
	le.PutUint16(e[18:], date)
	le.PutUint16(e[22:], clock)
	le.PutUint16(e[24:], date)
}

func (v *volume) freeCount() error {
	free, last := uint32(0), uint32(2)
	for c := uint32(2); c < v.clusters; c++ {
		if v.next(c) == 0 {
			free++
		} else {
			last = c
		}
	}
	for _, at := range []int64{v.info, v.spare} {
		b := make([]byte, 512)
		if _, err := v.dev.ReadAt(b, at); err != nil {
			return fmt.Errorf("read FSInfo: %w", err)
		}
		le := binary.LittleEndian
		if le.Uint32(b) != 0x41615252 {
			continue
		}
		le.PutUint32(b[488:], free)
		le.PutUint32(b[492:], last)
		if _, err := v.dev.WriteAt(b, at); err != nil {
			return fmt.Errorf("write FSInfo: %w", err)
		}
	}
	return nil
}
