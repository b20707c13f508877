package roles

import (
	"slices"
)

// Tell is what a server with these disks attests, before it has started anything. A server must be ready to tell this before it
// asks its peers: then of two that boot at the same moment at least one sees what the other holds.
func Tell(server, site string, disks []Disk) Attestation {
	a := Attestation{Server: server, Reachable: true}
	for _, d := range disks {
		switch {
		case d.Label != nil && d.Label.Site == site:
			a.Holds = append(a.Holds, HoldingOf(*d.Label))
		case d.Label == nil && d.LabelErr != "":
			a.Unreadable = append(a.Unreadable, d.Serial)
		}
	}
	return a
}

// HoldingOf is the holding that a label stands for.
func HoldingOf(l Label) Holding {
	return Holding{Set: l.Set, Member: l.ID(), Generation: l.Generation, Role: l.Role, Lineage: l.Head()}
}

// maxPending bounds how many starts that were cut off a server remembers of one set.
const maxPending = 16

// Remember notes in a server's memory that label l is about to be written to a set (Decision.NextLabel, or the outcome of Eject,
// Join and GiveUp). Make it durable, write the labels, then note with done that they are written, before the array starts. What was
// written last stays known until then, so that a start that was cut off neither hides it nor passes for one that happened; and
// starts that were cut off stay known until a lineage is written that contains them or gives them up, since their labels may be
// on a disk.
func Remember(seen []Holding, l Label, done bool) []Holding {
	h := HoldingOf(l)
	h.Member, h.Pending = "", !done
	if !done && slices.ContainsFunc(seen, func(o Holding) bool { return o.Set == h.Set && o.Lineage == h.Lineage }) {
		return slices.Clone(seen)
	}
	seen = slices.DeleteFunc(slices.Clone(seen), func(o Holding) bool {
		return o.Set == h.Set && done && (!o.Pending || l.knows(o.Lineage) || l.gaveUp(o.Lineage))
	})
	seen = append(seen, h)
	pending := func(o Holding) bool { return o.Set == h.Set && o.Pending }
	count := 0
	for _, o := range seen {
		if pending(o) {
			count++
		}
	}
	if count > maxPending { // one at a time is added, so one is too many
		i := slices.IndexFunc(seen, pending)
		seen = slices.Delete(seen, i, i+1)
	}
	return seen
}

// attested tells whether a start without the absent members may go ahead unasked, or what keeps it from that.
func attested(v View, l Label, absent []int) ([]Reason, bool) {
	if !v.Policy.StartAttested {
		return nil, false
	}
	var why []Reason
	for _, p := range v.Peers {
		switch {
		case !p.Reachable:
			why = append(why, reasonSilent(p.Server))
		case p.Booting:
			why = append(why, reasonBooting(p.Server))
		case len(p.Unreadable) > 0:
			why = append(why, reasonPeerUnreadable(p))
		}
		for _, h := range p.Holds {
			if i := l.slot(h.Member); h.Set == l.Set && slices.Contains(absent, i) {
				why = append(why, reasonHalf(l, i, p.Server))
			}
		}
	}
	// A lineage that anybody remembers and these disks do not know: the absent member may have gone on alone.
	if server, newer := remembered(v, l, absent); newer {
		why = append(why, reasonRemembered(v, server))
	}
	return why, len(why) == 0
}

// forbidden tells what, on other servers or in memory, keeps the set from starting here.
func forbidden(v View, l Label) []Reason {
	var why []Reason
	for _, p := range v.Peers {
		if !p.Reachable {
			continue
		}
		switch {
		case p.Set == l.Set && (p.Role != "" || p.Serving):
			why = append(why, reasonSetElsewhere(p.Server))
			continue
		case l.Role == Primary && p.Role == Primary:
			why = append(why, reasonPrimaryElsewhere(p.Server))
			continue
		}
		for _, h := range p.Holds {
			if r, no := holdingForbids(v, l, p.Server, h); no {
				why = append(why, r)
				break
			}
		}
	}
	if v.Order == nil && len(why) == 0 {
		if server, newer := remembered(v, l, nil); newer {
			why = append(why, reasonRemembered(v, server))
		}
	}
	return why
}

// holdingForbids tells whether a disk in another server keeps the set of label l from starting.
func holdingForbids(v View, l Label, server string, h Holding) (Reason, bool) {
	if h.Set != l.Set {
		if l.Role == Primary && h.Role == Primary && v.Order == nil {
			return reasonTwoPrimaries(server), true
		}
		return Reason{}, false
	}
	i := l.slot(h.Member)
	active := i >= 0 && l.Members[i].Ejected == 0
	known := l.knows(h.Lineage) || slices.Contains(l.Aside, h.Member+"@"+h.Lineage)
	if h.Lineage == "" { // a peer that does not tell lineages
		known = h.Generation < l.Generation || active && h.Generation == l.Generation
	}
	switch {
	case !known:
		return reasonNewerElsewhere(server), true
	case active && v.Order == nil:
		return reasonHalf(l, i, server), true
	}
	return Reason{}, false
}

// remembered tells whether this server or a peer remembers that the set went on beyond label l, and which. Without absent members
// a memory counts only if its labels are known to have been written; with absent ones, which may carry them, it counts anyway,
// unless it is of this very start, cut off.
func remembered(v View, l Label, absent []int) (string, bool) {
	mine := l.ejectAll(absent, make([]string, len(absent)), false).Head()
	beyond := func(h Holding) bool {
		switch {
		case h.Set != l.Set, h.Pending && len(absent) == 0:
			return false
		case h.Lineage == "":
			return h.Generation > l.Generation
		case l.knows(h.Lineage), h.Lineage == mine:
			return false
		}
		return !l.gaveUp(h.Lineage)
	}
	if slices.ContainsFunc(v.Seen, beyond) {
		return v.Server, true
	}
	for _, p := range v.Peers {
		if p.Reachable && slices.ContainsFunc(p.Seen, beyond) {
			return p.Server, true
		}
	}
	return "", false
}

// giveUp lists, for the label of an ordered start, the lineages that the order gives up: those that somebody remembers, and the
// whole past of the disks that are set aside. Else a server's memory of them would stop the next start again.
func giveUp(v View, l Label, aside []Disk) []string {
	var heads []string
	for _, d := range aside {
		heads = append(heads, d.Label.Lineage...)
	}
	seen := slices.Clone(v.Seen)
	for _, p := range v.Peers {
		seen = append(seen, p.Seen...)
	}
	for _, h := range seen {
		if h.Set == l.Set {
			heads = append(heads, h.Lineage)
		}
	}
	return l.strange(heads)
}
