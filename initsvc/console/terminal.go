package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/initapi"
)

// terminal is one screen or serial line. Everything about it happens in one goroutine, so that a shell on it gets all its input.
type terminal struct {
	f      *os.File
	fd     int
	name   string
	wake   int // eventfd(2): a line has come
	tty    bool
	screen bool // has cursor control and is looked at live; else lines are only added
	o      *Options
	lines  <-chan string
	eof    bool // no more input

	last    string // what is drawn
	essence string // what of it matters
	drawn   time.Time
	mode    mode
	typed   string
	action  string                          // what confirm is about
	choices []Choice                        // what choose is about
	then    func(ctx context.Context) error // what the password is for
	told    string                          // message below the prompt
}

// mode is what a key means.
type mode int

const (
	status mode = iota
	showLog
	confirm
	choose
	password
)

func newTerminal(f *os.File, lines <-chan string, o *Options) (*terminal, error) {
	t := &terminal{f: f, fd: int(f.Fd()), name: f.Name(), lines: lines, o: o}
	_, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	t.tty = err == nil
	t.screen = t.tty && strings.HasPrefix(f.Name(), "/dev/tty") && !strings.HasPrefix(f.Name(), "/dev/ttyS") && !strings.HasPrefix(f.Name(), "/dev/ttyA")
	if err := unix.SetNonblock(t.fd, true); err != nil {
		return nil, fmt.Errorf("console %s: %w", t.name, err)
	}
	if t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("console %s: %w", t.name, err)
	}
	return t, nil
}

// raw lets keys come one by one, without echo.
func (t *terminal) raw() {
	if !t.tty {
		return
	}
	tio, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return
	}
	tio.Iflag &^= unix.IXON | unix.ISTRIP
	tio.Iflag |= unix.ICRNL
	tio.Oflag |= unix.OPOST | unix.ONLCR
	tio.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
	tio.Cflag |= unix.CLOCAL | unix.CREAD
	tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
	_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, tio)
}

// cooked is what a shell expects.
func (t *terminal) cooked() {
	if !t.tty {
		return
	}
	tio, err := unix.IoctlGetTermios(t.fd, unix.TCGETS)
	if err != nil {
		return
	}
	tio.Lflag |= unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ISIG | unix.IEXTEN
	_ = unix.IoctlSetTermios(t.fd, unix.TCSETS, tio)
}

// run draws and reads keys until ctx ends.
func (t *terminal) run(ctx context.Context) {
	t.raw()
	t.last = ""
	next := time.Time{}
	for ctx.Err() == nil {
		t.drain()
		if wait := time.Until(next); wait <= 0 || wait > lookEvery {
			t.draw()
			next = time.Now().Add(lookEvery)
		}
		for _, k := range t.read(time.Until(next)) {
			t.key(ctx, k)
			next = time.Time{}
		}
	}
}

// lookEvery is how often the page is made anew; keys and lines of the log do not wait for it.
const lookEvery = 2 * time.Second

// read returns the keys pressed within d. It returns early when a line of the log has come.
func (t *terminal) read(d time.Duration) []byte {
	fds := []unix.PollFd{{Fd: int32(t.wake), Events: unix.POLLIN}, {Fd: int32(t.fd), Events: unix.POLLIN}}
	if t.eof {
		fds = fds[:1]
	}
	if n, err := unix.Poll(fds, max(int(d.Milliseconds()), 1)); err != nil || n == 0 {
		return nil
	}
	if fds[0].Revents != 0 {
		_, _ = unix.Read(t.wake, make([]byte, 8)) // back to zero
	}
	if t.eof || fds[1].Revents == 0 {
		return nil
	}
	buf := make([]byte, 256)
	n, err := unix.Read(t.fd, buf)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		time.Sleep(50 * time.Millisecond)
		return nil
	case err != nil: // a serial line without a partner, a screen that went away
		time.Sleep(d)
		return nil
	case n == 0:
		t.eof = !t.tty
		time.Sleep(50 * time.Millisecond)
	}
	return buf[:max(n, 0)]
}

// write writes s; a line that takes nothing for two seconds loses the rest.
func (t *terminal) write(s string) {
	b := []byte(s)
	deadline := time.Now().Add(2 * time.Second)
	out := t.out()
	for len(b) > 0 && time.Now().Before(deadline) {
		n, err := unix.Write(out, b)
		if n > 0 {
			b = b[n:]
		}
		if errors.Is(err, unix.EAGAIN) {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(out), Events: unix.POLLOUT}}, 200)
			continue
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// out is where to write: standard output when the terminal is standard input.
func (t *terminal) out() int {
	if t.fd == 0 {
		return 1
	}
	return t.fd
}

// drain prints log lines that came in; a screen shows the page instead, and a prompt is not torn apart.
func (t *terminal) drain() {
	for range 100 {
		select {
		case l := <-t.lines:
			if !t.screen && t.mode == status {
				t.write(l + "\n")
			}
		default:
			return
		}
	}
}

// size of the terminal; a serial line tells none.
func (t *terminal) size() (width, height int) {
	if ws, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ); err == nil && ws.Col >= 40 && ws.Row >= 10 {
		return int(ws.Col) - 1, int(ws.Row)
	}
	return 79, 25
}

