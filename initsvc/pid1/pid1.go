// Package pid1 is the life of init as process 1: it lists the phases of the boot, wires storage, network, packs, supervision and
// console together, keeps the state that everyone asks for, waits while no set may start, and ends everything in order.
//
//	base phases → labels → peers → decide ──start──→ serving phases → watch
//	                 ↑                  └──hold──→ wait for disks, peers or an order ─┐
//	                 └─────────────────────────────────────────────────────────────────┘
//
// Both roles take this one path. The package decides nothing about disks (roles does) and touches none (storage does).
package pid1

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/boot"
	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/guard"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/initsvc/network"
	"sayasystems.com/atlas/initsvc/storage"
	"sayasystems.com/atlas/initsvc/supervise"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// Dirs are the places that init works with; Real returns those of an appliance.
type Dirs struct {
	Run, State, Set, Image, Lib string
	Log                         string // of services on the set: "/var/log/atlas"
	RunLog                      string // of what runs before a set is there
	Etc                         string
}

// Real returns the places of an appliance.
func Real() Dirs {
	return Dirs{
		Run: layout.Run, State: layout.StateDir, Set: layout.SetDir, Image: layout.ImageDir, Lib: layout.LibDir,
		Log: "/var/log/atlas", RunLog: layout.Run + "/log", Etc: "/etc",
	}
}

// Parts are the other packages that init wires together, as functions, so that tests can put their own in.
type Parts struct {
	OpenStore func(handover.Handover, *slog.Logger) (storage.Store, error)
	// PrepareTree makes the set's directories ready for the image, and says what it is at if that takes its time.
	PrepareTree func(ctx context.Context, setDir, imageDir, version string, say func(what string)) (Prepared, error)
	BindTree    func(setDir, imageDir string) error
	UnbindTree  func() error
	Network     func(ctx context.Context, cfg siteconf.Management, log *slog.Logger) (network.Management, error)
	Keep        func(ctx context.Context, m network.Management, log *slog.Logger) error
	Conflicts   func(ctx context.Context, m network.Management, found func(network.ErrConflict)) error // may be nil
	Raise       func(ctx context.Context, p network.Plan, log *slog.Logger) error
	Defend      func(ctx context.Context, p network.Plan, log *slog.Logger, found func(network.ErrConflict)) error
	Fence       func(ctx context.Context, p network.Plan) error // loads the fence anew, touching no address
	Lower       func(ctx context.Context) error
	Packs       func(dir string) ([]pack.Pack, error)
	Expand      func(s string, v pack.Vars) (string, error)
	Attest      func(ctx context.Context) ([]roles.Attestation, error)
	Inventory   func(ctx context.Context) (Inventory, error)
	Coldplug    func(ctx context.Context) (note string, err error)
	// Slot tells whether the running slot is known to be good, and Bless makes it so.
	Slot  func(ctx context.Context) (good bool, err error)
	Bless func(ctx context.Context) error
	// Condemn makes the other slot start next time, if that is known to be good; else it returns an error. May be nil.
	Condemn func(ctx context.Context) error
	// Mounts prepares the machine's file systems, State mounts the state partition.
	Mounts     func(ctx context.Context) error
	MountState func(ctx context.Context) (note string, err error)
	Cgroup     func() (*cgroup.Tree, error)
	// Uevents hands every change of a disk to changed until ctx ends; nil where the kernel tells nothing.
	Uevents func(ctx context.Context, changed func())
	// Forms brings services' data into the form of this image; progress is told what is being done. May be nil.
	Forms func(release string, log *slog.Logger, progress func(service, text string)) Forms
	// Hostname sets the kernel's host name.
	Hostname func(name string) error
}

// Prepared is what became of the set's directories.
type Prepared struct {
	Note     string                                // for the report of the boot
	Findings func(server string) []initapi.Finding // what the owner is to know; may be nil
	// Standing are those of Findings that end when somebody has changed the file that they are about, as far as none has. May be nil.
	Standing func(server string) []initapi.Finding
}

// Inventory is what the inventory helper found: the hardware, and how it differs from the baseline.
type Inventory struct {
	Raw      json.RawMessage
	Findings []initapi.Finding
}

// Options are what a Server is made of.
type Options struct {
	Handover handover.Handover
	Dirs     Dirs
	Parts    Parts
	Log      *slog.Logger
	Ring     *logfile.Ring // init's own log, for the console
	Release  string        // of Debian
	Started  time.Time
	Firmware time.Duration // firmware and boot loader, 0 if not told
	// Quick shortens the pauses between looks while holding; for the namespace lab, whose disks tell of no change.
	Quick bool
}

// Server is this machine's init. Make it with New, run it with Run.
type Server struct {
	o        Options
	p        Parts
	log      *slog.Logger
	guard    guard.Guard
	runner   *boot.Runner
	lifetime context.Context //nolint:containedctx // of Run: what is started in a phase lives on after it
	findings *findings
	logs     *logs

	end        chan initapi.PowerRequest // asked to end
	again      chan struct{}             // something changed that a hold may depend on
	refreshing chan struct{}             // disks came or went
	based      chan struct{}             // closed when the base phases have run

	retry       time.Duration // pause after a failure of a phase
	remembering sync.Mutex    // around the memory's file
	changing    sync.Mutex    // around changes of what the site runs

	forms Forms // nil: none
	data  dataWork

	mu    sync.Mutex
	st    state
	sup   *supervise.Supervisor
	store storage.Store
	tree  *cgroup.Tree
}

