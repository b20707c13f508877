// Package launch prepares what only a process can do for itself, and then becomes the program that it was asked for: init starts
// its own binary as this helper when a process wants directories of its own, or a limit that must hold from the first instruction.
// The helper tells a failure at file descriptor Status, which closes by itself once the program runs. It supervises nothing.
package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Verb is the argument that makes init's binary this helper; the specification follows it.
const Verb = "launch"

// Status is the file descriptor at which the helper tells what failed.
const Status = 3

// Spec says what to prepare and what to become.
type Spec struct {
	Enter   int      `json:"enter,omitempty"`   // process whose mount namespace is entered; 0: none
	Private []string `json:"private,omitempty"` // directories that are empty, in a mount namespace of its own
	Dirs    []Dir    `json:"dirs,omitempty"`    // made after that; those among Private give them owner and mode
	Files   int      `json:"files,omitempty"`   // open files; 0: as inherited
	User    *User    `json:"user,omitempty"`    // nil: stays root
	Args    []string `json:"args"`
}

// Dir is a directory with its owner; Mode has the bits of chmod(2).
type Dir struct {
	Path string `json:"path"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Mode uint32 `json:"mode"`
}

// User is what the program runs as.
type User struct {
	UID    int   `json:"uid"`
	GID    int   `json:"gid"`
	Groups []int `json:"groups"`
}

// Encode makes s an argument.
func (s Spec) Encode() (string, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode what to launch: %w", err)
	}
	return string(data), nil
}

// Main is the helper's whole life; arg is an encoded Spec. It returns only if it failed.
func Main(arg string) error {
	unix.CloseOnExec(Status)
	err := main(arg)
	_, _ = unix.Write(Status, []byte(err.Error()))
	return err
}

func main(arg string) error {
	var s Spec
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		return fmt.Errorf("what to launch is not understood: %w", err)
	}
	if len(s.Args) == 0 {
		return errors.New("there is nothing to launch")
	}
	// Namespaces are a thread's: the one that changes them must be the one that becomes the program.
	runtime.LockOSThread()
	if s.Enter != 0 {
		if err := enter(s.Enter); err != nil {
			return fmt.Errorf("enter the private directories of process %d: %w", s.Enter, err)
		}
	}
	if err := s.private(); err != nil {
		return err
	}
	for _, d := range s.Dirs {
		if err := d.make(); err != nil {
			return fmt.Errorf("private directory %s: %w", d.Path, err)
		}
	}
	if s.Files > 0 {
		if err := limitFiles(uint64(s.Files)); err != nil {
			return fmt.Errorf("limit of %d open files: %w", s.Files, err)
		}
	}
	if err := s.User.become(); err != nil {
		return fmt.Errorf("change the user: %w", err)
	}
	path, err := exec.LookPath(s.Args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, s.Args, os.Environ()))
}

// enter makes this thread see the files that process pid sees.
func enter(pid int) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // threads share root and working directory; setns(2) refuses that
		return err
	}
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNS)
}

// private mounts the empty directories where nobody else sees them.
func (s Spec) private() error {
	if len(s.Private) == 0 {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	// What is mounted here must not be seen outside; what is unmounted outside should be gone here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	dirs := slices.Sorted(slices.Values(s.Private)) // outer ones before inner ones
	for _, dir := range dirs {
		d := Dir{Path: dir, Mode: 0o755}
		for _, known := range s.Dirs {
			if known.Path == dir {
				d = known
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("private directory: %w", err)
		}
		options := fmt.Sprintf("mode=%o,uid=%d,gid=%d", d.Mode, d.UID, d.GID)
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
			return fmt.Errorf("private directory %s: %w", dir, err)
		}
	}
	return nil
}

func (d Dir) make() error {
	if err := os.MkdirAll(d.Path, 0o755); err != nil {
		return err
	}
	if err := os.Chown(d.Path, d.UID, d.GID); err != nil {
		return err
	}
	return unix.Chmod(d.Path, d.Mode) // after chown, which clears the setgid bit
}

// limitFiles bounds the open files. A machine that does not allow as many gives as many as it does.
func limitFiles(n uint64) error {
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}) == nil {
		return nil
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return err
	}
	n = min(n, now.Max)
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n})
}

func (u *User) become() error {
	if u == nil {
		return nil
	}
	if err := syscall.Setgroups(u.Groups); err != nil {
		return err
	}
	if err := syscall.Setgid(u.GID); err != nil {
		return err
	}
	return syscall.Setuid(u.UID)
}

// Below tells whether path is dir or lies below it.
func Below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
