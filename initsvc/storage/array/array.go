// Package array holds the words that the store and the two kinds of array (md on hardware, fakemd in the namespace lab) share: what
// to assemble, what an array answers about itself, and the errors both answer with. It does nothing itself.
package array

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/roles"
)

// Spec names an array and the disks to run it with.
type Spec struct {
	UUID   string // as mdadm prints it: four groups of eight hex digits, joined by colons
	Set    string // UUID of the disk set
	Level  roles.Level
	Slots  int            // members of the whole set
	Disks  []roles.Disk   // present members, in slot order; all of them when an array is created
	Report func(s string) // progress in words, may be nil
}

// Degraded tells whether fewer disks are given than the array has slots.
func (s Spec) Degraded() bool { return len(s.Disks) < s.Slots }

// Say reports progress.
func (s Spec) Say(text string) {
	if s.Report != nil {
		s.Report(text)
	}
}

// State of one member in a running array.
type State string

// States.
const (
	Active     State = "active"     // in sync
	Rebuilding State = "rebuilding" // in a slot, not yet in sync
	Failed     State = "failed"     // the array has stopped using it, but the device is there
	Gone       State = "missing"    // the device is not there any more
)

// Status is a running array as it is now.
type Status struct {
	Members map[string]State // by device of the whole disk, as in Spec; absent = not in the array
	Work    string           // "rebuild 12 % (3 min left)", "" when the array is idle
	Size    uint64           // of the filesystem, bytes
	Free    uint64           // available to unprivileged users, bytes
}

// Of returns the state of the disk dev.
func (s Status) Of(dev string) State {
	if st, ok := s.Members[dev]; ok {
		return st
	}
	return Gone
}

// Errors of arrays. All are wrapped with the device or set they are about.
var (
	// ErrNotStarted: no array is running.
	ErrNotStarted = errors.New("no disk set is started")
	// ErrBusy: a device or filesystem is in use.
	ErrBusy = errors.New("in use")
	// ErrDiverged: two present members each ran without the other.
	ErrDiverged = errors.New("the disks ran apart: each has been used without the other")
	// ErrDegraded: fewer members are usable than the label says, and starting without them was not decided.
	ErrDegraded = errors.New("not all members that should be in the array can be used")
	// ErrTooFew: the remaining members do not make up the data.
	ErrTooFew = errors.New("too few members are left to run the set")
	// ErrFilesystem: the filesystem needs a person.
	ErrFilesystem = errors.New("the filesystem has errors that cannot be mended without asking")
	// ErrGone: a disk is not there any more.
	ErrGone = errors.New("the disk is gone")
)

// TooSmallError tells that a disk cannot become a member.
type TooSmallError struct {
	Dev        string
	Have, Need uint64 // bytes of the whole disk
}

// Error implements error.
func (e *TooSmallError) Error() string {
	return fmt.Sprintf("disk %s is too small: it has %s, at least %s is needed", e.Dev, Bytes(e.Have), Bytes(e.Need))
}

// CommandError is a command that failed, with its last words.
type CommandError struct {
	Args   []string
	Exit   int // -1 when it did not run or was killed
	Output string
	Err    error
}

// Error implements error.
func (e *CommandError) Error() string {
	out := strings.Join(strings.Fields(e.Output), " ")
	if len(out) > 300 {
		out = "…" + out[len(out)-300:]
	}
	return fmt.Sprintf("%s: %v: %s", strings.Join(e.Args, " "), e.Err, out)
}

// Unwrap returns the cause.
func (e *CommandError) Unwrap() error { return e.Err }

// Bytes prints a size as disks are sold: powers of 1000.
func Bytes(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	f, i := float64(n), 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// Lagging finds members that the array went on without, from what the members' superblocks say about each other: a disk is lagging
// when another one marks its slot as missing and has seen more events. It returns ErrDiverged when two mark each other: then no
// count of events says which one is right. slots[i] is the slot of disks[i].
func Lagging(disks []roles.Disk, slots []int) ([]int, error) {
	var behind []int
	for i, a := range disks {
		for j, b := range disks {
			if i == j || !slices.Contains(a.Missing, slots[j]) {
				continue
			}
			if slices.Contains(b.Missing, slots[i]) {
				return nil, fmt.Errorf("disks in bays %d and %d: %w", a.Bay, b.Bay, ErrDiverged)
			}
			if !slices.Contains(behind, j) {
				behind = append(behind, j)
			}
		}
	}
	slices.Sort(behind)
	return behind, nil
}

// Unfinished makes the disks of a set that was never finished count as blank. marks are the sets, by device, that the markers on the
// disks name; Create writes the labels last and takes the markers away with them, so that a label of the first generation
// beside a marker of the same set belongs to a creation that was cut off between two labels.
func Unfinished(disks []roles.Disk, marks map[string]string) {
	sets := map[string]bool{}
	for i, d := range disks {
		if set := marks[d.Dev]; set != "" && d.Label == nil {
			sets[set] = true
			blank(&disks[i])
		}
	}
	for i, d := range disks {
		if d.Label != nil && d.Label.Generation == 1 && sets[d.Label.Set] {
			blank(&disks[i])
		}
	}
}

func blank(d *roles.Disk) {
	d.Label, d.LabelErr, d.Blank, d.Content = nil, "", true, "a disk set whose making was cut off"
	d.Array, d.Events, d.Missing, d.Recovering = "", 0, nil, false
}
