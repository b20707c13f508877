// Package namespace is the lab's namespace server: the image's real root filesystem and its real init as PID 1 of Linux
// namespaces, on the office's network, at native speed. It has no kernel, firmware, RAID or power of its own: directories stand
// for disks, a process signal for the power button, and killing PID 1 for a power cut (which loses nothing, as the host's
// cache keeps everything; for that there is package vm).
//
// A supervisor process per server, in the background, starts init, starts it again after a reboot and records its console.
package namespace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/office"
	"sayasystems.com/atlas/build/lab/place"
	"sayasystems.com/atlas/build/lab/process"
	"sayasystems.com/atlas/build/lab/qmp"
	"sayasystems.com/atlas/initsvc/handover"
)

// Stick is what a server is booted from to be installed.
const Stick = "stick"

// Server is one namespace server.
type Server struct {
	folder.Server
	Folder folder.Folder
	Office office.Office
	Lab    folder.Lab
}

// New returns the server s of the lab l.
func New(f folder.Folder, l folder.Lab, s folder.Server) *Server {
	return &Server{Server: s, Folder: f, Office: office.New(f.Dir), Lab: l}
}

// Create makes the directories that stand for the server's hardware.
func (s *Server) Create(context.Context) error {
	for _, d := range []string{s.dir("run"), s.dir("root"), s.dir("state"), s.Folder.BaysDir(s.Name), s.Folder.Arrays(), s.Folder.StickDir()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("make server %s: %w", s.Name, err)
		}
	}
	return nil
}

// On tells whether the server has power.
func (s *Server) On() bool {
	id, err := process.Load(s.record("init"))
	if err == nil && id.Alive() {
		return true
	}
	id, err = process.Load(s.record("supervisor")) // between two boots
	return err == nil && id.Alive()
}

// PowerOn boots the server; from is "" or Stick. It does nothing when the server is on.
func (s *Server) PowerOn(ctx context.Context, from string) error {
	if from != "" && from != Stick {
		return fmt.Errorf("a namespace server has no %s drive; use --kind vm", from)
	}
	if os.Geteuid() != 0 {
		return errors.New("namespace servers need root: run the lab as root, or use --kind vm")
	}
	unlock, err := s.Folder.Lock(s.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if s.On() {
		return nil
	}
	cmd, err := helper("supervise", s.Folder.Dir, s.Name, from)
	if err != nil {
		return err
	}
	log, err := os.Create(s.dir("run", "supervisor.log"))
	if err != nil {
		return fmt.Errorf("power on %s: %w", s.Name, err)
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("power on %s: %w", s.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("power on %s: %w", s.Name, err)
	}
	id, err := process.Of(cmd.Process.Pid, "supervisor of "+s.Name)
	if err == nil {
		err = id.Save(s.record("supervisor"))
	}
	if err != nil {
		return err
	}
	answer := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = err.Error()
		}
		answer <- strings.TrimSpace(line)
		_ = cmd.Wait() // reaps it if it ends before this process; its log says why
	}()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	select {
	case line := <-answer:
		if line == "on" {
			return nil
		}
		_ = id.Wait(ctx)
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("power on %s: %s", s.Name, strings.TrimSpace(line+" "+string(said)))
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("power on %s: init did not start in time", s.Name), s.cut(context.WithoutCancel(ctx)))
	}
}

// PowerOff presses the power button (SIGPWR to PID 1) and waits for the orderly end. Its power may be cut meanwhile.
func (s *Server) PowerOff(ctx context.Context) error {
	if !s.On() {
		return nil
	}
	id, err := process.Load(s.record("init"))
	if err != nil {
		return err
	}
	if err := id.Signal(syscall.SIGPWR); err != nil {
		return err
	}
	if err := s.Wait(ctx); err != nil {
		return fmt.Errorf("power off %s: the server did not shut down in time; look at its console (lab console %s --log), or cut its power: lab power cut %s", s.Name, s.Name, s.Name)
	}
	return nil
}

// Wait waits until the server has ended by itself.
func (s *Server) Wait(ctx context.Context) error {
	id, err := process.Load(s.record("supervisor"))
	if err != nil {
		return err
	}
	return id.Wait(ctx)
}

