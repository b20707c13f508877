package roles

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// next is one move and what it leads to.
type next struct {
	move string
	m    model
}

// moves lists everything that can happen to a site in one step. bad tells what must never happen and did.
func (w *world) moves(m *model) (all []next, bad string) {
	fail := func(move, format string, args ...any) {
		if bad == "" {
			bad = move + ": " + fmt.Sprintf(format, args...)
		}
	}
	add := func(move string, n model) { all = append(all, next{move, n}) }

	n := *m
	n.netDown = !m.netDown
	add(fmt.Sprintf("network down %v", n.netDown), n)
	for i := range w.servers {
		s := &m.servers[i]
		if s.on {
			n := *m
			n.stop(i)
			n.servers[i].on = false
			add("off "+serverName(i), n)
		}
		if s.run == none {
			w.boots(m, i, add, fail)
			w.races(m, i, add, fail)
		}
	}
	w.handle(m, add)
	w.running(m, add, fail)
	return all, bad
}

type (
	adding  func(move string, n model)
	failing func(move, format string, args ...any)
)

// boots are the boots of one server, whole and cut off, and an operator's orders after it holds.
func (w *world) boots(m *model, i int, add adding, fail failing) {
	d := w.decide(m, i, nil, none)
	move := "boot " + serverName(i)
	if d.Action == Hold {
		if h := w.healthy(m, i); h != "" {
			fail(move, "holds although %s: %v", h, d.Reasons)
		}
		if !m.servers[i].on {
			n := *m
			n.servers[i].on = true
			add(move+" (holds: "+d.Reasons[0].Code+")", n)
		} else {
			w.order(m, i, add, fail)
		}
		return
	}
	w.started(m, i, d, false, move, add, fail)
	for cut := range len(d.Labels("", "", time.Time{})) + 2 {
		n := *m
		w.start(&n, i, d, cut)
		cutMove := fmt.Sprintf("%s, cut after %d labels", move, cut)
		if again := w.decide(&n, i, nil, none); again.Action != Start {
			fail(cutMove, "does not start again: %v", again.Reasons)
		}
		add(cutMove, n)
	}
}

// order tries every order at a server that holds. The operator does as the screen says: with the network down, he looks that no
// other server runs.
func (w *world) order(m *model, i int, add adding, fail failing) {
	if !w.orders {
		return
	}
	for j := range w.servers {
		if m.netDown && j != i && m.servers[j].run != none {
			return
		}
	}
	here := w.here(m, i)
	for set := range w.sets {
		var ids []string
		for _, d := range here {
			if d.Label != nil && d.Label.Set == setID(int8(set)) {
				ids = append(ids, d.Label.ID())
			}
		}
		for pick := 1; pick < 1<<len(ids); pick++ {
			o := &Order{Set: setID(int8(set))}
			for n, id := range ids {
				if pick&(1<<n) != 0 {
					o.Members = append(o.Members, id)
				}
			}
			d := w.decide(m, i, o, none)
			if d.Action != Start {
				continue
			}
			move := fmt.Sprintf("order %s to start %s with %v", serverName(i), o.Set, o.Members)
			w.started(m, i, d, true, move, add, fail)
			writes := len(d.Labels("", "", time.Time{}))
			for cut := range writes + 2 {
				n := *m
				w.start(&n, i, d, cut)
				if cut > writes-len(d.Members) { // from here on the order stands
					w.giveUp(&n, set, m, d)
				}
				add(fmt.Sprintf("%s, cut after %d labels", move, cut), n)
			}
		}
	}
}

// started adds the whole start and checks all that a start promises.
func (w *world) started(m *model, i int, d Decision, ordered bool, move string, add adding, fail failing) {
	set := setNo(d)
	n := *m
	w.start(&n, i, d, none)

	data := ^uint64(0)
	synced := 0
	for _, x := range d.Members {
		k := &m.disks[diskNo(x)]
		if int(k.loc) != i || int(k.set) != set {
			fail(move, "writes to %s, which is not of the chosen set", x.Dev)
		}
		if k.recovering {
			continue
		}
		if synced++; synced > 1 && k.data != data {
			fail(move, "assembles disks with different data")
		}
		data = k.data
	}
	if synced == 0 {
		fail(move, "starts without a disk that holds all data")
	}
	for _, x := range d.Stale {
		k := &m.disks[diskNo(x)]
		if x.Label != nil && int(k.set) != set {
			fail(move, "offers %s of another set for wiping", x.Dev)
		}
		if k.data&^data != 0 {
			fail(move, "offers %s for wiping, which alone holds writes", x.Dev)
		}
	}
	for _, x := range d.Aside {
		if !ordered && d.Label.Judge(x) != SetAside {
			fail(move, "sets %s aside without an order", x.Dev)
		}
	}
	for k := range w.disks {
		if x := &m.disks[k]; !ordered && int(x.loc) == i && x.label != nil && int(x.set) != set {
			fail(move, "starts although D%d of another set is here", k)
		}
	}
	for j := range w.servers {
		r := m.servers[j].run
		if j == i || r == none || (int(r) != set && (w.roles[r] != Primary || w.roles[set] != Primary)) {
			continue
		}
		if !m.netDown || (int(r) == set && !m.forked[set]) {
			fail(move, "runs beside %s", serverName(j))
		}
	}
	if lost := m.acked[set] &^ data; !ordered && lost != 0 {
		w.lost(m, i, d, set, lost, move, fail)
	}
	if ordered {
		w.giveUp(&n, set, m, d)
	}
	add(move, n)
}

