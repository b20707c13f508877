package roles

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxLineage bounds how many names of the past a label carries. A disk that has been away for longer is taken for a stranger to
// the set, and an operator is asked.
const maxLineage = 512

// Head is the name of the stretch of its life that the set is in, as this label knows it.
func (l Label) Head() string {
	if len(l.Lineage) > 0 {
		return l.Lineage[0]
	}
	return name("made", l.Set)
}

// knows tells whether everything that was written under the name head is also in l's lineage.
func (l Label) knows(head string) bool {
	if head == l.Head() || slices.Contains(l.Lineage, head) {
		return true
	}
	return len(l.Lineage) < maxLineage && head == name("made", l.Set)
}

// name derives a lineage's name. It needs no chance: two sides of a set that run apart have no active member in common, so that
// their names differ.
func name(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (l Label) clone() Label {
	l.Members = slices.Clone(l.Members)
	l.Lineage = slices.Clone(l.Lineage)
	l.Aside = slices.Clone(l.Aside)
	return l
}

// Active lists the slots of the members that have not left.
func (l Label) Active() []int {
	var a []int
	for i, m := range l.Members {
		if m.Ejected == 0 {
			a = append(a, i)
		}
	}
	return a
}

// ID is the membership of the disk that carries this copy.
func (l Label) ID() string {
	if l.Self < 0 || l.Self >= len(l.Members) {
		return ""
	}
	return l.Members[l.Self].ID
}

// slot finds a member by id; -1 if it is none (any more).
func (l Label) slot(id string) int {
	return slices.IndexFunc(l.Members, func(m Member) bool { return m.ID == id })
}

// For returns the label as the member in slot self carries it.
func (l Label) For(self int) Label {
	l = l.clone()
	l.Self = self
	return l
}

// Eject records that member i has left, for the labels of those that stay: next generation, new lineage. Ejecting one that has
// left already, or the last active one (md does not lose that), changes nothing.
func (l Label) Eject(i int, reason string) Label {
	return l.ejectAll([]int{i}, []string{reason}, false)
}

// ejectAll lets several members leave in one step. By an order the lineage is renamed even if nobody leaves: what was given up
// for or before the order must not be taken for what was written after it.
func (l Label) ejectAll(slots []int, reasons []string, order bool) Label {
	l = l.clone()
	head, left := l.Head(), order
	for n, i := range slots {
		if i < 0 || i >= len(l.Members) || l.Members[i].Ejected != 0 || len(l.Active()) < 2 {
			continue
		}
		l.Members[i].Ejected, l.Members[i].Reason = l.Generation+1, reasons[n]
		left = true
	}
	if !left {
		return l
	}
	l.Generation++
	parts := []string{head, fmt.Sprint(l.Generation)}
	for _, a := range l.Active() {
		parts = append(parts, l.Members[a].ID)
	}
	l.Lineage = slices.Insert(l.Lineage, 0, name(parts...))
	if len(l.Lineage) > maxLineage {
		l.Lineage = l.Lineage[:maxLineage]
	}
	return l
}

// Join records that disk d becomes the member in slot i, under the new membership id (a fresh UUID). Write the label of the
// joining disk first, then add it to the array, then write the labels of the others: cut off anywhere in between, the next start
// either goes on with the disk or offers it as stale.
func (l Label) Join(i int, d Disk, id string) Label {
	l = l.clone()
	if i < 0 || i >= len(l.Members) {
		return l
	}
	l.Generation++
	l.Members[i] = Member{ID: id, Serial: d.Serial, Model: d.Model, Size: d.Size}
	l.GivenUp = ""
	return l
}

// GiveUp records that a person has had disk d wiped although it holds data that the set lacks, so that no server's memory of that
// data holds the set later. Write it to the members before wiping d; then Join. For a blank, stale or foreign disk it changes nothing.
func (l Label) GiveUp(d Disk) Label {
	if d.Label == nil || d.Label.Set != l.Set {
		return l
	}
	n := l.clone()
	// That the lineage was given up is recorded for good, that it was this disk's is not: the disk becomes another.
	n.Aside = slices.DeleteFunc(n.Aside, func(k string) bool { return k == asideKey(*d.Label) })
	n.Aside = append(n.Aside, n.strange(d.Label.Lineage)...)
	if len(n.Aside) == len(l.Aside) && n.knows(d.Label.Head()) {
		return l
	}
	n.Generation++
	return n
}

// gaveUp tells whether an order gave up the lineage head, on whichever disk.
func (l Label) gaveUp(head string) bool {
	return slices.ContainsFunc(l.Aside, func(k string) bool { return strings.HasSuffix(k, "@"+head) })
}

// strange lists, as entries for Aside, the lineages that l neither contains nor has given up.
func (l Label) strange(heads []string) []string {
	var keys []string
	for _, h := range heads {
		k := "*@" + h
		if h != "" && !l.knows(h) && !slices.Contains(l.Aside, k) && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Boot records the first mount of a boot: who starts the set.
func (l Label) Boot(server, image string, now time.Time) Label {
	l = l.clone()
	l.Version = LabelVersion
	l.Generation++
	l.Server, l.Image, l.Written = server, image, now.UTC()
	l.GivenUp = ""
	return l
}

func asideKey(l Label) string { return l.ID() + "@" + l.Head() }

// Standing is what a disk is to a set.
type Standing string

// Standings.
const (
	Current  Standing = "current"  // active member: belongs into the array
	Stale    Standing = "stale"    // was a member and holds nothing that the set lacks: may be wiped and rebuilt
	Newer    Standing = "newer"    // it went on after this label was written: this label is the old one
	Diverged Standing = "diverged" // it ran on its own: it has data that the set lacks, and lacks data that the set has
	SetAside Standing = "aside"    // diverged, and an operator's order gave its data up; not to be wiped unasked
	Stranger Standing = "stranger" // no readable label, or one of another set or site
)

// Judge tells what disk d is to the set of label l, which is the newest of its lineage. It looks at names of lineages, never at
// counters alone: a disk that ran on its own has a name that l does not know, however high or low its generation.
func (l Label) Judge(d Disk) Standing {
	o := d.Label
	if o == nil || o.Set != l.Set || o.Site != l.Site {
		return Stranger
	}
	if slices.Contains(l.Aside, asideKey(*o)) || o.GivenUp != "" {
		return SetAside
	}
	if !l.knows(o.Head()) {
		if o.knows(l.Head()) {
			return Newer
		}
		return Diverged
	}
	if i := l.slot(o.ID()); i >= 0 && l.Members[i].Ejected == 0 {
		return Current
	}
	// It left, says the label. If its own superblock says that it ran on without a member that its own label still counts in, it
	// wrote data that no label tells of.
	for _, s := range d.Missing {
		if s >= 0 && s < len(o.Members) && s < len(l.Members) && o.Members[s].Ejected == 0 && l.Members[s].Ejected == 0 {
			return Diverged
		}
	}
	return Stale
}

// LabelWrite is one label to be written to one disk.
type LabelWrite struct {
	Disk  Disk
	Label Label
}

// Labels tells what to write, in this order, before md is asked to start the array of a Start decision: first the mark on disks that
// an operator's order gives up, so that at no moment both sides could start by themselves; then the members' labels, with what
// left recorded and the generation counted up.
func (d Decision) Labels(server, image string, now time.Time) []LabelWrite {
	if d.Action != Start || d.Label == nil {
		return nil
	}
	l := d.Label.clone()
	for _, a := range d.Aside {
		if a.Label == nil {
			continue
		}
		l.Generation = max(l.Generation, a.Label.Generation)
		if k := asideKey(*a.Label); !slices.Contains(l.Aside, k) {
			l.Aside = append(l.Aside, k)
		}
	}
	if n := len(l.Aside) - maxLineage; n > 0 {
		l.Aside = l.Aside[n:]
	}
	why := slices.Clone(d.EjectWhy)
	for len(why) < len(d.Eject) {
		why = append(why, "absent when the set was started")
	}
	l = l.ejectAll(d.Eject, why, d.Ordered).Boot(server, image, now)
	var w []LabelWrite
	for _, a := range d.Aside {
		if a.Label != nil && a.Label.GivenUp == "" {
			g := a.Label.clone()
			g.GivenUp = l.Head()
			w = append(w, LabelWrite{Disk: a, Label: g})
		}
	}
	for _, m := range d.Members {
		if m.Label == nil {
			continue
		}
		if i := l.slot(m.Label.ID()); i >= 0 {
			w = append(w, LabelWrite{Disk: m, Label: l.For(i)})
		}
	}
	return w
}

// NextLabel is the label that a Start decision leads to, as its first member carries it: for the server's memory (Remember).
func (d Decision) NextLabel(server, image string, now time.Time) (Label, bool) {
	w := d.Labels(server, image, now)
	if len(w) == 0 {
		return Label{}, false
	}
	return w[len(w)-1].Label, true
}
