package roles

import (
	"fmt"
	"slices"
)

// notes tells, beside a start, what a person should know.
func notes(d Decision, s sorted) []Reason {
	var n []Reason
	l := *d.Label
	if d.Degraded {
		var gone []int
		for i, m := range l.Members {
			if m.Ejected != 0 || slices.Contains(d.Eject, i) {
				gone = append(gone, i)
			}
		}
		n = append(n, Reason{
			CodeDegraded, fmt.Sprintf("The %s set runs with %d of %d disks; without it: %s.", l.Role, len(d.Members), len(l.Members), nameds(l, gone)),
			"Put a good disk into the empty bay. It is rebuilt while the server works.",
		})
	}
	for _, x := range d.Stale {
		text := upper(where(x)) + " fell behind the set and is rebuilt from it."
		if x.Label == nil {
			text = upper(where(x)) + " was never finished as a member and is made one now."
		}
		n = append(n, Reason{CodeStale, text, ""})
	}
	for _, x := range d.Aside {
		n = append(n, Reason{
			CodeAside, upper(where(x)) + " is set aside: what only it holds is not in the set. It is left as it is.",
			"When its data is not needed any more, have it wiped and added to the set.",
		})
	}
	for _, x := range s.bad {
		if !slices.ContainsFunc(s.halfway, func(h Disk) bool { return h.Dev == x.Dev }) {
			n = append(n, Reason{CodeIgnored, upper(where(x)) + " is ignored: its label cannot be read (" + x.LabelErr + ").", "Replace it."})
		}
	}
	for _, x := range s.foreign {
		n = append(n, Reason{CodeIgnored, upper(where(x)) + " belongs to another site and is ignored.", "Take it out."})
	}
	for _, x := range s.other {
		n = append(n, Reason{CodeIgnored, upper(where(x)) + " is no member of a set and is ignored.", ""})
	}
	for _, t := range s.sets {
		if t.id != d.Set {
			n = append(n, Reason{CodeIgnored, upper(wheres(t.disks)) + " " + is(len(t.disks)) + " of another set and ignored.", "Take it out."})
		}
	}
	return n
}

func reasonBehind(d Disk, why string) Reason {
	return Reason{CodeBehind, upper(where(d)) + " is left out: " + why + ".", "It is rebuilt from the set. If that happens again, replace it."}
}

func reasonAttested(l Label, absent []int) Reason {
	return Reason{
		CodeAttested, upper(nameds(l, absent)) + " " + is(len(absent)) + " absent. Every other server says that it does not hold it, so the set is started without it, as your policy allows.",
		"Never put that disk into a server again unwiped.",
	}
}

func reasonOrdered(d Decision) Reason {
	return Reason{CodeOrdered, "The set is started with " + wheres(d.Members) + " because an operator ordered it.", ""}
}
