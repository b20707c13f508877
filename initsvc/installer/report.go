package installer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/settings"
)

// screens are the consoles that are told what goes on: all of them when nobody is asked, else the one in use.
type screens []*console

func (s screens) printf(format string, args ...any) {
	for _, c := range s {
		c.printf(format, args...)
	}
}

// progress returns a function that prints each step once, and of a long copy every tenth: a serial line has no cursor to move.
func (s screens) progress() func(install.Progress) {
	var last string
	tenth := int64(-1)
	return func(p install.Progress) {
		head := fmt.Sprintf("[%2d/%d] %s: %s", p.Step, p.Of, p.Phase, p.Text)
		if p.Total == 0 {
			if head != last {
				s.printf("%s\n", head)
			}
			last = head
			return
		}
		t := p.Done * 10 / p.Total
		if head != last {
			tenth = -1
		}
		if t == tenth {
			return
		}
		last, tenth = head, t
		s.printf("%s %d %%\n", head, t*10)
	}
}

// done is the last page.
func (s screens) done(sum install.Summary) {
	s.printf("\nInstalled. This was done:\n")
	for _, l := range sum.Did {
		s.printf("  - %s\n", l)
	}
	for _, w := range sum.Warnings {
		s.printf("  ! %s\n", w)
	}
	if sum.Management != "" {
		s.printf("\nAfter the restart: https://%s:%d/ (login admin)\n", sum.Management, layout.DashboardPort)
	}
	if sum.JoinCode != "" {
		s.printf("Join code for the next server, valid for a day:\n  %s\n", sum.JoinCode)
	}
}

// failed is the page of a failure: what, why, what to do.
func (s screens) failed(err error) {
	s.printf("\n%s\nThe installation did not succeed.\n\n", strings.Repeat("-", width))
	var ps install.Problems
	var se *settings.Error
	if errors.As(err, &ps) || errors.As(err, &se) {
		s.printf("Why:\n")
		for line := range strings.Lines(err.Error()) {
			s.printf("  %s\n", strings.TrimSpace(strings.TrimPrefix(line, "install: check: ")))
		}
		s.printf("\nNothing was written to any disk.\nWhat to do: correct the answers (or the disks), then try again.\n")
		return
	}
	s.printf("Why:\n  %s\n\n", err)
	s.printf("What to do: mend what is said above, then try again; it starts over from the beginning. Until it has succeeded, the disks " +
		"written so far count as an unfinished installation and nothing boots from them.\n")
}

// retire renames install.yaml, so that a stick that is left in does not install again, and takes the password out of it.
func retire(path, server string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("retire answers: %w", err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	for i, l := range lines {
		if strings.HasPrefix(strings.ToLower(l), "password:") {
			lines[i] = "password: \"\" # taken out after the installation\n"
		}
	}
	to := strings.TrimSuffix(path, ".yaml") + "ed-" + server + ".yaml"
	if err := os.WriteFile(to, []byte(strings.Join(lines, "")), 0o600); err != nil {
		return fmt.Errorf("retire answers: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("retire answers: %w", err)
	}
	return nil
}
