package roles

import (
	"slices"
)

// Decide tells whether the server may start a disk set, and with which disks. It is pure. A Hold has at least one reason, and
// nothing may be written to any disk while it stands.
func Decide(v View) Decision {
	s := sortDisks(v)
	if len(s.future) > 0 {
		return hold(reasonFuture(s.future))
	}
	if v.Site == "" {
		return hold(reasonNoSite())
	}
	set, d, ok := choose(v, s)
	if !ok {
		return d
	}
	return assemble(v, s, set)
}

// sorted is the disks by what they are.
type sorted struct {
	sets    []diskSet // of this site, in the order of their first disk
	foreign []Disk    // labels of another site
	bad     []Disk    // label partition without a readable label
	future  []Disk    // label newer than this image
	halfway []Disk    // of bad: a label was never finished and there is no array on it, so there is nothing on it
	other   []Disk    // no label partition, not blank
	blank   []Disk
}

// diskSet is the disks of one set.
type diskSet struct {
	id    string
	disks []Disk
}

func sortDisks(v View) sorted {
	var s sorted
	for _, d := range v.Disks {
		switch {
		case d.Label != nil && d.Label.Version > LabelVersion:
			s.future = append(s.future, d)
		case d.Label != nil && d.Label.Validate() != nil:
			d.LabelErr = d.Label.Validate().Error()
			s.bad = append(s.bad, d)
		case d.Label != nil && d.Label.Site != v.Site:
			s.foreign = append(s.foreign, d)
		case d.Label != nil:
			i := slices.IndexFunc(s.sets, func(t diskSet) bool { return t.id == d.Label.Set })
			if i < 0 {
				s.sets = append(s.sets, diskSet{id: d.Label.Set})
				i = len(s.sets) - 1
			}
			s.sets[i].disks = append(s.sets[i].disks, d)
		case isFuture(d.LabelErr):
			s.future = append(s.future, d)
		case d.LabelErr != "":
			s.bad = append(s.bad, d)
			if d.Array == "" && (d.LabelErr == ErrNone.Error() || d.LabelErr == ErrTorn.Error()) {
				s.halfway = append(s.halfway, d)
			}
		case d.Blank:
			s.blank = append(s.blank, d)
		default:
			s.other = append(s.other, d)
		}
	}
	return s
}

// choose finds the one set that this start is about.
func choose(v View, s sorted) (diskSet, Decision, bool) {
	if v.Order != nil {
		for _, t := range s.sets {
			if t.id == v.Order.Set {
				return t, Decision{}, true
			}
		}
		return diskSet{}, hold(reasonOrderSet(v, s)), false
	}
	switch {
	case len(s.sets) == 0 && len(s.foreign) > 0:
		return diskSet{}, hold(reasonForeign(s.foreign, false)), false
	case len(s.sets) == 0 && len(s.bad) > 0:
		return diskSet{}, hold(reasonUnreadable(s.bad)), false
	case len(s.sets) == 0 && len(v.Disks) == 0:
		return diskSet{}, hold(reasonNoDisks()), false
	case len(s.sets) == 0:
		return diskSet{}, hold(reasonNoSet(s)), false
	case len(s.foreign) > 0:
		return diskSet{}, hold(reasonForeign(s.foreign, true)), false
	case len(s.sets) > 1:
		whole := 0
		for _, t := range s.sets {
			if complete(t) {
				whole++
			}
		}
		if whole > 1 {
			return diskSet{}, hold(reasonTwoSets(s.sets)), false
		}
		return diskSet{}, hold(reasonMixed(s.sets)), false
	}
	return s.sets[0], Decision{}, true
}

// complete tells whether nothing but the other set in the server keeps t from starting.
func complete(t diskSet) bool {
	r := resolve(t.disks)
	return r.ok && len(r.absent) == 0
}

