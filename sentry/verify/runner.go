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
	Rests   []string      // services without which it cannot succeed: their checks run at once when it is in trouble
	Run     func(ctx context.Context) Outcome
	// Watch looks every few seconds whether the service could answer at all, at nearly no cost; nil = is not watched. A service whose watch
	// fails, or works again, has all its checks run at once. ErrNoWatch tells that there is nothing to be seen now.
	Watch func(ctx context.Context) error
}

// Settings of a Runner; zero values give the defaults.
type Settings struct {
	Observer string
	Interval time.Duration // between runs, ±10 %; 30 s
	Quick    time.Duration // wait after the first run that found trouble; 1 s. After the second, and after Kick, twice that.
	Watch    time.Duration // between two looks of Check.Watch; 5 s
	History  int           // points kept per check; 60
	Now      func() time.Time
	Log      *slog.Logger
	Changed  func()       // called after a result's status changed, or what stands
	Ran      func(Result) // called after each run, with its result without History
}

// Runner runs checks. Each has its own goroutine.
type Runner struct {
	set   Settings
	clock sync.Once // that is watched

	mu     sync.Mutex
	checks map[string]*running
}

type running struct {
	check    Check
	result   Result
	standing standing
	cancel   context.CancelFunc
	kick     chan time.Duration // run it within this time
	turn     chan struct{}      // holds one while the check runs: a transaction does not meet itself
	left     chan Outcome       // of a run that did not end in time and was left behind; guarded by turn
	leftAt   time.Time
}

// NewRunner makes a runner without checks.
func NewRunner(s Settings) *Runner {
	if s.Interval <= 0 {
		s.Interval = 30 * time.Second
	}
	if s.Quick <= 0 {
		s.Quick = time.Second
	}
	if s.Watch <= 0 {
		s.Watch = 5 * time.Second
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
	r.clock.Do(func() { go r.watchClock(ctx) })
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
			old.result.Title, old.result.Minor, old.result.Every, old.result.Rests = c.Title, c.Minor, r.every(c), c.Rests
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		n := &running{check: c, cancel: cancel, kick: make(chan time.Duration, 1), turn: make(chan struct{}, 1), result: Result{
			Observer: r.set.Observer, Target: c.Target, Service: c.Service, Probe: c.Probe, Title: c.Title, Minor: c.Minor,
			Status: Unknown, Stands: Unknown, Evidence: "not run yet", Every: r.every(c), Since: r.set.Now(), Rests: c.Rests,
		}}
		r.checks[k] = n
		n.standing.stands = Unknown
		go r.loop(ctx, n)
		if c.Watch != nil {
			go r.watch(ctx, n)
		}
	}
	for k, c := range r.checks {
		if !keep[k] {
			c.cancel()
			delete(r.checks, k)
		}
	}
}

// Kick runs the checks that which picks again soon: something has changed for them.
func (r *Runner) Kick(which func(target, service string) bool) { r.kick(2*r.set.Quick, which) }