// lost judges an unordered start that lacks acknowledged writes. Only two ways lead there, and both are said on the screen: an
// operator's order left out of sight a disk that can start by itself, and no server that is reachable ever ran what the order did
// not give up; or the policy allows starts by attestation, and power went between a member's loss and its record.
func (w *world) lost(m *model, i int, d Decision, set int, lost uint64, move string, fail failing) {
	if w.policy.StartAttested && lost&^m.window[set] == 0 {
		return
	}
	for n := range m.writes[set] {
		in := w.word(m.ranIn[set][n])
		given := slices.ContainsFunc(d.Label.Aside, func(k string) bool { return strings.HasSuffix(k, "@"+in) })
		if lost&(1<<n) == 0 || given || d.Label.knows(in) {
			continue // also what was written before a loss was recorded: no memory tells of it
		}
		for by := range w.servers {
			if by != i && (!m.servers[by].on || m.netDown) {
				continue
			}
			if slices.ContainsFunc(m.servers[by].seen, func(h Holding) bool { return h.Set == d.Set && h.Lineage == in && !h.Pending }) {
				fail(move, "starts without write %d, which %s remembers", n, serverName(by))
			}
		}
	}
	if !m.forked[set] {
		fail(move, "starts without acknowledged writes %b", lost)
	}
}

// giveUp moves the ghosts after an order: what the started disks lack is forgiven, and other disks of the set that could still start
// by themselves make a fork.
func (w *world) giveUp(n *model, set int, before *model, d Decision) {
	data, chosen := uint64(0), 0
	for _, x := range d.Members {
		data |= before.disks[diskNo(x)].data
		chosen |= 1 << diskNo(x)
	}
	n.acked[set] &= data | n.acked[set]&^before.acked[set]
	n.kept[set] = uint8(chosen)
	n.forked[set] = false
	var rest []int
	for k := range w.disks {
		if x := &n.disks[k]; int(x.set) == set && chosen&(1<<k) == 0 && x.label != nil {
			rest = append(rest, k)
		}
	}
	for some := 1; some < 1<<len(rest); some++ {
		alone := *n
		for k := range w.disks {
			alone.disks[k].loc = shelf
		}
		for n, k := range rest {
			if some&(1<<n) != 0 {
				alone.disks[k].loc = 0
			}
		}
		if Decide(View{Site: modelSit, Server: "x", Disks: w.here(&alone, 0)}).Action == Start {
			n.forked[set] = true
		}
	}
}

// races are two servers that boot at the same moment: i asks before j can answer, j asks after i can.
func (w *world) races(m *model, i int, add adding, fail failing) {
	if m.netDown {
		return
	}
	for j := range w.servers {
		if j == i || m.servers[i].on || m.servers[j].on {
			continue
		}
		move := fmt.Sprintf("boot %s and %s at once", serverName(i), serverName(j))
		di := w.decide(m, i, nil, none) // j is off, so it does not answer
		both := *m
		both.servers[i].on = true
		dj := w.decide(&both, j, nil, none)
		if di.Action != Start || dj.Action != Start {
			continue // as one after the other
		}
		w.started(&both, j, dj, false, move, func(string, model) {}, fail)
		n := *m
		w.start(&n, i, di, none)
		w.started(&n, j, dj, false, move, add, fail)
	}
}

// handle is what hands do: disks pulled, put in, sets swapped.
func (w *world) handle(m *model, add adding) {
	for k := range w.disks {
		d := &m.disks[k]
		if d.loc != shelf {
			i := int(d.loc)
			n := *m
			if n.servers[i].members&(1<<k) != 0 {
				w.drop(&n, i, k, true)
			}
			n.disks[k].loc = shelf
			add(fmt.Sprintf("pull D%d from %s", k, serverName(i)), n)
			continue
		}
		for i := range w.servers {
			n := *m
			n.disks[k].loc = int8(i)
			add(fmt.Sprintf("put D%d into %s", k, serverName(i)), n)
		}
	}
	for i := range w.servers {
		for j := range i {
			if m.servers[i].run != none || m.servers[j].run != none {
				continue
			}
			n := *m
			for k := range w.disks {
				switch int(n.disks[k].loc) {
				case i:
					n.disks[k].loc = int8(j)
				case j:
					n.disks[k].loc = int8(i)
				}
			}
			add(fmt.Sprintf("swap %s and %s", serverName(i), serverName(j)), n)
		}
	}
}

