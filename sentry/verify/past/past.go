// Package past keeps what probes found on the disk set, so that latency and availability can be drawn and a fault of last month be looked up.
//
// Data flow: Add counts a run in memory and never waits for a disk; Run writes each minute once it is over, as one frame with a checksum at the
// end of the day's segment, and sums up each hour that is over into a segment of its own. Read puts together what a graph needs. Minutes are kept
// for KeepMinutes, hours for KeepHours, and never more than MaxBytes of both: the oldest day goes first, and minutes before hours. A site of
// three servers with 60 probes each takes some 10 MB for the minutes and 30 MB for the hours.
//
// Power cuts: a frame is whole or is not there. What was cut off while it was written is taken away when the next is written; damage in the
// middle loses the frames that it is in, and no others. At most the minute under way is lost, and what was not written since the disk hung.
// An hour is summed up from the minutes on disk, at any later time, and only once.
//
// It does not judge: availability is the share of runs that found the service at work, lost packets included.
package past

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/sentry/verify"
)

// What is kept, at most.
const (
	KeepMinutes = 3 * 24 * time.Hour
	KeepHours   = 90 * 24 * time.Hour
	MaxBytes    = 64 << 20
)

// maxWaiting is how many minutes wait in memory for a disk that does not take them.
const maxWaiting = 60

// settled is how long after an hour's end it is summed up.
const settled = 2 * time.Minute

// Series tells apart what is followed.
type Series struct {
	Observer string `json:"observer"`
	Target   string `json:"target"`
	Service  string `json:"service"`
	Probe    string `json:"probe"`
}

// Of gives the series of a result.
func Of(r verify.Result) Series { return Series{r.Observer, r.Target, r.Service, r.Probe} }

func (s Series) compare(o Series) int {
	return slices.Compare([]string{s.Target, s.Service, s.Probe, s.Observer}, []string{o.Target, o.Service, o.Probe, o.Observer})
}

// sum is what happened in one span.
type sum struct {
	pass, warn, fail, unknown uint64
	times                     map[uint64]uint64 // runs that found the service at work, by bucket
}

func (s *sum) add(o *sum) {
	s.pass, s.warn, s.fail, s.unknown = s.pass+o.pass, s.warn+o.warn, s.fail+o.fail, s.unknown+o.unknown
	for b, n := range o.times {
		s.times[b] += n
	}
}

// sums of one span.
type sums map[Series]*sum

func (m sums) of(s Series) *sum {
	if m[s] == nil {
		m[s] = &sum{times: map[uint64]uint64{}}
	}
	return m[s]
}

// Times are counted in buckets, eight to the doubling, from 100 µs to about 100 s: what comes out is right to 5 %.
const (
	bucketBase = 100 * time.Microsecond
	perOctave  = 8
	maxBucket  = 20 * perOctave
)

func bucket(d time.Duration) uint64 {
	if d <= bucketBase {
		return 0
	}
	return uint64(min(math.Round(perOctave*math.Log2(float64(d)/float64(bucketBase))), maxBucket))
}

func fromBucket(b uint64) time.Duration {
	return time.Duration(float64(bucketBase) * math.Exp2(float64(b)/perOctave))
}

// Store is the past in one directory. One process writes it.
type Store struct {
	dir string
	now func() time.Time
	max int64

	mu      sync.Mutex
	waiting map[int64]sums // by minute since 1970

	disk   sync.Mutex // held while writing
	rolled int64      // hour since 1970 up to which hours are summed up
}

// Open uses dir, which is made if needed. now may be nil.
func Open(dir string, now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep the probes' history: %w", err)
	}
	return &Store{dir: dir, now: now, max: MaxBytes, waiting: map[int64]sums{}}, nil
}

// Add counts a run that ended at.
func (s *Store) Add(r Series, at time.Time, status verify.Status, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	minute := at.Unix() / 60
	m := s.waiting[minute]
	if m == nil {
		if len(s.waiting) >= maxWaiting {
			oldest := minute
			for k := range s.waiting {
				oldest = min(oldest, k)
			}
			delete(s.waiting, oldest)
		}
		m = sums{}
		s.waiting[minute] = m
	}
	switch status {
	case verify.Pass:
		m.of(r).pass++
		m.of(r).times[bucket(took)]++
	case verify.Warn:
		m.of(r).warn++
		m.of(r).times[bucket(took)]++
	case verify.Fail:
		m.of(r).fail++
	case verify.Unknown, verify.Skipped:
		m.of(r).unknown++
	}
}

