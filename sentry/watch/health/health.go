// Package health watches the server that it runs on, and tells in the owner's words what is wrong or soon will be: memory and load, filesystems, RAID
// arrays, sensors, memory errors, disks, the kernel's log, network ports, certificates, logs that grow.
//
// Data flow: each source (sources.go) is looked at in its own time. It reads numbers (package reading), compares them with the limits of limits.go and
// claims what it finds. The board (board.go) tells a claim once it has stood long enough, and until it has been away long enough, so that nothing flaps;
// what comes from the same cause is told under it (cause.go). Status is all that, for the sentry's report to the other servers.
//
// It changes nothing, wakes no disk, and does not tell what init tells: which disks a set lacks, and how its rebuild goes. What a server does not have
// or does not tell is listed once in Status.Skipped and is no finding.
package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// Facts are what others know of the server.
type Facts struct {
	Kind      string             // initapi.State.Kind; "" = not known yet
	Serving   bool               // a disk set is started
	Inventory *hwcheck.Inventory // nil = not known
}

// Config says where everything is; Defaults fills it for an appliance.
type Config struct {
	Root     reading.Root // of /proc, /sys, /dev, /etc and /var
	SetDir   string
	StateDir string
	Facts    func() Facts
	Statfs   func(path string) (reading.Space, error)
	// Run starts a program and gives what it prints, and an error that is exec.ErrNotFound if there is no such program. An exit status is no error.
	Run func(ctx context.Context, name string, args ...string) ([]byte, error)
	Now func() time.Time
	Log *slog.Logger
}

// Defaults gives the configuration of an appliance.
func Defaults(facts func() Facts, log *slog.Logger) Config {
	return Config{SetDir: layout.SetDir, StateDir: layout.StateDir, Facts: facts, Statfs: reading.Statfs, Run: run, Now: time.Now, Log: log}
}

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if _, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		err = nil
	}
	return out, err
}

// Status is how the server does. Numbers are the newest.
type Status struct {
	At       time.Time         `json:"at"` // when anything was last looked at
	Findings []initapi.Finding `json:"findings,omitempty"`
	Numbers  Numbers           `json:"numbers"`
	// Skipped are sources that this server does not have or does not tell, and why.
	Skipped map[string]string `json:"skipped,omitempty"`
}

// Numbers are the newest readings, for those who draw them. What is not known is left out.
type Numbers struct {
	Memory       *reading.Memory       `json:"memory,omitempty"`
	Load         *reading.Load         `json:"load,omitempty"`
	Pressure     *reading.Pressure     `json:"pressure,omitempty"`
	Filesystems  []Filesystem          `json:"filesystems,omitempty"`
	Arrays       []reading.Array       `json:"arrays,omitempty"`
	Sensors      []Sensor              `json:"sensors,omitempty"`
	ECC          []reading.DIMM        `json:"ecc,omitempty"`
	Disks        []Disk                `json:"disks,omitempty"`
	NICs         []reading.NIC         `json:"nics,omitempty"`
	Certificates []reading.Certificate `json:"certificates,omitempty"`
	LogBytes     int64                 `json:"log_bytes,omitempty"`
}

// Filesystem is one that the server cannot do without.
type Filesystem struct {
	Name string `json:"name"` // "set", "state", "esp"
	reading.Space
	ReadOnly bool      `json:"read_only,omitempty"`
	FullAt   time.Time `json:"full_at,omitzero"` // if it goes on as in the last hours
}

// Sensor is one reading without its limits.
type Sensor struct {
	ID    string  `json:"id"`
	Name  string  `json:"name"`
	Kind  string  `json:"kind"`
	Value float64 `json:"value"`
}

// Disk is one disk's own word.
type Disk struct {
	Dev    string `json:"dev"`
	Bay    int    `json:"bay,omitempty"`
	Serial string `json:"serial,omitempty"`
	reading.SMART
}

// Watcher watches one server.
type Watcher struct {
	cfg     Config
	sources []*source
	rules   rules

	mu      sync.Mutex
	at      time.Time
	board   board
	numbers Numbers
	skipped map[string]string
}

// source is something that is looked at in its own time.
type source struct {
	name  string
	title string // as findings call it
	every time.Duration
	// kernels: it is the kernel's or the hardware's, and nothing of its own in a lab whose servers have no kernel of their own.
	kernels bool
	look    func(ctx context.Context, now time.Time) ([]claim, error)

	busy   time.Time // since when a look runs; zero = none does
	next   time.Time
	failed int // looks in a row
}

// New returns a watcher that has not looked yet.
func New(cfg Config) *Watcher {
	w := &Watcher{cfg: cfg, at: cfg.Now(), board: board{}, skipped: map[string]string{}}
	w.rules.w = w
	w.sources = w.rules.sources()
	return w
}

