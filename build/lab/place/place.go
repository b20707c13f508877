// Package place starts processes elsewhere: in another network namespace, inside another root directory (the tools root, with
// directories of the host bound into it), or in all namespaces of a running process (a namespace server). Everything happens
// on an operating-system thread of its own that is thrown away afterwards, so the caller's namespaces never change; mounts
// lie in a private mount namespace and vanish with the process. It needs root.
package place

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Place is where a process starts. The zero Place is here.
type Place struct {
	NetNS string // path of a network namespace; "" = the caller's
	Root  string // directory that becomes the root, read-only; "" = the caller's
	Binds []Bind // shown below Root
	PID   int    // all namespaces of this process instead; the other fields do not matter then
}

// Bind shows the host's directory From at To, a path below the root that exists there.
type Bind struct{ From, To string }

// search is where programs are looked up, in this order.
const search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Command makes a command that runs name, looked up inside the place. Its environment is small and does not leak the caller's.
func (p Place) Command(name string, args ...string) (*exec.Cmd, error) {
	path, err := p.look(name)
	if err != nil {
		return nil, err
	}
	env := []string{"PATH=" + search, "HOME=/root", "LANG=C.UTF-8", "TMPDIR=/tmp"}
	if t := os.Getenv("TERM"); t != "" {
		env = append(env, "TERM="+t)
	}
	return &exec.Cmd{Path: path, Args: append([]string{name}, args...), Env: env}, nil
}

// look finds a program below the place's root. Absolute names are taken as they are.
func (p Place) look(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	root := p.Root
	if p.PID > 0 {
		root = "/proc/" + strconv.Itoa(p.PID) + "/root"
	}
	for dir := range strings.SplitSeq(search, ":") {
		path := filepath.Join(dir, name)
		// Links in it would be followed from the caller's root, so being there is enough.
		if st, err := os.Lstat(root + path); err == nil && !st.IsDir() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: no such program there", name)
}

// Start starts cmd there.
func (p Place) Start(cmd *exec.Cmd) error {
	if p.NetNS == "" && p.Root == "" && p.PID == 0 {
		return cmd.Start()
	}
	if os.Geteuid() != 0 {
		return errors.New("only root can start a process in other namespaces: run the lab as root")
	}
	return Thread(func() error {
		if err := p.enter(); err != nil {
			return fmt.Errorf("start %s: %w", cmd.Args[0], err)
		}
		if p.Root != "" && p.PID == 0 {
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{}
			}
			cmd.SysProcAttr.Chroot = p.Root
			if cmd.Dir == "" {
				cmd.Dir = "/"
			}
		}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s: %w", cmd.Args[0], err)
		}
		return nil
	})
}

// Run starts cmd there and waits for its end.
func (p Place) Run(cmd *exec.Cmd) error {
	if err := p.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Do calls f on a thread inside the place's network namespace. f must not start goroutines that rely on it.
func (p Place) Do(f func() error) error {
	return Thread(func() error {
		if err := (Place{NetNS: p.NetNS}).enter(); err != nil {
			return err
		}
		return f()
	})
}

// Thread calls f on an operating-system thread that ends afterwards, so that f may change the thread's namespaces for good.
// It is never the process's first thread, which cannot end and is what /proc/self shows.
func Thread(f func() error) error {
	res := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // not unlocked: the thread ends with this goroutine
		if unix.Gettid() == unix.Getpid() {
			// Held here, this thread cannot be the one that the next goroutine runs on.
			res <- Thread(f)
			runtime.UnlockOSThread()
			return
		}
		res <- f()
	}()
	return <-res
}

func (p Place) enter() error {
	if p.PID > 0 {
		return join(p.PID)
	}
	if p.NetNS != "" {
		if err := setns(p.NetNS, unix.CLONE_NEWNET); err != nil {
			return err
		}
	}
	if p.Root == "" {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(p.Root, p.Root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", p.Root, err)
	}
	if err := unix.Mount("", p.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", p.Root, err)
	}
	for _, d := range []string{"/dev", "/proc"} {
		if err := unix.Mount(d, p.Root+d, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s into %s: %w", d, p.Root, err)
		}
	}
	// A fresh sysfs, not the host's: it must show this network namespace.
	if err := unix.Mount("sysfs", p.Root+"/sys", "sysfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount /sys in %s: %w", p.Root, err)
	}
	for _, d := range []string{"/tmp", "/run", "/var/tmp", "/var/cache"} {
		if err := unix.Mount("tmpfs", p.Root+d, "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("mount %s in %s: %w", d, p.Root, err)
		}
	}
	for _, b := range p.Binds {
		if err := unix.Mount(b.From, p.Root+b.To, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("show %s at %s in %s: %w", b.From, b.To, p.Root, err)
		}
	}
	return nil
}

// join enters all namespaces of a process. The PID namespace is the one of children only, which is what a started process is.
func join(pid int) error {
	// All files are opened before the mount namespace, and with it /proc, changes.
	kinds := []struct {
		name string
		flag int
	}{{"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC}, {"net", unix.CLONE_NEWNET}, {"pid", unix.CLONE_NEWPID}, {"cgroup", unix.CLONE_NEWCGROUP}, {"mnt", unix.CLONE_NEWNS}}
	fds := make([]int, len(kinds))
	for i, k := range kinds {
		path := fmt.Sprintf("/proc/%d/ns/%s", pid, k.name)
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		defer func() { _ = unix.Close(fd) }()
		fds[i] = fd
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("leave the shared working directory: %w", err)
	}
	for i, k := range kinds {
		if err := unix.Setns(fds[i], k.flag); err != nil {
			return fmt.Errorf("enter the %s namespace of process %d: %w", k.name, pid, err)
		}
	}
	return nil
}

func setns(path string, flag int) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Setns(fd, flag); err != nil {
		return fmt.Errorf("enter namespace %s: %w", path, err)
	}
	return nil
}
