package namespace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/initsvc/handover"
)

// enter is the first program inside a server's namespaces: it does what firmware, kernel and initramfs do on hardware (root,
// /proc, /sys, /dev, /run with the handover) and becomes init. It waits for its parent to plug the network cable first.
// Whatever goes wrong is told on the pipe ready, which closes by itself when init takes over.
func enter(text string, plugged io.Reader, ready *os.File) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("read the server's description: %w", err)
	}
	if _, err := io.ReadAll(plugged); err != nil {
		return fmt.Errorf("wait for the network cable: %w", err)
	}
	// The cgroup namespace and the capabilities are the thread's own until exec.
	runtime.LockOSThread()
	if err := s.mount(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := confine(); err != nil {
		return err
	}
	unix.CloseOnExec(int(ready.Fd()))
	// As on hardware: no arguments, an empty environment.
	if err := unix.Exec(initBin, []string{"/sbin/init"}, nil); err != nil {
		return fmt.Errorf("start %s of the image: %w", initBin, err)
	}
	return nil
}

func (s spec) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := s.mountRoot(); err != nil {
		return err
	}
	r := s.Root
	steps := []struct {
		what, at, kind string
		flags          uintptr
		data           string
	}{
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", "sysfs", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"dev", "/dev", "tmpfs", unix.MS_NOSUID, "mode=755,size=16m"},
		{"run", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	}
	for _, m := range steps {
		if err := unix.Mount(m.what, r+m.at, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := devices(r+"/dev", s.Console); err != nil {
		return err
	}
	// Settings of the host's kernel are not the server's; those of its network are.
	for _, p := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"} {
		if err := readOnly(r + p); err != nil {
			return err
		}
	}
	if err := unix.Mount(r+"/proc/sys/net", r+"/proc/sys/net", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind /proc/sys/net: %w", err)
	}
	if err := unix.Mount("", r+"/proc/sys/net", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("make /proc/sys/net writable: %w", err)
	}
	if err := s.mountCGroup(); err != nil {
		return err
	}
	for to, from := range s.Binds {
		if err := os.MkdirAll(r+to, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", to, err)
		}
		if err := unix.Mount(from, r+to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("show %s at %s: %w", from, to, err)
		}
	}
	if err := handover.Write(r+layout.HandoverDir, s.Handover); err != nil {
		return err
	}
	// pivot_root(".", "."): the old root ends up over the new one and is taken off (pivot_root(2)).
	if err := unix.Chdir(r); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the old root: %w", err)
	}
	return unix.Chdir("/")
}

func (s spec) mountRoot() error {
	if st, err := os.Stat(s.Image); err == nil && st.IsDir() {
		if err := unix.Mount(s.Image, s.Root, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("show %s as root: %w", s.Image, err)
		}
		if err := unix.Mount("", s.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
		return nil
	}
	dev, loop, err := attach(s.Image, s.Offset, s.Size)
	if err != nil {
		return err
	}
	defer loop.Close()
	if err := unix.Mount(dev, s.Root, "squashfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount the root of %s (squashfs with zstd must be known to this kernel): %w", s.Image, err)
	}
	return nil
}

// mountCGroup shows the server its own part of the cgroup tree. A host without cgroup2 has none to show.
func (s spec) mountCGroup() error {
	if s.CGroup == "" {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	if err := unix.Mount("cgroup2", s.Root+"/sys/fs/cgroup", "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount cgroup2: %w", err)
	}
	return nil
}

// attach ties a part of a file to a free loop device, read-only; the kernel lets go of it when it is unmounted.
func attach(file string, offset, size uint64) (string, *os.File, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", nil, fmt.Errorf("open image: %w", err)
	}
	defer f.Close()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", nil, fmt.Errorf("no loop devices here: %w", err)
	}
	defer ctl.Close()
	for range 20 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", nil, fmt.Errorf("find a free loop device: %w", err)
		}
		dev := fmt.Sprintf("/dev/loop%d", n)
		if err := unix.Mknod(dev, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))); err != nil && !errors.Is(err, unix.EEXIST) {
			return "", nil, fmt.Errorf("make %s: %w", dev, err)
		}
		loop, err := os.OpenFile(dev, os.O_RDWR, 0)
		if err != nil {
			return "", nil, fmt.Errorf("open %s: %w", dev, err)
		}
		cfg := unix.LoopConfig{Fd: uint32(f.Fd()), Info: unix.LoopInfo64{
			Offset: offset, Sizelimit: size, Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR,
		}}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &cfg)
		if err == nil {
			return dev, loop, nil
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) { // another server was faster
			return "", nil, fmt.Errorf("attach %s to %s: %w", file, dev, err)
		}
	}
	return "", nil, errors.New("every loop device is taken as soon as it is free; try again")
}

// devices fills /dev with what needs no hardware.
func devices(dir, console string) error {
	nodes := []struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}
	for _, n := range nodes {
		path := filepath.Join(dir, n.name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(n.major, n.minor))); err != nil {
			return fmt.Errorf("make device %s: %w", n.name, err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return fmt.Errorf("make device %s: %w", n.name, err)
		}
	}
	for _, d := range []string{"pts", "shm"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return fmt.Errorf("make /dev/%s: %w", d, err)
		}
	}
	if err := unix.Mount("devpts", dir+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	if err := unix.Mount("shm", dir+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	for name, to := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	// The terminal is the supervisor's, from the host's devpts.
	if err := os.WriteFile(dir+"/console", nil, 0o600); err != nil {
		return fmt.Errorf("make /dev/console: %w", err)
	}
	if err := unix.Mount(console, dir+"/console", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind /dev/console: %w", err)
	}
	return nil
}

func readOnly(path string) error {
	if _, err := os.Stat(path); err != nil {
		return nil //nolint:nilerr // this kernel does not have it, so it needs no protection
	}
	if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("protect %s: %w", path, err)
	}
	if err := unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("protect %s: %w", path, err)
	}
	return nil
}

// confine drops, for good, what could change the host: its modules, clock, kernel log and raw hardware.
func confine() error {
	for _, c := range []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_TIME, unix.CAP_SYS_RAWIO, unix.CAP_SYSLOG, unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE, unix.CAP_WAKE_ALARM} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("give up capability %d: %w", c, err)
		}
	}
	return nil
}

// cgroupRoot returns where cgroup2 is mounted, "" if nowhere.
func cgroupRoot(mounts string) string {
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return ""
}
