package roles

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The model is a site as far as lineage goes: disks that lie in a server or on the shelf, servers that are off, hold or run a
// set, and a network that is up or down. A move changes it as the real things would, label write by label write; decisions are
// Decide's. Each start and each change while running is followed by a write that is acknowledged to a client. The ghosts (what
// no server can see) remember what was acknowledged and what an operator has given up.

const (
	shelf    = -1
	none     = -1
	modelSit = "site-1"
)

type modelDisk struct {
	set        int8 // which set it was made for; none = a blank spare
	loc        int8
	label      *Label
	array      bool
	missing    uint8 // slots
	recovering bool
	data       uint64 // writes that it holds
}

type modelServer struct {
	on      bool
	run     int8 // set, or none
	members uint8
	seen    []Holding
}

type model struct {
	disks   [7]modelDisk
	servers [3]modelServer
	netDown bool

	// Ghosts, by set.
	acked  [3]uint64    // acknowledged writes that no operator gave up
	window [3]uint64    // of these, acknowledged after a member dropped out and before the label recorded it
	ranBy  [3][40]int8  // server that acknowledged the write
	ranIn  [3][40]int32 // lineage that it was written to, interned
	writes [3]int8
	kept   [3]uint8 // after an order: the disks that go on from it; 0 = there was none
	forked [3]bool  // an order left a disk out of sight that can start by itself
}

// world is what does not change.
type world struct {
	disks, servers, sets int
	roles                []Role
	policy               Policy
	orders               bool
	decisions            int
	ids                  map[string]int // interned labels and memories
}

func setID(s int8) string { return fmt.Sprintf("set-%d", s) }

// newWorld makes sets of two disks, set i in server i, the first one primary, and spare blank disks on the shelf.
func newWorld(servers, sets, spares int, policy Policy, primaries int) (*world, model) {
	w := &world{disks: 2*sets + spares, servers: servers, sets: sets, policy: policy, orders: true, ids: map[string]int{}}
	var m model
	for s := range sets {
		role := Secondary
		if s < primaries {
			role = Primary
		}
		w.roles = append(w.roles, role)
		l := Label{
			Version: LabelVersion, Site: modelSit, Set: setID(int8(s)), Array: fmt.Sprintf("md-%d", s), Role: role, Level: RAID1, Generation: 1,
			Members: []Member{{ID: fmt.Sprintf("s%d-a", s), Serial: fmt.Sprintf("D%d", 2*s)}, {ID: fmt.Sprintf("s%d-b", s), Serial: fmt.Sprintf("D%d", 2*s+1)}},
		}
		for i := range 2 {
			own := l.For(i)
			m.disks[2*s+i] = modelDisk{set: int8(s), loc: int8(s), label: &own, array: true}
		}
	}
	for i := 2 * sets; i < w.disks; i++ {
		m.disks[i] = modelDisk{set: none, loc: shelf}
	}
	for i := range m.servers {
		m.servers[i].run = none
	}
	return w, m
}

func (w *world) intern(s string) int {
	n, ok := w.ids[s]
	if !ok {
		n = len(w.ids) + 1
		w.ids[s] = n
	}
	return n
}

