package roles

import (
	"cmp"
	"slices"
)

// resolved is what the disks of one set come to, looked at without the peers.
type resolved struct {
	ok      bool
	why     []Reason // why not, if not ok
	label   Label    // newest of the lineage
	members []Disk   // to assemble, in slot order
	stale   []Disk
	aside   []Disk   // set aside by an earlier order
	behind  []behind // active by label, fell behind by md
	absent  []int    // slots of active members that are not here
}

// behind is a member that is here and must be left out.
type behind struct {
	slot int
	disk Disk
	why  string
}

// resolve finds the newest label among disks of one set and tells what each disk is to it.
func resolve(disks []Disk) resolved {
	var r resolved
	if twin := twice(disks); len(twin) > 0 {
		r.why = []Reason{reasonCopies(twin)}
		return r
	}
	tip, ok := newest(disks)
	if !ok && !slices.ContainsFunc(disks, func(d Disk) bool { return d.Label.Members[d.Label.Self].Ejected == 0 }) {
		r.why = []Reason{reasonUnfinished(disks)}
		return r
	}
	if !ok {
		r.why = []Reason{reasonDiverged(disks)}
		return r
	}
	if tip.Label.GivenUp != "" {
		r.why = []Reason{reasonGivenUp(tip)}
		return r
	}
	r.label = *tip.Label
	here := make([]*Disk, len(r.label.Members))
	for i := range disks {
		switch r.label.Judge(disks[i]) {
		case Current:
			here[r.label.slot(disks[i].Label.ID())] = &disks[i]
		case Stale:
			r.stale = append(r.stale, disks[i])
		case SetAside:
			r.aside = append(r.aside, disks[i])
		default:
			r.why = []Reason{reasonDiverged(disks)}
			return r
		}
	}
	if why := r.crossCheck(here); len(why) > 0 {
		r.why = why
		return r
	}
	for _, i := range r.label.Active() {
		if here[i] == nil && !slices.ContainsFunc(r.behind, func(b behind) bool { return b.slot == i }) {
			r.absent = append(r.absent, i)
		}
	}
	inSync := make([]bool, len(here))
	for i, d := range here {
		if d != nil {
			r.members = append(r.members, *d)
			inSync[i] = !d.Recovering
		}
	}
	if !r.label.Level.Enough(inSync) {
		r.why = []Reason{reasonNotEnough(r)}
		return r
	}
	r.ok = true
	return r
}

// crossCheck holds the labels' story against what md wrote into the members' superblocks, and takes members out of here that
// md left behind without a record in the label (power went before it was written).
func (r *resolved) crossCheck(here []*Disk) []Reason {
	leave := func(i int, why string) {
		r.behind = append(r.behind, behind{slot: i, disk: *here[i], why: why})
	}
	for _, d := range here {
		if d != nil && d.Array != "" && d.Array != r.label.Array {
			return []Reason{reasonArray(*d)}
		}
	}
	missing := func(i, j int) bool { return slices.Contains(here[i].Missing, j) }
	out := make([]bool, len(here))
	for i := range here {
		for j := range here {
			if i == j || here[i] == nil || here[j] == nil || !missing(i, j) {
				continue
			}
			if missing(j, i) {
				return []Reason{reasonMdDiverged(*here[i], *here[j])}
			}
			if here[j].Array != "" {
				out[j] = true
			}
		}
	}
	for i, d := range here {
		switch {
		case d == nil:
		case d.Array == "":
			leave(i, "its array superblock is gone")
			here[i] = nil
		case out[i]:
			leave(i, "it dropped out while the set was running")
			here[i] = nil
		}
	}
	return nil
}

// newest finds the disk whose label knows of all others: its lineage contains theirs. Disks that were set aside do not count.
func newest(disks []Disk) (Disk, bool) {
	order := slices.Clone(disks)
	slices.SortStableFunc(order, func(a, b Disk) int {
		return cmp.Or(
			cmp.Compare(b.Label.Generation, a.Label.Generation),
			cmp.Compare(a.Label.Self, b.Label.Self),
		)
	})
	for _, c := range order {
		if c.Label.GivenUp != "" {
			continue
		}
		ok := true
		for _, o := range order {
			if s := c.Label.Judge(o); s == Newer || s == Diverged {
				ok = false
				break
			}
		}
		// A label that counts its own disk out is no witness for the set.
		if ok && c.Label.Judge(c) == Current {
			return c, true
		}
	}
	// Nothing but given-up disks: name the newest, so that it can be told what it is.
	if !slices.ContainsFunc(order, func(d Disk) bool { return d.Label.GivenUp == "" }) && len(order) > 0 {
		return order[0], true
	}
	return Disk{}, false
}

// twice finds two disks that carry the same membership: somebody copied a disk.
func twice(disks []Disk) []Disk {
	for i, a := range disks {
		for _, b := range disks[i+1:] {
			if a.Label.ID() == b.Label.ID() {
				return []Disk{a, b}
			}
		}
	}
	return nil
}
