package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// keeper is the Store: it keeps the labels right and has the work done by hands.
type keeper struct {
	hands  hands
	setDir string
	log    *slog.Logger
	now    func() time.Time
	tick   time.Duration // of Watch, when nobody nudges it
	nudged chan struct{}

	mu   sync.Mutex
	run  *running // nil while no set is started
	note func(l roles.Label, done bool) error

	seen struct { // the set as it was last seen, for when a disk hangs and holds up everything else
		sync.Mutex
		set initapi.Set
		err error
	}
}

// running is the started set.
type running struct {
	label   roles.Label
	writer  Writer
	disks   map[int]roles.Disk // by slot: members in use, and the one that is being rebuilt
	rebuild int                // slot that is being rebuilt, or -1
	bays    map[int]int        // last known bay of each slot, for words
	// spent are disks, by serial, that failed since they appeared. They are not taken back by themselves until they were pulled.
	spent map[string]bool
	// dropped are disks that were ejected because their label could not be written; the array may still use them.
	dropped []roles.Disk
}

func newRunning(l roles.Label, w Writer) *running {
	return &running{label: l, writer: w, disks: map[int]roles.Disk{}, rebuild: -1, bays: map[int]int{}, spent: map[string]bool{}}
}

func newKeeper(h hands, setDir string, log *slog.Logger) *keeper {
	k := &keeper{hands: h, setDir: setDir, log: log, now: time.Now, tick: 500 * time.Millisecond, nudged: make(chan struct{}, 1)}
	if _, ok := h.(teller); ok {
		k.tick = toldTick
	}
	k.seen.err = array.ErrNotStarted
	return k
}

// Disks implements Store.
func (k *keeper) Disks(ctx context.Context) ([]roles.Disk, error) {
	disks, err := k.hands.Disks(ctx)
	if err != nil {
		return nil, fmt.Errorf("read disks: %w", err)
	}
	return disks, nil
}

// Start implements Store.
func (k *keeper) Start(ctx context.Context, d roles.Decision, w Writer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run != nil {
		return fmt.Errorf("start set %s: set %s is started: %w", d.Set, k.run.label.Set, array.ErrBusy)
	}
	if d.Action != roles.Start || d.Label == nil || len(d.Members) == 0 {
		return fmt.Errorf("start set: the decision is %q, with %d members", d.Action, len(d.Members))
	}
	l := *d.Label
	disks := map[int]roles.Disk{}
	for _, m := range d.Members {
		i := slotOf(l, m)
		if i < 0 {
			return fmt.Errorf("start set %s: disk %s in bay %d is not in its label", l.Set, m.Dev, m.Bay)
		}
		disks[i] = m
	}
	d, err := behind(d, disks)
	if err != nil {
		return fmt.Errorf("start set %s: %w", l.Set, err)
	}
	r := newRunning(l, w)
	for i, m := range disks {
		r.disks[i], r.bays[i] = m, m.Bay
	}
	if err := k.begin(ctx, r, d.Labels(w.Server, w.Image, k.now())); err != nil {
		return fmt.Errorf("start set %s: %w", l.Set, err)
	}
	spec := array.Spec{UUID: l.Array, Set: l.Set, Level: l.Level, Slots: len(l.Members), Disks: inOrder(r.disks)}
	if err := k.hands.Assemble(ctx, spec); err != nil {
		return fmt.Errorf("start set %s: %w", l.Set, err)
	}
	k.run = r
	k.log.Info("set started", "set", l.Set, "role", l.Role, "generation", r.label.Generation, "members", len(r.disks))
	return nil
}

// begin writes the labels of a start: first the marks on disks that an operator's order gives up, then the members'.
func (k *keeper) begin(ctx context.Context, r *running, writes []roles.LabelWrite) error {
	var label *roles.Label
	for _, w := range writes {
		if w.Label.GivenUp == "" {
			label = &w.Label
			continue
		}
		if err := k.hands.WriteLabel(ctx, w.Disk, w.Label); err != nil {
			return fmt.Errorf("mark the disk in bay %d as given up (pull it, and order again): %w", w.Disk.Bay, err)
		}
	}
	if label == nil {
		return array.ErrTooFew
	}
	if k.note != nil {
		// A start that the server would not remember does not happen; a loss or a rebuild, later, is recorded in any case.
		if err := k.note(*label, false); err != nil {
			return err
		}
	}
	return k.record(ctx, r, *label)
}

// Remember has note told of every label before it is written to the first member, and (done) when it is on all of them, for the
// server's own memory (roles.Remember). It is called once, before the set is started.
func (k *keeper) Remember(note func(l roles.Label, done bool) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note = note
}

func (k *keeper) remember(l roles.Label, done bool) {
	if k.note == nil {
		return
	}
	if err := k.note(l, done); err != nil {
		k.log.Warn("label is not remembered", "set", l.Set, "generation", l.Generation, "error", err)
	}
}

// behind has the members ejected that the array went on without: their loss was not recorded on the labels, because power failed
// first, but it is in the others' superblocks. It takes them out of disks.
func behind(d roles.Decision, disks map[int]roles.Disk) (roles.Decision, error) {
	slots := sorted(disks)
	lag, err := array.Lagging(inOrder(disks), slots)
	if err != nil {
		return d, err
	}
	d.Eject, d.EjectWhy, d.Members = slices.Clone(d.Eject), slices.Clone(d.EjectWhy), slices.Clone(d.Members)
	for _, j := range lag {
		i := slots[j]
		why := fmt.Sprintf("lost from bay %d before power was cut", disks[i].Bay)
		d.EjectWhy = append(d.EjectWhy, make([]string, max(0, len(d.Eject)-len(d.EjectWhy)))...)
		d.Eject, d.EjectWhy = append(d.Eject, i), append(d.EjectWhy, why)
		d.Members = slices.DeleteFunc(d.Members, func(m roles.Disk) bool { return m.Dev == disks[i].Dev })
		delete(disks, i)
	}
	return d, nil
}

