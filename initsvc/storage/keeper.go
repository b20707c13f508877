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
	tick   time.Duration // of Watch

	mu  sync.Mutex
	run *running // nil while no set is started
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
	return &keeper{hands: h, setDir: setDir, log: log, now: time.Now, tick: time.Second}
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
	writes := d.Labels(w.Server, w.Image, k.now())
	if len(writes) == 0 {
		return fmt.Errorf("start set %s: %w", l.Set, array.ErrTooFew)
	}
	r := newRunning(l, w)
	for i, m := range disks {
		r.disks[i], r.bays[i] = m, m.Bay
	}
	if err := k.record(ctx, r, writes[0].Label); err != nil {
		return fmt.Errorf("start set %s: %w", l.Set, err)
	}
	for _, a := range writes {
		if a.Label.GivenUp == "" {
			continue
		}
		if err := k.hands.WriteLabel(ctx, a.Disk, a.Label); err != nil {
			return fmt.Errorf("start set %s: mark the disk in bay %d as given up: %w", l.Set, a.Disk.Bay, err)
		}
	}
	spec := array.Spec{UUID: l.Array, Set: l.Set, Level: l.Level, Slots: len(l.Members), Disks: inOrder(r.disks)}
	if err := k.hands.Assemble(ctx, spec); err != nil {
		return fmt.Errorf("start set %s: %w", l.Set, err)
	}
	k.run = r
	k.log.Info("set started", "set", l.Set, "role", l.Role, "generation", r.label.Generation, "members", len(r.disks))
	return nil
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

// Set implements Store.
func (k *keeper) Set(ctx context.Context) (initapi.Set, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run == nil {
		return initapi.Set{}, array.ErrNotStarted
	}
	st, err := k.hands.Status(ctx)
	if err != nil {
		return initapi.Set{}, fmt.Errorf("read set %s: %w", k.run.label.Set, err)
	}
	return k.run.info(st), nil
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

// Create implements Store.
func (k *keeper) Create(ctx context.Context, c CreateSpec) (roles.Label, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run != nil {
		return roles.Label{}, fmt.Errorf("create set: set %s is started: %w", k.run.label.Set, array.ErrBusy)
	}
	l, err := k.firstLabel(c)
	if err != nil {
		return roles.Label{}, fmt.Errorf("create set: %w", err)
	}
	r := newRunning(l, Writer{Server: c.Label.Server, Image: c.Label.Image})
	for i, d := range c.Disks {
		d.Label = nil
		r.disks[i], r.bays[i] = d, d.Bay
	}
	say := c.Progress
	if say == nil {
		say = func(string) {}
	}
	if err := k.create(ctx, r, c, say); err != nil {
		// Whatever was done can be done again; only do not leave it running.
		if stopErr := k.hands.Stop(context.WithoutCancel(ctx)); stopErr != nil && !errors.Is(stopErr, array.ErrNotStarted) {
			k.log.Warn("unfinished set does not stop", "error", stopErr)
		}
		return roles.Label{}, fmt.Errorf("create set: %w", err)
	}
	k.run = r
	return r.label, nil
}

func (k *keeper) create(ctx context.Context, r *running, c CreateSpec, say func(string)) error {
	l := r.label
	disks := inOrder(r.disks)
	if err := k.hands.Release(ctx, disks); err != nil {
		return err
	}
	for _, d := range disks {
		say(fmt.Sprintf("partitioning the disk in bay %d (serial %s)", d.Bay, d.Serial))
	}
	if err := k.hands.Prepare(ctx, l.Set, disks...); err != nil {
		return err
	}
	spec := array.Spec{UUID: l.Array, Set: l.Set, Level: l.Level, Slots: len(disks), Disks: disks, Report: say}
	if err := k.hands.Create(ctx, spec); err != nil {
		return err
	}
	if c.Fill != nil {
		if err := c.Fill(ctx, k.setDir, l.For(0)); err != nil {
			return err
		}
	}
	say("writing the labels")
	for i, d := range disks {
		if err := k.hands.WriteLabel(ctx, d, l.For(i)); err != nil {
			return err
		}
		label := l.For(i)
		d.Label = &label
		r.disks[i] = d
	}
	return nil
}

func (k *keeper) firstLabel(c CreateSpec) (roles.Label, error) {
	l := c.Label
	if !l.Level.Valid() {
		return l, fmt.Errorf("RAID level %q is not known; choose raid1, raid5 or raid10", l.Level)
	}
	if least := l.Level.MinMembers(); len(c.Disks) < least {
		return l, fmt.Errorf("%s needs at least %d disks, %d are given", l.Level, least, len(c.Disks))
	}
	l.Version = roles.LabelVersion
	l.Set, l.Array, l.Self = newUUID(), newArrayUUID(), 0
	l.Generation, l.Written = 1, k.now().UTC().Truncate(time.Second)
	l.Members = nil
	for _, d := range c.Disks {
		l.Members = append(l.Members, roles.Member{ID: newUUID(), Serial: d.Serial, Model: d.Model, Size: d.Size})
	}
	return l, l.Validate()
}
