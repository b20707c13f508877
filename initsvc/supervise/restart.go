package supervise

import (
	"context"
	"math"
	"time"
)

// RestartPolicy says how long to wait before a process that failed is run again: Min after a first failure, doubling up to Max
// while failures follow each other. Past failures count less and less: half after each HalfLife, as in suture's decay.
type RestartPolicy struct {
	Min, Max, HalfLife time.Duration
}

func (p RestartPolicy) withDefaults() RestartPolicy {
	if p.Min <= 0 {
		p.Min = 500 * time.Millisecond
	}
	if p.Max <= 0 {
		p.Max = 30 * time.Second
	}
	if p.HalfLife <= 0 {
		p.HalfLife = time.Minute
	}
	return p
}

// backoff counts failures that fade.
type backoff struct {
	policy   RestartPolicy
	failures float64
	last     time.Time
}

// next notes a failure at now and returns the pause before the next try.
func (b *backoff) next(now time.Time) time.Duration {
	if !b.last.IsZero() {
		b.failures *= math.Exp2(-now.Sub(b.last).Seconds() / b.policy.HalfLife.Seconds())
	}
	b.last = now
	b.failures++
	d := float64(b.policy.Min) * math.Exp2(b.failures-1)
	return time.Duration(min(d, float64(b.policy.Max)))
}

// runner is one life of something: it returns when it has ended, nil only if ctx asked for it.
type runner func(ctx context.Context) error

// restarting returns a runner that runs r again and again until ctx ends, with pauses by policy. failed is told every failure
// and the pause after it.
func restarting(r runner, policy RestartPolicy, failed func(err error, pause time.Duration)) runner {
	return func(ctx context.Context) error {
		b := backoff{policy: policy}
		for {
			err := r(ctx)
			if ctx.Err() != nil {
				return nil
			}
			pause := b.next(time.Now())
			failed(err, pause)
			t := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				t.Stop()
				return nil
			case <-t.C:
			}
		}
	}
}
