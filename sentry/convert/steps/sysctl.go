package steps

import (
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Sysctl carries the kernel's settings: Debian 13 no longer reads /etc/sysctl.conf.
func Sysctl() []convert.Step {
	return []convert.Step{{
		ID: "sysctl-file", Old: 12, Class: convert.Moved,
		Title:   "/etc/sysctl.conf ↔ /etc/sysctl.d/99-zz-sysctl.conf",
		Source:  "release notes of Debian 13; measured: files of the package procps",
		Forward: sysctlMove(true), Back: sysctlMove(false),
	}}
}

// sysctlMove moves the file to where it is read last, as it was, and back. Its name is one that nobody else uses: a way back that
// has to look at other
// files would not know what was changed in between.
func sysctlMove(ahead bool) func(*convert.Work) error {
	return func(w *convert.Work) error {
		from, to := state.Path("etc/sysctl.conf"), state.Path("etc/sysctl.d/99-zz-sysctl.conf")
		if !ahead {
			from, to = to, from
		}
		if len(w.Changed(string(from))) == 0 {
			return nil
		}
		if len(w.Changed(string(to))) > 0 {
			w.Tell(convert.Finding{
				Class: convert.Approximated, Path: from, What: "/" + string(to) + " is there already; this file is not read on " + there(w) + ".",
				Next: "Put both into one file.",
			})
			return nil
		}
		w.Tell(convert.Finding{Path: from, What: "The kernel's settings are read from /" + string(to) + " there; the file moves."})
		w.Move(from, to)
		return nil
	}
}
