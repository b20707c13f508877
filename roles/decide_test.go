package roles

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// set makes the disks of a whole set: bays from 1, devices by id.
func set(id string, level Level, n int, role Role) []Disk {
	l := Label{
		Version: LabelVersion, Site: "site-1", SiteName: "Miller Dental", Set: id, Array: "md-" + id, Role: role, Level: level,
		Generation: 5, Server: "left", Image: "1",
	}
	for i := range n {
		l.Members = append(l.Members, Member{ID: fmt.Sprintf("%s%d", id, i), Serial: fmt.Sprintf("S-%s%d", id, i), Model: "Disk"})
	}
	var ds []Disk
	for i := range n {
		own := l.For(i)
		ds = append(ds, Disk{Dev: "/dev/" + own.ID(), Bay: i + 1, Serial: l.Members[i].Serial, Label: &own, Array: l.Array})
	}
	return ds
}

// with changes a disk's label.
func with(d Disk, f func(*Label)) Disk {
	l := d.Label.clone()
	f(&l)
	d.Label = &l
	return d
}

// without makes the labels of ds record that the members in slots have left.
func without(ds []Disk, slots ...int) []Disk {
	var out []Disk
	for _, d := range ds {
		out = append(out, with(d, func(l *Label) {
			for _, s := range slots {
				*l = l.Eject(s, "pulled")
			}
		}))
	}
	return out
}

func missing(d Disk, slots ...int) Disk {
	d.Missing = slots
	return d
}

func devs(ds []Disk) string {
	var s []string
	for _, d := range ds {
		s = append(s, strings.TrimPrefix(d.Dev, "/dev/"))
	}
	return strings.Join(s, " ")
}

func peer(name string, disks ...Disk) Attestation { return Tell(name, "site-1", disks) }

func serving(name, set string, role Role, disks ...Disk) Attestation {
	a := peer(name, disks...)
	a.Set, a.Role, a.Serving = set, role, true
	return a
}