// running is what happens to a server that runs: a member drops out (and power goes with it), is rebuilt, or a disk joins.
func (w *world) running(m *model, add adding, fail failing) {
	for i := range w.servers {
		s := &m.servers[i]
		if s.run == none {
			continue
		}
		for k := range w.disks {
			if int(m.disks[k].loc) != i {
				continue
			}
			if s.members&(1<<k) == 0 {
				w.joins(m, i, k, add, fail)
				continue
			}
			n := *m
			w.drop(&n, i, k, true)
			add(fmt.Sprintf("D%d fails in %s", k, serverName(i)), n)
			n = *m
			w.drop(&n, i, k, false)
			add(fmt.Sprintf("D%d fails in %s and power goes", k, serverName(i)), n)
			if m.disks[k].recovering {
				n := *m
				for o := range w.disks {
					if s.members&(1<<o) != 0 && o != k {
						n.disks[k].data = n.disks[o].data
					}
				}
				n.disks[k].recovering = false
				add(fmt.Sprintf("D%d is rebuilt in %s", k, serverName(i)), n)
			}
		}
	}
}

// joins takes a disk into a running set: by itself if it is blank or stale, else because an operator asked.
func (w *world) joins(m *model, i, k int, add adding, fail failing) {
	s := &m.servers[i]
	var tip *Label
	var data uint64
	for o := range w.disks {
		if s.members&(1<<o) != 0 && !m.disks[o].recovering {
			tip, data = m.disks[o].label, m.disks[o].data
		}
	}
	here := w.here(m, i)
	var d Disk
	for _, x := range here {
		if diskNo(x) == k {
			d = x
		}
	}
	move := fmt.Sprintf("D%d joins in %s", k, serverName(i))
	standing := tip.Judge(d)
	switch {
	case d.Blank, standing == Stale:
		if m.disks[k].set == s.run && m.disks[k].data&^data != 0 {
			fail(move, "wipes writes unasked")
		}
	case standing == SetAside || standing == Diverged:
		if !w.orders {
			return
		}
		move += ", wiped by order"
		m = new(*m)
		m.acked[s.run] &= data
	default:
		return
	}
	for stage := range 4 {
		n := *m
		if !w.join(&n, i, k, stage) {
			return
		}
		add(fmt.Sprintf("%s, stage %d", move, stage), n)
	}
}

func (w *world) decide(m *model, i int, o *Order, hidden int) Decision {
	w.decisions++
	return Decide(w.view(m, i, o, hidden))
}

// healthy tells why server i must start by itself, "" if it need not: all disks of one set are in it and nothing else is, one of
// them has everything that was acknowledged, none has anything that this one lacks, and no peer is primary.
func (w *world) healthy(m *model, i int) string {
	set, best := none, -1
	for k := range w.disks {
		d := &m.disks[k]
		if int(d.loc) != i || d.set == none {
			continue
		}
		if set != none && set != int(d.set) {
			return ""
		}
		set = int(d.set)
		if d.label != nil && d.array && !d.recovering && d.label.GivenUp == "" && m.acked[set]&^d.data == 0 && (m.kept[set] == 0 || m.kept[set]&(1<<k) != 0) {
			best = k
		}
	}
	if best < 0 {
		return ""
	}
	tip := m.disks[best].label
	for k := range w.disks {
		d := &m.disks[k]
		if int(d.set) != set {
			continue
		}
		given := d.label != nil && (d.label.GivenUp != "" || tip.Judge(Disk{Label: d.label}) == SetAside)
		if s := tip.slot(w.id(d)); given && s >= 0 && tip.Members[s].Ejected == 0 {
			return "" // an order that was cut off: it must be given again
		}
		if int(d.loc) != i || (!given && d.data&^m.disks[best].data != 0) {
			return ""
		}
	}
	if m.forked[set] || w.policy.StartAttested && m.window[set] != 0 {
		return ""
	}
	for j := range w.servers {
		if j != i && w.roles[set] == Primary && w.holdsPrimary(m, j) {
			return ""
		}
	}
	return fmt.Sprintf("all disks of %s are in it", setID(int8(set)))
}

// word finds what was interned as n.
func (w *world) word(n int32) string {
	for s, k := range w.ids {
		if k == int(n) {
			return s
		}
	}
	return ""
}

// id is the membership of a disk, "" if it has none.
func (w *world) id(d *modelDisk) string {
	if d.label == nil {
		return ""
	}
	return d.label.ID()
}

// holdsPrimary tells whether server j is on with a disk of a primary set.
func (w *world) holdsPrimary(m *model, j int) bool {
	for k := range w.disks {
		d := &m.disks[k]
		if m.servers[j].on && int(d.loc) == j && d.set != none && w.roles[d.set] == Primary {
			return true
		}
	}
	return false
}
