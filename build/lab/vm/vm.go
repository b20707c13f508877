// Package vm is the lab's virtual server: QEMU with UEFI firmware, a system disk, hot-plug bays, a network card on the office's
// switch, a watchdog and a serial console. Every disk is served by an nbdkit of its own, with a write-back cache that is lost when
// it is killed: so a power cut loses what the guest has not flushed, and a disk can fail, hang, be slow or be pulled.
//
// QEMU and nbdkit run in the background in the tools root, QEMU in the office's network namespace too. Their process records
// and sockets lie in the server's run directory; QEMU itself records the console. What QEMU is told goes over QMP.
package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/lab/place"
	"sayasystems.com/atlas/build/lab/process"
	"sayasystems.com/atlas/build/lab/qmp"
)

// What a server is booted from instead of its system disk.
const (
	Stick = "stick"
	CD    = "cd"
)

// SystemSize is the size of a system disk in bytes; the file is sparse.
const SystemSize = 4 << 30

// Server is one virtual server.
type Server struct {
	folder.Server
	Folder folder.Folder
	Office office.Office
	Tools  string // the tools root
	KVM    bool
	Memory int // MiB
	CPUs   int
}

// Create makes the server's parts: empty system disk, fresh firmware variables.
func (s *Server) Create(context.Context) error {
	dir := s.Folder.Server(s.Name)
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o755); err != nil {
		return fmt.Errorf("make server %s: %w", s.Name, err)
	}
	if err := folder.Sparse(filepath.Join(dir, "system.img"), SystemSize); err != nil {
		return fmt.Errorf("make server %s: %w", s.Name, err)
	}
	vars, err := os.ReadFile(filepath.Join(s.Tools, "usr/share/OVMF/OVMF_VARS_4M.fd"))
	if err != nil {
		return fmt.Errorf("make server %s: firmware: %w", s.Name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vars.fd"), vars, 0o644); err != nil {
		return fmt.Errorf("make server %s: %w", s.Name, err)
	}
	return nil
}

// On tells whether the server has power.
func (s *Server) On() bool {
	id, err := process.Load(s.record("qemu"))
	return err == nil && id.Alive()
}

// PowerOn boots the server. From is "", Stick or CD. It does nothing when the server is on.
func (s *Server) PowerOn(ctx context.Context, from string) error {
	unlock, err := s.Folder.Lock(s.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if s.On() {
		return nil
	}
	if err := s.sweep(ctx); err != nil {
		return err
	}
	disks, err := s.Folder.Disks(s.Name)
	if err != nil {
		return err
	}
	if err := s.Office.Tap(s.Name + "0"); err != nil {
		return err
	}
	if err := s.serve(ctx, "system", filepath.Join(s.Folder.Server(s.Name), "system.img")); err != nil {
		return err
	}
	for bay, d := range disks {
		if err := s.serve(ctx, node(d.Serial), filepath.Join(s.Folder.Bay(s.Name, bay), "disk.img")); err != nil {
			return errors.Join(err, s.sweep(ctx))
		}
	}
	m := machine{Server: s.Server, MemoryMiB: s.Memory, CPUs: s.CPUs, KVM: s.KVM, From: from, Stick: s.inside(s.Folder.StickImage(s.Server)), Disks: disks}
	if err := s.launch("qemu", s.Office.NetNS(), "qemu-system-x86_64", qemuArgs(m)...); err != nil {
		return errors.Join(err, s.sweep(ctx))
	}
	// The monitor answers once QEMU has opened everything; else it has ended and said why.
	err = s.monitor(ctx, 30*time.Second, func(context.Context, *qmp.Conn) error { return nil })
	if err != nil {
		return errors.Join(fmt.Errorf("power on %s: %w%s", s.Name, err, s.lastWords("qemu")), s.sweep(context.WithoutCancel(ctx)))
	}
	return nil
}

// PowerOff presses the power button and waits for the orderly end. Its power may be cut meanwhile.
func (s *Server) PowerOff(ctx context.Context) error {
	id, err := process.Load(s.record("qemu"))
	if err != nil {
		return err
	}
	for id.Alive() {
		// Early in a boot nobody listens to the button; a person would press it again.
		err := s.monitor(ctx, 10*time.Second, func(ctx context.Context, c *qmp.Conn) error { return c.Execute(ctx, "system_powerdown", nil, nil) })
		if err != nil && id.Alive() && ctx.Err() == nil {
			return fmt.Errorf("power off %s: %w", s.Name, err)
		}
		short, cancel := context.WithTimeout(ctx, 20*time.Second)
		err = id.Wait(short)
		cancel()
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("power off %s: the server did not shut down in time; look at its console (lab console %s --log), or cut its power: lab power cut %s", s.Name, s.Name, s.Name)
		}
	}
	return s.settle(ctx)
}