func TestDecide(t *testing.T) {
	p, s := set("p", RAID1, 2, Primary), set("s", RAID1, 2, Secondary)
	a, b := p[0], p[1]
	aAlone, bAlone := without(p[:1], 1)[0], without(p[1:], 0)[0]
	five, ten := set("v", RAID5, 3, Primary), set("x", RAID10, 4, Primary)
	blank := Disk{Dev: "/dev/blank", Bay: 4, Serial: "NEW", Blank: true}
	data := Disk{Dev: "/dev/data", Bay: 4, Serial: "USB", Content: "ntfs filesystem"}
	foreign := with(set("f", RAID1, 2, Primary)[0], func(l *Label) { l.Site, l.SiteName = "site-2", "Baker" })
	torn := Disk{Dev: "/dev/torn", Bay: 2, Serial: "S-p1", LabelErr: ErrTorn.Error()}
	corrupt := Disk{Dev: "/dev/corrupt", Bay: 2, Serial: "S-p1", LabelErr: ErrCorrupt.Error(), Array: "md-p"}
	future := Disk{Dev: "/dev/future", Bay: 3, LabelErr: (&FutureError{Version: 9}).Error()}
	off := Attestation{Server: "right"}
	attest := Policy{StartAttested: true}
	mem := func(l Label) []Holding { return Remember(nil, l, true) }
	memA, memB := mem(*aAlone.Label), mem(*bAlone.Label)
	higher := func(d Disk, g uint64) Disk { return with(d, func(l *Label) { l.Generation = g }) }

	tests := []struct {
		name  string
		view  View
		want  string // "start" with the devices, or "hold" with the first code
		stale string
		aside string
		eject []int
		note  string // code that must be among the reasons
	}{
		{name: "whole set", view: View{Disks: p}, want: "start p0 p1"},
		{name: "whole set in other bays", view: View{Disks: []Disk{b, a}}, want: "start p0 p1"},
		{name: "whole secondary", view: View{Disks: s}, want: "start s0 s1"},
		{name: "whole set, blank disk", view: View{Disks: append(slices.Clone(p), blank)}, want: "start p0 p1"},
		{name: "whole set, disk with other data", view: View{Disks: append(slices.Clone(p), data)}, want: "start p0 p1", note: CodeIgnored},
		{name: "power went between two label writes", view: View{Disks: []Disk{higher(a, 6), b}}, want: "start p0 p1"},
		{name: "power went between two label writes of an ejection", view: View{Disks: []Disk{without(five[:1], 2)[0], five[1]}}, want: "start v0 v1"},
		{name: "peer is secondary", view: View{Disks: p, Peers: []Attestation{serving("right", "s", Secondary, s...)}}, want: "start p0 p1"},
		{name: "peer is off", view: View{Disks: p, Peers: []Attestation{off}}, want: "start p0 p1"},

		{name: "degraded, recorded", view: View{Disks: []Disk{aAlone}, Peers: []Attestation{off}}, want: "start p0", note: CodeDegraded},
		{name: "degraded, recorded, stale member here", view: View{Disks: []Disk{aAlone, b}}, want: "start p0", stale: "p1", note: CodeStale},
		{name: "degraded, recorded, stale member at a peer", view: View{Disks: []Disk{aAlone}, Peers: []Attestation{peer("right", b)}}, want: "start p0"},
		{name: "the stale member alone", view: View{Disks: []Disk{b}, Peers: []Attestation{off}}, want: "hold member-absent"},
		{name: "the stale member, the set runs elsewhere", view: View{Disks: []Disk{b}, Peers: []Attestation{serving("right", "p", Primary, aAlone)}}, want: "hold half-elsewhere"},
		{name: "raid5 without one, recorded", view: View{Disks: without(five[:2], 2)}, want: "start v0 v1"},
		{name: "raid5 without one, not recorded", view: View{Disks: five[1:]}, want: "hold member-absent"},
		{name: "raid5 without two", view: View{Disks: without(five[:1], 2)}, want: "hold not-enough-members"},
		{name: "raid10 without one of each pair, recorded", view: View{Disks: without([]Disk{ten[0], ten[3]}, 1, 2)}, want: "start x0 x3"},
		{name: "raid10 without a pair, recorded", view: View{Disks: without(ten[:2], 2, 3)}, want: "hold not-enough-members"},

		{name: "absent, not recorded", view: View{Disks: p[:1]}, want: "hold member-absent"},
		{name: "absent, attested but policy forbids", view: View{Disks: p[:1], Peers: []Attestation{peer("right")}}, want: "hold member-absent"},
		{name: "absent, attested", view: View{Disks: p[:1], Policy: attest, Peers: []Attestation{peer("right")}}, want: "start p0", eject: []int{1}, note: CodeAttested},
		{name: "absent, one of two peers silent", view: View{Disks: p[:1], Policy: attest, Peers: []Attestation{peer("right"), {Server: "middle"}}}, want: "hold member-absent", note: CodeSilent},
		{name: "absent, peer has not read its disks", view: View{Disks: p[:1], Policy: attest, Peers: []Attestation{{Server: "right", Reachable: true, Booting: true}}}, want: "hold member-absent", note: CodeSilent},
		{name: "absent, peer has an unreadable disk", view: View{Disks: p[:1], Policy: attest, Peers: []Attestation{peer("right", corrupt)}}, want: "hold member-absent", note: CodeSilent},
		{name: "absent, attested, but it was last seen going on", view: View{Disks: []Disk{b}, Policy: attest, Peers: []Attestation{peer("right")}, Seen: memA}, want: "hold member-absent", note: CodeRemembered},
		{name: "absent, attested, but a peer saw it go on", view: View{Disks: []Disk{b}, Policy: attest, Peers: []Attestation{{Server: "right", Reachable: true, Seen: memA}}}, want: "hold member-absent", note: CodeRemembered},
		{name: "absent, attested start cut off before its label", view: View{Disks: []Disk{a}, Policy: attest, Peers: []Attestation{peer("right")}, Seen: Remember(nil, *aAlone.Label, false)}, want: "start p0", eject: []int{1}},

		{name: "half here, half at a peer", view: View{Disks: p[:1], Peers: []Attestation{peer("right", b)}}, want: "hold half-elsewhere"},
		{name: "half here, half at a peer, policy or not", view: View{Disks: p[:1], Policy: attest, Peers: []Attestation{peer("right", b)}}, want: "hold half-elsewhere"},
		{name: "recorded, but the other ran on alone at a peer", view: View{Disks: []Disk{aAlone}, Peers: []Attestation{peer("right", bAlone)}}, want: "hold newer-elsewhere"},
		{name: "recorded, an old peer tells generations only", view: View{Disks: []Disk{aAlone}, Peers: []Attestation{{Server: "right", Reachable: true, Holds: []Holding{{Set: "p", Member: "p1", Generation: 5}}}}}, want: "start p0"},
		{name: "recorded, an old peer tells a newer generation", view: View{Disks: []Disk{aAlone}, Peers: []Attestation{{Server: "right", Reachable: true, Holds: []Holding{{Set: "p", Member: "p1", Generation: 9}}}}}, want: "hold newer-elsewhere"},
		{name: "recorded, but another disk of it ran here since", view: View{Disks: []Disk{aAlone}, Seen: memB}, want: "hold newer-remembered"},
		{name: "recorded, a start that was cut off is remembered", view: View{Disks: p, Seen: Remember(nil, *aAlone.Label, false)}, want: "start p0 p1"},

		{name: "both halves ran alone", view: View{Disks: []Disk{aAlone, bAlone}}, want: "hold diverged"},
		{name: "both halves ran alone, one far ahead", view: View{Disks: []Disk{higher(aAlone, 100), bAlone}}, want: "hold diverged"},
		{name: "md says that both ran alone", view: View{Disks: []Disk{missing(a, 1), missing(b, 0)}}, want: "hold diverged"},
		{name: "md says that the stale one ran alone", view: View{Disks: []Disk{aAlone, missing(b, 0)}}, want: "hold diverged"},
		{name: "one dropped out, power went before the record", view: View{Disks: []Disk{missing(a, 1), b}}, want: "start p0", stale: "p1", eject: []int{1}, note: CodeBehind},
		{name: "the one that went on, alone", view: View{Disks: []Disk{missing(a, 1)}}, want: "hold member-absent"},
		{name: "superblock of one is gone", view: View{Disks: []Disk{a, func() Disk { d := b; d.Array = ""; return d }()}}, want: "start p0", stale: "p1", eject: []int{1}},
		{name: "superblock of another array", view: View{Disks: []Disk{a, func() Disk { d := b; d.Array = "md-z"; return d }()}}, want: "hold array-mismatch"},
		{name: "only the disk that was being rebuilt", view: View{Disks: []Disk{func() Disk { d := bAlone; d.Recovering = true; return d }()}}, want: "hold not-enough-members"},
		{name: "only a disk whose rebuild was not recorded as done", view: View{Disks: []Disk{with(b, func(l *Label) { *l = l.Eject(1, "not yet rebuilt") })}}, want: "hold not-enough-members"},
		{name: "a disk whose rebuild was not recorded as done, beside the good one", view: View{Disks: []Disk{aAlone, with(b, func(l *Label) { *l = l.Eject(1, "not yet rebuilt") })}}, want: "start p0", stale: "p1"},
		{name: "rebuild goes on after a boot", view: View{Disks: []Disk{a, func() Disk { d := b; d.Recovering = true; return d }()}}, want: "start p0 p1"},
		{name: "a copy of a disk", view: View{Disks: []Disk{a, func() Disk { d := a; d.Dev, d.Bay = "/dev/copy", 2; return d }()}}, want: "hold copied-disk"},

		{name: "two sets mixed", view: View{Disks: []Disk{p[0], s[1]}}, want: "hold mixed-sets"},
		{name: "a whole set and half of another", view: View{Disks: []Disk{p[0], p[1], s[1]}}, want: "hold mixed-sets"},
		{name: "two whole sets", view: View{Disks: append(slices.Clone(p), s...)}, want: "hold two-sets"},
		{name: "foreign", view: View{Disks: []Disk{foreign}}, want: "hold foreign-site"},
		{name: "foreign beside a whole set", view: View{Disks: append(slices.Clone(p), foreign)}, want: "hold foreign-site"},
		{name: "blank disks only", view: View{Disks: []Disk{blank}}, want: "hold no-set"},
		{name: "other data only", view: View{Disks: []Disk{data}}, want: "hold no-set"},
		{name: "no disks", view: View{}, want: "hold no-disks"},
		{name: "no site", view: View{Site: "-", Disks: p}, want: "hold no-site"},
		{name: "torn label only", view: View{Disks: []Disk{torn}}, want: "hold label-unreadable"},
		{name: "torn label beside a set that lost it", view: View{Disks: []Disk{aAlone, torn}}, want: "start p0", stale: "torn"},
		{name: "corrupt label only", view: View{Disks: []Disk{corrupt}}, want: "hold label-unreadable"},
		{name: "corrupt label of an absent member", view: View{Disks: []Disk{a, corrupt}}, want: "hold label-unreadable"},
		{name: "corrupt label of a member that had left", view: View{Disks: []Disk{aAlone, corrupt}}, want: "start p0", note: CodeIgnored},
		{name: "label of the future", view: View{Disks: append(slices.Clone(p), future)}, want: "hold label-future"},

		{name: "another primary serves", view: View{Disks: p, Peers: []Attestation{serving("right", "q", Primary)}}, want: "hold primary-elsewhere"},
		{name: "a secondary does not care", view: View{Disks: s, Peers: []Attestation{serving("right", "p", Primary, p...)}}, want: "start s0 s1"},
		{name: "another primary set at a peer", view: View{Disks: p, Peers: []Attestation{peer("right", set("q", RAID1, 2, Primary)...)}}, want: "hold two-primary-sets"},

		{name: "order: one half", view: View{Disks: p[:1], Order: &Order{Set: "p", Members: []string{"p0"}}}, want: "start p0", eject: []int{1}, note: CodeOrdered},
		{name: "order: by serial", view: View{Disks: p[:1], Order: &Order{Set: "p", Members: []string{"S-p0"}}}, want: "start p0", eject: []int{1}},
		{name: "order: one of two that ran apart", view: View{Disks: []Disk{aAlone, bAlone}, Order: &Order{Set: "p", Members: []string{"p1"}}}, want: "start p1", aside: "p0"},
		{name: "order: both of two that ran apart", view: View{Disks: []Disk{aAlone, bAlone}, Order: &Order{Set: "p", Members: []string{"p0", "p1"}}}, want: "hold diverged"},
		{name: "order: the stale one", view: View{Disks: []Disk{aAlone, b}, Order: &Order{Set: "p", Members: []string{"p1"}}}, want: "start p1", aside: "p0", eject: []int{0}},
		{name: "order: with the stale one", view: View{Disks: []Disk{aAlone, b}, Order: &Order{Set: "p", Members: []string{"p0", "p1"}}}, want: "hold order-impossible"},
		{name: "order: without the stale one", view: View{Disks: []Disk{aAlone, b}, Order: &Order{Set: "p", Members: []string{"p0"}}}, want: "start p0", stale: "p1"},
		{name: "order: one of two sets", view: View{Disks: append(slices.Clone(p), s...), Order: &Order{Set: "s", Members: []string{"s0", "s1"}}}, want: "start s0 s1", note: CodeIgnored},
		{name: "order: set not here", view: View{Disks: p, Order: &Order{Set: "s", Members: []string{"s0"}}}, want: "hold order-impossible"},
		{name: "order: member not here", view: View{Disks: p[:1], Order: &Order{Set: "p", Members: []string{"p1"}}}, want: "hold order-impossible"},
		{name: "order: no members", view: View{Disks: p, Order: &Order{Set: "p"}}, want: "hold order-impossible"},
		{name: "order: too few", view: View{Disks: five, Order: &Order{Set: "v", Members: []string{"v0"}}}, want: "hold not-enough-members"},
		{name: "order: beside a serving primary", view: View{Disks: p, Peers: []Attestation{serving("right", "q", Primary)}, Order: &Order{Set: "p", Members: []string{"p0", "p1"}}}, want: "hold primary-elsewhere"},
		{name: "order: the other half is at a peer", view: View{Disks: p[:1], Peers: []Attestation{peer("right", b)}, Order: &Order{Set: "p", Members: []string{"p0"}}}, want: "start p0", eject: []int{1}},
		{name: "order: a newer half is at a peer", view: View{Disks: []Disk{b}, Peers: []Attestation{peer("right", aAlone)}, Order: &Order{Set: "p", Members: []string{"p1"}}}, want: "hold newer-elsewhere"},
		{name: "order: in spite of memory", view: View{Disks: []Disk{aAlone}, Seen: memB, Order: &Order{Set: "p", Members: []string{"p0"}}}, want: "start p0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			switch tt.view.Site {
			case "":
				tt.view.Site = "site-1"
			case "-":
				tt.view.Site = ""
			}
			tt.view.Server = "left"
			d := Decide(tt.view)
			got := string(d.Action) + " " + devs(d.Members)
			if d.Action == Hold {
				got = "hold " + d.Reasons[0].Code
			}
			if got != tt.want {
				t.Fatalf("Decide = %s; want %s\n%+v", got, tt.want, d.Reasons)
			}
			if devs(d.Stale) != tt.stale || devs(d.Aside) != tt.aside {
				t.Errorf("stale %q, aside %q; want %q, %q", devs(d.Stale), devs(d.Aside), tt.stale, tt.aside)
			}
			if diff := cmp.Diff(tt.eject, d.Eject); diff != "" {
				t.Errorf("eject (-want +got):\n%s", diff)
			}
			if tt.note != "" && !slices.ContainsFunc(d.Reasons, func(r Reason) bool { return r.Code == tt.note }) {
				t.Errorf("no reason %s in %+v", tt.note, d.Reasons)
			}
			checkDecision(t, tt.view, d)
		})
	}
}

