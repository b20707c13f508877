package pack

import (
	"fmt"
	"strings"
)

// A trial is a check that starts the service's daemon, where the checker passes over what the daemon does not: with the candidate
// configuration, on an empty data directory of its own (Fresh), in the namespaces of a check; asks it one thing, and ends it. It takes seconds
// (Timeout is "2m" if empty), and is run only after files of the pack were converted from another release of Debian. What the daemon cannot have there (the service
// address, room, memory) it is told otherwise by arguments; the trial adds addresses to the loopback. It exits with 1 when the daemon does not work, in the daemon's words, and with 75 when it
// could not be tried at all.

// checkView checks what says how a checker or a trial is run.
func (l *loaded) checkView(key string, c *Check) error {
	if c == nil {
		return nil
	}
	if err := l.checkRun(key, c.Command, c.User, c.Timeout); err != nil {
		return err
	}
	for i, p := range c.Show {
		at := fmt.Sprintf("%s.show[%d]", key, i)
		if strings.HasPrefix(p, "{{.StateDir}}/") {
			continue
		}
		if !absolute(p) || !below(p, "/run") {
			return l.f.Errorf(at, "%q must be an absolute path below /run; everything else is there", p)
		}
	}
	for i, p := range c.Fresh {
		if !absolute(p) {
			return l.f.Errorf(fmt.Sprintf("%s.fresh[%d]", key, i), "%q must be an absolute path", p)
		}
	}
	return nil
}