// record writes the label l onto all of r.disks that it counts on, and makes it r's. A member that cannot be written is recorded as
// ejected on the others, one generation on. Lower generations are written first: cut off at any moment, no two members
// that the label counts on are more than one generation apart. The disk being rebuilt comes last, so that it never claims more
// than the members say of it.
func (k *keeper) record(ctx context.Context, r *running, l roles.Label) error {
	written := map[int]uint64{}
	for {
		k.remember(l, false)
		if !l.Level.Enough(usable(l, r.disks)) {
			return fmt.Errorf("record generation %d on the labels: %w", l.Generation, array.ErrTooFew)
		}
		slots := slices.DeleteFunc(sorted(r.disks), func(i int) bool { return l.Members[i].Ejected != 0 && i != r.rebuild })
		slices.SortFunc(slots, func(a, b int) int {
			return cmp.Or(boolOrder(a == r.rebuild, b == r.rebuild), cmp.Compare(generationOn(r.disks[a], written[a]), generationOn(r.disks[b], written[b])), cmp.Compare(a, b))
		})
		failed := -1
		for _, i := range slots {
			err := k.hands.WriteLabel(ctx, r.disks[i], l.For(i))
			if err == nil {
				written[i] = l.Generation
				continue
			}
			if ctx.Err() != nil {
				return fmt.Errorf("record generation %d on the labels: %w", l.Generation, err)
			}
			k.log.Error("label cannot be written, the disk is ejected", "set", l.Set, "bay", r.disks[i].Bay, "dev", r.disks[i].Dev, "error", err)
			failed = i
			break
		}
		if failed < 0 {
			for i, g := range written {
				if d, ok := r.disks[i]; ok && g == l.Generation {
					c := l.For(i)
					d.Label = &c
					r.disks[i] = d
				}
			}
			r.label = l
			k.remember(l, true)
			return nil
		}
		r.spent[r.disks[failed].Serial] = true
		r.dropped = append(r.dropped, r.disks[failed])
		delete(r.disks, failed)
		if failed == r.rebuild {
			r.rebuild = -1
		}
		why := func(i int) string { return fmt.Sprintf("its label could not be written in bay %d", r.bays[i]) }
		l = ejected(l, []int{failed}, why, r.writer, k.now())
	}
}

func generationOn(d roles.Disk, written uint64) uint64 {
	if written == 0 && d.Label != nil {
		return d.Label.Generation
	}
	return written
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// usable tells for each slot whether the label counts on it and its disk is in use.
func usable(l roles.Label, disks map[int]roles.Disk) []bool {
	a := make([]bool, len(l.Members))
	for _, i := range l.Active() {
		_, a[i] = disks[i]
	}
	return a
}

func sorted(disks map[int]roles.Disk) []int { return slices.Sorted(maps.Keys(disks)) }

func inOrder(disks map[int]roles.Disk) []roles.Disk {
	out := make([]roles.Disk, 0, len(disks))
	for _, i := range sorted(disks) {
		out = append(out, disks[i])
	}
	return out
}

// Set implements Store. When a disk does not answer it tells what was last seen: the pages that show it must not hang too.
func (k *keeper) Set(ctx context.Context) (initapi.Set, error) {
	for start := time.Now(); !k.mu.TryLock(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > patience || ctx.Err() != nil {
			k.seen.Lock()
			defer k.seen.Unlock()
			return k.seen.set, k.seen.err
		}
	}
	defer k.mu.Unlock()
	return k.snapshot(ctx)
}

const patience = time.Second

// snapshot reads the set, and remembers it. k.mu is held.
func (k *keeper) snapshot(ctx context.Context) (initapi.Set, error) {
	if k.run == nil {
		return k.keep(array.Status{}, array.ErrNotStarted)
	}
	return k.keep(k.hands.Status(ctx))
}

// keep remembers the set as it was seen. k.mu is held.
func (k *keeper) keep(st array.Status, err error) (set initapi.Set, _ error) {
	switch {
	case errors.Is(err, array.ErrNotStarted):
	case err != nil:
		err = fmt.Errorf("read set %s: %w", k.run.label.Set, err)
	default:
		set = k.run.info(st)
	}
	k.seen.Lock()
	defer k.seen.Unlock()
	k.seen.set, k.seen.err = set, err
	return set, err
}

func (r *running) info(st array.Status) initapi.Set {
	l := r.label
	s := initapi.Set{ID: l.Set, Level: l.Level, Generation: l.Generation, Rebuild: st.Work, SizeBytes: st.Size, FreeBytes: st.Free}
	for i, m := range l.Members {
		info := initapi.MemberInfo{Bay: r.bays[i], Serial: m.Serial, State: string(array.Gone)}
		if d, ok := r.disks[i]; ok {
			info.Bay, info.Dev, info.State = d.Bay, d.Dev, string(st.Of(d.Dev))
			if i == r.rebuild {
				info.State = string(array.Rebuilding)
			}
		}
		if info.State != string(array.Active) {
			s.Degraded = true
		}
		s.Members = append(s.Members, info)
	}
	return s
}

// Stop implements Store.
func (k *keeper) Stop(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run == nil {
		return nil
	}
	if err := k.hands.Stop(ctx); err != nil {
		return fmt.Errorf("stop set %s: %w", k.run.label.Set, err)
	}
	k.log.Info("set stopped", "set", k.run.label.Set, "generation", k.run.label.Generation)
	k.run = nil
	return nil
}
