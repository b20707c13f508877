package steps

import (
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Sysctl carries the kernel's settings: Debian 13 no longer reads /etc/sysctl.conf.
func Sysctl() []convert.Step {
	return []convert.Step{{
		ID: "sysctl-file", Old: 12, Class: convert.Moved,
		Title:   "/etc/sysctl.conf ↔ /etc/sysctl.d/99-sysctl.conf",
		Source:  "release notes of Debian 13; measured: files of the package procps",
		Forward: sysctlMove(true), Back: sysctlMove(false),
	}}
}

func sysctlMove(ahead bool) func(*convert.Work) error {
	const old = state.Path("etc/sysctl.conf")
	return func(w *convert.Work) error {
		from, to := old, state.Path("etc/sysctl.d/99-sysctl.conf")
		if !ahead {
			from, to = to, old
		}
		if len(w.Changed(string(from))) == 0 {
			return nil
		}
		if len(w.Changed(string(to))) > 0 { // a file of people's; what is read last counts, and that is the one that moves
			if !ahead {
				return nil
			}
			to = "etc/sysctl.d/99-zz-sysctl.conf"
		}
		w.Tell(convert.Finding{Path: from, What: "The kernel's settings are read from /" + string(to) + " there; the file moves."})
		w.Move(from, to)
		return nil
	}
}