// assemble decides about one set.
func assemble(v View, s sorted, t diskSet) Decision {
	candidates := t.disks
	if v.Order != nil {
		if twin := twice(t.disks); len(twin) > 0 {
			return hold(reasonCopies(twin))
		}
		var missing []string
		if candidates, missing = ordered(t.disks, v.Order.Members); len(missing) > 0 || len(candidates) == 0 {
			return hold(reasonOrderMembers(t, missing))
		}
	}
	r := resolve(candidates)
	if !r.ok {
		return hold(append(r.why, elsewhere(v, r)...)...)
	}
	if v.Order != nil {
		if d, ok := leftOut(candidates, r); ok {
			return hold(reasonOrderMix(d))
		}
	}
	l := r.label
	d := Decision{Action: Start, Role: l.Role, Set: l.Set, Label: &l, Members: r.members, Stale: r.stale}
	d.Stale = append(d.Stale, s.halfway...)

	// Members that are here and fell behind without a record: they leave now, and are rebuilt.
	for _, e := range r.behind {
		d.Eject, d.EjectWhy = append(d.Eject, e.slot), append(d.EjectWhy, e.why)
		d.Reasons = append(d.Reasons, reasonBehind(e.disk, e.why))
		d.Stale = append(d.Stale, e.disk)
	}
	d.Aside = r.aside
	if v.Order != nil {
		orderedOut(v, &d, t, r)
	} else if len(r.absent) > 0 {
		if why, may := attested(v, l, r.absent); !may {
			return hold(append(reasonAbsent(v, s, l, r), why...)...)
		}
		for _, i := range r.absent {
			d.Eject, d.EjectWhy = append(d.Eject, i), append(d.EjectWhy, "absent at the start on "+v.Server+"; no other server holds it")
		}
		d.Reasons = append(d.Reasons, reasonAttested(l, r.absent))
	}
	if why := forbidden(v, l); len(why) > 0 {
		return hold(why...)
	}
	sortEject(&d)
	d.Degraded = len(d.Members) < len(l.Members)
	d.Reasons = append(d.Reasons, notes(d, s)...)
	return d
}

// elsewhere adds, to a set that lacks members, who holds them.
func elsewhere(v View, r resolved) []Reason {
	var why []Reason
	for _, i := range r.absent {
		if p := holder(v, r.label, i); p != "" {
			why = append(why, reasonHalf(r.label, i, p))
		}
	}
	return why
}

// leftOut finds a disk that an order names although it does not belong together with the others named.
func leftOut(candidates []Disk, r resolved) (Disk, bool) {
	for _, c := range candidates {
		same := func(d Disk) bool { return d.Label.ID() == c.Label.ID() }
		if !slices.ContainsFunc(r.members, same) && !slices.ContainsFunc(r.behind, func(b behind) bool { return same(b.disk) }) {
			return c, true
		}
	}
	return Disk{}, false
}

// ordered picks the disks that an order names, by member id or serial. That one was set aside before does not matter any more.
func ordered(disks []Disk, members []string) (picked []Disk, missing []string) {
	for _, m := range members {
		i := slices.IndexFunc(disks, func(d Disk) bool { return d.Label.ID() == m })
		if i < 0 {
			i = slices.IndexFunc(disks, func(d Disk) bool { return d.Serial != "" && d.Serial == m })
		}
		switch {
		case i < 0:
			missing = append(missing, m)
		case !slices.ContainsFunc(picked, func(d Disk) bool { return d.Label.ID() == disks[i].Label.ID() }):
			d := disks[i]
			l := d.Label.clone()
			l.GivenUp = ""
			d.Label = &l
			picked = append(picked, d)
		}
	}
	return picked, missing
}

// orderedOut records what an order leaves out: absent members leave; disks of the set that are here and were not stale before
// are set aside, never offered for wiping.
func orderedOut(v View, d *Decision, t diskSet, r resolved) {
	for _, i := range r.absent {
		d.Eject, d.EjectWhy = append(d.Eject, i), append(d.EjectWhy, "left out by an operator's order")
	}
	for _, o := range t.disks {
		same := func(x Disk) bool { return x.Label != nil && x.Label.ID() == o.Label.ID() }
		switch {
		case slices.ContainsFunc(d.Members, same), slices.ContainsFunc(d.Stale, same), slices.ContainsFunc(d.Aside, same):
		case r.label.Judge(o) == Stale:
			d.Stale = append(d.Stale, o)
		default:
			d.Aside = append(d.Aside, o)
		}
	}
	d.Label.Aside = append(slices.Clone(d.Label.Aside), giveUp(v, *d.Label, d.Aside)...)
	d.Ordered = true
	d.Reasons = append(d.Reasons, reasonOrdered(*d))
}

// sortEject puts the slots in order, each with its reason.
func sortEject(d *Decision) {
	type e struct {
		slot int
		why  string
	}
	var all []e
	for n, i := range d.Eject {
		if !slices.ContainsFunc(all, func(x e) bool { return x.slot == i }) {
			all = append(all, e{i, d.EjectWhy[n]})
		}
	}
	slices.SortFunc(all, func(a, b e) int { return a.slot - b.slot })
	d.Eject, d.EjectWhy = nil, nil
	for _, x := range all {
		d.Eject, d.EjectWhy = append(d.Eject, x.slot), append(d.EjectWhy, x.why)
	}
}

func hold(reasons ...Reason) Decision {
	if len(reasons) == 0 {
		reasons = []Reason{reasonUnknown()}
	}
	return Decision{Action: Hold, Reasons: reasons}
}
