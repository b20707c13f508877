package boot

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/initapi"
)

func take(d time.Duration, note string, err error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		select {
		case <-time.After(d):
			return note, err
		case <-ctx.Done():
			return note, ctx.Err()
		}
	}
}

func TestRun(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name   string
		phases []Phase
		want   []initapi.PhaseReport
		at     int
		err    error
		next   string
	}{
		{
			name: "all well",
			phases: []Phase{
				{Name: "a", Timeout: time.Second, Run: take(10*time.Millisecond, "n", nil)},
				{Name: "b", Timeout: time.Second, Run: take(0, "", nil), Skip: func() string { return "not here" }},
				{Name: "c", Timeout: time.Second, Run: take(20*time.Millisecond, "", nil), Skip: func() string { return "" }},
			},
			want: []initapi.PhaseReport{
				{Name: "a", Duration: 10 * time.Millisecond, Result: "ok", Note: "n"},
				{Name: "b", Result: "skipped", Note: "not here"},
				{Name: "c", Duration: 20 * time.Millisecond, Result: "ok"},
			},
			at: 3,
		},
		{
			name: "failure that is no reason to stop",
			phases: []Phase{
				{Name: "a", Timeout: time.Second, Next: "look", Run: take(0, "", boom)},
				{Name: "b", Timeout: time.Second, Run: take(0, "", nil)},
			},
			want: []initapi.PhaseReport{{Name: "a", Result: "boom"}, {Name: "b", Result: "ok"}},
			at:   2,
			next: "look",
		},
		{
			name: "failure that holds, with its own advice",
			phases: []Phase{
				{Name: "a", Timeout: time.Second, Policy: Hold, Next: "look", Run: take(0, "", Advise(boom, "replace it"))},
				{Name: "b", Timeout: time.Second, Run: take(0, "", nil)},
			},
			want: []initapi.PhaseReport{{Name: "a", Result: "boom"}},
			err:  boom,
			next: "replace it",
		},
		{
			name:   "too slow",
			phases: []Phase{{Name: "a", Timeout: time.Second, Policy: Hold, Run: take(time.Hour, "half done", nil)}},
			want: []initapi.PhaseReport{{
				Name: "a", Duration: time.Second, Note: "half done",
				Result: "took too long: more than 1s: context deadline exceeded",
			}},
			err: ErrTimeout,
		},
		{
			name: "does not listen",
			phases: []Phase{{Name: "a", Timeout: time.Second, Run: func(context.Context) (string, error) {
				time.Sleep(time.Minute)
				return "", nil
			}}, {Name: "b", Run: take(0, "", nil)}},
			want: []initapi.PhaseReport{
				{Name: "a", Duration: time.Second + grace, Result: "took too long: more than 1s, and cannot be interrupted"},
				{Name: "b", Result: "ok"},
			},
			at: 2,
		},
		{
			name: "panics",
			phases: []Phase{{Name: "a", Run: func(context.Context) (string, error) { panic("oops") }}, {
				Name: "b", Run: take(0, "", nil),
			}},
			want: []initapi.PhaseReport{{Name: "a", Result: "phase a crashed: oops"}, {Name: "b", Result: "ok"}},
			at:   2,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next := ""
				r := &Runner{Failed: func(e *Error) { next = e.Next }}
				at, err := r.Run(t.Context(), tt.phases)
				if at != tt.at || !errors.Is(err, tt.err) || (tt.err == nil && err != nil) {
					t.Errorf("Run = %d, %v; want %d, %v", at, err, tt.at, tt.err)
				}
				if d := cmp.Diff(tt.want, r.Reports()); d != "" {
					t.Error(d)
				}
				if next != tt.next {
					t.Errorf("next = %q; want %q", next, tt.next)
				}
				if _, _, ok := r.Current(); ok {
					t.Error("a phase is still current")
				}
				time.Sleep(2 * time.Minute) // let the phase that does not listen end
			})
		})
	}
}

func TestReportsAreBounded(t *testing.T) {
	r := &Runner{}
	for i := range 500 {
		r.Add(initapi.PhaseReport{Name: "p", Duration: time.Duration(i)})
	}
	got := r.Reports()
	if len(got) != maxReports || got[0].Duration != 0 || got[keepFirst-1].Duration != keepFirst-1 || got[maxReports-1].Duration != 499 {
		t.Errorf("%d reports, first %v, last %v", len(got), got[0], got[len(got)-1])
	}
}