// Run writes what is over until ctx ends, and then the rest. A disk that does not take it is told once.
func (s *Store) Run(ctx context.Context, log *slog.Logger) {
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	said := ""
	for {
		err := s.Write(false)
		switch {
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			log.Warn("history of the probes not written; it waits", "err", err)
		}
		select {
		case <-ctx.Done():
			if err := s.Write(true); err != nil {
				log.Warn("last minute of the probes' history not written", "err", err)
			}
			return
		case <-t.C:
		}
	}
}

// Write writes the minutes that are over, or all, sums up hours, and takes away what is too old. What it could not write waits on.
func (s *Store) Write(all bool) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	now := s.now()
	s.mu.Lock()
	var minutes []int64
	for m := range s.waiting {
		if all || m != now.Unix()/60 {
			minutes = append(minutes, m)
		}
	}
	slices.Sort(minutes)
	byDay := map[string][]batch{}
	for _, m := range minutes {
		day := dayOf(m)
		byDay[day] = append(byDay[day], batch{start: m, sums: s.waiting[m]})
		delete(s.waiting, m)
	}
	s.mu.Unlock()
	var errs []error
	for day, list := range byDay {
		if err := appendTo(filepath.Join(s.dir, "m-"+day+suffix), list); err != nil {
			errs = append(errs, err)
			s.giveBack(list)
		}
	}
	if len(minutes) == 0 && s.rolled != 0 {
		return errors.Join(errs...)
	}
	if err := s.rollUp(now); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, s.prune(now))...)
}

// giveBack lets batches wait again.
func (s *Store) giveBack(list []batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range list {
		if len(s.waiting) >= maxWaiting {
			return
		}
		if s.waiting[b.start] == nil {
			s.waiting[b.start] = sums{}
		}
		for r, x := range b.sums {
			s.waiting[b.start].of(r).add(x)
		}
	}
}

// rollUp sums up the hours that are over and are not yet.
func (s *Store) rollUp(now time.Time) error {
	until := now.Add(-settled).Unix() / 3600 // the first hour that is not over
	if s.rolled >= until {
		return nil
	}
	from := max(s.rolled, until-int64(KeepMinutes/time.Hour))
	have := map[int64]bool{}
	if err := s.scan("h-", from*60, until*60, func(b batch) { have[b.start/60] = true }); err != nil {
		return err
	}
	hours := map[int64]sums{}
	if err := s.scan("m-", from*60, until*60, func(b batch) {
		h := b.start / 60
		if have[h] {
			return
		}
		if hours[h] == nil {
			hours[h] = sums{}
		}
		for r, x := range b.sums {
			hours[h].of(r).add(x)
		}
	}); err != nil {
		return err
	}
	byDay := map[string][]batch{}
	for h, m := range hours {
		byDay[dayOf(h*60)] = append(byDay[dayOf(h*60)], batch{start: h * 60, sums: m})
	}
	for day, list := range byDay {
		slices.SortFunc(list, func(a, b batch) int { return int(a.start - b.start) })
		if err := appendTo(filepath.Join(s.dir, "h-"+day+suffix), list); err != nil {
			return err
		}
	}
	s.rolled = until
	return nil
}

// prune takes away days that are too old, and more if there is too much.
func (s *Store) prune(now time.Time) error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("look through the probes' history: %w", err)
	}
	var total int64
	var minutes, hours []os.DirEntry // by name, and so by day
	sizes := map[string]int64{}
	for _, f := range files {
		kind, day, ok := parseName(f.Name())
		if !ok {
			continue
		}
		keep := KeepMinutes
		if kind == "h-" {
			keep = KeepHours
		}
		if day.Add(24 * time.Hour).Before(now.Add(-keep)) {
			if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
				return fmt.Errorf("take away old history of probes: %w", err)
			}
			continue
		}
		if st, err := f.Info(); err == nil {
			sizes[f.Name()] = st.Size()
			total += st.Size()
		}
		if kind == "h-" {
			hours = append(hours, f)
		} else {
			minutes = append(minutes, f)
		}
	}
	for _, list := range [][]os.DirEntry{minutes, hours} {
		for i := 0; total > s.max && i < len(list)-1; i++ { // never the newest
			if err := os.Remove(filepath.Join(s.dir, list[i].Name())); err != nil {
				return fmt.Errorf("take away old history of probes: %w", err)
			}
			total -= sizes[list[i].Name()]
		}
	}
	return nil
}

const suffix = ".seg"

func dayOf(minute int64) string { return time.Unix(minute*60, 0).UTC().Format("20060102") }

func parseName(name string) (kind string, day time.Time, ok bool) {
	rest, ok := strings.CutSuffix(name, suffix)
	if !ok || len(rest) != 10 || (rest[:2] != "m-" && rest[:2] != "h-") {
		return "", time.Time{}, false
	}
	day, err := time.Parse("20060102", rest[2:])
	return rest[:2], day, err == nil
}
