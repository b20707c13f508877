// Package convert makes the configuration of one Debian release fit another, so that servers of different versions stay equivalent.
//
// Steps carry one thing each between two adjacent releases (11 ↔ 12 ↔ 13), both ways where that is defined: they look at the files that
// people have changed, and change as few bytes of them as they can. Convert runs the steps on the way from one release to the other over a
// Tree. What the image ships and nobody changed is not converted: it follows the image of the server (Defaults).
//
// There and back gives the same text: Keep notes what a conversion made, and what it made it of, and Return merges what was changed in
// between into the text from before. So a setting that the newer release does not know is not lost on the older one. The record is kept on
// the set, beside the generation of /etc that was converted, and in its history, where other servers find it.
//
// Every step tells what it did as findings: moved, renamed, default pinned, … blocking. A blocking one means that a failover would not work,
// and is told on the secondary long before.
//
// It runs on a secondary for each change of the primary (sentry/sync/engine), and at boot, when a set meets an image of another release
// (initsvc/tree): Meet is the same for both. It does no I/O and knows no clock (package etcdir below reads the trees); the services' own
// checkers and probes prove its results elsewhere.
package convert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"sayasystems.com/atlas/sentry/convert/facts"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Class says what became of a setting.
type Class string

// Classes of findings, from harmless to not.
const (
	Moved        Class = "moved"          // stands in another file now
	Renamed      Class = "renamed"        // has another name now
	Rewritten    Class = "rewritten"      // is said in other words, and means the same
	Pinned       Class = "default pinned" // was not said; the old default is said now, since the new one differs
	Ignored      Class = "ignored"        // has no effect there, and none is missed
	Approximated Class = "approximated"   // means nearly the same there; Next says what differs
	Package      Class = "needs package"  // a package, module or program is missing there
	Data         Class = "needs data"     // works when the service's data has been brought forward
	Blocking     Class = "blocking"       // has no counterpart: the service would not start or not do its work there
)

// Blocks tells whether a failover would not work.
func (c Class) Blocks() bool { return c == Blocking || c == Package }

// Finding is what a step has to say of one place.
type Finding struct {
	Step  string // its ID; "" from the conversion itself
	Class Class
	Path  state.Path // where it stands on the server that it comes from
	Line  int        // there, from 1; 0 = the whole file
	What  string     // for people, without the place: "ChallengeResponseAuthentication is called KbdInteractiveAuthentication there."
	Next  string     // what to do; "" if nothing

	Service string // pack that the step belongs to; "" for the system
}

// Step carries one thing between two adjacent releases.
type Step struct {
	ID      string // "ssh-kbd-interactive"
	Service string // pack that it belongs to; "" for the system
	Old     int    // the older release; the other is the next one
	Title   string // of README's table: "ChallengeResponseAuthentication ↔ KbdInteractiveAuthentication"
	Class   Class  // what it does mostly, for the table
	Source  string // how it is known: "release notes of OpenSSH 8.7", "measured: sshd -T of both"
	Forward func(*Work) error
	Back    func(*Work) error // nil: nothing is to be done on the way back
}

// Work is what a step works on.
type Work struct {
	*Tree
	From, To *facts.Release
	step     *Step
	findings *[]Finding
}

// Tell adds a finding. The path is where the thing stood when the step found it; Convert follows moves back to where it came from.
func (w *Work) Tell(f Finding) {
	f.Step, f.Service = w.step.ID, w.step.Service
	f.Class = cmp.Or(f.Class, w.step.Class)
	*w.findings = append(*w.findings, f)
}

// Result of a conversion.
type Result struct {
	Tree     *Tree
	Findings []Finding
	Kept     Kept // for the way back; of Meet alone

	removed map[state.Path]bool // of Return alone: what people have removed since it was converted
}

// Convert runs the steps on the way between two releases. in stays as it is.
func Convert(steps []Step, from, to int, in *Tree) (Result, error) {
	out := Result{Tree: in.clone()}
	var errs []error
	for at := from; at != to; {
		next := at + 1
		if to < from {
			next = at - 1
		}
		a, errA := facts.Of(at)
		b, errB := facts.Of(next)
		if err := errors.Join(errA, errB); err != nil {
			return out, err
		}
		way := slices.DeleteFunc(slices.Clone(steps), func(s Step) bool { return s.Old != min(at, next) })
		if next < at {
			slices.Reverse(way) // the last is undone first
		}
		for i := range way {
			s := &way[i]
			f := s.Forward
			if next < at {
				f = s.Back
			}
			if f == nil {
				continue
			}
			if err := run(f, &Work{Tree: out.Tree, From: a, To: b, step: s, findings: &out.Findings}); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.ID, err))
				out.Findings = append(out.Findings, Finding{
					Step: s.ID, Service: s.Service, Class: Blocking, What: "This could not be converted: " + err.Error() + ".",
					Next: "Compare its files with what the image ships, and send the log to the vendor; all else is converted.",
				})
			}
		}
		at = next
	}
	for i, f := range out.Findings {
		out.Findings[i].Path = out.Tree.Origin(f.Path)
	}
	return out, errors.Join(errs...)
}

// run keeps a mistake in one step from ending everything.
func run(f func(*Work) error, w *Work) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("mistake in the program: %v", p)
		}
	}()
	return f(w)
}
