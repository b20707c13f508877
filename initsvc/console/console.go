package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/guard"
	"sayasystems.com/atlas/initsvc/logfile"
)

// Options say what the consoles show and do.
type Options struct {
	View     func() View
	Ring     *logfile.Ring                // init's log, for key l
	Password func(password string) error  // nil: right; an error's text is shown
	Power    func(action, reason string)  // "off" or "reboot"
	Added    func(pid int) (moved func()) // puts a shell into its control group; may be nil
	Guard    guard.Guard
	Log      *slog.Logger
}

// Console is all terminals together.
type Console struct {
	o     Options
	lines []chan string
	terms []*terminal
}

// Open prepares the machine's consoles: those that the kernel uses (/sys/class/tty/console/active), the screen as tty1.
func Open(o Options) *Console {
	var files []*os.File
	for _, path := range paths("/sys", "/dev") {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		files = append(files, f)
	}
	return On(o, files...)
}

// On uses the given terminals.
func On(o Options, files ...*os.File) *Console {
	c := &Console{o: o}
	for _, f := range files {
		ch := make(chan string, 200)
		t, err := newTerminal(f, ch, &c.o)
		if err != nil {
			f.Close()
			continue
		}
		c.lines = append(c.lines, ch)
		c.terms = append(c.terms, t)
	}
	return c
}

// paths lists the console devices, the screen first.
func paths(sys, dev string) []string {
	out := []string{}
	if _, err := os.Stat(filepath.Join(dev, "tty1")); err == nil {
		out = append(out, filepath.Join(dev, "tty1"))
	}
	b, err := os.ReadFile(filepath.Join(sys, "class/tty/console/active"))
	if err != nil {
		return out
	}
	for name := range strings.FieldsSeq(string(b)) {
		p := filepath.Join(dev, name)
		if name != "tty0" && name != "ttynull" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Line shows one line of the log on the serial lines while booting. It never blocks: a line that has no room is left out.
func (c *Console) Line(s string) {
	for i, ch := range c.lines {
		select {
		case ch <- s:
			// A line that only a screen would get is not worth waking it: it shows a page.
			if t := c.terms[i]; !t.screen {
				_, _ = unix.Write(t.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			}
		default:
		}
	}
}

// Run serves all terminals until ctx ends.
func (c *Console) Run(ctx context.Context) {
	for _, t := range c.terms {
		c.o.Guard.Keep(ctx, "console "+t.name, t.run)
	}
}

// shell runs a shell on the terminal and returns when it has ended.
func (t *terminal) shell(ctx context.Context) error {
	path := "/bin/bash"
	if _, err := os.Stat(path); err != nil {
		path = "/bin/sh"
	}
	f, err := os.OpenFile(t.f.Name(), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, path, "-l")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8",
		"SHELL=" + path, "TERM=" + t.kind(),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start shell: %w", err)
	}
	if t.o.Added != nil {
		defer t.o.Added(cmd.Process.Pid)()
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("shell: %w", err)
	}
	return nil
}

func (t *terminal) kind() string {
	if t.screen {
		return "linux"
	}
	return "vt100"
}

// now is the time on the page; a page that changes every second would flood a serial line, so it is no part of it.
func now() time.Time { return time.Now() }