// state is what is known so far; guarded by Server.mu.
type state struct {
	state      string
	phase      string
	server     siteconf.Server
	peers      siteconf.Peers
	site       siteconf.Site
	management network.Management
	packs      []pack.Pack // of the image
	chosen     []pack.Pack // those that the site runs
	disks      []roles.Disk
	disksKnown bool
	set        *initapi.Set
	attest     []roles.Attestation
	decision   roles.Decision
	decidedOn  string // the evidence that decision rests on
	order      *roles.Order
	reasons    []roles.Reason
	inventory  json.RawMessage
	announced  bool
	addressUp  bool
	slotGood   bool
	booted     bool // the report is complete
	outcome    string
	total      time.Duration
	setStarted bool
	bound      bool
	raised     bool
	seen       []roles.Holding
	dataForms  []initapi.DataForm
	undefend   context.CancelFunc // ends the watch over the service address
}

// New returns a Server that has done nothing yet.
func New(o Options) *Server {
	s := &Server{
		o: o, p: o.Parts, log: o.Log, retry: 30 * time.Second,
		end: make(chan initapi.PowerRequest, 4), again: make(chan struct{}, 1), refreshing: make(chan struct{}, 1), based: make(chan struct{}),
	}
	s.st.state = initapi.Booting
	if o.Handover.Mode == handover.Install {
		s.st.state = initapi.Installing
	}
	s.findings = newFindings(o.Log)
	s.guard = guard.Guard{Log: o.Log, Crashed: func(name string, err error) {
		s.findings.set(initapi.Finding{
			ID: "init-crash-" + slug(name), Severity: "warning", What: "A part of init crashed and was caught: " + err.Error(),
			Where: s.name(), Next: "Send the log of this server to the vendor; restart the server when it suits.",
		})
	}}
	s.logs = newLogs(o.Dirs)
	if o.Parts.Forms != nil {
		s.forms = o.Parts.Forms(o.Release, o.Log, s.dataProgress)
	}
	s.runner = &boot.Runner{
		Guard: s.guard, Log: o.Log, Started: s.phaseStarted, Failed: s.phaseFailed,
		Passed: func(p boot.Phase) { s.findings.clear("boot-" + p.Name) },
	}
	for _, st := range o.Handover.Steps {
		s.runner.Add(initapi.PhaseReport{Name: "early " + st.Name, Duration: st.Duration, Result: "ok"})
	}
	return s
}

// Guard returns the guard under which all goroutines of this init run.
func (s *Server) Guard() guard.Guard { return s.guard }

// Run boots and serves until someone asks for an end, then ends everything in order. It returns what was asked for; the caller
// switches the machine off.
func (s *Server) Run(ctx context.Context) initapi.PowerRequest {
	bootCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.lifetime = bootCtx
	ended := make(chan struct{})
	s.guard.Go("boot", func() {
		defer close(ended)
		err := s.guard.Do("boot", func() error { s.live(bootCtx); return nil })
		if err != nil {
			s.hold(roles.Reason{Code: "init-crash", Text: err.Error(), Next: "Restart the server. If this page comes again, send the log to the vendor."})
		}
	})
	var req initapi.PowerRequest
	select {
	case req = <-s.end:
	case <-ctx.Done():
		req = initapi.PowerRequest{Action: "off", Reason: "init was asked to end"}
	}
	s.log.Info("ending", "action", req.Action, "reason", req.Reason)
	s.setState(initapi.Stopping)
	cancel()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		s.log.Error("the boot does not stop; going on without it")
	}
	s.shutdown()
	return req
}

// live is the boot and what follows it, until ctx ends.
func (s *Server) live(ctx context.Context) {
	_, err := s.runner.Run(ctx, s.base())
	close(s.based)
	if err != nil {
		// The machine itself is not usable. What is up (console, perhaps the network) stays, for a person.
		s.holdFor(err)
		s.finish(ctx, "holding")
		<-ctx.Done()
		return
	}
	if s.o.Handover.Mode == handover.Install {
		<-ctx.Done()
		return
	}
	s.serve(ctx)
}

func (s *Server) phaseStarted(p boot.Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.phase = p.Title
}

// say tells in place of the phase's title what it is at.
func (s *Server) say(what string) {
	s.log.Info(what)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.phase != "" {
		s.st.phase = what
	}
}

func (s *Server) phaseFailed(e *boot.Error) {
	severity := "warning"
	if e.Phase != "inventory" {
		severity = "critical"
	}
	s.findings.set(initapi.Finding{
		ID: "boot-" + e.Phase, Severity: severity, What: e.Title + " failed: " + e.Err.Error(), Where: s.name(), Next: e.Next,
	})
}

// Ask asks for an orderly end. It never blocks.
func (s *Server) Ask(r initapi.PowerRequest) {
	select {
	case s.end <- r:
	default:
	}
}

// nudge makes a hold look again at once.
func (s *Server) nudge() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

func (s *Server) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.server.Name
}

func (s *Server) setState(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.state == initapi.Stopping {
		return // nothing comes after it
	}
	s.st.state = state
	if state != initapi.Booting {
		s.st.phase = ""
	}
}

func (s *Server) namespace() bool { return s.o.Handover.Kind == handover.Namespace }

func (s *Server) packsDir() string { return filepath.Join(s.o.Dirs.Lib, "packs") }