// checkDecision checks what holds of every decision.
func checkDecision(t *testing.T, v View, d Decision) {
	t.Helper()
	for _, r := range d.Reasons {
		if r.Code == "" || r.Text == "" {
			t.Errorf("reason without code or text: %+v", r)
		}
		if d.Action == Hold && r.Next == "" {
			t.Errorf("hold without a next step: %+v", r)
		}
	}
	writes := d.Labels("left", "2", time.Unix(1, 0))
	if d.Action == Hold {
		if len(d.Reasons) == 0 || len(d.Members)+len(d.Stale)+len(d.Aside)+len(d.Eject)+len(writes) > 0 {
			t.Errorf("hold = %+v", d)
		}
		return
	}
	if d.Label == nil || len(d.Members) == 0 || d.Set != d.Label.Set || d.Role != d.Label.Role {
		t.Fatalf("start = %+v", d)
	}
	for _, w := range writes {
		if err := w.Label.Validate(); err != nil {
			t.Errorf("would write to %s: %v", w.Disk.Dev, err)
		}
		if w.Disk.Label.Set != d.Set {
			t.Errorf("would write to %s of set %s", w.Disk.Dev, w.Disk.Label.Set)
		}
		if w.Label.ID() != w.Disk.Label.ID() {
			t.Errorf("would make %s of %s", w.Label.ID(), w.Disk.Label.ID())
		}
	}
	if len(v.Peers) > 0 || len(v.Seen) > 0 {
		return
	}
	// After that start and a power cut, the same disks start again, unasked, with the same members.
	after := v
	after.Order = nil
	after.Disks = slices.Clone(v.Disks)
	for i := range after.Disks {
		for _, w := range writes {
			if after.Disks[i].Dev == w.Disk.Dev {
				after.Disks[i].Label = &w.Label
			}
		}
	}
	if again := Decide(after); again.Action != Start && !others(v, d.Set) || again.Action == Start && devs(again.Members) != devs(d.Members) {
		t.Errorf("second start = %s %s %+v; want the same as the first", again.Action, devs(again.Members), again.Reasons)
	}
}

