package watch

import (
	"context"
	"slices"
	"sync"

	"sayasystems.com/atlas/sentry/sync/state"
)

// maxActions bounds the actions that wait for the consumer. Above it they become one that says: look at everything again.
const maxActions = 256

// outbox holds actions until the consumer takes them. Parts of the same action that wait are merged.
type outbox struct {
	mu     sync.Mutex
	list   []Action
	wake   chan struct{}
	out    chan Action
	merged uint64
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1), out: make(chan Action)} }

func (o *outbox) put(acts ...Action) {
	if len(acts) == 0 {
		return
	}
	o.mu.Lock()
	for _, a := range acts {
		o.list = o.insert(a)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) insert(a Action) []Action {
	if i := slices.IndexFunc(o.list, func(b Action) bool { return b.ID == a.ID && a.ID != 0 }); i >= 0 {
		o.merged++
		merge(&o.list[i], a)
		return o.list
	}
	if len(o.list) < maxActions {
		return append(o.list, a)
	}
	o.merged++
	all := Action{Rescan: true, First: o.list[0].First, Last: a.Last}
	for _, b := range append(o.list, a) {
		if b.Problem != nil && all.Problem == nil {
			all.Problem = b.Problem
		}
	}
	return append(o.list[:0], all)
}

// merge adds the later part b of the same action to a.
func merge(a *Action, b Action) {
	if len(a.Paths)+len(a.Attrs) == 0 {
		a.First = b.First
	}
	a.Last, a.More, a.Rescan = b.Last, b.More, a.Rescan || b.Rescan
	a.Who = better(a.Who, b.Who)
	a.Paths, a.Attrs = union(a.Paths, b.Paths), union(a.Attrs, b.Attrs)
	if len(a.Paths)+len(a.Attrs) > 4*maxPaths {
		a.Paths, a.Attrs, a.Rescan = nil, nil, true
	}
}

func union(a, b []state.Path) []state.Path {
	if len(b) == 0 {
		return a
	}
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// run hands actions out until ctx ends, then closes the channel.
func (o *outbox) run(ctx context.Context) {
	defer close(o.out)
	for {
		a, ok := o.first()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-o.wake:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case o.out <- a:
		}
	}
}

func (o *outbox) first() (Action, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) == 0 {
		return Action{}, false
	}
	a := o.list[0]
	o.list = slices.Delete(o.list, 0, 1)
	return a, true
}
