package verify

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestAsked: what gets lost is asked again, a few times; an answer, be it a refusal, ends it; so does the time.
func TestAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name    string
			answers []error // of each time; a timeout takes the time that it was given
			limit   time.Duration
			want    error
			asks    int
		}{
			{"at once", []error{nil}, time.Minute, nil, 1},
			{"one lost", []error{os.ErrDeadlineExceeded, nil}, time.Minute, nil, 2},
			{"refused", []error{syscall.ECONNREFUSED, nil}, time.Minute, syscall.ECONNREFUSED, 1},
			{"all lost", []error{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, nil}, time.Minute, context.DeadlineExceeded, 3},
			{"no time for more", []error{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, nil}, 2 * time.Second, context.DeadlineExceeded, 2},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			n := 0
			err := asked(ctx, func(wait time.Duration) error {
				n++
				if errors.Is(c.answers[n-1], os.ErrDeadlineExceeded) {
					time.Sleep(wait)
				}
				return c.answers[n-1]
			})
			cancel()
			if !errors.Is(err, c.want) || n != c.asks {
				t.Errorf("%s: %v after %d times; want %v after %d", c.name, err, n, c.want, c.asks)
			}
		}
	})
}
