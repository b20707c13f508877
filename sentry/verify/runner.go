package verify

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Check is one probe of one target, to be run again and again.
type Check struct {
	Target  string // server
	Service string
	Probe   string
	Title   string
	Minor   bool
	Timeout time.Duration // of one run; 10 s if 0
	Every   time.Duration // between runs, ±10 %; the Runner's Interval if 0
	Run     func(ctx context.Context) Outcome
}

// Settings of a Runner; zero values give the defaults.
type Settings struct {
	Observer string
	Interval time.Duration // between runs, ±10 %; 30 s
	Quick    time.Duration // first wait after a run that did not pass, and after Kick; 2 s. It grows to Interval.
	History  int           // points kept per check; 60
	Now      func() time.Time
	Log      *slog.Logger
	Changed  func() // called after a result's status changed
}

// Runner runs checks. Each has its own goroutine.
type Runner struct {
	set Settings

	mu     sync.Mutex
	checks map[string]*running
}

type running struct {
	check  Check
	result Result
	cancel context.CancelFunc
	kick   chan struct{}
	turn   chan struct{} // holds one while the check runs: a transaction does not meet itself
}

// NewRunner makes a runner without checks.
func NewRunner(s Settings) *Runner {
	if s.Interval <= 0 {
		s.Interval = 30 * time.Second
	}
	if s.Quick <= 0 {
		s.Quick = 2 * time.Second
	}
	if s.History <= 0 {
		s.History = 60
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return &Runner{set: s, checks: map[string]*running{}}
}

// Set makes checks the ones that run: those with the same target, service and probe go on with the new Run at their next turn, new
// ones start at once, the others end. They all end with ctx.
func (r *Runner) Set(ctx context.Context, checks []Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := map[string]bool{}
	for _, c := range checks {
		k := Result{Target: c.Target, Service: c.Service, Probe: c.Probe}.key()
		if keep[k] {
			continue
		}
		keep[k] = true
		if old := r.checks[k]; old != nil {
			old.check = c
			old.result.Title, old.result.Minor, old.result.Every = c.Title, c.Minor, r.every(c)
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		n := &running{check: c, cancel: cancel, kick: make(chan struct{}, 1), turn: make(chan struct{}, 1), result: Result{
			Observer: r.set.Observer, Target: c.Target, Service: c.Service, Probe: c.Probe, Title: c.Title, Minor: c.Minor,
			Status: Unknown, Evidence: "not run yet", Every: r.every(c), Since: r.set.Now(),
		}}
		r.checks[k] = n
		go r.loop(ctx, n)
	}
	for k, c := range r.checks {
		if !keep[k] {
			c.cancel()
			delete(r.checks, k)
		}
	}
}

// Kick runs the checks that which picks again soon: something has changed for them.
func (r *Runner) Kick(which func(target, service string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.checks {
		if !which(c.check.Target, c.check.Service) {
			continue
		}
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
}

// Now runs the checks that which picks at once, out of their turn, and gives what they found, with what they had found before. Those of which
// nothing new is known when ctx ends are left out.
func (r *Runner) Now(ctx context.Context, which func(Check) bool) []Result {
	var (
		work sync.WaitGroup
		mu   sync.Mutex
		out  []Result
	)
	r.mu.Lock()
	for _, c := range r.checks {
		if !which(c.check) {
			continue
		}
		work.Go(func() {
			status := r.once(ctx, c)
			if ctx.Err() != nil {
				return
			}
			if status != Pass && status != NotApplicable { // and soon again
				select {
				case c.kick <- struct{}{}:
				default:
				}
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, r.result(c))
		})
	}
	r.mu.Unlock()
	work.Wait()
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.key(), b.key()) })
	return out
}

// result is a copy of what a check found last.
func (r *Runner) result(c *running) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := c.result
	res.History = append([]Point(nil), res.History...)
	return res
}

// Results are the newest results of all checks, by target, service and probe.
func (r *Runner) Results() []Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Result, 0, len(r.checks))
	for _, c := range r.checks {
		res := c.result
		res.History = append([]Point(nil), res.History...)
		out = append(out, res)
	}
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.key(), b.key()) })
	return out
}

func (r *Runner) loop(ctx context.Context, c *running) {
	wait := time.Duration(rand.Int64N(int64(r.set.Quick/4) + 1))
	backoff := r.set.Quick
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
			backoff = r.set.Quick
			t.Reset(jitter(r.set.Quick))
			continue
		case <-t.C:
		}
		status := r.once(ctx, c)
		r.mu.Lock()
		every := r.every(c.check)
		r.mu.Unlock()
		wait = every
		switch status {
		case Pass, NotApplicable:
			backoff = r.set.Quick
		case Skipped: // what it waits for comes with a kick
		default:
			wait = min(backoff, every)
			backoff = backoff * 3 / 2
		}
		t.Reset(jitter(wait))
	}
}

func (r *Runner) every(c Check) time.Duration {
	if c.Every > 0 {
		return c.Every
	}
	return r.set.Interval
}

func (r *Runner) once(ctx context.Context, c *running) Status {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return Unknown
	}
	r.mu.Lock()
	check := c.check
	r.mu.Unlock()
	if check.Timeout <= 0 {
		check.Timeout = 10 * time.Second
	}
	run, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	from := time.Now()
	out := guarded(run, check.Run)
	took := time.Since(from)
	if ctx.Err() != nil {
		return out.Status // stopped while it ran: tells nothing
	}
	now := r.set.Now()
	r.mu.Lock()
	changed := c.result.Status != out.Status
	if changed {
		c.result.Since = now
	}
	c.result.Status, c.result.Evidence, c.result.Next = out.Status, out.Evidence, out.Next
	c.result.At, c.result.Duration = now, took
	c.result.History = append(c.result.History, Point{At: now, Status: out.Status, Duration: took})
	if n := len(c.result.History) - r.set.History; n > 0 {
		c.result.History = append([]Point(nil), c.result.History[n:]...)
	}
	r.mu.Unlock()
	if changed {
		r.set.Log.Info("probe changed", "server", check.Target, "service", check.Service, "probe", check.Probe,
			"status", out.Status, "evidence", out.Evidence, "ms", took.Milliseconds())
		if r.set.Changed != nil {
			r.set.Changed()
		}
	}
	return out.Status
}

// guarded runs a probe in its own goroutine: one that does not end with ctx, or panics, is told and left behind.
func guarded(ctx context.Context, run func(context.Context) Outcome) Outcome {
	done := make(chan Outcome, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- Outcome{Unknown, fmt.Sprintf("the probe itself failed: %v", p), "Report this to the vendor."}
			}
		}()
		done <- run(ctx)
	}()
	select {
	case out := <-done:
		return out
	case <-ctx.Done():
	}
	// A probe that obeys ctx words its own timeout; give it a moment.
	select {
	case out := <-done:
		return out
	case <-time.After(500 * time.Millisecond):
		return Outcome{Fail, "no answer in time", ""}
	}
}

func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}