// Wait waits until the server has ended by itself.
func (s *Server) Wait(ctx context.Context) error {
	id, err := process.Load(s.record("qemu"))
	if err != nil {
		return err
	}
	if err := id.Wait(ctx); err != nil {
		return err
	}
	return s.settle(ctx)
}

// Cut takes the power away: whatever the guest has not flushed is lost.
func (s *Server) Cut(ctx context.Context) error {
	unlock, err := s.Folder.Lock(s.Name)
	if err != nil {
		return err
	}
	defer unlock()
	return s.sweep(ctx)
}

// Reset presses the reset button. The disks keep their power and so their caches.
func (s *Server) Reset(ctx context.Context) error {
	return s.monitor(ctx, 10*time.Second, func(ctx context.Context, c *qmp.Conn) error { return c.Execute(ctx, "system_reset", nil, nil) })
}

// Cable cuts or joins the cable of a network card: "eth0" or "".
func (s *Server) Cable(ctx context.Context, nic string, join bool) error {
	if nic != "" && nic != "eth0" {
		return fmt.Errorf("no network card %q in %s; it has eth0", nic, s.Name)
	}
	return s.monitor(ctx, 10*time.Second, func(ctx context.Context, c *qmp.Conn) error {
		return c.Execute(ctx, "set_link", map[string]any{"name": "nic0", "up": join}, nil)
	})
}

// Console attaches to the serial console. One at a time.
func (s *Server) Console(ctx context.Context) (net.Conn, error) {
	if !s.On() {
		return nil, fmt.Errorf("%s is off; what its console showed last: lab console %s --log", s.Name, s.Name)
	}
	c, err := qmp.DialUnix(ctx, s.Folder.ConsoleSocket(s.Name))
	if err != nil {
		return nil, fmt.Errorf("attach to the console of %s: %w", s.Name, err)
	}
	return c, nil
}

