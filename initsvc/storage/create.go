package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sayasystems.com/atlas/initsvc/storage/array"
	"sayasystems.com/atlas/roles"
)

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