// key names a state. Two states with the same key have the same future.
func (w *world) key(m *model) string {
	b := make([]byte, 0, 128)
	num := func(n int) { b = append(b, byte(n), byte(n>>8), byte(n>>16)) }
	set := func(n uint64) { b = binary.LittleEndian.AppendUint64(b, n) }
	for i := range w.disks {
		d := &m.disks[i]
		b = append(b, byte(d.set), byte(d.loc), d.missing, bit(d.array), bit(d.recovering))
		set(d.data)
		if d.label != nil {
			l := d.label
			var s strings.Builder
			fmt.Fprint(&s, l.Generation, l.Self, l.Lineage, l.Aside, l.GivenUp)
			for _, e := range l.Members {
				fmt.Fprint(&s, e.ID, e.Ejected)
			}
			num(w.intern(s.String()))
		}
	}
	for i := range w.servers {
		s := &m.servers[i]
		b = append(b, bit(s.on), byte(s.run), s.members)
		num(w.intern(fmt.Sprint(s.seen)))
	}
	b = append(b, bit(m.netDown))
	for s := range w.sets {
		set(m.acked[s])
		set(m.window[s])
		b = append(b, bit(m.forked[s]), m.kept[s], byte(m.writes[s]))
		for _, r := range m.ranBy[s][:m.writes[s]] {
			b = append(b, byte(r))
		}
		for _, l := range m.ranIn[s][:m.writes[s]] {
			num(int(l))
		}
	}
	return string(b)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func serverName(i int) string { return []string{"left", "right", "middle"}[i] }

// here lists the disks in a server as it sees them.
func (w *world) here(m *model, i int) []Disk {
	var ds []Disk
	for n := range w.disks {
		d := &m.disks[n]
		if int(d.loc) != i {
			continue
		}
		x := Disk{Dev: fmt.Sprintf("/dev/d%d", n), Bay: len(ds) + 1, Serial: fmt.Sprintf("D%d", n), Label: d.label, Recovering: d.recovering}
		x.Blank = d.label == nil && !d.array
		if d.array {
			x.Array = "md-" + fmt.Sprint(d.set)
			for s := range 2 {
				if d.missing&(1<<s) != 0 {
					x.Missing = append(x.Missing, s)
				}
			}
		}
		ds = append(ds, x)
	}
	return ds
}

func diskNo(d Disk) int {
	n, err := strconv.Atoi(strings.TrimPrefix(d.Dev, "/dev/d"))
	if err != nil {
		panic(err)
	}
	return n
}

func setNo(d Decision) int {
	n, err := strconv.Atoi(strings.TrimPrefix(d.Set, "set-"))
	if err != nil {
		panic(err)
	}
	return n
}

// view is what server i sees; the server hidden (or none) does not answer yet.
func (w *world) view(m *model, i int, order *Order, hidden int) View {
	v := View{Site: modelSit, Server: serverName(i), Disks: w.here(m, i), Policy: w.policy, Order: order, Seen: m.servers[i].seen}
	for j := range w.servers {
		if j == i {
			continue
		}
		a := Attestation{Server: serverName(j)}
		if s := m.servers[j]; s.on && !m.netDown && j != hidden {
			a = Tell(serverName(j), modelSit, w.here(m, j))
			a.Seen = s.seen
			if s.run != none {
				a.Set, a.Role, a.Serving = setID(s.run), w.roles[s.run], true
			}
		}
		v.Peers = append(v.Peers, a)
	}
	return v
}

// write acknowledges one more write of the set that server i runs.
func (w *world) write(m *model, i int) {
	s := &m.servers[i]
	n := m.writes[s.run]
	m.writes[s.run]++
	m.ranBy[s.run][n] = int8(i)
	m.ranIn[s.run][n] = int32(w.intern(m.disks[bits.TrailingZeros8(s.members)].label.Head()))
	m.acked[s.run] |= 1 << n
	for d := range m.disks {
		if s.members&(1<<d) != 0 {
			m.disks[d].data |= 1 << n
		}
	}
}

func (m *model) stop(i int) {
	m.servers[i].run, m.servers[i].members = none, 0
}

// start applies a Start decision. cut tells after how many label writes power goes: none = it does not go; 0 = after the server
// has noted what it is about to write; one more than there are = after it has noted that they are written.
func (w *world) start(m *model, i int, d Decision, cut int) {
	set := int8(setNo(d))
	writes := d.Labels(serverName(i), "1", time.Time{})
	next, _ := d.NextLabel(serverName(i), "1", time.Time{})
	m.servers[i].seen = Remember(m.servers[i].seen, next, false)
	for n, lw := range writes {
		if n == cut {
			break
		}
		l := lw.Label
		m.disks[diskNo(lw.Disk)].label = &l
	}
	if cut == none || cut > len(writes) {
		m.servers[i].seen = Remember(m.servers[i].seen, next, true)
	}
	m.servers[i].on = cut == none
	if cut != none {
		return
	}
	present := uint8(0)
	for _, x := range d.Members {
		present |= 1 << d.Label.slot(x.Label.ID())
	}
	for _, x := range d.Members {
		m.disks[diskNo(x)].missing = ^present & 3
		m.servers[i].members |= 1 << diskNo(x)
	}
	m.servers[i].run = set
	w.write(m, i)
}

// drop takes disk n out of the array that server i runs, as md does. If the label is not recorded, power goes before it is.
func (w *world) drop(m *model, i, n int, recorded bool) {
	s := &m.servers[i]
	inSync := 0
	for d := range w.disks {
		if s.members&(1<<d) != 0 && d != n && !m.disks[d].recovering {
			inSync++
		}
	}
	if inSync == 0 { // the array has failed; nothing more is written
		m.stop(i)
		return
	}
	slot := m.disks[n].label.Self
	s.members &^= 1 << n
	before := m.acked[s.run]
	for d := range w.disks {
		if s.members&(1<<d) != 0 {
			m.disks[d].missing |= 1 << slot
		}
	}
	w.write(m, i)
	if !recorded {
		m.window[s.run] |= m.acked[s.run] &^ before
		m.stop(i)
		s.on = false
		return
	}
	for d := range w.disks {
		if s.members&(1<<d) != 0 {
			l := m.disks[d].label.Eject(slot, "pulled")
			s.seen = Remember(s.seen, l, true)
			m.disks[d].label = &l
		}
	}
}

// join wipes disk n and makes it a member of the set that server i runs. Power goes after stage 0 (wiped), 1 (its label written)
// or 2 (added to the array); stage 3 is the whole of it, with the rebuild still going on.
func (w *world) join(m *model, i, n, stage int) bool {
	s := &m.servers[i]
	keep := bits.TrailingZeros8(s.members)
	tip := m.disks[keep].label
	slot := slices.IndexFunc(tip.Members, func(e Member) bool { return e.Ejected != 0 })
	if slot < 0 {
		return false
	}
	if given := tip.GiveUp(Disk{Label: m.disks[n].label}); given.Generation != tip.Generation {
		s.seen = Remember(s.seen, given, true)
		tip = &given
		m.disks[keep].label = tip
	}
	l := tip.Join(slot, Disk{Serial: fmt.Sprintf("D%d", n)}, fmt.Sprintf("%s/%d", tip.Head(), tip.Generation+1))
	m.disks[n] = modelDisk{set: s.run, loc: int8(i)}
	for k := range m.kept {
		m.kept[k] &^= 1 << n
	}
	if m.kept[s.run] != 0 {
		m.kept[s.run] |= 1 << n
	}
	if stage >= 1 {
		own := l.For(slot)
		m.disks[n].label = &own
	}
	if stage >= 2 {
		m.disks[keep].missing &^= 1 << slot
		m.disks[n].array, m.disks[n].recovering = true, true
		m.disks[n].missing = m.disks[keep].missing
		s.members |= 1 << n
	}
	if stage >= 3 {
		s.seen = Remember(s.seen, l, true)
		m.disks[keep].label = new(l.For(tip.Self))
		w.write(m, i)
		return true
	}
	m.stop(i)
	s.on = false
	return true
}
