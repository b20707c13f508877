package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// Watch implements Store.
func (k *keeper) Watch(ctx context.Context, found func(initapi.Finding), resolved func(id string)) {
	b := newBoard(k.now, found, resolved)
	w := watch{k: k}
	tick := k.tick
	var deaf chan error // stays nil, and so silent, where nobody tells
	if h, ok := k.hands.(teller); ok {
		deaf = make(chan error, 1)
		go func() { deaf <- h.Events(ctx, k.Nudge) }()
	}
	for {
		b.show(w.look(ctx))
		select {
		case <-ctx.Done():
			return
		case err := <-deaf:
			if ctx.Err() == nil {
				k.log.Warn("looking at the disks twice a second instead of being told", "error", err)
				tick, deaf = blindTick, nil
			}
		case <-k.nudged:
		case <-time.After(tick):
		}
	}
}

// How often Watch looks by itself: at hands that are told of changes, only for what nothing tells, such as how far a rebuild is.
const (
	toldTick  = 5 * time.Second
	blindTick = 500 * time.Millisecond
)

// Nudge implements Store.
func (k *keeper) Nudge() {
	select {
	case k.nudged <- struct{}{}:
	default:
	}
}

// watch remembers what it has looked at, so that disks are read only when one came or went.
type watch struct {
	k           *keeper
	fingerprint string
	others      []roles.Disk // disks that are not in the set
	fresh       bool         // others is what fingerprint says
}

// look does what is to be done now and returns all findings there are.
func (w *watch) look(ctx context.Context) []initapi.Finding {
	k := w.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run == nil || ctx.Err() != nil {
		return nil
	}
	r := k.run
	st, err := k.hands.Status(ctx)
	if err != nil {
		return []initapi.Finding{r.finding("set-unreadable", "critical", "The state of the disk set cannot be read: "+err.Error()+".",
			"Look at the console's log. If the services have stopped, shut down in order and start again.", 0)}
	}
	var fs []initapi.Finding
	if err := k.settle(ctx, st); err != nil {
		fs = append(fs, r.failure(err))
	}
	if fp := k.hands.Fingerprint(); fp != w.fingerprint || !w.fresh {
		w.rescan(ctx, fp)
	}
	taken, more := k.replace(ctx, w.others)
	fs = append(fs, more...)
	if taken {
		w.fresh = false
	}
	if st, err = k.hands.Status(ctx); err == nil {
		fs = append(fs, r.degraded(st)...)
	}
	_, _ = k.keep(st, err) // the same look serves those who ask
	return fs
}

// rescan reads the disks that are not in the set, and forgets the failures of disks that were pulled.
func (w *watch) rescan(ctx context.Context, fingerprint string) {
	disks, err := w.k.hands.Disks(ctx)
	if err != nil {
		w.k.log.Warn("disks cannot be read", "error", err)
		return
	}
	r := w.k.run
	w.others = slices.DeleteFunc(disks, func(d roles.Disk) bool { return r.uses(d) })
	w.fingerprint, w.fresh = fingerprint, true
	for serial := range r.spent {
		if !slices.ContainsFunc(disks, func(d roles.Disk) bool { return d.Serial == serial }) {
			delete(r.spent, serial)
		}
	}
}

func (r *running) uses(d roles.Disk) bool {
	for _, u := range r.disks {
		if u.Dev == d.Dev && u.Serial == d.Serial {
			return true
		}
	}
	return false
}

