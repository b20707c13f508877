// Package guard keeps a crash of one goroutine from taking PID 1, and with it the kernel, down: every goroutine of init is
// started through a Guard, which turns a panic into an error, a log line and a call back. It cannot help against a runtime
// fatal error (concurrent map writes, out of memory).
package guard

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// Guard starts goroutines. The zero value works and tells nobody.
type Guard struct {
	Log     *slog.Logger
	Crashed func(name string, err error) // called after a panic; may be nil
}

// PanicError is a panic that was caught.
type PanicError struct {
	Name  string
	Value any
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("%s crashed: %v", e.Name, e.Value) }

// Do runs f and returns a panic in it as a *PanicError.
func (g Guard) Do(name string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Name: name, Value: v, Stack: string(debug.Stack())}
			g.tell(name, err)
		}
	}()
	return f()
}

// Go runs f in a goroutine of its own.
func (g Guard) Go(name string, f func()) {
	go func() {
		_ = g.Do(name, func() error { f(); return nil })
	}()
}

// Keep runs f in a goroutine of its own until ctx ends or f returns; when f panics it is started again after a pause.
func (g Guard) Keep(ctx context.Context, name string, f func(ctx context.Context)) {
	go func() {
		for g.Do(name, func() error { f(ctx); return nil }) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
}

func (g Guard) tell(name string, err error) {
	if g.Log != nil {
		stack := ""
		if p, ok := err.(*PanicError); ok { //nolint:errorlint // made above, never wrapped
			stack = p.Stack
		}
		g.Log.Error("crashed", "part", name, "err", err, "stack", stack)
	}
	if g.Crashed != nil {
		// A call back that panics itself must not undo what the guard is for.
		defer func() { _ = recover() }()
		g.Crashed(name, err)
	}
}
