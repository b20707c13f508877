package installer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/layout"
)

// session is one run of the installer, with what it needs from below; tests put fakes in.
type session struct {
	version   string
	namespace bool
	stickDir  string
	consoles  []*console
	find      finder
	checkCode func(string) error
	install   func(ctx context.Context, a install.Answers, p func(install.Progress)) (install.Summary, error)
	power     func(ctx context.Context, action string) error
}

func (s *session) run(ctx context.Context) error {
	path := filepath.Join(s.stickDir, layout.InstallConfig)
	if _, err := os.Stat(path); err == nil {
		return s.unattended(ctx, path)
	}
	screens(s.consoles).printf("\nATLAS %s: installer\n\n", s.version)
	c, _, err := race(ctx, s.consoles, "Press Enter to install here.")
	if err != nil {
		return fmt.Errorf("install: no console answers: %w", err)
	}
	return s.attended(ctx, c, s.draft(install.Answers{}))
}

func (s *session) draft(a install.Answers) *draft {
	d := &draft{a: a, namespace: s.namespace, checkCode: s.checkCode, given: map[string]bool{}}
	if j, err := install.LoadJoin(filepath.Join(s.stickDir, layout.JoinFile)); err == nil {
		d.onStick = &j
	}
	// Answers of an install.yaml that failed go on as proposals.
	d.given["set.role"] = a.Set.Role != ""
	if d.onStick == nil && a.Join != nil && a.Join.File {
		d.a.Join = &install.JoinSite{}
	}
	return d
}

// unattended installs by install.yaml and asks only when that fails.
func (s *session) unattended(ctx context.Context, path string) error {
	all := screens(s.consoles)
	for {
		all.printf("\nATLAS %s: unattended installation by %s\n\n", s.version, layout.InstallConfig)
		a, sum, err := s.byFile(ctx, path)
		if err == nil {
			return s.finishUnattended(ctx, path, a, sum)
		}
		all.failed(err)
		c, answer, rerr := race(ctx, s.consoles, "\nEnter: try again; wizard: answer questions instead; shell: rescue shell; off: power off: ")
		if rerr != nil {
			return err // nobody there: the caller tells of the failure
		}
		switch strings.ToLower(answer) {
		case "wizard":
			return s.attended(ctx, c, s.draft(a))
		case "shell":
			shell(ctx, c)
		case "off":
			return s.power(ctx, install.Off)
		}
	}
}

func (s *session) byFile(ctx context.Context, path string) (install.Answers, install.Summary, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return install.Answers{}, install.Summary{}, fmt.Errorf("read the stick: %w", err)
	}
	a, f, err := install.ParseAnswers(layout.InstallConfig, data)
	if err != nil {
		return a, install.Summary{}, err
	}
	sum, err := s.install(ctx, a, screens(s.consoles).progress())
	return a, sum, install.Locate(f, err)
}

func (s *session) finishUnattended(ctx context.Context, path string, a install.Answers, sum install.Summary) error {
	all := screens(s.consoles)
	all.done(sum)
	then := a.Then
	if then == "" {
		then = install.Reboot
	}
	// A stick that cannot be written would install again at the next start, over the data that the server has by then.
	if err := retire(path, a.Server); err != nil {
		all.printf("\n%s stays on the medium (%v).\n", layout.InstallConfig, err)
		if then == install.Reboot {
			if _, _, err := race(ctx, s.consoles, "Remove the medium, then press Enter to restart."); err != nil {
				return s.power(ctx, install.Off)
			}
		}
	}
	return s.power(ctx, then)
}

// attended asks, installs, and on failure asks what now; d keeps the answers.
func (s *session) attended(ctx context.Context, c *console, d *draft) error {
	here := screens{c}
	next := func() error { return interview(ctx, c, d, s.find) }
	for {
		err := next()
		if err == nil {
			var sum install.Summary
			if sum, err = s.install(ctx, d.a, here.progress()); err == nil {
				return s.finishAttended(ctx, c, sum)
			}
		}
		if ctx.Err() != nil || errors.Is(err, io.EOF) {
			return err // stopped, or the console is gone
		}
		if !errors.Is(err, errLeave) {
			here.failed(err)
		}
		if next, err = s.menu(ctx, c, d, err); next == nil {
			return err
		}
	}
}

// menu asks what to do after a failure; it returns what to do before the next attempt, or nil to end with the error.
func (s *session) menu(ctx context.Context, c *console, d *draft, failure error) (func() error, error) {
	for {
		answer, err := c.ask("\nretry: try again; change: change the answers; shell: rescue shell; off: power off: ")
		if err != nil {
			return nil, failure // the console is gone
		}
		switch strings.ToLower(answer) {
		case "retry":
			return func() error { return s.again(ctx, c, d) }, nil
		case "change":
			return func() error { return interview(ctx, c, d, s.find) }, nil
		case "shell":
			shell(ctx, c)
		case "off":
			return nil, s.power(ctx, install.Off)
		}
	}
}

// again has the same answers confirmed for the disks as they are now: the failed attempt has written to some.
func (s *session) again(ctx context.Context, c *console, d *draft) error {
	if err := look(ctx, c, d, s.find); err != nil {
		return err
	}
	change, err := confirm(c, d)
	if err != nil {
		return err
	}
	if change {
		return interview(ctx, c, d, s.find)
	}
	return nil
}

func (s *session) finishAttended(ctx context.Context, c *console, sum install.Summary) error {
	screens{c}.done(sum)
	if _, err := c.ask("\nRemove the install stick, then press Enter to restart."); err != nil {
		return err
	}
	return s.power(ctx, install.Reboot)
}

// shell gives a rescue shell. Nothing is mounted and nothing secret is in memory's reach at this point; who stands at the
// console with the install stick could boot any other system as well.
func shell(ctx context.Context, c *console) {
	c.printf("exit returns to the installer.\n")
	cmd := exec.CommandContext(ctx, "/bin/sh")
	if c.tty == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, c.out, c.out
	} else {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = c.tty, c.tty, c.tty
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	}
	if err := cmd.Run(); err != nil {
		c.printf("shell: %v\n", err)
	}
}