// settle records on the labels what happened to the array: members lost, a rebuild finished.
func (k *keeper) settle(ctx context.Context, st array.Status) error {
	r := k.run
	var lost []int
	for i, d := range r.disks {
		s := st.Of(d.Dev)
		if s != array.Failed && s != array.Gone {
			continue
		}
		if i == r.rebuild {
			k.log.Error("rebuild failed", "set", r.label.Set, "bay", d.Bay, "serial", d.Serial)
			r.spent[d.Serial] = s == array.Failed
			r.dropped = append(r.dropped, d)
			delete(r.disks, i)
			r.rebuild = -1
			continue
		}
		lost = append(lost, i)
	}
	slices.Sort(lost)
	if err := k.eject(ctx, lost, st); err != nil {
		return err
	}
	if r.rebuild >= 0 && st.Of(r.disks[r.rebuild].Dev) == array.Active {
		i := r.rebuild
		if err := k.record(ctx, r, joined(r.label, i, r.disks[i], r.writer, k.now())); err != nil {
			return fmt.Errorf("record that the disk in bay %d is rebuilt: %w", r.bays[i], err)
		}
		if r.label.Members[i].Ejected == 0 {
			k.log.Info("member rebuilt", "set", r.label.Set, "bay", r.bays[i], "serial", r.label.Members[i].Serial)
		}
		r.rebuild = -1
	}
	for _, d := range r.dropped {
		if err := k.hands.Remove(ctx, d); err != nil {
			k.log.Warn("disk cannot be taken out of the array", "dev", d.Dev, "error", err)
		}
	}
	r.dropped = nil
	return nil
}

// eject records lost members on those that stay, before anything else is done.
func (k *keeper) eject(ctx context.Context, lost []int, st array.Status) error {
	if len(lost) == 0 {
		return nil
	}
	r := k.run
	left := usable(r.label, r.disks)
	words := map[int]string{}
	for _, i := range lost {
		left[i] = false
		words[i] = fmt.Sprintf("pulled from bay %d", r.disks[i].Bay)
		if st.Of(r.disks[i].Dev) == array.Failed {
			words[i] = fmt.Sprintf("failed in bay %d", r.disks[i].Bay)
		}
	}
	all := strings.Join(slices.Sorted(maps.Values(words)), ", ")
	if !r.label.Level.Enough(left) {
		// The data is gone with them: a record would only make it harder to start again when they are back.
		return fmt.Errorf("%s: %w", all, array.ErrTooFew)
	}
	for _, i := range lost {
		d := r.disks[i]
		if st.Of(d.Dev) == array.Failed {
			r.spent[d.Serial] = true
		}
		r.dropped = append(r.dropped, d)
		delete(r.disks, i)
	}
	k.log.Error("members lost", "set", r.label.Set, "why", all)
	if err := k.record(ctx, r, ejected(r.label, lost, func(i int) string { return words[i] }, r.writer, k.now())); err != nil {
		return fmt.Errorf("record lost members: %w", err)
	}
	return nil
}

// replace takes the best fitting of the other disks into a degraded set, and tells about those that it does not take.
func (k *keeper) replace(ctx context.Context, others []roles.Disk) (taken bool, fs []initapi.Finding) {
	r := k.run
	slot := r.vacancy()
	var fit []roles.Disk
	for _, d := range others {
		if d.Bay == 0 || r.uses(d) {
			continue
		}
		if f, ok := r.unfit(d, slot >= 0); !ok {
			if f.ID != "" {
				fs = append(fs, f)
			}
			continue
		}
		if err := k.hands.Fits(d); err != nil {
			if small := (*array.TooSmallError)(nil); slot >= 0 && errors.As(err, &small) {
				fs = append(fs, r.finding(fmt.Sprintf("disk-small-bay-%d", d.Bay), "warning",
					fmt.Sprintf("The disk in bay %d (serial %s) is too small for the disk set: it has %s, at least %s is needed.", d.Bay, d.Serial, array.Bytes(small.Have), array.Bytes(small.Need)),
					fmt.Sprintf("Put a disk of at least %s into bay %d.", array.Bytes(small.Need), d.Bay), d.Bay))
			}
			continue
		}
		fit = append(fit, d)
	}
	if slot < 0 || r.rebuild >= 0 || len(fit) == 0 {
		return false, fs
	}
	// A disk in the bay of the lost member is what a person meant to be taken.
	slices.SortStableFunc(fit, func(a, b roles.Disk) int {
		return cmp.Or(boolOrder(a.Bay != r.bays[slot], b.Bay != r.bays[slot]), cmp.Compare(a.Bay, b.Bay))
	})
	if err := k.take(ctx, fit[0], slot); err != nil {
		k.log.Error("disk cannot be taken into the set", "set", r.label.Set, "bay", fit[0].Bay, "error", err)
		r.spent[fit[0].Serial] = true
		fs = append(fs, r.finding(fmt.Sprintf("disk-refused-bay-%d", fit[0].Bay), "warning",
			fmt.Sprintf("The disk in bay %d (serial %s) could not be taken into the disk set: %v.", fit[0].Bay, fit[0].Serial, err),
			"Pull the disk and insert it again, or use another one.", fit[0].Bay))
	}
	return true, fs
}

