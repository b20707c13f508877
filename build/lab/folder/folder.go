// Package folder is the state of one lab, a directory, so that commands can follow one another from different processes:
//
//	lab.json               kind, image, administrator, servers
//	image/                 the image that the servers were installed from (a copy)
//	ssh/id_ed25519         the lab's key, for `lab exec`
//	servers/NAME/          one server: system.img, vars.fd, state/, console.log, run/ (sockets and process records)
//	servers/NAME/bays/N/   a disk in bay N: disk.json, and disk.img (vm) or label (namespace)
//	shelf/SERIAL/          a disk that is in no bay
//	arrays/                namespace: what the fake arrays hold, by array UUID; it goes wherever the disks go
//	stick.img, stick/      the install stick (vm, namespace)
//
// A disk is a directory that is moved whole; so a swap is a few renames. This package starts nothing and knows no network.
package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Kinds of server.
const (
	VM        = "vm"
	Namespace = "namespace"
)

// Bays is the number of bays in every server.
const Bays = 4

// ErrNoLab means that the folder holds no lab.
var ErrNoLab = errors.New("no lab here; make one with: build lab up")

// Lab is lab.json.
type Lab struct {
	Kind      string    `json:"kind"`
	Image     string    `json:"image"`   // file name in image/
	Version   string    `json:"version"` // of the image, as far as its name tells
	Admin     Admin     `json:"admin"`
	KVM       bool      `json:"kvm,omitempty"`
	DiskSize  int64     `json:"disk_size"`            // of a new disk, bytes
	MemoryMiB int       `json:"memory_mib,omitempty"` // of a virtual machine
	CPUs      int       `json:"cpus,omitempty"`
	Servers   []Server  `json:"servers"`
	Forwards  []Forward `json:"forwards,omitempty"`
}

// Admin is the site's administrator, the same on every server.
type Admin struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// Server is a chassis of the lab: what does not change over its life.
type Server struct {
	Name      string `json:"name"`
	Address   string `json:"address"` // management address, without prefix length
	MAC       string `json:"mac"`
	UUID      string `json:"uuid"`
	Serial    string `json:"serial"`
	Installed bool   `json:"installed"`
}

// Forward makes a port of the office reachable at 127.0.0.1 of this machine.
type Forward struct {
	Name   string `json:"name"`   // "dashboard of left"
	Listen string `json:"listen"` // "127.0.0.1:8441"
	To     string `json:"to"`     // "10.7.0.11:8443"
	URL    string `json:"url"`
}

// Disk is disk.json.
type Disk struct {
	Serial string `json:"serial"`
	Model  string `json:"model"`
	Size   int64  `json:"size"` // bytes
}

// Folder is a lab's directory.
type Folder struct{ Dir string }

// Open returns the folder at dir, whether there is a lab in it or not.
func Open(dir string) (Folder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Folder{}, fmt.Errorf("open lab: %w", err)
	}
	return Folder{Dir: abs}, nil
}

// Load reads lab.json.
func (f Folder) Load() (Lab, error) {
	var l Lab
	data, err := os.ReadFile(f.path("lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return l, fmt.Errorf("%s: %w", f.Dir, ErrNoLab)
	}
	if err != nil {
		return l, fmt.Errorf("open lab: %w", err)
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return l, fmt.Errorf("open lab %s: %w", f.Dir, err)
	}
	return l, nil
}

// Save writes lab.json.
func (f Folder) Save(l Lab) error {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return fmt.Errorf("save lab: %w", err)
	}
	return writeJSON(f.path("lab.json"), l)
}

// Change loads lab.json, lets change alter it, and saves it, while no other command does the same.
func (f Folder) Change(change func(*Lab)) error {
	unlock, err := f.Lock("lab")
	if err != nil {
		return err
	}
	defer unlock()
	l, err := f.Load()
	if err != nil {
		return err
	}
	change(&l)
	return f.Save(l)
}

// Lock takes a lock on one thing of the lab (a server's name, or "lab") against other commands; it waits for them.
func (f Folder) Lock(name string) (unlock func(), err error) {
	dir := f.path("locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { file.Close() }, nil
}

func (f Folder) path(elem ...string) string {
	return filepath.Join(append([]string{f.Dir}, elem...)...)
}

// Image is the path of the image's copy.
func (f Folder) Image(l Lab) string { return f.path("image", l.Image) }

// Server is a server's directory.
func (f Folder) Server(name string) string { return f.path("servers", name) }

// Run is a server's directory for sockets and process records.
func (f Folder) Run(name string) string { return f.path("servers", name, "run") }

// ConsoleLog is the recorded console.
func (f Folder) ConsoleLog(name string) string { return f.path("servers", name, "console.log") }

// ConsoleSocket is where a running server's console is attached to.
func (f Folder) ConsoleSocket(name string) string {
	return f.path("servers", name, "run", "console.sock")
}

// Bay is the directory of the disk in a bay.
func (f Folder) Bay(server string, bay int) string {
	return f.path("servers", server, "bays", strconv.Itoa(bay))
}

// BaysDir holds the bays of a server.
func (f Folder) BaysDir(server string) string { return f.path("servers", server, "bays") }

// Shelf is the directory of a disk that is in no bay.
func (f Folder) Shelf(serial string) string { return f.path("shelf", serial) }

// Arrays is the namespace lab's directory of arrays.
func (f Folder) Arrays() string { return f.path("arrays") }

// StickImage is the vm lab's install stick, StickDir the namespace lab's.
func (f Folder) StickImage() string { return f.path("stick.img") }

// StickDir is the namespace lab's install stick.
func (f Folder) StickDir() string { return f.path("stick") }

// Key is the lab's private ssh key; Key+".pub" the public one.
func (f Folder) Key() string { return f.path("ssh", "id_ed25519") }

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

// Names returns the servers' names.
func (l Lab) Names() []string {
	var n []string
	for _, s := range l.Servers {
		n = append(n, s.Name)
	}
	return n
}

// Server returns a server by name.
func (l Lab) Server(name string) (Server, error) {
	at := slices.IndexFunc(l.Servers, func(s Server) bool { return s.Name == name })
	if at < 0 {
		return Server{}, fmt.Errorf("no server %q in this lab; it has %q", name, l.Names())
	}
	return l.Servers[at], nil
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

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
