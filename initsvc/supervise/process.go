package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/logfile"
)

// process is one supervised daemon, or a command that is run once.
type process struct {
	svc  *Service
	def  pack.Process // arguments expanded
	ring *logfile.Ring

	cancel context.CancelFunc // guarded by svc.ops, as ended
	ended  chan struct{}      // closed when its life has ended

	mu       sync.Mutex
	state    string
	pid      int // of the main process, 0 while there is none
	last     int // the last pid, to which late messages may belong
	err      string
	restarts int
	held     bool          // stopped by name, apart from its service
	first    chan struct{} // closed when ready for the first time since it was begun
	once     *sync.Once    // closes first
}

func newProcess(s *Service, d pack.Process) *process {
	return &process{svc: s, def: d, ring: logfile.NewRing(50), state: Stopped}
}

// reset makes p as it is before its life.
func (p *process) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.err, p.pid, p.restarts, p.held = Stopped, "", 0, 0, false
	if p.first != nil {
		select {
		case <-p.first:
		default:
			return // those who wait for it go on waiting
		}
	}
	p.first, p.once = make(chan struct{}), &sync.Once{}
}

func (p *process) firstReady() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

func (p *process) hold(held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.err = held, ""
}

func (p *process) isHeld() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

func (p *process) reloads() bool { return p.def.Reload != "" || len(p.def.ReloadCommand) > 0 }

// ExitError tells how a process ended that should have gone on, or did not get ready.
type ExitError struct {
	Process string
	How     string   // "exit status 1", "signal: killed", "not ready after 1m0s"
	Last    []string // its last lines of output
}

func (e *ExitError) Error() string {
	t := e.Process + ": " + e.How
	if len(e.Last) > 0 {
		t += ": " + strings.Join(e.Last, " | ")
	}
	return t
}

func (p *process) set(state string, pid int) {
	p.mu.Lock()
	p.state, p.pid = state, pid
	if pid != 0 {
		p.last = pid
	}
	if state == Ready {
		p.once.Do(func() { close(p.first) })
		p.err = ""
	}
	p.mu.Unlock()
	p.svc.touch()
}

func (p *process) failed(err error, pause time.Duration) {
	p.mu.Lock()
	p.state, p.pid, p.err = Failed, 0, err.Error()
	p.restarts++
	p.mu.Unlock()
	p.svc.sup.opts.Log.Error("process failed", "service", p.svc.pack.Name, "process", p.def.Name, "err", err, "again_in", pause)
	p.svc.touch()
}

// patience is how many times its time limit a process may take to get ready. After the limit itself it is told as failed, but
// killing what recovers a database or runs on a slow machine would only make it take longer.
const patience = 5

// slow tells that the process is running and not ready in time.
func (p *process) slow(err error, pid int) {
	p.mu.Lock()
	p.state, p.pid, p.err = Failed, pid, err.Error()
	p.mu.Unlock()
	p.svc.sup.opts.Log.Warn("process is slow to get ready", "service", p.svc.pack.Name, "process", p.def.Name, "err", err)
	p.svc.touch()
}

// group makes the process's control group anew, with its limits: what a former life left behind would hold ports and locks.
func (p *process) group() (*cgroup.Group, error) {
	group, err := p.svc.sup.opts.Cgroup.Group("services/" + p.svc.pack.Name + "/" + p.def.Name)
	if err != nil {
		return nil, err
	}
	if err := renewGroup(group); err != nil {
		return nil, err
	}
	if err := group.Limit(p.def.Limits.Memory, p.def.Limits.Processes); err != nil {
		p.svc.sup.opts.Log.Warn("process runs without its limits", "service", p.svc.pack.Name, "process", p.def.Name, "err", err)
	}
	return group, nil
}