func (r *Runner) kick(within time.Duration, which func(target, service string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.checks {
		if which(c.check.Target, c.check.Service) {
			c.soon(within)
		}
	}
}

// soon makes the check run within d, or sooner if that is planned already.
func (c *running) soon(d time.Duration) {
	select {
	case c.kick <- d:
	default: // one waits to be heard, and is as good
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
				c.soon(r.set.Quick)
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
	first := time.Duration(rand.Int64N(int64(r.set.Quick/2) + 1))
	due := time.Now().Add(first)
	t := time.NewTimer(first)
	defer t.Stop()
	backoff := 2 * r.set.Quick
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-c.kick:
			backoff = 2 * r.set.Quick
			d = jitter(d)
			if at := time.Now().Add(d); at.Before(due) { // never later: kicks without end must not keep it from running
				due = at
				t.Reset(d)
			}
			continue
		case <-t.C:
		}
		status := r.once(ctx, c)
		r.mu.Lock()
		every, soft, bad := r.every(c.check), c.standing.soft(status), c.standing.bad
		r.mu.Unlock()
		wait := every
		switch {
		case status == Pass, status == NotApplicable:
			backoff = 2 * r.set.Quick
		case status == Skipped: // what it waits for comes with a kick, mostly; to ask costs nothing
			wait = min(5*r.set.Quick, every)
		case soft:
			wait = min(time.Duration(bad)*r.set.Quick, every)
		default:
			wait = min(backoff, every)
			backoff = backoff * 3 / 2
		}
		wait = jitter(wait)
		due = time.Now().Add(wait)
		t.Reset(wait)
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
	run, watch := timed(ctx)
	run, cancel := context.WithTimeout(run, check.Timeout)
	defer cancel()
	from, wall := time.Now(), r.set.Now().Round(0)
	out := c.guarded(run, check.Run)
	took, now := time.Since(from), r.set.Now()
	if ctx.Err() != nil {
		return out.Status // stopped while it ran: tells nothing
	}
	steps, last := watch.end()
	if out.Status == Fail && took > check.Timeout/2 && last != "" && strings.HasSuffix(out.Evidence, silence) {
		out.Evidence += " (" + last + ")"
	}
	out = r.doubt(out, took, check.Timeout, now.Round(0).Sub(wall))
	r.note(c, out, steps, now, took)
	return out.Status
}

// doubt makes nothing known of what was seen while the observer itself was not well.
func (r *Runner) doubt(out Outcome, took, timeout, wall time.Duration) Outcome {
	if d := wall - took; d.Abs() > clockJump {
		return jumped(r.set.Observer, d)
	}
	if took > timeout+heldUp && out.Status != Pass {
		return unknown(fmt.Sprintf("%s stood still for %s while it verified this", r.set.Observer, (took-timeout).Round(time.Second)),
			"It is tried again at once. If this comes again, "+r.set.Observer+" has too much to do, or is stopped from outside.")
	}
	return out
}

// heldUp is how much longer than its time a run may take on a busy server before its failure is the observer's.
const heldUp = 3 * time.Second

// note takes a run's outcome into the result.
func (r *Runner) note(c *running, out Outcome, steps []Step, now time.Time, took time.Duration) {
	r.mu.Lock()
	res := &c.result
	was := c.standing.bad
	c.standing.add(out, now, r.set.Quick/2)
	changed := res.Status != out.Status
	if changed {
		res.Since = now
	}
	stands := res.Stands != c.standing.stands
	res.Status, res.Stands, res.Flapping = out.Status, c.standing.stands, c.standing.flapping
	res.Evidence, res.Next = c.standing.words(out)
	res.At, res.Duration, res.Steps = now, took, steps
	if n := len(res.History); n > 0 && out.Status == Skipped && res.History[n-1].Status == Skipped {
		res.History = res.History[:n-1] // so that what was before does not fade while a service starts
	}
	res.History = append(res.History, Point{At: now, Status: out.Status, Duration: took})
	if n := len(res.History) - r.set.History; n > 0 {
		res.History = append([]Point(nil), res.History[n:]...)
	}
	told, soft := *res, c.standing.soft(out.Status)
	if was == 0 && c.standing.bad > 0 { // what else of this service, and of those that it rests on, is in trouble?
		for _, o := range r.checks {
			if o != c && o.standing.bad == 0 && o.check.Target == told.Target && (o.check.Service == told.Service || slices.Contains(told.Rests, o.check.Service)) {
				o.soon(r.set.Quick / 4)
			}
		}
	}
	r.mu.Unlock()
	told.History = nil
	if r.set.Ran != nil {
		r.set.Ran(told)
	}
	if !changed && !stands {
		return
	}
	r.set.Log.Info("probe changed", "server", told.Target, "service", told.Service, "probe", told.Probe,
		"status", out.Status, "soft", soft, "stands", told.Stands, "evidence", out.Evidence, "ms", took.Milliseconds())
	if r.set.Changed != nil {
		r.set.Changed()
	}
}

// silence is how outcomes end that tell of no answer.
const silence = "no answer in time"

// guarded runs a probe in its own goroutine: one that does not end with ctx, or panics, is told and left behind. Until it has ended it is not
// started again.
func (c *running) guarded(ctx context.Context, run func(context.Context) Outcome) Outcome {
	if c.left != nil {
		select {
		case <-c.left:
			c.left = nil
		default:
			return failure(fmt.Sprintf("nothing has come back since %s: the run of that time still hangs", c.leftAt.Format(time.TimeOnly)), "")
		}
	}
	done := make(chan Outcome, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- unknown(fmt.Sprintf("the probe itself failed: %v", p), "Report this to the vendor.")
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
		c.left, c.leftAt = done, time.Now()
		return Outcome{Status: Fail, Evidence: silence, Weight: triesSure}
	}
}

func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}
