package verify

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// nobody is the account without rights that every Debian has.
const nobody = 65534

// maxWords is how much of what a program says is read.
const maxWords = 4 << 10

// Command runs a program, such as a monitoring plugin that a vendor has for his application, as the account nobody: its exit status tells
// (0 pass, 1 warning, 2 failure, 3 unknown; https://www.monitoring-plugins.org/doc/guidelines.html) and the first line that it prints is the
// evidence. It finds the target in the environment: ATLAS_ADDRESS, ATLAS_SERVER, ATLAS_OBSERVER, ATLAS_HOSTNAME, and ATLAS_PORT; where the
// probe names a secret, that stands on its standard input. Parameters: command (an absolute path and arguments, separated by spaces;
// needed), host and port (for ATLAS_HOSTNAME and ATLAS_PORT).
func Command(ctx context.Context, t Target) Outcome {
	argv := strings.Fields(t.Param("command", ""))
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return misnamed("the probe names no command with an absolute path")
	}
	begin(ctx, stepTransaction)
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir = "/"
	c.Env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/nagios/plugins", "LANG=C.UTF-8", "HOME=/nonexistent",
		"ATLAS_ADDRESS=" + t.Address, "ATLAS_SERVER=" + t.Server, "ATLAS_OBSERVER=" + t.Observer, "ATLAS_HOSTNAME=" + t.Param("host", t.Hostname), "ATLAS_PORT=" + t.Param("port", ""),
	}
	if t.Params["secret"] != "" {
		if t.Secret == "" {
			return noSecret(t)
		}
		c.Stdin = strings.NewReader(t.Secret + "\n")
	}
	var said head
	c.Stdout, c.Stderr = &said, &said
	asNobody(c)
	err := c.Run()
	words := said.line()
	next := "Look what it says when it is run by hand: " + strings.Join(argv, " ")
	if ctx.Err() != nil {
		return failed(argv[0], ctx.Err(), next)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return Outcome{Status: Pass, Evidence: words}
	case !errors.As(err, &exit):
		return unknown(argv[0]+" cannot be run: "+err.Error(), "Correct the probe in the service pack.")
	}
	switch exit.ExitCode() {
	case 1:
		return warning(words, next)
	case 2:
		return failure(words, next)
	}
	return unknown(words+" ("+exit.String()+")", next)
}

// asNobody takes a program's rights, if we have any to take, puts it into a process group of its own, and ends that whole group when its time is up.
func asNobody(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second // a grandchild may hold its output open
}

// head keeps the beginning of what is written.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	if room := maxWords - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// line is the first line, without the numbers for graphs that plugins put behind a bar.
func (h *head) line() string {
	line, _, _ := strings.Cut(strings.TrimSpace(h.String()), "\n")
	line, _, _ = strings.Cut(line, "|")
	return printable(line)
}

// last is the last line.
func (h *head) last() string {
	text := strings.TrimSpace(h.String())
	return printable(text[strings.LastIndexByte(text, '\n')+1:])
}

// printable is a line of a program's words, fit to be shown.
func printable(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
	if r := []rune(strings.TrimSpace(line)); len(r) > 200 {
		return string(r[:200]) + "…"
	} else if len(r) > 0 {
		return string(r)
	}
	return "(it says nothing)"
}
