package site

import (
	"sync"
	"time"
)

// Memory knows since when reasons and findings stand that do not know it themselves. The zero value is ready to use, and may be used from
// anywhere.
type Memory struct {
	mu    sync.Mutex
	since map[string]stand
}

type stand struct{ since, last time.Time }

// gap is for how long something may be away and still count as the same: a report that came late is no news.
const gap = 30 * time.Second

// Stamp fills in what s does not know, at s.At.
func (m *Memory) Stamp(s *Site) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.since == nil {
		m.since = map[string]stand{}
	}
	stamp := func(id string, at *time.Time) {
		k, ok := m.since[id]
		if !ok || s.At.Sub(k.last) > gap {
			k.since = s.At
		}
		k.last = s.At
		m.since[id] = k
		if at.IsZero() {
			*at = k.since
		}
	}
	for _, list := range [][]Reason{s.Readiness.Reasons, s.Readiness.Accepted} {
		for i := range list {
			stamp("reason "+list[i].ID, &list[i].Since)
		}
	}
	for i := range s.Findings {
		stamp("finding "+s.Findings[i].ID, &s.Findings[i].Since)
	}
	for id, k := range m.since {
		if s.At.Sub(k.last) > gap {
			delete(m.since, id)
		}
	}
}
