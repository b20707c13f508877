package habits

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/initapi"
)

// shutdownArgs is a parsed command line of shutdown(8).
type shutdownArgs struct {
	action  string // "off" or "reboot"
	halt    bool   // asked for halt, which is off here
	cancel  bool
	show    bool
	warn    bool // only warn
	noWall  bool
	in      time.Duration
	message string
	waiting bool // this is the process that waits
}

// waitOption is how the waiting process is told what it is.
const waitOption = "--atlas-waits"

func parseShutdown(args []string, now time.Time) (shutdownArgs, error) {
	a := shutdownArgs{action: "off"}
	var rest []string
	for i := 0; i < len(args); i++ {
		opt := args[i]
		if opt == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if strings.HasPrefix(opt, "-") && !strings.HasPrefix(opt, "--") && len(opt) > 2 { // -hP
			args = slices.Concat(args[:i], []string{opt[:2], "-" + opt[2:]}, args[i+1:])
			opt = args[i]
		}
		switch opt {
		case "-h", "-P", "--poweroff":
		case "-H", "--halt":
			a.halt = true
		case "-r", "--reboot":
			a.action = "reboot"
		case "-k":
			a.warn = true
		case "-c":
			a.cancel = true
		case "--show":
			a.show = true
		case "--no-wall":
			a.noWall = true
		case waitOption:
			a.waiting = true
		case "--help":
			return a, errors.New("usage: shutdown [-h|-r|-c] [now|+MINUTES|HH:MM] [MESSAGE]")
		default:
			if strings.HasPrefix(opt, "-") {
				return a, fmt.Errorf("unknown option %s; usage: shutdown [-h|-r|-c] [now|+MINUTES|HH:MM] [MESSAGE]", opt)
			}
			rest = append(rest, opt)
		}
	}
	if a.cancel || a.show {
		a.message = strings.Join(rest, " ")
		return a, nil
	}
	a.in = time.Minute // as systemd's
	if len(rest) > 0 {
		var err error
		if a.in, err = parseWhen(rest[0], now); err != nil {
			return a, err
		}
		a.message = strings.Join(rest[1:], " ")
	}
	return a, nil
}

// parseWhen reads now, +m, m or hh:mm.
func parseWhen(s string, now time.Time) (time.Duration, error) {
	if s == "now" {
		return 0, nil
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(s, "+")); err == nil && n >= 0 && n < 100000 {
		return time.Duration(n) * time.Minute, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time; use now, +MINUTES or HH:MM", s)
	}
	at := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	return at.Sub(now), nil
}

// pending is the file that tells of a shutdown to come.
const pending = "/run/atlas/shutdown.pid"

// plan is that file's content.
type plan struct {
	PID     int       `json:"pid"`
	Action  string    `json:"action"`
	At      time.Time `json:"at"`
	Message string    `json:"message,omitempty"`
}

func (h *Host) pendingPlan() (plan, bool) {
	data, err := os.ReadFile(h.path(pending))
	if err != nil {
		return plan{}, false
	}
	var p plan
	if json.Unmarshal(data, &p) != nil || p.PID <= 1 || h.Kill(p.PID, 0) != nil {
		return plan{}, false
	}
	return p, true
}

func shutdown(ctx context.Context, h *Host, args []string) int {
	a, err := parseShutdown(args, h.Now())
	if err != nil {
		return h.fail(1, "shutdown: %v", err)
	}
	word := wordOf(a.action)
	switch {
	case a.waiting:
		return h.wait(ctx, a)
	case a.show:
		p, ok := h.pendingPlan()
		if !ok {
			return h.fail(1, "No shutdown is to come.")
		}
		fmt.Fprintf(h.Out, "The server will %s at %s.\n", wordOf(p.Action), p.At.Local().Format("Mon 2006-01-02 15:04:05 MST"))
		return 0
	case a.cancel:
		return h.cancelShutdown(a)
	case a.warn:
		h.wall(a, fmt.Sprintf("The server will %s at %s!", word, h.Now().Add(a.in).Local().Format("Mon 15:04")))
		return 0
	}
	if a.halt {
		h.fail(0, "This server has no halt that leaves it switched on; it powers off.")
	}
	if a.in == 0 {
		return h.end(ctx, a)
	}
	if p, ok := h.pendingPlan(); ok {
		return h.fail(1, "shutdown: the server will already %s at %s; cancel that with shutdown -c", wordOf(p.Action), p.At.Local().Format("15:04:05"))
	}
	if os.Geteuid() != 0 && h.Root == "" {
		return h.fail(1, "shutdown: only root may; use sudo")
	}
	at := h.Now().Add(a.in)
	minutes := strconv.Itoa(int((a.in + time.Minute - time.Second) / time.Minute))
	again := []string{waitOption, "-h", "+" + minutes}
	if a.action == "reboot" {
		again[1] = "-r"
	}
	if strings.Contains(strings.Join(args, " "), ":") { // to the second
		again[2] = at.Local().Format("15:04")
	}
	if a.noWall {
		again = append(again, "--no-wall")
	}
	if err := h.Detach(append(append(again, "--"), a.message)); err != nil {
		return h.fail(1, "shutdown: %v", err)
	}
	fmt.Fprintf(h.Out, "The server will %s at %s; shutdown -c cancels that.\n", word, at.Local().Format("Mon 2006-01-02 15:04:05 MST"))
	h.wall(a, fmt.Sprintf("The server will %s at %s!", word, at.Local().Format("Mon 15:04")))
	return 0
}