// others tells whether disks of other sets are here, between which an order has chosen.
func others(v View, set string) bool {
	return slices.ContainsFunc(v.Disks, func(d Disk) bool { return d.Label != nil && d.Label.Set != set })
}

// After an order, disks that were given up stay where they are and do not start anywhere by themselves.
func TestOrderSettles(t *testing.T) {
	p := set("p", RAID1, 2, Primary)
	a, b := without(p[:1], 1)[0], without(p[1:], 0)[0]
	v := View{Site: "site-1", Server: "left", Disks: []Disk{a, b}, Order: &Order{Set: "p", Members: []string{"p0"}}}
	d := Decide(v)
	unmarked, before := b, a.Label.Head()
	for _, w := range d.Labels("left", "1", time.Unix(0, 0)) {
		if w.Disk.Dev == a.Dev {
			a.Label = &w.Label
		} else {
			b.Label = &w.Label
		}
	}
	if d := Decide(View{Site: "site-1", Disks: []Disk{b}}); d.Action != Hold || d.Reasons[0].Code != CodeGivenUp {
		t.Errorf("given-up disk alone: %s %+v", d.Action, d.Reasons)
	}
	for _, x := range []Disk{b, unmarked} { // the mark may not have reached the disk
		if got := a.Label.Judge(x); got != SetAside {
			t.Errorf("Judge = %s; want aside", got)
		}
	}
	if a.Label.Head() == before {
		t.Error("an order did not rename the lineage: what was given up before it and written after it look the same")
	}
	if d := Decide(View{Site: "site-1", Disks: []Disk{b}, Order: &Order{Set: "p", Members: []string{"p1"}}}); d.Action != Start || d.Labels("x", "1", time.Unix(0, 0))[0].Label.GivenUp != "" {
		t.Errorf("given-up disk by order: %s %+v", d.Action, d.Reasons)
	}
}
