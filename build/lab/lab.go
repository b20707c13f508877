// Package lab runs the servers of a site on one machine: it makes them, installs them from an image as an installer would, gives
// and takes their power, moves their disks, breaks disks and cables, and runs commands on them and on the office's network. Its
// verbs are `build lab …` (Main); tests may use Lab directly. There are two kinds of server behind one interface: package vm
// (the real image under QEMU) and package namespace (the real root and init in Linux namespaces).
//
// All state lies in a folder (package folder), so commands follow one another from different processes; what runs in the
// background is recorded there and only that is ever ended. Nothing here is part of an appliance.
package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/build/cache"
	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/namespace"
	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/lab/stick"
	"sayasystems.com/atlas/build/lab/vm"
	"sayasystems.com/atlas/build/toolsroot"
)

// Server is one server of the lab, whatever its kind. Errors name the server.
type Server interface {
	Create(ctx context.Context) error // makes its parts; no power
	On() bool
	PowerOn(ctx context.Context, from string) error // from: "" (its own disk), vm.Stick, vm.CD; returns when the power is on
	PowerOff(ctx context.Context) error             // presses the button and waits for the orderly end
	Wait(ctx context.Context) error                 // until it has ended by itself
	Cut(ctx context.Context) error                  // vm: what was not flushed is lost
	Reset(ctx context.Context) error
	Pull(ctx context.Context, bay int) (folder.Disk, error) // onto the shelf
	Insert(ctx context.Context, bay int, serial string) (folder.Disk, error)
	Fault(ctx context.Context, bay int, fault string) error // vm.Error, vm.Hang, vm.Slow, vm.OK
	Cable(ctx context.Context, nic string, join bool) error
	Console(ctx context.Context) (net.Conn, error) // keys in, screen out
}

// Lab is one lab.
type Lab struct {
	Folder folder.Folder
	Office office.Office
}

// DefaultDir is the lab's folder when none is named: $ATLAS_LAB, or "lab" in the cache.
func DefaultDir() (string, error) {
	if d := os.Getenv("ATLAS_LAB"); d != "" {
		return d, nil
	}
	c, err := cache.Dir()
	if err != nil {
		return "", err
	}
	return filepath.Join(c, "lab"), nil
}

// Open returns the lab in dir ("" = DefaultDir), whether it has been made or not.
func Open(dir string) (*Lab, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return nil, err
		}
	}
	f, err := folder.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Lab{Folder: f, Office: office.New(f.Dir)}, nil
}

// Server returns a server by name.
func (l *Lab) Server(ctx context.Context, name string) (Server, error) {
	state, err := l.Folder.Load()
	if err != nil {
		return nil, err
	}
	s, err := state.Server(name)
	if err != nil {
		return nil, err
	}
	return l.server(ctx, state, s)
}

func (l *Lab) server(ctx context.Context, state folder.Lab, s folder.Server) (Server, error) {
	if state.Kind == folder.Namespace {
		return namespace.New(l.Folder, state, s), nil
	}
	tools, err := toolsroot.Ensure(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &vm.Server{Server: s, Folder: l.Folder, Office: l.Office, Tools: tools.Path, KVM: state.KVM, Memory: state.MemoryMiB, CPUs: state.CPUs}, nil
}

// each calls f for every server at the same time.
func (l *Lab) each(ctx context.Context, f func(Server, folder.Server) error) error {
	state, err := l.Folder.Load()
	if err != nil {
		return err
	}
	errs := make([]error, len(state.Servers))
	done := make(chan int)
	for i, chassis := range state.Servers {
		s, err := l.server(ctx, state, chassis)
		if err != nil {
			return err
		}
		go func() {
			errs[i] = f(s, chassis)
			done <- i
		}()
	}
	for range state.Servers {
		<-done
	}
	return errors.Join(errs...)
}

// PowerOn boots a server; from is as in Server. The office's network is made again if the machine has lost it.
func (l *Lab) PowerOn(ctx context.Context, name, from string) error {
	s, err := l.Server(ctx, name)
	if err != nil {
		return err
	}
	if err := l.Office.Up(); err != nil {
		return err
	}
	return s.PowerOn(ctx, from)
}

// Swap exchanges the disk sets of two servers: every disk in every bay. Both must be off.
func (l *Lab) Swap(ctx context.Context, a, b string) error {
	for _, name := range []string{a, b} {
		s, err := l.Server(ctx, name)
		if err != nil {
			return err
		}
		if s.On() {
			return fmt.Errorf("%s is on; shut both servers down before swapping their disk sets: lab power off %s", name, name)
		}
	}
	return l.Folder.Swap(a, b)
}

// Insert puts a disk into a bay: serial names one on the shelf; "" or "new" makes a blank one.
func (l *Lab) Insert(ctx context.Context, name string, bay int, serial string) (folder.Disk, error) {
	s, err := l.Server(ctx, name)
	if err != nil {
		return folder.Disk{}, err
	}
	if serial == "" || serial == "new" {
		if serial, err = l.newDisk(); err != nil {
			return folder.Disk{}, err
		}
	}
	return s.Insert(ctx, bay, serial)
}

func (l *Lab) newDisk() (string, error) {
	unlock, err := l.Folder.Lock("shelf")
	if err != nil {
		return "", err
	}
	defer unlock()
	state, err := l.Folder.Load()
	if err != nil {
		return "", err
	}
	serial, err := l.Folder.FreshSerial(state)
	if err != nil {
		return "", err
	}
	return serial, l.Folder.NewDisk(folder.Disk{Serial: serial, Model: diskModel, Size: state.DiskSize}, state.Kind == folder.VM)
}

// Stick returns the install stick for a server; "" stands for any that runs the lab's image.
func (l *Lab) Stick(ctx context.Context, server string) (stick.Stick, error) {
	state, err := l.Folder.Load()
	if err != nil {
		return stick.Stick{}, err
	}
	st := stick.Stick{Folder: l.Folder, Kind: state.Kind}
	if server != "" {
		if st.Server, err = state.Server(server); err != nil {
			return st, err
		}
	}
	if state.Kind == folder.VM {
		tools, err := toolsroot.Ensure(ctx, nil)
		if err != nil {
			return stick.Stick{}, err
		}
		st.Tools = tools.Path
	}
	if st.Server.Image != "" {
		state.Image = st.Server.Image
	}
	return st, st.Make(ctx, l.Folder.Image(state))
}

// HTTP returns a client for the servers' pages: it dials in the office, and takes any certificate, as nobody has pinned one.
func (l *Lab) HTTP() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext:       l.Office.Dial,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true, // a server may be cut at any time
	}}
}
