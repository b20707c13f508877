package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// DiskIn returns the disk in a bay, nil for an empty bay.
func (f Folder) DiskIn(server string, bay int) (*Disk, error) { return readDisk(f.Bay(server, bay)) }

// Disks returns the disks in all bays of a server, by bay.
func (f Folder) Disks(server string) (map[int]Disk, error) {
	m := map[int]Disk{}
	for bay := 1; bay <= Bays; bay++ {
		d, err := f.DiskIn(server, bay)
		if err != nil {
			return nil, err
		}
		if d != nil {
			m[bay] = *d
		}
	}
	return m, nil
}

// OnShelf returns the disks in no bay, by serial.
func (f Folder) OnShelf() ([]Disk, error) {
	all, err := os.ReadDir(f.path("shelf"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the shelf: %w", err)
	}
	var disks []Disk
	for _, e := range all {
		d, err := readDisk(f.Shelf(e.Name()))
		if err != nil {
			return nil, err
		}
		if d != nil {
			disks = append(disks, *d)
		}
	}
	return disks, nil
}

var serialPattern = regexp.MustCompile(`^[A-Z0-9][A-Z0-9-]{0,19}$`) // virtio-blk carries 20 bytes

// NewDisk puts a new blank disk on the shelf. withImage makes its disk.img (sparse).
func (f Folder) NewDisk(d Disk, withImage bool) error {
	if !serialPattern.MatchString(d.Serial) {
		return fmt.Errorf("disk serial %q: use up to 20 capital letters, digits and dashes", d.Serial)
	}
	dir := f.Shelf(d.Serial)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("new disk %s: %w", d.Serial, err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("new disk %s: %w", d.Serial, err)
	}
	if withImage {
		if err := Sparse(filepath.Join(dir, "disk.img"), d.Size); err != nil {
			return fmt.Errorf("new disk %s: %w", d.Serial, err)
		}
	}
	return writeJSON(filepath.Join(dir, "disk.json"), d)
}

// FreshSerial returns a serial that no disk of the lab has.
func (f Folder) FreshSerial(l Lab) (string, error) {
	used := map[string]bool{}
	shelf, err := f.OnShelf()
	if err != nil {
		return "", err
	}
	for _, d := range shelf {
		used[d.Serial] = true
	}
	for _, s := range l.Servers {
		disks, err := f.Disks(s.Name)
		if err != nil {
			return "", err
		}
		for _, d := range disks {
			used[d.Serial] = true
		}
	}
	for i := 1; ; i++ {
		if s := "LAB-N" + strconv.Itoa(i); !used[s] {
			return s, nil
		}
	}
}

// Pull moves the disk in a bay onto the shelf.
func (f Folder) Pull(server string, bay int) (Disk, error) {
	d, err := f.DiskIn(server, bay)
	if err != nil {
		return Disk{}, err
	}
	if d == nil {
		return Disk{}, fmt.Errorf("bay %d of %s is empty", bay, server)
	}
	if err := os.MkdirAll(f.path("shelf"), 0o755); err != nil {
		return *d, fmt.Errorf("pull bay %d of %s: %w", bay, server, err)
	}
	if err := os.Rename(f.Bay(server, bay), f.Shelf(d.Serial)); err != nil {
		return *d, fmt.Errorf("pull bay %d of %s: %w", bay, server, err)
	}
	return *d, nil
}

// Insert moves a disk from the shelf into an empty bay.
func (f Folder) Insert(server string, bay int, serial string) (Disk, error) {
	if err := CheckBay(bay); err != nil {
		return Disk{}, err
	}
	there, err := f.DiskIn(server, bay)
	if err != nil {
		return Disk{}, err
	}
	if there != nil {
		return Disk{}, fmt.Errorf("bay %d of %s holds disk %s; pull it first: lab bay pull %s %d", bay, server, there.Serial, server, bay)
	}
	d, err := readDisk(f.Shelf(serial))
	if err != nil {
		return Disk{}, err
	}
	if d == nil {
		return Disk{}, fmt.Errorf("disk %s is not on the shelf; pull it out of its bay first, or say new", serial)
	}
	if err := os.MkdirAll(f.BaysDir(server), 0o755); err != nil {
		return *d, fmt.Errorf("insert %s into bay %d of %s: %w", serial, bay, server, err)
	}
	if err := os.Rename(f.Shelf(serial), f.Bay(server, bay)); err != nil {
		return *d, fmt.Errorf("insert %s into bay %d of %s: %w", serial, bay, server, err)
	}
	return *d, nil
}

// Swap exchanges all disks of two servers, bay by bay. The bays' directories themselves stay in place: a namespace server that
// is being started may hold them.
func (f Folder) Swap(a, b string) error {
	if a == b {
		return fmt.Errorf("%s cannot be swapped with itself", a)
	}
	for bay := 1; bay <= Bays; bay++ {
		da, err := f.DiskIn(a, bay)
		if err != nil {
			return err
		}
		db, err := f.DiskIn(b, bay)
		if err != nil {
			return err
		}
		if da != nil {
			if _, err := f.Pull(a, bay); err != nil {
				return err
			}
		}
		if db != nil {
			if _, err := f.Pull(b, bay); err != nil {
				return err
			}
			if _, err := f.Insert(a, bay, db.Serial); err != nil {
				return err
			}
		}
		if da != nil {
			if _, err := f.Insert(b, bay, da.Serial); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckBay tells whether bay is a bay's number.
func CheckBay(bay int) error {
	if bay < 1 || bay > Bays {
		return fmt.Errorf("no bay %d: bays are 1 to %d", bay, Bays)
	}
	return nil
}

func readDisk(dir string) (*Disk, error) {
	data, err := os.ReadFile(filepath.Join(dir, "disk.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read disk: %w", err)
	}
	var d Disk
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read disk %s: %w", dir, err)
	}
	return &d, nil
}

// Sparse makes a file of the given size that takes no room yet.
func Sparse(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := file.Truncate(size); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
