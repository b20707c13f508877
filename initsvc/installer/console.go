package installer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// width is that of the narrowest console: a serial line.
const width = 79

// maxLine bounds what is read as one line: a serial line can send noise for ever.
const maxLine = 4096

// console is one line-based terminal: a serial line, a screen with keyboard, or a test's script.
type console struct {
	name string
	in   *bufio.Reader
	out  io.Writer
	tty  *os.File // nil when it is none
}

func newConsole(name string, in io.Reader, out io.Writer) *console {
	c := &console{name: name, in: bufio.NewReaderSize(in, maxLine), out: out}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		c.tty = f
	}
	return c
}

// printf writes text, wrapped.
func (c *console) printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for line := range strings.Lines(text) {
		nl := strings.HasSuffix(line, "\n")
		fmt.Fprint(c.out, wrap(strings.TrimRight(line, "\n"), width))
		if nl {
			fmt.Fprint(c.out, "\n")
		}
	}
}

// line reads one line without its end.
func (c *console) line() (string, error) {
	var b strings.Builder
	for {
		part, err := c.in.ReadSlice('\n')
		if b.Len() < maxLine {
			b.Write(part)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (b.Len() == 0 || !errors.Is(err, io.EOF)) {
			return "", fmt.Errorf("read console %s: %w", c.name, err)
		}
		return strings.TrimSpace(clean(b.String())), nil
	}
}

// ask prints the prompt and reads the answer.
func (c *console) ask(prompt string) (string, error) {
	c.printf("%s", prompt)
	s, err := c.line()
	if c.tty == nil {
		fmt.Fprintln(c.out) // a terminal's echo has done it
	}
	return s, err
}

// secret is ask without echo. What was typed ahead is kept, unlike with term.ReadPassword: installations are scripted over
// serial lines.
func (c *console) secret(prompt string) (string, error) {
	c.printf("%s", prompt)
	if c.tty != nil {
		fd := int(c.tty.Fd())
		old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return "", fmt.Errorf("console %s: %w", c.name, err)
		}
		quiet := *old
		quiet.Lflag &^= unix.ECHO
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
			return "", fmt.Errorf("console %s: %w", c.name, err)
		}
		defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }()
	}
	s, err := c.line()
	fmt.Fprintln(c.out)
	return s, err
}

// race asks on all consoles at once and returns the first that answers, with its answer.
func race(ctx context.Context, all []*console, prompt string) (*console, string, error) {
	type answer struct {
		c   *console
		s   string
		err error
	}
	ch := make(chan answer, len(all))
	for _, c := range all {
		go func() {
			s, err := c.ask(prompt)
			ch <- answer{c, s, err}
		}()
	}
	var failed error
	for range all {
		select {
		case <-ctx.Done():
			return nil, "", ctx.Err()
		case a := <-ch:
			if a.err != nil {
				failed = a.err // a console that is not there; the others may be
				continue
			}
			for _, c := range all {
				if c != a.c {
					c.printf("\nGoing on at the other console (%s).\n", a.c.name)
				}
			}
			return a.c, a.s, nil
		}
	}
	return nil, "", failed
}

// activeConsoles opens the kernel's consoles (/sys/class/tty/console/active): the screen as tty1, serial lines by their name.
func activeConsoles(sys, dev string) []*console {
	b, err := os.ReadFile(sys + "/class/tty/console/active")
	if err != nil {
		return nil
	}
	var out []*console
	for name := range strings.FieldsSeq(string(b)) {
		if name == "tty0" {
			name = "tty1"
		}
		f, err := os.OpenFile(dev+"/"+name, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		if !term.IsTerminal(int(f.Fd())) {
			f.Close()
			continue
		}
		out = append(out, newConsole(name, f, f))
	}
	return out
}

// clean drops what a terminal sends besides text: carriage returns, escape sequences' lead, and obeys backspaces.
func clean(s string) string {
	var out []rune
	for _, r := range s {
		switch {
		case r == '\b' || r == 0x7f:
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		case r < ' ' && r != '\t':
		default:
			out = append(out, r)
		}
	}
	return string(out)
}

// wrap breaks text at spaces so that no line is longer than w, and indents what follows as the first line is.
func wrap(s string, w int) string {
	if len([]rune(s)) <= w {
		return s
	}
	indent := s[:len(s)-len(strings.TrimLeft(s, " "))]
	var b strings.Builder
	line := indent
	for _, word := range strings.SplitAfter(s[len(indent):], " ") {
		if len([]rune(line))+len([]rune(strings.TrimRight(word, " "))) > w && strings.TrimSpace(line) != "" {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word
	}
	b.WriteString(line)
	return b.String()
}
