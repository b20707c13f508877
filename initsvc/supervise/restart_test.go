package supervise

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBackoffAndDecay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := RestartPolicy{Min: time.Second, Max: 10 * time.Second, HalfLife: 10 * time.Minute}
		// How long each life lasts before it fails.
		lives := []time.Duration{0, 0, 0, 0, 0, 0, time.Hour, 0}
		var pauses []time.Duration
		n := 0
		ctx, cancel := context.WithCancel(t.Context())
		run := restarting(func(context.Context) error {
			if n == len(lives) {
				cancel()
				return nil
			}
			n++
			time.Sleep(lives[n-1])
			return errors.New("failed")
		}, policy, func(err error, pause time.Duration) {
			pauses = append(pauses, pause.Round(time.Second))
		})
		if err := run(ctx); err != nil {
			t.Errorf("run = %v; want nil when it was asked to end", err)
		}
		want := []time.Duration{1, 2, 4, 8, 10, 10, 1, 2}
		for i := range want {
			want[i] *= time.Second
		}
		if d := cmp.Diff(want, pauses); d != "" {
			t.Error(d)
		}
	})
}

func TestRestartingEndsDuringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_ = restarting(func(context.Context) error { return errors.New("failed") }, RestartPolicy{Min: time.Hour, Max: time.Hour, HalfLife: time.Hour}, func(error, time.Duration) {})(ctx)
		if d := time.Since(start); d != time.Second {
			t.Errorf("ended after %s; want 1s", d)
		}
	})
}
