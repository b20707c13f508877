package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/gpt"
	"sayasystems.com/atlas/image/layout"
)

// countdown is how long a failed start stays on the screen before the server tries again (or falls back to the other slot).
const countdown = 60 * time.Second

// rescue shows what went wrong and never returns. Nobody there: reboot, which is what boot counting relies on. Somebody there:
// the password of the administrator opens a shell, if the state partition can tell it.
func (b *boot) rescue(err error) {
	if err == nil {
		err = errors.New("the start ended without an error and without a system")
	}
	for {
		b.page(err)
		if _, ok := b.consoles.readLine(countdown); !ok {
			reboot(b.consoles)
		}
		hash := adminHash()
		if hash == "" {
			b.consoles.printf("\nThe administrator's password cannot be read from this server's disk, so no shell can be opened.\nPress Enter to restart: ")
			b.consoles.readLine(10 * time.Minute)
			reboot(b.consoles)
		}
		b.consoles.printf("\nAdministrator's password for a rescue shell (empty: restart): ")
		pw, ok := b.consoles.readSecret(5 * time.Minute)
		if !ok || pw == "" {
			reboot(b.consoles)
		}
		if bcrypt.CompareHashAndPassword([]byte(hash), []byte(pw)) != nil {
			b.consoles.printf("\nThat is not the password.\n")
			continue
		}
		b.consoles.printf("\nThis is the rescue shell. `exit` goes back.\n")
		shell()
	}
}

func (b *boot) page(err error) {
	advice := "Restart the server. If this page comes again, install the image anew: the disk set keeps its data."
	if f, ok := errors.AsType[*failure](err); ok {
		advice = f.advice
	}
	seen := make([]string, 0, len(b.handover.Steps))
	for _, s := range b.handover.Steps {
		seen = append(seen, fmt.Sprintf("%s %.1fs", s.Name, s.Duration.Seconds()))
	}
	b.consoles.printf("\n==============================================================================\n"+
		" ATLAS could not start.\n\n What:  %v\n Where: initramfs, version %s, slot %s; done: %s\n What to do: %s\n No disk was changed.\n\n"+
		" Restarting in %d seconds. Press Enter to stop that.\n"+
		"==============================================================================\n",
		err, orDash(b.handover.Version), orDash(b.handover.Slot), orNone(seen), advice, int(countdown.Seconds()))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func reboot(c *consoles) {
	c.printf("\nRestarting.\n")
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		c.printf("restart: %v; switch the server off and on\n", err)
		select {}
	}
}

// adminHash reads the administrator's bcrypt hash from the state partition of any ATLAS system disk, without replaying its
// journal: nothing is written here.
func adminHash() string {
	const dir = "/state"
	for _, d := range disks() {
		parts, err := readTable(d)
		if err != nil {
			continue
		}
		p, ok := gpt.Find(parts, layout.State)
		if !ok {
			continue
		}
		dev, err := device(d, p)
		if err != nil || os.MkdirAll(dir, 0o700) != nil {
			continue
		}
		if unix.Mount(dev, dir, "ext4", unix.MS_RDONLY, "noload") != nil {
			continue
		}
		data, rerr := os.ReadFile(filepath.Join(dir, "peers.yaml"))
		_ = unix.Unmount(dir, 0)
		var peers struct {
			Admin string `yaml:"admin"`
		}
		if rerr == nil && yaml.Unmarshal(data, &peers) == nil && peers.Admin != "" {
			return peers.Admin
		}
	}
	return ""
}

func shell() {
	cmd := exec.Command("/bin/defaultsh")
	cmd.Env = []string{"PATH=/bbin:/bin", "HOME=/", "TERM=linux"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	_ = cmd.Run()
}

// consoles are all places where a person may sit: screen and serial line.
type consoles struct {
	mu    sync.Mutex
	files []*os.File
}

func openConsoles() *consoles {
	return &consoles{files: []*os.File{os.Stdout}}
}

// reopen finds the kernel's active consoles once /dev and /sys are there.
func (c *consoles) reopen() {
	data, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		return
	}
	var files []*os.File
	for n := range strings.FieldsSeq(string(data)) {
		if f, err := os.OpenFile("/dev/"+n, os.O_RDWR|unix.O_NOCTTY, 0); err == nil {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return
	}
	c.mu.Lock()
	c.files = files
	c.mu.Unlock()
}

func (c *consoles) printf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n")
	for _, f := range c.files {
		_, _ = f.WriteString(text)
	}
}

// readLine returns the next line typed on any console.
func (c *consoles) readLine(limit time.Duration) (string, bool) { return c.read(limit, true) }

// readSecret is readLine without showing what is typed.
func (c *consoles) readSecret(limit time.Duration) (string, bool) { return c.read(limit, false) }

// read polls the consoles itself: a goroutine left reading one would steal the rescue shell's input.
func (c *consoles) read(limit time.Duration, echo bool) (string, bool) {
	fds := make([]unix.PollFd, 0, len(c.files))
	for _, f := range c.files {
		fd := int(f.Fd())
		if t, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			old := *t
			t.Lflag &^= unix.ECHO
			if echo {
				t.Lflag |= unix.ECHO
			}
			if unix.IoctlSetTermios(fd, unix.TCSETS, t) == nil {
				defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, &old) }()
			}
		}
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	end := time.Now().Add(limit)
	buf := make([]byte, 512)
	for left := limit; left > 0; left = time.Until(end) {
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return "", false
		}
		for i, p := range fds {
			if p.Revents&unix.POLLIN == 0 {
				if p.Revents != 0 {
					fds[i].Fd = -1 // gone: not polled any more
				}
				continue
			}
			if n, err := unix.Read(int(p.Fd), buf); err == nil && n > 0 {
				return strings.TrimRight(string(buf[:n]), "\r\n"), true
			}
			fds[i].Fd = -1
		}
	}
	return "", false
}