// draw shows what has changed.
func (t *terminal) draw() {
	width, height := t.size()
	v := t.o.View()
	v.Now = now()
	if !t.screen && t.mode == status && v.State.State == initapi.Booting {
		return // the log lines tell it
	}
	var lines []string
	switch t.mode {
	case showLog:
		lines = append(t.logLines(width, height), "", "Any key goes back.")
	case confirm:
		verb := map[string]string{"off": "Switch this server off", "reboot": "Restart this server"}[t.action]
		lines = append(Page(v, width, height-3), "", verb+"? Clients lose their connections. Press y for yes, any other key for no.")
	case choose:
		lines = t.chooseLines(width)
	case password:
		lines = append(Page(v, width, height-4), "", t.told, "Administrator's password (Escape goes back): "+strings.Repeat("*", len(t.typed)))
	default:
		lines = Page(v, width, height)
		if t.told != "" {
			lines = append(lines, "", t.told)
		}
	}
	text := strings.Join(lines, "\n")
	if text == t.last {
		return
	}
	if !t.screen && t.mode == status && t.told == "" {
		// A serial line scrolls: only what matters makes a new page, and not more than one in some seconds.
		k := essence(v)
		if t.last != "" && (k == t.essence || time.Since(t.drawn) < serialPause) {
			return
		}
		t.essence, t.drawn = k, time.Now()
	}
	if t.screen {
		t.last = text
		t.write("\x1b[H\x1b[2J" + text)
		return
	}
	// On a serial line a password's stars would print a page for every key.
	if t.mode == password && strings.Contains(t.last, "password (Escape") && t.typed != "" {
		return
	}
	t.last = text
	t.write("\n" + text + "\n")
}

// chooseLines explains what an operator may decide.
func (t *terminal) chooseLines(width int) []string {
	p := page{width: width}
	p.wrapped("", "", "This server holds because it cannot know what you may know. Choose only what you are sure of:")
	p.add("")
	for i, c := range t.choices {
		p.wrapped(fmt.Sprintf(" %d  ", i+1), "    ", c.Text)
		p.add("")
	}
	p.wrapped("", "", "Disks that are left out must never be put into any server again before they have been wiped. If another server may run with one of them now, switch that one off first.")
	p.add("")
	p.add("Type a number (the password is asked next), any other key goes back.")
	return p.lines
}

// serialPause is the least time between two pages on a serial line.
const serialPause = 5 * time.Second

// essence is what of a page is worth printing it again.
func essence(v View) string {
	s := v.State
	parts := []string{s.State, string(s.Role), fmt.Sprint(s.Ready), s.Addresses.Management, s.Addresses.Service}
	for _, r := range s.Reasons {
		parts = append(parts, r.Code)
	}
	for _, f := range s.Findings {
		parts = append(parts, f.ID)
	}
	if v.Summary != nil {
		parts = append(parts, v.Summary.Verdict, v.Summary.JoinCode)
	}
	return strings.Join(parts, "\x00")
}

func (t *terminal) logLines(width, height int) []string {
	lines := t.o.Ring.Last(height - 3)
	for i := range lines {
		lines[i] = cut(lines[i], width)
	}
	return lines
}

// key does what a key asks for.
func (t *terminal) key(ctx context.Context, k byte) {
	was := t.mode
	defer func() {
		if t.mode != was {
			t.last = "" // another page, even if it is the one from before
		}
	}()
	switch t.mode {
	case showLog:
		t.mode = status
	case confirm:
		if k == 'y' || k == 'Y' {
			t.told = "As you wish."
			t.o.Power(t.action, "asked for at the console")
		}
		t.mode = status
	case choose:
		t.mode = status
		if n := int(k) - '1'; n >= 0 && n < len(t.choices) {
			t.ask(func(context.Context) error {
				if err := t.choices[n].Do(); err != nil {
					return err
				}
				t.told = "As you wish."
				return nil
			})
		}
	case password:
		t.passwordKey(ctx, k)
	default:
		t.told = ""
		switch k {
		case 'l', 'L':
			t.mode = showLog
		case 's', 'S':
			t.ask(t.runShell)
		case 'd', 'D':
			if t.choices = t.o.View().Choices; len(t.choices) > 0 {
				t.mode = choose
			}
		case 'r', 'R':
			t.mode, t.action = confirm, "reboot"
		case 'o', 'O':
			t.mode, t.action = confirm, "off"
		case '\n', '\r', '\f':
			t.last = "" // draw again
		}
	}
}

// wrong is the pause after a wrong password.
const wrong = 2 * time.Second

func (t *terminal) passwordKey(ctx context.Context, k byte) {
	switch {
	case k == 0x1b || k == 0x03 || k == 0x04:
		t.mode, t.typed = status, ""
	case k == 0x7f || k == '\b':
		if t.typed != "" {
			t.typed = t.typed[:len(t.typed)-1]
		}
	case k == '\n' || k == '\r':
		pw := t.typed
		t.typed = ""
		if err := t.o.Password(pw); err != nil {
			t.told = err.Error()
			time.Sleep(wrong)
			return
		}
		t.mode, t.told = status, ""
		if err := t.then(ctx); err != nil {
			t.told = err.Error()
		}
	case k >= ' ' && len(t.typed) < 200:
		t.typed += string([]byte{k})
	}
}

// ask asks for the password before it does then.
func (t *terminal) ask(then func(ctx context.Context) error) {
	t.mode, t.typed, t.told, t.then = password, "", "", then
}

// runShell gives the terminal to a shell.
func (t *terminal) runShell(ctx context.Context) error {
	t.cooked()
	if t.screen {
		t.write("\x1b[H\x1b[2J")
	}
	t.write("\nShell as root. Leave it with exit.\n")
	_ = unix.SetNonblock(t.fd, false)
	err := t.shell(ctx)
	_ = unix.SetNonblock(t.fd, true)
	t.raw()
	t.last = ""
	return err
}
