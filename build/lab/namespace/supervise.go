package namespace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/process"
)

// Helper runs a background program of this package: the supervisor of a server, or the first program inside it.
func Helper(args []string) error {
	if len(args) == 2 && args[0] == "enter" {
		ready := os.NewFile(4, "ready")
		err := enter(args[1], os.NewFile(3, "plugged"), ready)
		fmt.Fprintln(ready, err)
		return err
	}
	if len(args) == 4 && args[0] == "supervise" {
		return superviseMain(args[1], args[2], args[3])
	}
	return fmt.Errorf("%s: this verb is the lab's own", HelperVerb)
}

// superviseMain holds a server's power: it starts init, again after a reboot, and keeps its console, until it is off. The caller
// waits on standard output for "on" or an error.
func superviseMain(dir, name, from string) error {
	// The parent-death signal of init is tied to the thread that started it.
	runtime.LockOSThread()
	f, err := folder.Open(dir)
	if err != nil {
		return err
	}
	l, err := f.Load()
	if err != nil {
		return err
	}
	chassis, err := l.Server(name)
	if err != nil {
		return err
	}
	s := New(f, l, chassis)
	con, err := newConsole(f.ConsoleLog(name), f.ConsoleSocket(name))
	if err != nil {
		return err
	}
	defer con.close()
	for first := true; ; first = false {
		cmd, err := s.start(from, con)
		if err != nil {
			if first {
				return err
			}
			con.note("cannot start again: " + err.Error())
			return err
		}
		if first {
			fmt.Println("on")
			_ = os.Stdout.Close() // the caller waits for it
		}
		again := wait(cmd)
		s.cleanUp()
		if !again {
			con.note("power off")
			return nil
		}
		con.note("reboot")
	}
}

// start boots the server once: namespaces, cable, root, init.
func (s *Server) start(from string, con *console) (*exec.Cmd, error) {
	sp, err := s.spec(from, con.slave.Name())
	if err != nil {
		return nil, err
	}
	text, err := sp.encode()
	if err != nil {
		return nil, err
	}
	cmd, err := helper("enter", text)
	if err != nil {
		return nil, err
	}
	pluggedR, pluggedW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer pluggedW.Close()
	readyR, readyW, err := os.Pipe()
	if err != nil {
		pluggedR.Close()
		return nil, err
	}
	defer readyR.Close()
	cmd.ExtraFiles = []*os.File{pluggedR, readyW}
	cmd.Env = []string{} // not the caller's; ATLAS_LAB_PROGRAM has done its work
	cmd.Stdin, cmd.Stdout, cmd.Stderr = con.slave, con.slave, con.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
	}
	if sp.CGroup != "" {
		cg, err := os.Open(sp.CGroup)
		if err != nil {
			return nil, fmt.Errorf("open cgroup: %w", err)
		}
		defer cg.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(cg.Fd())
	}
	err = cmd.Start()
	pluggedR.Close()
	readyW.Close()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	fail := func(err error) (*exec.Cmd, error) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed: its status tells nothing
		s.cleanUp()
		return nil, err
	}
	if err := s.Office.Veth(s.Name+"0", cmd.Process.Pid, "eth0", s.MAC); err != nil {
		return fail(err)
	}
	id, err := process.Of(cmd.Process.Pid, "init of "+s.Name)
	if err != nil {
		return fail(err)
	}
	if err := id.Save(s.record("init")); err != nil {
		return fail(err)
	}
	pluggedW.Close()
	said, err := io.ReadAll(readyR)
	if err != nil {
		return fail(err)
	}
	if said = bytes.TrimSpace(said); len(said) > 0 {
		return fail(fmt.Errorf("start %s: %s", s.Name, said))
	}
	return cmd, nil
}

