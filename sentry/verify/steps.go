package verify

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"time"
)

// Steps of a run, in the order of most protocols. Those that do not apply are left out.
const (
	stepResolve     = "resolve"
	stepConnect     = "connect"
	stepTLS         = "TLS"
	stepRefusal     = "refusal" // of what must not be let in
	stepLogin       = "login"
	stepTransaction = "transaction"
)

// Step is a part of a run.
type Step struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"duration_ns"`
}

// StepWords tells where the time of the newest run went: "connect 0.4 ms, TLS 2.1 ms, login 8.0 ms".
func (r Result) StepWords() string {
	words := make([]string, len(r.Steps))
	for i, s := range r.Steps {
		words[i] = fmt.Sprintf("%s %.1f ms", s.Name, float64(s.Duration.Microseconds())/1000)
	}
	return strings.Join(words, ", ")
}

// stopwatch takes the times of one run's steps. It travels in the context, as net/http/httptrace does, so that kinds and the libraries that
// they hand the context to need no further argument, and a run without one costs nothing.
type stopwatch struct {
	mu    sync.Mutex
	steps []Step
	name  string // of the step under way; "" = none
	since time.Time
}

type stopwatchKey struct{}

func timed(ctx context.Context) (context.Context, *stopwatch) {
	w := &stopwatch{}
	return context.WithValue(ctx, stopwatchKey{}, w), w
}

// begin ends the step under way and begins the next. A step that comes again adds to itself.
func begin(ctx context.Context, name string) {
	if w, ok := ctx.Value(stopwatchKey{}).(*stopwatch); ok {
		w.begin(name)
	}
}

func (w *stopwatch) begin(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.name != "" {
		if i := slices.IndexFunc(w.steps, func(s Step) bool { return s.Name == w.name }); i >= 0 {
			w.steps[i].Duration += now.Sub(w.since)
		} else {
			w.steps = append(w.steps, Step{w.name, now.Sub(w.since)})
		}
	}
	w.name, w.since = name, now
}

// end gives the steps, and the name of the one that was under way.
func (w *stopwatch) end() (steps []Step, last string) {
	w.mu.Lock()
	last = w.name
	w.mu.Unlock()
	w.begin("")
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.steps), last
}

// dial connects, as a step. Where address is a name, finding it is one of its own.
func dial(ctx context.Context, network, address, port string) (net.Conn, error) {
	if net.ParseIP(address) == nil {
		begin(ctx, stepResolve)
		found, err := net.DefaultResolver.LookupHost(ctx, address)
		if err != nil {
			return nil, err
		}
		address = found[0]
	}
	begin(ctx, stepConnect)
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(address, port))
}

// dialThen is dial for libraries that connect by themselves, and go on with step.
func dialThen(step string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, host, port)
		if err == nil {
			begin(ctx, step)
		}
		return conn, err
	}
}

// withHTTPSteps lets net/http tell its steps.
func withHTTPSteps(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { begin(ctx, stepResolve) },
		ConnectStart:      func(string, string) { begin(ctx, stepConnect) },
		TLSHandshakeStart: func() { begin(ctx, stepTLS) },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { begin(ctx, stepTransaction) },
		GotConn:           func(httptrace.GotConnInfo) { begin(ctx, stepTransaction) },
	})
}