// Cut kills the server.
func (s *Server) Cut(ctx context.Context) error {
	unlock, err := s.Folder.Lock(s.Name)
	if err != nil {
		return err
	}
	defer unlock()
	return s.cut(ctx)
}

func (s *Server) cut(ctx context.Context) error {
	var errs error
	// The supervisor first: it would take the end of init for a power-off and clean up meanwhile.
	for _, name := range []string{"supervisor", "init"} {
		id, err := process.Load(s.record(name))
		errs = errors.Join(errs, err)
		if err == nil {
			errs = errors.Join(errs, id.Kill(ctx))
		}
	}
	s.cleanUp()
	return errs
}

// Reset kills the server and boots it again.
func (s *Server) Reset(ctx context.Context) error {
	if !s.On() {
		return fmt.Errorf("%s is off; switch it on: lab power on %s", s.Name, s.Name)
	}
	if err := s.Cut(ctx); err != nil {
		return err
	}
	return s.PowerOn(ctx, "")
}

// Pull takes a disk out of its bay. A running server notices that the directory is gone.
func (s *Server) Pull(_ context.Context, bay int) (folder.Disk, error) {
	if err := folder.CheckBay(bay); err != nil {
		return folder.Disk{}, err
	}
	return s.Folder.Pull(s.Name, bay)
}

// Insert puts a disk from the shelf into an empty bay.
func (s *Server) Insert(_ context.Context, bay int, serial string) (folder.Disk, error) {
	return s.Folder.Insert(s.Name, bay, serial)
}

// Fault is refused: directories do not fail.
func (s *Server) Fault(context.Context, int, string) error {
	return errors.New("a namespace server has directories for disks, and they do not fail; use a lab of --kind vm, or pull the disk: lab bay pull")
}

// Cable cuts or joins the network cable at the switch.
func (s *Server) Cable(_ context.Context, nic string, join bool) error {
	if nic != "" && nic != "eth0" {
		return fmt.Errorf("no network card %q in %s; it has eth0", nic, s.Name)
	}
	if !s.On() {
		return fmt.Errorf("%s is off; its cable is made when it is switched on: lab power on %s", s.Name, s.Name)
	}
	return s.Office.Cable(s.Name+"0", join)
}

// Console attaches to the terminal.
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

// Inside returns the place of the server's own processes.
func (s *Server) Inside() (place.Place, error) {
	id, err := process.Load(s.record("init"))
	if err != nil {
		return place.Place{}, err
	}
	if !id.Alive() {
		return place.Place{}, fmt.Errorf("%s is off; switch it on: lab power on %s", s.Name, s.Name)
	}
	return place.Place{PID: id.PID}, nil
}

// spec describes one boot.
func (s *Server) spec(from, console string) (spec, error) {
	image, version := s.Folder.ImageOf(s.Lab, s.Name)
	offset, size, err := findRoot(image)
	if err != nil {
		return spec{}, err
	}
	cg, err := s.makeCGroup()
	if err != nil {
		return spec{}, err
	}
	sp := spec{
		Root: s.dir("root"), Image: image, Offset: offset, Size: size, Console: console, CGroup: cg, Hostname: s.Name,
		Binds: map[string]string{bayDir: s.Folder.BaysDir(s.Name), arrayDir: s.Folder.Arrays(), stateDir: s.dir("state")},
		Handover: handover.Handover{
			Kind: handover.Namespace, Mode: handover.Boot, Version: version, State: stateDir, FakeBays: bayDir, FakeArrays: arrayDir,
		},
	}
	if from == Stick {
		sp.Handover.Mode, sp.Handover.Stick = handover.Install, stickDir
		sp.Binds[stickDir] = s.Folder.StickDir()
	}
	for _, d := range sp.Binds {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return spec{}, fmt.Errorf("power on %s: %w", s.Name, err)
		}
	}
	return sp, nil
}

// cleanUp removes what a server leaves behind outside. Its mounts, processes and network went with its namespaces.
func (s *Server) cleanUp() {
	s.removeCGroup()
	if err := os.Remove(s.record("init")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, err) // into the supervisor's log; the record is recognised as stale anyhow
	}
}

func (s *Server) dir(elem ...string) string {
	return filepath.Join(append([]string{s.Folder.Server(s.Name)}, elem...)...)
}

func (s *Server) record(name string) string { return s.dir("run", name+".pid") }