// runOnce is one life of the process.
func (p *process) runOnce(ctx context.Context) error {
	p.ring.Clear()
	p.set(Starting, 0)
	group, err := p.group()
	if err != nil {
		return err
	}
	setup, err := p.setup()
	if err != nil {
		return err
	}
	if p.def.Oneshot {
		return p.runToEnd(ctx, group, setup)
	}
	var notify *notifySocket
	env := p.def.Env
	if p.def.Ready.Notify {
		if notify, err = listenNotify(p.svc.sup.opts.RunDir, p.svc.pack.Name+"."+p.def.Name); err != nil {
			return err
		}
		defer notify.close()
		p.svc.sup.opts.Guard.Go("notify socket of "+p.def.Name, notify.read)
		env = append(slices.Clone(env), "NOTIFY_SOCKET="+notify.path)
	}
	l, err := p.launch(env, group, setup)
	if err != nil {
		return fmt.Errorf("%s: %w", p.def.Name, err)
	}
	p.set(Starting, l.pid)

	limit := duration(p.def.Ready.Timeout, time.Minute)
	readyCtx, cancel := context.WithTimeout(ctx, patience*limit)
	defer cancel()
	slow := time.NewTimer(limit)
	defer slow.Stop()
	ready := make(chan error, 1)
	p.svc.sup.opts.Guard.Go("readiness of "+p.def.Name, func() {
		err := errors.New("readiness check crashed")
		defer func() { ready <- err }()
		err = waitReady(readyCtx, p.def.Ready, p.svc.address(), p.rooted(l.pid), notify, func(ctx context.Context) error { return p.ask(ctx, l.pid) })
	})
	for {
		select {
		case <-l.done: // ended by itself
			return p.lastWords(l, group, "ended by itself: "+l.how())
		case err := <-ready:
			switch {
			case ctx.Err() != nil:
			case err != nil:
				_ = p.end(l, group)
				l.drain()
				how := fmt.Sprintf("not ready after %s", patience*limit)
				if !errors.Is(err, context.DeadlineExceeded) {
					how += " (" + err.Error() + ")"
				}
				return &ExitError{Process: p.def.Name, How: how, Last: p.ring.Last(5)}
			default:
				p.set(Ready, l.pid)
			}
			ready = nil
		case <-slow.C:
			if ready != nil {
				p.slow(&ExitError{Process: p.def.Name, How: fmt.Sprintf("not ready after %s", limit), Last: p.ring.Last(5)}, l.pid)
			}
		case <-ctx.Done():
			p.set(Stopping, l.pid)
			return p.end(l, group)
		}
	}
}

// end stops a running process: its signal, then the group's death.
func (p *process) end(l *launched, group *cgroup.Group) error {
	sig, err := signalNumber(p.def.Stop, unix.SIGTERM)
	if err != nil {
		sig = unix.SIGTERM
	}
	timeout := duration(p.def.StopTimeout, 20*time.Second)
	if len(p.def.StopCommand) > 0 {
		if err := p.run(context.Background(), "stop", p.def.StopCommand, timeout, l.pid); err != nil {
			p.svc.sup.opts.Log.Warn("stop command failed", "service", p.svc.pack.Name, "process", p.def.Name, "err", err)
		}
	}
	select {
	case <-l.done: // its number may be another's already
	default:
		_ = unix.Kill(l.pid, sig)
	}
	select {
	case <-l.done:
		if l.code != 0 && !slices.Contains(p.def.ExitCodes, l.code) && l.signal != sig {
			p.svc.sup.opts.Log.Info("process ended uncleanly", "service", p.svc.pack.Name, "process", p.def.Name, "how", l.how())
		}
		// Children may still be finishing: give them a moment of their own.
		for range 20 {
			if group.Empty() {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	case <-time.After(timeout):
		p.svc.sup.opts.Log.Warn("process did not stop in time, killing it", "service", p.svc.pack.Name, "process", p.def.Name, "after", timeout)
	}
	if group == nil { // no control groups: the session that it leads is the next best
		_ = unix.Kill(-l.pid, unix.SIGKILL)
	}
	err = killGroup(group)
	if err == nil {
		<-l.done
	}
	return err
}

// lastWords ends what is left of a process that ended when it should not, and returns why, in its own words.
func (p *process) lastWords(l *launched, group *cgroup.Group, how string) error {
	_ = killGroup(group)
	l.drain()
	time.Sleep(lateWords)
	return &ExitError{Process: p.def.Name, How: how, Last: p.ring.Last(5)}
}

// lateWords is how long messages at /dev/log may take to get into the ring.
const lateWords = 30 * time.Millisecond

func renewGroup(g *cgroup.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return g.Renew(ctx)
}

func killGroup(g *cgroup.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	return g.Kill(ctx)
}

// launched is a running process. Its result may be read when done is closed.
type launched struct {
	pid    int
	done   chan struct{}
	read   chan struct{} // closed when its output has been read to the end
	code   int
	signal syscall.Signal
	state  *os.ProcessState
}

// drain waits until the last words are in the ring; a child without a control group may keep the pipe open for ever.
func (l *launched) drain() {
	select {
	case <-l.read:
	case <-time.After(time.Second):
	}
}

func (l *launched) how() string {
	if l.state == nil {
		return "unknown"
	}
	return l.state.String()
}

// signalNumber reads a signal's name with or without SIG; "" is def.
func signalNumber(name string, def syscall.Signal) (syscall.Signal, error) {
	if name == "" {
		return def, nil
	}
	n := strings.ToUpper(name)
	if !strings.HasPrefix(n, "SIG") {
		n = "SIG" + n
	}
	if s := unix.SignalNum(n); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("unknown signal %q", name)
}

// duration reads a Go duration that was checked when the pack was loaded.
func duration(s string, def time.Duration) time.Duration {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return d
	}
	return def
}
