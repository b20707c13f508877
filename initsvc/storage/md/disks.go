package md

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
)

// wholeDisk returns the name of the disk that a partition belongs to; a disk's own name for a disk.
func (m *MD) wholeDisk(name string) string {
	target, err := filepath.EvalSymlinks(filepath.Join(m.sys, "class/block", name))
	if err != nil {
		return name
	}
	if _, err := os.Stat(filepath.Join(target, "partition")); err == nil {
		return filepath.Base(filepath.Dir(target))
	}
	return filepath.Base(target)
}

// names lists the disks that may be looked at.
func (m *MD) names() []string {
	entries, _ := os.ReadDir(filepath.Join(m.sys, "block"))
	skip := map[string]bool{}
	for _, dev := range m.cfg.Skip {
		if strings.HasPrefix(dev, "/dev/") {
			skip[m.wholeDisk(filepath.Base(dev))] = true
		}
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		virtual := slices.ContainsFunc([]string{"loop", "ram", "zram", "md", "dm-", "sr", "fd", "mtd"}, func(p string) bool { return strings.HasPrefix(name, p) })
		if virtual || skip[name] || m.sysNumber("block/"+name+"/size") == 0 {
			continue
		}
		out = append(out, name)
	}
	return out
}

// Fingerprint implements the store's hands. The sequence number of a block device is never used twice, also where its name is.
func (m *MD) Fingerprint() string {
	var b strings.Builder
	for _, n := range m.names() {
		fmt.Fprintf(&b, "%s=%s,%s;", n, m.sysString("block/"+n+"/diskseq"), m.sysString("block/"+n+"/size"))
	}
	return b.String()
}

// Disks implements the store's hands.
func (m *MD) Disks(context.Context) ([]roles.Disk, error) {
	known, err := m.identities()
	if err != nil {
		return nil, err
	}
	var out []roles.Disk
	marks := map[string]string{}
	for _, n := range m.names() {
		d := roles.Disk{Dev: m.path(n), Size: 512 * m.sysNumber("block/"+n+"/size")}
		if id, ok := known[n]; ok {
			d.Bay, d.Serial, d.Model = id.Bay, id.Serial, id.Model
		}
		mark, err := m.read(&d)
		switch {
		case errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, os.ErrNotExist):
			continue // pulled meanwhile
		case err != nil:
			d.Content = "nothing that can be read: " + err.Error()
			if d.Label == nil && d.LabelErr == "" {
				d.LabelErr = "the disk cannot be read: " + err.Error()
			}
		}
		if mark != "" {
			marks[d.Dev] = mark
		}
		out = append(out, d)
	}
	array.Unfinished(out, marks)
	return out, nil
}

func (m *MD) read(d *roles.Disk) (string, error) {
	f, err := openDirect(d.Dev)
	if err != nil {
		return "", err
	}
	defer f.f.Close()
	sector := int64(m.sysNumber("block/" + filepath.Base(d.Dev) + "/queue/logical_block_size"))
	return probe(f, int64(d.Size), max(sector, 512), d, hwcheck.Content)
}

// direct reads a device past the page cache: of a disk whose partition an array uses, the cache of the whole disk goes stale.
type direct struct {
	f   *os.File
	buf []byte
}

const directAlign = 4096

func openDirect(dev string) (*direct, error) {
	f, err := os.OpenFile(dev, os.O_RDONLY|unix.O_DIRECT, 0)
	if errors.Is(err, unix.EINVAL) {
		f, err = os.Open(dev) // a plain file on a filesystem that does not know O_DIRECT
	}
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	raw := make([]byte, layout.MiB+2*directAlign)
	skew := directAlign - int(uintptr(unsafe.Pointer(&raw[0]))%directAlign)
	return &direct{f: f, buf: raw[skew : skew+layout.MiB+directAlign]}, nil
}

// ReadAt implements io.ReaderAt. It is not safe for concurrent use.
func (d *direct) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := (off + int64(done)) &^ (directAlign - 1)
		skip := int(off + int64(done) - at)
		want := min(len(d.buf), (skip+len(p)-done+directAlign-1)&^(directAlign-1))
		n, err := d.f.ReadAt(d.buf[:want], at)
		if n > skip {
			done += copy(p[done:], d.buf[skip:n])
		}
		if done < len(p) && (err != nil || n <= skip) {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
	}
	return done, nil
}

// WriteLabel implements the store's hands.
func (m *MD) WriteLabel(_ context.Context, d roles.Disk, l roles.Label) error {
	if err := m.verify(d); err != nil {
		return fmt.Errorf("write label: %w", err)
	}
	f, err := os.OpenFile(d.Dev, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("write label: %w", err)
	}
	defer f.Close()
	if err := roles.WriteLabel(section{f}, l); err != nil {
		return fmt.Errorf("write label on %s: %w", d.Dev, err)
	}
	if readMarker(f) == "" {
		return nil
	}
	if _, err := f.WriteAt(make([]byte, markerSize), labelStart+markerInPart); err != nil {
		return fmt.Errorf("write label on %s: remove marker: %w", d.Dev, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write label on %s: remove marker: %w", d.Dev, err)
	}
	return nil
}

// section is the label partition of a disk. It is written through the whole disk, at its fixed place, so that no partition node is
// needed and only one page cache knows it.
type section struct{ f *os.File }

func (s section) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(s.f, labelStart, layout.LabelSize).ReadAt(p, off)
}

func (s section) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > layout.LabelSize {
		return 0, fmt.Errorf("write of %d bytes at %d leaves the label partition", len(p), off)
	}
	return s.f.WriteAt(p, labelStart+off)
}

func (s section) Sync() error { return s.f.Sync() }