// wait waits for the end of init and tells whether it is to be started again: exit status 3, or reboot(2) in a PID namespace,
// which ends its init with SIGHUP (pid_namespaces(7)).
func wait(cmd *exec.Cmd) bool {
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	st, ok := exit.Sys().(syscall.WaitStatus)
	return ok && (st.Exited() && st.ExitStatus() == rebooting || st.Signaled() && st.Signal() == syscall.SIGHUP)
}

// makeCGroup makes the server's cgroup and returns its directory, "" where the host has no cgroup2.
func (s *Server) makeCGroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	root := cgroupRoot(string(mounts))
	if root == "" {
		return "", nil
	}
	lab := filepath.Join(root, s.Office.Name())
	dir := filepath.Join(lab, s.Name)
	if _, err := os.Stat(dir); err == nil {
		s.removeCGroup() // left over: it may pass controllers down, and then nothing can be started in it
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cgroup: %w", err)
	}
	// Controllers are passed down as far as the host gives them.
	for _, d := range []string{root, lab} {
		have, err := os.ReadFile(filepath.Join(d, "cgroup.controllers"))
		if err != nil {
			continue
		}
		for c := range strings.FieldsSeq(string(have)) {
			_ = os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+c), 0o644) // one in use elsewhere stays there
		}
	}
	return dir, nil
}

// removeCGroup removes the server's cgroup with all below it, and the lab's when it was the last.
func (s *Server) removeCGroup() {
	mounts, err := os.ReadFile("/proc/self/mounts")
	root := cgroupRoot(string(mounts))
	if err != nil || root == "" {
		return
	}
	top := filepath.Join(root, s.Office.Name(), s.Name)
	_ = os.WriteFile(filepath.Join(top, "cgroup.kill"), []byte("1"), 0o644) // nothing is left alive without its PID 1 anyhow
	for range 50 {
		var dirs []string
		_ = filepath.WalkDir(top, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			_ = unix.Rmdir(dir) // busy while the last processes go; tried again
		}
		if _, err := os.Stat(top); err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	_ = unix.Rmdir(filepath.Join(root, s.Office.Name())) // not empty while another server runs
}

// console is the terminal of a server: recorded always, and shown to whoever is attached.
type console struct {
	master, slave *os.File
	log           *os.File
	listener      net.Listener
	mu            sync.Mutex
	guests        map[net.Conn]bool
}

func newConsole(logPath, socket string) (*console, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 80}); err != nil {
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("record the console: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, fmt.Errorf("offer the console: %w", err)
	}
	l, err := listenUnix(socket)
	if err != nil {
		return nil, fmt.Errorf("offer the console: %w", err)
	}
	c := &console{master: master, slave: slave, log: log, listener: l, guests: map[net.Conn]bool{}}
	go c.pump()
	go c.accept()
	return c, nil
}

// pump copies what the server says. The slave is open here too, so the terminal outlives each boot.
func (c *console) pump() {
	buf := make([]byte, 4096)
	for {
		n, err := c.master.Read(buf)
		if err != nil {
			return
		}
		c.say(buf[:n])
	}
}

func (c *console) say(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.log.Write(b) // a full disk must not stop the server
	for g := range c.guests {
		_ = g.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := g.Write(b); err != nil {
			_ = g.Close()
			delete(c.guests, g)
		}
	}
}

func (c *console) note(text string) { c.say([]byte("\r\n[lab] " + text + "\r\n")) }

func (c *console) accept() {
	for {
		g, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.guests[g] = true
		c.mu.Unlock()
		go func() {
			_, _ = io.Copy(c.master, g) // ends with the guest
			c.mu.Lock()
			delete(c.guests, g)
			c.mu.Unlock()
			_ = g.Close()
		}()
	}
}

func (c *console) close() {
	time.Sleep(50 * time.Millisecond) // the last words are on their way through the terminal
	_ = c.listener.Close()
	c.master.Close()
	c.slave.Close()
	c.log.Close()
}

// listenUnix listens on a socket whose path may be longer than its address can hold.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // by then the short name means another directory
	}
	return l, nil
}