// vacancy is the lowest slot without a disk, the one that md fills first; -1 when the set is whole or being rebuilt.
func (r *running) vacancy() int {
	for i := range r.label.Members {
		if _, ok := r.disks[i]; !ok {
			return i
		}
	}
	return -1
}

// take makes d a member to be rebuilt. Before md touches the disk, all labels say that this slot belongs to it and that it is not yet
// part of the set; cut off at any moment, it is blank, or a member known to be stale.
func (k *keeper) take(ctx context.Context, d roles.Disk, slot int) error {
	r := k.run
	if err := k.hands.Fits(d); err != nil {
		return err
	}
	if err := k.hands.Release(ctx, []roles.Disk{d}); err != nil {
		return err
	}
	if err := k.hands.Prepare(ctx, r.label.Set, d); err != nil {
		return err
	}
	was := d
	d.Label = nil
	r.disks[slot], r.rebuild = d, slot
	bay := r.bays[slot]
	r.bays[slot] = d.Bay
	err := k.record(ctx, r, replaced(r.label, slot, was, r.writer, k.now()))
	if err == nil && r.rebuild < 0 {
		err = errors.New("its label cannot be written")
	}
	if err == nil {
		err = k.hands.Add(ctx, d)
	}
	if err != nil {
		delete(r.disks, slot)
		r.rebuild, r.bays[slot] = -1, bay
		return err
	}
	k.log.Info("rebuild started", "set", r.label.Set, "bay", d.Bay, "serial", d.Serial, "slot", slot)
	return nil
}

// Add implements Store.
func (k *keeper) Add(ctx context.Context, q initapi.AddRequest) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.run == nil {
		return fmt.Errorf("add the disk in bay %d: %w", q.Bay, array.ErrNotStarted)
	}
	r := k.run
	disks, err := k.hands.Disks(ctx)
	if err != nil {
		return fmt.Errorf("add the disk in bay %d: %w", q.Bay, err)
	}
	at := slices.IndexFunc(disks, func(d roles.Disk) bool {
		return d.Bay == q.Bay && q.Bay != 0 || q.Bay == 0 && q.Serial != "" && d.Serial == q.Serial
	})
	if at < 0 {
		return fmt.Errorf("add the disk in bay %d: there is no disk", q.Bay)
	}
	d := disks[at]
	slot := r.vacancy()
	switch {
	case r.uses(d):
		return fmt.Errorf("the disk in bay %d is already in the set", q.Bay)
	case r.rebuild >= 0:
		return fmt.Errorf("add the disk in bay %d: the disk in bay %d is being rebuilt; wait until it is done", q.Bay, r.bays[r.rebuild])
	case slot < 0:
		return fmt.Errorf("add the disk in bay %d: the set is whole and needs no disk", q.Bay)
	case q.Serial != "" && q.Serial != d.Serial:
		return fmt.Errorf("add the disk in bay %d: its serial is %s, not %s", q.Bay, d.Serial, q.Serial)
	case !d.Blank && q.Serial == "" && r.label.Judge(d) != roles.Stale:
		return fmt.Errorf("add the disk in bay %d: it is not blank (%s); give its serial %s to have it overwritten", q.Bay, contents(d), d.Serial)
	}
	if err := k.hands.Fits(d); err != nil {
		return fmt.Errorf("add the disk in bay %d: %w", q.Bay, err)
	}
	// Who has a disk overwritten that ran apart gives up its data: no server's memory of them may hold the set later.
	if l := r.label.GiveUp(d); l.Generation != r.label.Generation {
		if err := k.record(ctx, r, l); err != nil {
			return fmt.Errorf("add the disk in bay %d: %w", q.Bay, err)
		}
	}
	if err := k.take(ctx, d, slot); err != nil {
		return fmt.Errorf("add the disk in bay %d: %w", q.Bay, err)
	}
	return nil
}
