package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/guard"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/sentry/initapi"
)

// pty opens a pseudo terminal: the person's end, and the server's.
func pty(t *testing.T) (person, server *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	server, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	return person, server
}

// person reads what the console shows and types.
type person struct {
	t *testing.T
	f *os.File

	mu   sync.Mutex
	text string
}

func (p *person) watch() {
	buf := make([]byte, 4096)
	for {
		n, err := p.f.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.text += string(buf[:n])
		p.mu.Unlock()
	}
}

// sees waits until text has appeared, and forgets everything up to it.
func (p *person) sees(text string) {
	p.t.Helper()
	for range 500 {
		p.mu.Lock()
		i := strings.Index(p.text, text)
		if i >= 0 {
			p.text = p.text[i+len(text):]
		}
		p.mu.Unlock()
		if i >= 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Fatalf("%q never appears; the screen has\n%s", text, p.text)
}

func (p *person) types(s string) {
	p.t.Helper()
	if _, err := p.f.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

func TestKeys(t *testing.T) {
	f, server := pty(t)
	ring := logfile.NewRing(10)
	ring.Add("a line of the log")
	var mu sync.Mutex
	state := initapi.Booting
	did := []string{}
	note := func(s string) { mu.Lock(); defer mu.Unlock(); did = append(did, s) }
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := On(Options{
		View: func() View {
			mu.Lock()
			defer mu.Unlock()
			v := View{State: initapi.State{Version: "1.2.0", Server: "left", State: state, Phase: "Loading drivers"}}
			if state == initapi.Holding {
				v.Choices = []Choice{{Text: "Start with bay 1 only.", Do: func() error { note("chose 1"); return nil }}}
			}
			return v
		},
		Ring: ring, Guard: guard.Guard{},
		Password: func(pw string) error {
			if pw != "secret" {
				return errors.New("that is wrong")
			}
			return nil
		},
		Power: func(action, _ string) { note(action) },
	}, server)
	if len(c.terms) != 1 || !c.terms[0].tty {
		t.Fatalf("terminals %+v", c.terms)
	}
	c.Run(ctx)
	p := &person{t: t, f: f}
	go p.watch()

	c.Line("boot line one")
	p.sees("boot line one")
	mu.Lock()
	state = initapi.Holding
	mu.Unlock()
	p.sees("This server does not serve")
	p.sees("d decide")

	p.types("l")
	p.sees("a line of the log")
	p.types("x")
	p.sees("Keys:")

	p.types("o")
	p.sees("Switch this server off? ")
	p.types("n")
	p.sees("Keys:")
	p.types("r")
	p.sees("Restart this server? ")
	p.types("y")
	p.sees("As you wish.")

	p.types("s")
	p.sees("password (Escape goes back)")
	p.types("sec\x7fcret")
	p.types("x\r")
	p.sees("that is wrong")
	p.types("secret\r")
	p.sees("Leave it with exit.")
	p.types("echo shell-$((40+2)) $HOME; tty >/dev/null && echo on-a-tty\r")
	p.sees("shell-42 /root")
	p.sees("on-a-tty")
	p.types("exit\r")
	p.sees("Keys:")

	p.types("d")
	p.sees("Start with bay 1 only.")
	p.types("1")
	p.sees("password (Escape goes back)")
	p.types("secret\r")
	p.sees("As you wish.")
	cancel()
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(did, ", "); got != "reboot, chose 1" {
		t.Errorf("did %s", got)
	}
}

// TestNoTerminal is a console that is a pipe, or nothing at all.
func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	c := On(Options{View: func() View { return View{} }, Ring: logfile.NewRing(1)}, r)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	c.Run(ctx)
	for range 1000 {
		c.Line("nobody reads this") // must not block
	}
	<-ctx.Done()
}
