package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// statusFD is where the helper answers.
const statusFD = 3

// Main is the helper's whole life: process 1 of the namespaces of one check. It takes no arguments and returns an exit status, which says
// nothing about the check (see Helper for the protocol).
func Main(args []string) int {
	unix.CloseOnExec(statusFD)
	answer := os.NewFile(statusFD, "status")
	res, err := helper(args)
	if err != nil {
		res.Error = err.Error()
	}
	if err := json.NewEncoder(answer).Encode(res); err != nil {
		return 1
	}
	return 0
}

func helper(args []string) (outcome, error) {
	var o order
	if len(args) > 0 || os.Getpid() != 1 {
		return outcome{}, errors.New("this is a helper that only the check of a configuration calls")
	}
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return outcome{}, fmt.Errorf("what to check is not understood: %w", err)
	}
	if len(o.Command) == 0 {
		return outcome{}, errors.New("there is no command to run")
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1) // whoever asked is gone; everything here goes with process 1
	}()
	// Capabilities are a thread's, and the checker inherits those of the thread that starts it.
	runtime.LockOSThread()
	cred, err := o.view()
	if err != nil {
		return outcome{}, err
	}
	if err := loopback(); err != nil {
		return outcome{}, fmt.Errorf("loopback of the check: %w", err)
	}
	if err := confine(); err != nil {
		return outcome{}, fmt.Errorf("limit what the checker may do: %w", err)
	}
	return o.run(cred)
}

// run runs the checker as a child: process 1 of a namespace would not be ended by its own signals.
func (o order) run(cred *syscall.Credential) (outcome, error) {
	cmd := exec.Command(o.Command[0], o.Command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	err := cmd.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return outcome{}, nil
	case !ended:
		return outcome{}, fmt.Errorf("start the checker: %w", err)
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return outcome{Signal: ws.Signal().String()}, nil
	}
	return outcome{Status: exit.ExitCode()}, nil
}

func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// kept are root's powers that a checker keeps: those about files, which are read-only here, about its own processes, and about the network,
// of which it has an own one without any way out (nft looks at rules by asking the kernel). Without the others
// it cannot mount, make or reach devices, set the clock, load drivers, or trace.
var kept = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_SETGID, unix.CAP_SETUID,
	unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_ADMIN, unix.CAP_SYS_CHROOT,
}

// confine takes powers from this thread and what it starts.
func confine() error {
	for c := 0; c <= 63; c++ {
		if slices.Contains(kept, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			if errors.Is(err, unix.EINVAL) { // the kernel's last one is passed
				break
			}
			return err
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var set [2]unix.CapUserData
	if err := unix.Capget(&hdr, &set[0]); err != nil {
		return err
	}
	set[0].Inheritable, set[1].Inheritable = 0, 0
	if err := unix.Capset(&hdr, &set[0]); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// account looks an account up in the files that the checker sees; nil means root.
func account(name string) (*syscall.Credential, error) {
	if name == "" || name == "root" {
		return nil, nil
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", name, err)
	}
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 4 || f[0] != name {
			continue
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("account %s in etc/passwd: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups(name)}, nil
	}
	return nil, fmt.Errorf("the checker is to run as %s, and etc/passwd has no such account", name)
}

func groups(name string) []uint32 {
	data, err := os.ReadFile("/etc/group")
	if err != nil {
		return nil
	}
	var out []uint32
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || !slices.Contains(strings.Split(f[3], ","), name) {
			continue
		}
		if gid, err := strconv.ParseUint(f[2], 10, 32); err == nil {
			out = append(out, uint32(gid))
		}
	}
	return out
}
