package engine

import (
	"slices"
	"sync"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
)

// Findings are what the Synchronizer has found, each once. The zero value is ready to use.
type Findings struct {
	mu  sync.Mutex
	all map[string]initapi.Finding
}

// Set tells a finding, or that it is still there: then it keeps its time.
func (f *Findings) Set(n initapi.Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.all[n.ID]; ok {
		n.Since = old.Since
	} else if n.Since.IsZero() {
		n.Since = time.Now().UTC()
	}
	if f.all == nil {
		f.all = map[string]initapi.Finding{}
	}
	f.all[n.ID] = n
}

// Clear takes a finding back.
func (f *Findings) Clear(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, id)
}

// List gives all, the oldest first.
func (f *Findings) List() []initapi.Finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]initapi.Finding, 0, len(f.all))
	for _, n := range f.all {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b initapi.Finding) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}