// serve starts the nbdkit of one disk and waits until it listens.
func (s *Server) serve(ctx context.Context, name, image string) error {
	sock := filepath.Join(s.Folder.Run(s.Name), name+".sock")
	if err := os.Remove(sock); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("serve disk %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Join(s.Folder.Dir, "tmp"), 0o777); err != nil {
		return fmt.Errorf("serve disk %s: %w", name, err)
	}
	err := s.launch(name, "", "nbdkit", nbdkitArgs(s.inside(image), s.inside(sock), s.inside(s.trigger(name)))...)
	if err != nil {
		return err
	}
	id, err := process.Load(s.record(name))
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := os.Stat(sock); err == nil {
			return nil
		}
		if !id.Alive() || time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("serve disk %s of %s: nbdkit does not start%s", name, s.Name, s.lastWords(name))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// launch starts a program of the tools root in the background and records it.
func (s *Server) launch(name, netns, program string, args ...string) error {
	p := place.Place{NetNS: netns, Root: s.Tools, Binds: []place.Bind{{From: s.Folder.Dir, To: inside}}}
	cmd, err := p.Command(program, args...)
	if err != nil {
		return fmt.Errorf("%w (tools root %s)", err, s.Tools)
	}
	// nbdkit's cache is an unlinked file, as large as the disk: it must not lie in memory.
	cmd.Env = append(cmd.Env, "TMPDIR="+inside+"/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	log, err := os.Create(filepath.Join(s.Folder.Run(s.Name), name+".log"))
	if err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := p.Start(cmd); err != nil {
		return err
	}
	go reap(cmd)
	id, err := process.Of(cmd.Process.Pid, name+" of "+s.Name)
	if err != nil {
		return fmt.Errorf("start %s: it ended at once%s", program, s.lastWords(name))
	}
	return id.Save(s.record(name))
}

// reap collects a child's exit status if it ends before this process does. Nobody asks for it: the log says why it ended.
func reap(cmd *exec.Cmd) { _ = cmd.Wait() }

// sweep kills whatever runs of this server, all at once as far as the guest can tell: QEMU is stopped first, so that it does not
// see its disks go one after the other.
func (s *Server) sweep(ctx context.Context) error {
	ids, err := s.processes()
	if err != nil {
		return err
	}
	qemu := ids["qemu"]
	_ = qemu.Signal(syscall.SIGSTOP) // if it cannot be stopped it is killed below all the same
	for name, id := range ids {
		if name != "qemu" {
			err = errors.Join(err, id.Signal(syscall.SIGKILL))
		}
	}
	err = errors.Join(err, qemu.Signal(syscall.SIGKILL))
	for name, id := range ids {
		err = errors.Join(err, id.Wait(ctx))
		err = errors.Join(err, ignoreMissing(os.Remove(s.record(name))))
		err = errors.Join(err, ignoreMissing(os.Remove(s.trigger(name))))
	}
	return err
}

// settle waits until the nbdkits of a server that has ended have written all and ended too.
func (s *Server) settle(ctx context.Context) error {
	unlock, err := s.Folder.Lock(s.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if s.On() { // somebody was quick to switch it on again
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ids, err := s.processes()
	if err != nil {
		return err
	}
	for name, id := range ids {
		_ = id.Signal(syscall.SIGCONT) // one that was made to hang could never end
		if err := id.Wait(ctx); err != nil {
			return fmt.Errorf("%s is off, but %w; cut its power: lab power cut %s", s.Name, err, s.Name)
		}
		err = errors.Join(err, ignoreMissing(os.Remove(s.record(name))), ignoreMissing(os.Remove(s.trigger(name))))
	}
	return err
}

// processes returns the recorded processes by name, running or not.
func (s *Server) processes() (map[string]process.ID, error) {
	files, err := filepath.Glob(filepath.Join(s.Folder.Run(s.Name), "*.pid"))
	if err != nil {
		return nil, err
	}
	ids := map[string]process.ID{}
	for _, f := range files {
		id, err := process.Load(f)
		if err != nil {
			return nil, err
		}
		ids[trimExt(filepath.Base(f))] = id
	}
	return ids, nil
}

// monitor calls f with a connection to QEMU's monitor.
func (s *Server) monitor(ctx context.Context, limit time.Duration, f func(context.Context, *qmp.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	path := filepath.Join(s.Folder.Run(s.Name), "qmp.sock")
	for {
		if !s.On() {
			return fmt.Errorf("%s is off; switch it on: lab power on %s", s.Name, s.Name)
		}
		c, err := qmp.Dial(ctx, path)
		if err != nil && ctx.Err() == nil && (errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF)) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		defer func() { _ = c.Close() }()
		if err := f(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		return nil
	}
}

func (s *Server) record(name string) string { return filepath.Join(s.Folder.Run(s.Name), name+".pid") }

func (s *Server) trigger(name string) string {
	return filepath.Join(s.Folder.Run(s.Name), name+".fail")
}

// inside turns a path of the lab's folder into the one that programs in the tools root see.
func (s *Server) inside(path string) string {
	rel, err := filepath.Rel(s.Folder.Dir, path)
	if err != nil {
		return path
	}
	return filepath.Join(inside, rel)
}

// lastWords returns what a program said, for an error.
func (s *Server) lastWords(name string) string {
	data, err := os.ReadFile(filepath.Join(s.Folder.Run(s.Name), name+".log"))
	data = bytes.TrimSpace(data)
	if err != nil || len(data) == 0 {
		return ""
	}
	if len(data) > 2000 {
		data = data[len(data)-2000:]
	}
	return "\n" + string(data)
}

func trimExt(name string) string { return name[:len(name)-len(filepath.Ext(name))] }

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