// Run watches until ctx ends. A source that hangs, as one on a disk that does not answer, holds up no other.
func (w *Watcher) Run(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	defer w.rules.close()
	var looks sync.WaitGroup
	for {
		for _, s := range w.due() {
			looks.Go(func() { w.look(ctx, s) })
		}
		select {
		case <-ctx.Done():
			// A look that hangs in the kernel cannot be ended; it is not waited for.
			done := make(chan struct{})
			go func() { looks.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(time.Second):
			}
			return nil
		case <-t.C:
		}
	}
}

// due are the sources whose time has come; they count as begun.
func (w *Watcher) due() []*source {
	now := w.cfg.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = now
	var out []*source
	var stuck []claim
	for _, s := range w.sources {
		if !s.busy.IsZero() {
			if now.Sub(s.busy) > stuckAfter {
				stuck = append(stuck, stuckClaim(s, now))
			}
			continue
		}
		if now.Before(s.next) {
			continue
		}
		s.busy = now
		out = append(out, s)
	}
	w.board.see("stuck", now, stuck)
	return out
}

func stuckClaim(s *source, now time.Time) claim {
	sev := "warning"
	if s.name == "filesystems" {
		sev = "critical"
	}
	return claim{Finding: initapi.Finding{
		ID: "health-stuck-" + s.name, Severity: sev,
		What: fmt.Sprintf("Looking at %s has not come back for %d minutes: a disk or its controller does not answer.", s.title, int(now.Sub(s.busy).Minutes())),
		Next: "Look at the disks' lights and at the other findings. If services hang too, swap to the other server.",
	}}
}

// look looks at s once.
func (w *Watcher) look(ctx context.Context, s *source) {
	facts := w.cfg.Facts()
	var claims []claim
	var err error
	switch {
	case s.kernels && facts.Kind == "":
		err = errLater
	case s.kernels && facts.Kind != hardware:
		err = fmt.Errorf("%w: this lab's servers share the kernel and the hardware of the machine that they run on", reading.ErrAbsent)
	default:
		claims, err = w.guarded(ctx, s)
	}
	now := w.cfg.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	s.busy, s.next = time.Time{}, now.Add(s.every)
	switch {
	case ctx.Err() != nil:
		return
	case errors.Is(err, errLater):
		s.next = now
		return
	case errors.Is(err, reading.ErrAbsent):
		if w.skipped[s.name] == "" {
			w.cfg.Log.Info("not watched", "source", s.name, "why", err)
		}
		w.skipped[s.name] = err.Error()
		s.failed, err = 0, nil
	case err == nil:
		s.failed = 0
		delete(w.skipped, s.name)
	}
	if err != nil { // what it told before stands
		if s.failed++; s.failed == failuresTold {
			w.cfg.Log.Warn("cannot be watched", "source", s.name, "err", err)
		}
		if s.failed >= failuresTold {
			w.board.see("failed "+s.name, now, []claim{{Finding: initapi.Finding{
				ID: "health-unread-" + s.name, Severity: "warning", What: fmt.Sprintf("%s cannot be looked at: %v.", capital(s.title), err),
				Next: "What is wrong there would not be told. Restart the server when it suits; if it stays, tell the vendor.",
			}}})
		}
		return
	}
	w.board.see("failed "+s.name, now, nil)
	w.board.see(s.name, now, claims)
}

// errLater: what the source needs to know is not known yet.
var errLater = errors.New("not known yet")

// hardware is initapi.State.Kind of a server with a kernel of its own.
const hardware = "hardware"

// guarded turns a panic about what nobody foresaw in some firmware's words into an error: the rest is to be watched all the same.
func (w *Watcher) guarded(ctx context.Context, s *source) (claims []claim, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.look(ctx, w.cfg.Now())
}

// Status is how the server does now. It is safe for concurrent use.
func (w *Watcher) Status() *Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &Status{At: w.at, Findings: join(w.board.told()), Numbers: w.numbers, Skipped: maps.Clone(w.skipped)}
}

// note puts down numbers. change must replace slices and pointers, and not what they lead to: others are reading that.
func (w *Watcher) note(change func(n *Numbers)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.numbers)
}

// severity is as what id is told now; "" if it is not.
func (w *Watcher) severity(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.board.severity(id)
}

// diskOf finds a disk by its name without "/dev/".
func (f Facts) diskOf(name string) (hwcheck.Disk, bool) {
	if f.Inventory == nil {
		return hwcheck.Disk{}, false
	}
	i := slices.IndexFunc(f.Inventory.Disks, func(d hwcheck.Disk) bool { return d.Dev == "/dev/"+name })
	if i < 0 {
		return hwcheck.Disk{}, false
	}
	return f.Inventory.Disks[i], true
}
