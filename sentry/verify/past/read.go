package past

import (
	"maps"
	"slices"
	"time"
)

// Line is one series, as a graph draws it.
type Line struct {
	Series
	Spans []Span `json:"spans"` // by time; spans without a run are left out
}

// Span is a minute or an hour.
type Span struct {
	At           time.Time     `json:"at"` // its beginning
	Runs         int           `json:"runs"`
	Failed       int           `json:"failed"`
	Unknown      int           `json:"unknown"`                // runs that told nothing: the observer could not, or had not to
	Availability *float64      `json:"availability,omitempty"` // share of the runs that told something which found the service at work
	P50          time.Duration `json:"p50_ns,omitempty"`       // of the runs that found it at work
	P95          time.Duration `json:"p95_ns,omitempty"`
}

// Read gives what which picks, in [from, to), by the minute or by the hour. Hours that are not summed up yet are made from minutes.
func (s *Store) Read(from, to time.Time, step time.Duration, which func(Series) bool) ([]Line, error) {
	first, end := from.Unix()/60, (to.Unix()+59)/60
	spans := map[int64]sums{}
	put := func(start int64, m sums) {
		if spans[start] == nil {
			spans[start] = sums{}
		}
		for r, x := range m {
			if which == nil || which(r) {
				spans[start].of(r).add(x)
			}
		}
	}
	unit := int64(1)
	have := map[int64]bool{}
	if step >= time.Hour {
		unit = 60
		first -= first % unit
		if err := s.scan("h-", first, end, func(b batch) { have[b.start] = true; put(b.start, b.sums) }); err != nil {
			return nil, err
		}
	}
	minute := func(b batch) {
		if start := b.start - b.start%unit; !have[start] {
			put(start, b.sums)
		}
	}
	if err := s.scan("m-", first, end, minute); err != nil {
		return nil, err
	}
	s.mu.Lock()
	for m, x := range s.waiting {
		if m >= first && m < end {
			minute(batch{m, x})
		}
	}
	s.mu.Unlock()
	lines := map[Series]*Line{}
	for _, start := range slices.Sorted(maps.Keys(spans)) {
		for r, x := range spans[start] {
			if lines[r] == nil {
				lines[r] = &Line{Series: r}
			}
			lines[r].Spans = append(lines[r].Spans, x.span(start))
		}
	}
	out := make([]Line, 0, len(lines))
	for _, r := range slices.SortedFunc(maps.Keys(lines), Series.compare) {
		out = append(out, *lines[r])
	}
	return out, nil
}

func (s *sum) span(start int64) Span {
	v := Span{At: time.Unix(start*60, 0).UTC(), Runs: int(s.pass + s.warn + s.fail + s.unknown), Failed: int(s.fail), Unknown: int(s.unknown)}
	if told := s.pass + s.warn + s.fail; told > 0 {
		a := float64(s.pass+s.warn) / float64(told)
		v.Availability = &a
	}
	v.P50, v.P95 = s.percentile(0.50), s.percentile(0.95)
	return v
}

// percentile of the times; 0 if there are none.
func (s *sum) percentile(p float64) time.Duration {
	total := uint64(0)
	for _, n := range s.times {
		total += n
	}
	if total == 0 {
		return 0
	}
	seen := uint64(0)
	for _, b := range slices.Sorted(maps.Keys(s.times)) {
		if seen += s.times[b]; float64(seen) >= p*float64(total) {
			return fromBucket(b)
		}
	}
	return 0
}
