package roles

import (
	"errors"
	"fmt"
)

// maxMembers bounds what a label may list; no chassis has more bays.
const maxMembers = 64

// Validate tells what is wrong with a label.
func (l Label) Validate() error {
	switch {
	case l.Version < 1 || l.Version > LabelVersion:
		return fmt.Errorf("label: version %d is not known", l.Version)
	case l.Site == "":
		return errors.New("label: site is missing")
	case l.Set == "":
		return errors.New("label: set is missing")
	case l.Array == "":
		return errors.New("label: array is missing")
	case !l.Role.Valid():
		return fmt.Errorf("label: role %q is not primary or secondary", l.Role)
	case !l.Level.Valid():
		return fmt.Errorf("label: level %q is not raid1, raid5 or raid10", l.Level)
	case len(l.Members) < l.Level.MinMembers() || len(l.Members) > maxMembers:
		return fmt.Errorf("label: %d members do not make a %s", len(l.Members), l.Level)
	case l.Self < 0 || l.Self >= len(l.Members):
		return fmt.Errorf("label: self %d is not one of %d members", l.Self, len(l.Members))
	case l.Generation == 0:
		return errors.New("label: generation is missing")
	}
	seen := map[string]bool{}
	active := 0
	for i, m := range l.Members {
		switch {
		case m.ID == "":
			return fmt.Errorf("label: member %d has no id", i)
		case seen[m.ID]:
			return fmt.Errorf("label: member id %s is there twice", m.ID)
		case m.Ejected > l.Generation:
			return fmt.Errorf("label: member %d left at generation %d, later than the label's %d", i, m.Ejected, l.Generation)
		}
		seen[m.ID] = true
		if m.Ejected == 0 {
			active++
		}
	}
	if active == 0 {
		return errors.New("label: no member is active")
	}
	return nil
}

// Valid tells whether r is a role.
func (r Role) Valid() bool { return r == Primary || r == Secondary }

// Valid tells whether v is a level that ATLAS makes.
func (v Level) Valid() bool { return v == RAID1 || v == RAID5 || v == RAID10 }

// MinMembers is the least number of members of a set of that level.
func (v Level) MinMembers() int {
	switch v {
	case RAID5:
		return 3
	case RAID10:
		return 4
	default:
		return 2
	}
}

// Enough tells whether members in the slots marked true hold all data of a set of that level, as md lays it out (RAID 10: two
// near copies, so neighbours hold the same: slots 0 and 1, 2 and 3…).
func (v Level) Enough(present []bool) bool {
	n, have := len(present), 0
	for _, p := range present {
		if p {
			have++
		}
	}
	switch v {
	case RAID1:
		return have >= 1
	case RAID5:
		return have >= n-1 && have >= 1
	case RAID10:
		for i := range n {
			// With an odd number of members the copies go round: each slot shares data with both neighbours.
			if n%2 == 0 && i%2 == 1 {
				continue
			}
			if !present[i] && !present[(i+1)%n] {
				return false
			}
		}
		return have > 0
	}
	return false
}
