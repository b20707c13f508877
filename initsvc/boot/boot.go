// Package boot runs a server's start as data: a list of named phases, each with a time limit and with what its failure means,
// and keeps the report of how long each took. It knows nothing of what the phases do: initsvc/pid1 lists them.
package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sayasystems.com/atlas/initsvc/guard"
	"sayasystems.com/atlas/sentry/initapi"
)

// Policy says what the failure of a phase means.
type Policy int

// Policies.
const (
	// GoOn: tell a finding and run the next phase.
	GoOn Policy = iota
	// Hold: the phases after this one do not run; the server stays up without its set and says why.
	Hold
)

// Phase is one named part of the boot.
type Phase struct {
	Name    string // one word, stable: "network"
	Title   string // for people: "Bringing up the management network"
	Timeout time.Duration
	Policy  Policy
	Next    string // what a person does when it fails, unless the error says it
	// Run does the work and may return a short note for the report. It must give up when ctx ends; a phase that does not is
	// left behind after a while.
	Run func(ctx context.Context) (note string, err error)
	// Skip tells why the phase does not apply here, or ""; may be nil.
	Skip func() string
}

// Error is the failure of a phase.
type Error struct {
	Phase string
	Title string
	Next  string
	Err   error
}

func (e *Error) Error() string { return "boot phase " + e.Phase + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Advice is an error that knows what a person should do about it.
type Advice struct {
	Err  error
	Next string
}

func (a *Advice) Error() string { return a.Err.Error() }

func (a *Advice) Unwrap() error { return a.Err }

// Advise adds to err what to do about it; nil stays nil.
func Advise(err error, next string) error {
	if err == nil {
		return nil
	}
	return &Advice{Err: err, Next: next}
}

// ErrTimeout is wrapped by the error of a phase that took too long.
var ErrTimeout = errors.New("took too long")

// grace is how long a phase may go on after its context has ended before it is left behind.
const grace = 5 * time.Second

// Runner runs phases and remembers how they went. Its methods may be called concurrently.
type Runner struct {
	Guard   guard.Guard
	Log     *slog.Logger
	Started func(Phase)  // before each phase; may be nil
	Failed  func(*Error) // after each failure; may be nil
	Passed  func(Phase)  // after each success or skip; may be nil

	mu      sync.Mutex
	reports []initapi.PhaseReport
	current *running
}

type running struct {
	phase Phase
	since time.Time
}

// Run runs the phases in order. It returns the *Error of the first that failed with the policy Hold, and that phase's index, or
// len(phases) and nil.
func (r *Runner) Run(ctx context.Context, phases []Phase) (int, error) {
	for i, p := range phases {
		if err := ctx.Err(); err != nil {
			return i, &Error{Phase: p.Name, Title: p.Title, Err: err}
		}
		if err := r.one(ctx, p); err != nil && p.Policy == Hold {
			return i, err
		}
	}
	return len(phases), nil
}

func (r *Runner) one(ctx context.Context, p Phase) error {
	if p.Skip != nil {
		if why := p.Skip(); why != "" {
			r.note(initapi.PhaseReport{Name: p.Name, Result: "skipped", Note: why})
			r.passed(p)
			return nil
		}
	}
	start := time.Now()
	r.mu.Lock()
	r.current = &running{phase: p, since: start}
	r.mu.Unlock()
	if r.Started != nil {
		r.Started(p)
	}
	note, err := r.limited(ctx, p)
	rep := initapi.PhaseReport{Name: p.Name, Duration: time.Since(start), Result: "ok", Note: note}
	if err != nil {
		rep.Result = err.Error()
	}
	r.note(rep)
	r.log().Info("boot phase", "phase", p.Name, "took", rep.Duration.Round(time.Millisecond), "result", rep.Result, "note", note)
	if err == nil {
		r.passed(p)
		return nil
	}
	e := &Error{Phase: p.Name, Title: p.Title, Next: p.Next, Err: err}
	if a, ok := errors.AsType[*Advice](err); ok {
		e.Next = a.Next
	}
	if r.Failed != nil {
		r.Failed(e)
	}
	return e
}

func (r *Runner) passed(p Phase) {
	if r.Passed != nil {
		r.Passed(p)
	}
}

// limited runs the phase within its time.
func (r *Runner) limited(ctx context.Context, p Phase) (string, error) {
	timeout := p.Timeout
	if timeout <= 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type result struct {
		note string
		err  error
	}
	done := make(chan result, 1)
	r.Guard.Go("phase "+p.Name, func() {
		var res result
		if perr := r.Guard.Do("phase "+p.Name, func() error { res.note, res.err = p.Run(ctx); return nil }); perr != nil {
			res.err = perr
		}
		done <- res
	})
	var res result
	select {
	case res = <-done:
	case <-ctx.Done():
		select {
		case res = <-done:
		case <-time.After(grace):
			return "", fmt.Errorf("%w: more than %s, and cannot be interrupted", ErrTimeout, timeout)
		}
	}
	if res.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return res.note, fmt.Errorf("%w: more than %s: %w", ErrTimeout, timeout, res.err)
	}
	return res.note, res.err
}

func (r *Runner) note(rep initapi.PhaseReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = nil
	r.reports = append(r.reports, rep)
	if len(r.reports) > maxReports { // a server that holds for weeks decides again and again
		r.reports = append(r.reports[:keepFirst:keepFirst], r.reports[len(r.reports)-maxReports+keepFirst:]...)
	}
}

const (
	maxReports = 64
	keepFirst  = 20
)

// Add puts a phase that happened elsewhere (in the initramfs, or waiting for an operator) into the report.
func (r *Runner) Add(rep initapi.PhaseReport) { r.note(rep) }

// Reports returns how the phases went, oldest first.
func (r *Runner) Reports() []initapi.PhaseReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]initapi.PhaseReport{}, r.reports...)
}

// Current returns the phase that is running, its start, and whether there is one.
func (r *Runner) Current() (Phase, time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		return Phase{}, time.Time{}, false
	}
	return r.current.phase, r.current.since, true
}

func (r *Runner) log() *slog.Logger {
	if r.Log != nil {
		return r.Log
	}
	return slog.New(slog.DiscardHandler)
}
