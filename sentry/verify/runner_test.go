package verify

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// check makes one that may be asked ten times a second.
func check(probe string, run func(context.Context) Outcome) Check {
	return Check{Target: "right", Service: "web", Probe: probe, Title: probe, Timeout: 100 * time.Millisecond, Run: run}
}

func result(t *testing.T, r *Runner, probe string) Result {
	t.Helper()
	for _, res := range r.Results() {
		if res.Probe == probe {
			return res
		}
	}
	t.Fatalf("no result of %s", probe)
	return Result{}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 10 s", what)
}

func TestRunnerKeepsChecksApart(t *testing.T) {
	r := NewRunner(Settings{Observer: "left", Interval: 20 * time.Millisecond, Quick: 5 * time.Millisecond, History: 5})
	var quick atomic.Int64
	release := make(chan struct{})
	defer close(release)
	r.Set(t.Context(), []Check{
		check("quick", func(context.Context) Outcome { quick.Add(1); return Outcome{Status: Pass, Evidence: "fine"} }),
		check("deaf", func(context.Context) Outcome { <-release; return Outcome{Status: Pass} }), // does not obey ctx
		check("panics", func(context.Context) Outcome { panic("oh") }),
	})
	until(t, "20 runs of quick while deaf hangs", func() bool { return quick.Load() > 20 })
	until(t, "deaf is told", func() bool { return result(t, r, "deaf").Status == Fail })
	until(t, "panic is told", func() bool { return result(t, r, "panics").Evidence == "the probe itself failed: oh" })
	got := result(t, r, "quick")
	if len(got.History) != 5 || got.Observer != "left" || got.Status != Pass || got.Stale(time.Now()) {
		t.Errorf("quick = %+v; want pass by left with 5 points, not stale", got)
	}
}

func TestRunnerChanges(t *testing.T) {
	var changed atomic.Int64
	r := NewRunner(Settings{Interval: time.Hour, Quick: 10 * time.Millisecond, Changed: func() { changed.Add(1) }})
	if got := NewRunner(Settings{}).set; got.Interval != 30*time.Second || got.Quick != time.Second || got.History != 60 {
		t.Errorf("defaults = %+v", got)
	}
	var status atomic.Value
	status.Store(Pass)
	run := func(context.Context) Outcome { return Outcome{Status: status.Load().(Status)} }
	r.Set(t.Context(), []Check{check("a", run)})
	if s := result(t, r, "a"); s.Status != Unknown || !s.Stale(time.Now()) {
		t.Errorf("before the first run: %+v; want unknown and stale", s)
	}
	until(t, "first pass", func() bool { return result(t, r, "a").Status == Pass })
	since := result(t, r, "a").Since
	status.Store(Fail)
	time.Sleep(50 * time.Millisecond)
	if s := result(t, r, "a"); s.Status != Pass {
		t.Errorf("after an hour's interval it ran again at once: %+v", s)
	}
	r.Kick(func(string, string) bool { return true })
	until(t, "kick finds the failure", func() bool { return result(t, r, "a").Status == Fail })
	if s := result(t, r, "a"); !s.Since.After(since) {
		t.Error("Since did not change with the status")
	}
	status.Store(Pass) // what fails is tried again soon, without a kick
	until(t, "recovery", func() bool { return result(t, r, "a").Status == Pass })
	if changed.Load() != 3 {
		t.Errorf("Changed called %d times; want 3", changed.Load())
	}
	r.Set(t.Context(), nil)
	if n := len(r.Results()); n != 0 {
		t.Errorf("%d results after all checks were taken away", n)
	}
}

// TestRunnerNow: out of its turn a check runs at once, never beside itself, and counts like any other run.
func TestRunnerNow(t *testing.T) {
	r := NewRunner(Settings{Interval: time.Hour, Quick: time.Hour})
	var runs, beside atomic.Int64
	r.Set(t.Context(), []Check{
		check("page", func(context.Context) Outcome {
			if beside.Add(1) > 1 {
				t.Error("two runs at the same time")
			}
			defer beside.Add(-1)
			time.Sleep(5 * time.Millisecond)
			if runs.Add(1) > 1 {
				return Outcome{Status: Fail, Evidence: "down"}
			}
			return Outcome{Status: Pass}
		}),
		check("other", func(context.Context) Outcome { return Outcome{Status: Pass} }),
	})
	page := func(c Check) bool { return c.Probe == "page" }
	if got := r.Now(t.Context(), page); len(got) != 1 || got[0].Status != Pass || len(got[0].History) != 1 {
		t.Errorf("first: %+v; want one pass", got)
	}
	done := make(chan []Result)
	for range 3 {
		go func() { done <- r.Now(t.Context(), page) }()
	}
	for range 3 {
		if got := <-done; len(got) != 1 || got[0].Status != Fail || got[0].Evidence != "down" {
			t.Errorf("later: %+v; want one failure", got)
		}
	}
	if got := result(t, r, "page"); len(got.History) != 4 || got.Status != Fail {
		t.Errorf("result: %+v; want 4 points, failed", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := r.Now(ctx, page); len(got) != 0 {
		t.Errorf("after the end: %+v; want nothing", got)
	}
}
