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
	Services  []string  `json:"services,omitempty"` // packs that the site runs; empty = those on by default
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
	Image     string `json:"image,omitempty"`   // where it differs from the lab's
	Version   string `json:"version,omitempty"` // of that image
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

// ImageOf is the path and the version of the image that a server runs.
func (f Folder) ImageOf(l Lab, server string) (path, version string) {
	for _, s := range l.Servers {
		if s.Name == server && s.Image != "" {
			return f.path("image", s.Image), s.Version
		}
	}
	return f.Image(l), l.Version
}

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

// StickImage is the vm lab's install stick, StickDir the namespace lab's. A server with another image than the lab's has its own.
func (f Folder) StickImage(s Server) string {
	if s.Image == "" {
		return f.path("stick.img")
	}
	return f.path("servers", s.Name, "stick.img")
}

// StickDir is the namespace lab's install stick.
func (f Folder) StickDir() string { return f.path("stick") }

// Key is the lab's private ssh key; Key+".pub" the public one.
func (f Folder) Key() string { return f.path("ssh", "id_ed25519") }

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