func wordOf(action string) string {
	if action == "reboot" {
		return "reboot"
	}
	return "power off"
}

// detach starts this program again in a session of its own.
func detach(args []string) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"shutdown"}, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("wait in the background: %w", err)
	}
	return cmd.Process.Release()
}

// wait is the background process: it sleeps until the time has come, unless it is killed.
func (h *Host) wait(ctx context.Context, a shutdownArgs) int {
	p := plan{PID: os.Getpid(), Action: a.action, At: h.Now().Add(a.in), Message: a.message}
	data, err := json.Marshal(p)
	if err != nil {
		return 1
	}
	if err := siteconf.WriteFile(h.path(pending), data, 0o644); err != nil {
		return 1
	}
	defer func() { _ = os.Remove(h.path(pending)) }()
	// Looked at again and again: the clock may be set meanwhile.
	for h.Now().Before(p.At) {
		select {
		case <-ctx.Done():
			return 0
		case <-time.After(min(time.Second, time.Until(p.At)+time.Millisecond)):
		}
	}
	return h.end(ctx, a)
}

func (h *Host) end(ctx context.Context, a shutdownArgs) int {
	h.wall(a, fmt.Sprintf("The server will %s now!", wordOf(a.action)))
	reason := "shutdown"
	if a.message != "" {
		reason += ": " + a.message
	}
	if err := h.Init.Power(ctx, initapi.PowerRequest{Action: a.action, Reason: reason}); err != nil {
		return h.fail(1, "shutdown: %s", words(err))
	}
	return 0
}

func (h *Host) cancelShutdown(a shutdownArgs) int {
	p, ok := h.pendingPlan()
	if !ok {
		return h.fail(1, "shutdown -c: no shutdown is to come")
	}
	if err := h.Kill(p.PID, syscall.SIGTERM); err != nil {
		return h.fail(1, "shutdown -c: %v", err)
	}
	if err := os.Remove(h.path(pending)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h.fail(1, "shutdown -c: %v", err)
	}
	h.wall(a, "The shutdown has been cancelled.")
	return 0
}

// wall tells everyone who is logged in.
func (h *Host) wall(a shutdownArgs, text string) {
	if a.noWall {
		return
	}
	host, _ := os.Hostname()
	if a.message != "" {
		text = a.message + "\r\n" + text
	}
	text = fmt.Sprintf("\a\r\nBroadcast message from root@%s (%s):\r\n\r\n%s\r\n\r\n", host, h.Now().Local().Format("Mon Jan _2 15:04:05 2006"), text)
	ttys, _ := filepath.Glob(h.path("/dev/pts") + "/[0-9]*")
	for _, t := range ttys {
		f, err := os.OpenFile(t, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		_ = f.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = f.WriteString(text)
		_ = f.Close()
	}
}

// power is reboot, poweroff and halt.
func power(ctx context.Context, h *Host, name string, args []string) int {
	a := shutdownArgs{action: "off", halt: name == "halt"}
	if name == "reboot" {
		a.action = "reboot"
	}
	for _, opt := range args {
		switch opt {
		case "-f", "--force", "-ff", "-fn", "-nf":
			return h.fail(1, "%s -f is not done: it would end the server without stopping its services. Without -f it takes seconds; in need hold the power button.", name)
		case "-w", "--wtmp-only":
			return 0
		case "--no-wall":
			a.noWall = true
		case "-p", "--poweroff":
			a.action, a.halt = "off", false
		case "--reboot":
			a.action, a.halt = "reboot", false
		case "--halt":
			a.action, a.halt = "off", true
		case "-d", "-n", "-i", "-h", "--no-wtmp", "--no-sync":
		case "--help":
			fmt.Fprintf(h.Out, "usage: %s; shutdown for later\n", name)
			return 0
		default:
			return h.fail(1, "%s: unknown option %s", name, opt)
		}
	}
	if a.halt {
		h.fail(0, "This server has no halt that leaves it switched on; it powers off.")
	}
	return h.end(ctx, a)
}

// telinit knows the runlevels that have a meaning.
func telinit(ctx context.Context, h *Host, args []string) int {
	switch strings.Join(args, " ") {
	case "0":
		return power(ctx, h, "poweroff", nil)
	case "6":
		return power(ctx, h, "reboot", nil)
	case "q", "Q":
		return systemctl(ctx, h, []string{"daemon-reload"})
	}
	return h.fail(1, "telinit: only 0 (off) and 6 (reboot) have a meaning here; start and stop services by name")
}

// runlevel answers as a running server of systemd's does, multi-user.
func runlevel(_ context.Context, h *Host, _ []string) int {
	fmt.Fprintln(h.Out, "N 3")
	return 0
}
