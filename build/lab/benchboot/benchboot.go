// Package benchboot measures what ATLAS's init costs against systemd: from power-on until all services answer a client, and the memory of
// supervision. Two servers of one vm lab are booted in turn, one at a time: "left", installed from the image, with its services on a disk
// set; and "middle", whose system disk holds the same Debian packages, kernel and services under systemd, as Debian sets them up. The
// firmware, the machine and the way of asking are the same. What of it is not the same is told by the report.
//
//	image's manifest → Debian tree with systemd (kept) → disk → first boot, not measured → rounds: middle, left, middle, left …
package benchboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/manifest"
)

// Options of Run.
type Options struct {
	Image  string // atlas-VERSION.img with its manifest beside it
	Dir    string // the lab's folder; it must not exist
	Rounds int
	Keep   bool // leave the lab there, its servers off
	Stdout io.Writer
}

// Servers of the lab.
const (
	ours   = "left"
	theirs = "middle"
)

// service is a port that must answer before a server counts as ready, and the pack that it belongs to.
type service struct {
	pack string
	port int
	own  bool // at the server's management address, on ours
}

// services of a default site that clients reach by TCP.
func services() []service {
	return []service{
		{"ssh", 22, true},
		{"apache", 80, false},
		{"apache", 443, false},
		{"samba", 445, false},
		{"mariadb", 3306, false},
		{"postgresql", 5432, false},
		{"postfix", 25, false},
		{"dovecot", 993, false},
		{"openldap", 389, false},
		{"kerberos", 749, false},
		{"nfs", 2049, false},
	}
}

// Boot is one measured boot.
type Boot struct {
	Ready  time.Duration         // power-on until the last port answered
	Ports  map[int]time.Duration // power-on until each did
	Memory Memory
}

// Run makes both servers and measures them.
func Run(ctx context.Context, o Options) error {
	if o.Image == "" {
		return errors.New("which image? Say --image out/atlas-VERSION.img (made by: build image)")
	}
	info, err := manifest.Load(strings.TrimSuffix(o.Image, ".img") + ".manifest.json")
	if err != nil {
		return err
	}
	tools, err := toolsroot.Ensure(ctx, func(s string) { fmt.Fprintln(o.Stdout, s) })
	if err != nil {
		return err
	}
	tree, err := debian(ctx, tools, info, o.Stdout)
	if err != nil {
		return err
	}
	l, err := lab.Open(o.Dir)
	if err != nil {
		return err
	}
	if _, err := l.Folder.Load(); err == nil {
		return fmt.Errorf("there is a lab in %s already; remove it first: build lab --dir %s down", o.Dir, o.Dir)
	}
	if err := l.Up(ctx, lab.Options{Kind: folder.VM, Servers: 3, Image: o.Image, Blank: true, MemoryMiB: 2048, Progress: o.Stdout}); err != nil {
		return err
	}
	if !o.Keep {
		defer func() { _ = l.Down(context.WithoutCancel(ctx), false) }() // the result is there; a folder left over tells itself
	}
	wanted := slices.DeleteFunc(services(), func(s service) bool { return !slices.Contains(info.Packs, s.pack) })
	b := &bench{lab: l, out: o.Stdout, services: wanted}
	if err := b.prepare(ctx, tools, tree, info); err != nil {
		return err
	}
	results := map[string][]Boot{}
	for i := range o.Rounds {
		for _, server := range []string{theirs, ours} {
			boot, err := b.boot(ctx, server)
			if err != nil {
				return err
			}
			fmt.Fprintf(o.Stdout, "round %d, %s: ready after %.1f s\n", i+1, title(server), boot.Ready.Seconds())
			results[server] = append(results[server], boot)
		}
	}
	report(o.Stdout, info, results[ours], results[theirs])
	return nil
}

// title names a server's system for people.
func title(server string) string {
	if server == ours {
		return "ATLAS"
	}
	return "systemd"
}

type bench struct {
	lab      *lab.Lab
	out      io.Writer
	services []service
}

// prepare installs ours, gives theirs its disk, and boots each once: the first boot makes databases.
func (b *bench) prepare(ctx context.Context, tools toolsroot.Root, tree string, info manifest.Manifest) error {
	state, err := b.lab.Folder.Load()
	if err != nil {
		return err
	}
	chassis, err := state.Server(theirs)
	if err != nil {
		return err
	}
	fmt.Fprintln(b.out, "making the disk of the server with systemd")
	if err := disk(ctx, tools, tree, info, filepath.Join(b.lab.Folder.Server(theirs), "system.img"), chassis.Address, b.lab.Folder.Key()+".pub"); err != nil {
		return err
	}
	if err := b.lab.Folder.Change(func(st *folder.Lab) {
		for i := range st.Servers {
			st.Servers[i].Installed = st.Servers[i].Installed || st.Servers[i].Name == theirs
		}
	}); err != nil {
		return err
	}
	fmt.Fprintln(b.out, "installing the server with ATLAS")
	if err := b.lab.Install(ctx, ours); err != nil {
		return err
	}
	for _, server := range []string{ours, theirs} {
		fmt.Fprintf(b.out, "first boot of %s, which is not measured\n", title(server))
		boot, err := b.boot(ctx, server)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "  ready after %.1f s\n", boot.Ready.Seconds())
	}
	return nil
}

// bootLimit is how long a boot may take, on an emulated machine with others at work.
const bootLimit = 15 * time.Minute

// boot switches a server on, waits until every service answers, measures its memory and switches it off in order.
func (b *bench) boot(ctx context.Context, server string) (Boot, error) {
	limited, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("not all services answered within %v", bootLimit))
	defer cancel()
	state, err := b.lab.Folder.Load()
	if err != nil {
		return Boot{}, err
	}
	chassis, err := state.Server(server)
	if err != nil {
		return Boot{}, err
	}
	began := time.Now()
	if err := b.lab.PowerOn(limited, server, ""); err != nil {
		return Boot{}, err
	}
	boot := Boot{Ports: map[int]time.Duration{}}
	done := make(chan error, len(b.services))
	times := make([]time.Duration, len(b.services))
	for i, s := range b.services {
		address := chassis.Address
		if server == ours && !s.own {
			address = office.Service
		}
		go func() {
			err := b.answers(limited, fmt.Sprintf("%s:%d", address, s.port))
			times[i] = time.Since(began)
			if err != nil {
				err = fmt.Errorf("%s of %s at port %d: %w", s.pack, title(server), s.port, err)
			}
			done <- err
		}()
	}
	for range b.services {
		err = errors.Join(err, <-done)
	}
	if err != nil {
		text, _ := b.lab.ConsoleTail(server, 30) // without it the error still tells the port
		return boot, fmt.Errorf("%w\nthe end of its console:\n%s", err, text)
	}
	for i, s := range b.services {
		boot.Ports[s.port] = times[i]
		boot.Ready = max(boot.Ready, times[i])
	}
	if boot.Memory, err = b.memory(ctx, server); err != nil {
		return boot, err
	}
	s, err := b.lab.Server(ctx, server)
	if err != nil {
		return boot, err
	}
	return boot, s.PowerOff(ctx)
}

// answers waits until a port takes a connection from the office.
func (b *bench) answers(ctx context.Context, address string) error {
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		conn, err := b.lab.Office.Dial(try, "tcp", address)
		cancel()
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
