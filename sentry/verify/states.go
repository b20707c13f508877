package verify

import (
	"fmt"
	"time"
)

// Flap detection, as in the monitoring systems that administrators know: each of the last runs that differs from the one before counts, newer
// ones more (0.8 to 1.2), as a share of all that could. Above flapHigh a check comes and goes until it falls below flapLow.
const (
	flapRuns = 21
	flapHigh = 0.50
	flapLow  = 0.25
)

// standing makes of runs in a row what to believe. The zero value has seen none.
type standing struct {
	stands   Status
	bad      int // runs in a row that found trouble and count
	fails    int // of these, the newest in a row that are Fail
	counted  time.Time
	recent   []Status // Pass, Warn and Fail of the last flapRuns runs, oldest first
	flapping bool
}

// add judges one more run, that ended at. Runs that follow each other in less than apart count as one: whoever asks ten times in a second
// sees the same reload ten times.
func (s *standing) add(o Outcome, at time.Time, apart time.Duration) {
	switch o.Status {
	case Pass:
		s.bad, s.fails, s.stands = 0, 0, Pass
	case Warn, Fail:
		s.trouble(o, at, apart)
	default:
		s.bad, s.fails, s.stands = 0, 0, o.Status
		return // no evidence of coming or going
	}
	s.recent = append(s.recent, o.Status)
	if n := len(s.recent) - flapRuns; n > 0 {
		s.recent = append(s.recent[:0], s.recent[n:]...)
	}
	switch f := flaps(s.recent); {
	case f >= flapHigh:
		s.flapping = true
	case f < flapLow:
		s.flapping = false
	}
	if s.flapping && s.stands == Pass {
		s.stands = Warn
	}
}

func (s *standing) trouble(o Outcome, at time.Time, apart time.Duration) {
	need := o.Weight
	if need == 0 {
		need = Tries
	}
	if s.bad == 0 || at.Sub(s.counted) >= apart {
		s.bad++
		s.counted = at
		if o.Status == Fail {
			s.fails++
		}
	}
	if o.Status == Warn {
		s.fails = 0
		if s.bad >= need || s.stands == Fail { // it works again, more or less
			s.stands = Warn
		}
		return
	}
	s.fails = max(s.fails, 1)
	if s.fails >= need {
		s.stands = Fail
	}
}

// soft tells that there is trouble which does not stand yet.
func (s *standing) soft(now Status) bool { return s.bad > 0 && s.stands != now && s.stands != Fail }

// flaps is the weighted share of runs that differ from the one before.
func flaps(runs []Status) float64 {
	sum := 0.0
	for i := 1; i < len(runs); i++ {
		if runs[i] != runs[i-1] {
			place := flapRuns - len(runs) + i - 1 // 0 to 19, as if older runs had been alike
			sum += 0.8 + 0.4*float64(place)/(flapRuns-2)
		}
	}
	return sum / (flapRuns - 1)
}

// changes counts the runs that differ from the one before.
func changes(runs []Status) int {
	n := 0
	for i := 1; i < len(runs); i++ {
		if runs[i] != runs[i-1] {
			n++
		}
	}
	return n
}

// words tells of o as it stands.
func (s *standing) words(o Outcome) (evidence, next string) {
	if !s.flapping {
		return o.Evidence, o.Next
	}
	evidence = fmt.Sprintf("comes and goes: changed %d times in the last %d runs; now: %s", changes(s.recent), len(s.recent), o.Evidence)
	if next = o.Next; next == "" {
		next = "Look at the service's log for what happens each time, and at the network between the servers."
	}
	return evidence, next
}
