package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/logfile"
)

// process is one supervised daemon.
type process struct {
	svc   *Service
	def   pack.Process // arguments expanded
	ring  *logfile.Ring
	first chan struct{} // closed when ready for the first time since the service's start

	mu       sync.Mutex
	state    string
	pid      int
	err      string
	restarts int
	once     *sync.Once // closes first
}

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

// runOnce is one life of the process.
func (p *process) runOnce(ctx context.Context) error {
	p.ring.Clear()
	p.set(Starting, 0)
	group, err := p.svc.sup.opts.Cgroup.Group("services/" + p.svc.pack.Name + "/" + p.def.Name)
	if err != nil {
		return err
	}
	// What a former life left behind would hold ports and locks.
	if err := renewGroup(group); err != nil {
		return err
	}
	for _, d := range p.def.RunDirs {
		if err := makeRunDir(d); err != nil {
			return err
		}
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
	l, err := p.svc.launch(launchSpec{name: p.def.Name, args: p.def.Command, user: p.def.User, env: env, group: group, ring: p.ring})
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
		err = waitReady(readyCtx, p.def.Ready, p.svc.address(), notify, p.ask)
	})
	for {
		select {
		case <-l.done: // ended by itself
			_ = killGroup(group)
			l.drain()
			return &ExitError{Process: p.def.Name, How: "ended by itself: " + l.how(), Last: p.ring.Last(5)}
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
	_ = unix.Kill(l.pid, sig)
	timeout := duration(p.def.StopTimeout, 20*time.Second)
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

// ask runs the readiness command once.
func (p *process) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return p.svc.command(ctx, "ready", p.def.Ready.Command, "", io.Discard)
}

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

// launchSpec says what to start.
type launchSpec struct {
	name, user string
	args, env  []string
	group      *cgroup.Group
	ring       *logfile.Ring
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

// launch starts a process whose output goes to the service's log file and to ring.
func (s *Service) launch(spec launchSpec) (*launched, error) {
	a, err := lookup(spec.user)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("output pipe: %w", err)
	}
	defer w.Close()
	cmd := exec.Command(spec.args[0], spec.args[1:]...)
	cmd.Env = a.environ(spec.env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: a.cred}
	if spec.group != nil {
		f, err := spec.group.Open()
		if err != nil {
			r.Close()
			return nil, err
		}
		defer f.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	}
	if err := cmd.Start(); err != nil {
		r.Close()
		return nil, fmt.Errorf("start: %w", err)
	}
	l := &launched{pid: cmd.Process.Pid, done: make(chan struct{}), read: make(chan struct{})}
	s.sup.opts.Guard.Go("output of "+spec.name, func() {
		defer close(l.read)
		defer r.Close()
		_ = logfile.Lines(r, func(line string) {
			spec.ring.Add(line)
			_, _ = s.log.Write(logfile.Stamp(time.Now(), spec.name, line))
		})
	})
	s.sup.opts.Guard.Go("wait for "+spec.name, func() {
		defer close(l.done)
		_ = cmd.Wait()
		l.state = cmd.ProcessState
		if ws, ok := l.state.Sys().(syscall.WaitStatus); ok {
			l.code = ws.ExitStatus()
			if ws.Signaled() {
				l.signal = ws.Signal()
			}
		}
	})
	return l, nil
}

// makeRunDir makes a directory below /run with its owner.
func makeRunDir(d pack.RunDir) error {
	mode := os.FileMode(0o755)
	if d.Mode != "" {
		m, err := strconv.ParseUint(d.Mode, 8, 12)
		if err != nil {
			return fmt.Errorf("run directory %s: mode %q: %w", d.Path, d.Mode, err)
		}
		mode = os.FileMode(m & 0o777)
		if m&0o1000 != 0 {
			mode |= os.ModeSticky
		}
		if m&0o2000 != 0 {
			mode |= os.ModeSetgid
		}
		if m&0o4000 != 0 {
			mode |= os.ModeSetuid
		}
	}
	a, err := lookup(d.User)
	if err != nil {
		return fmt.Errorf("run directory %s: %w", d.Path, err)
	}
	path := d.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join("/run", path)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	if a.cred != nil {
		if err := os.Chown(path, int(a.cred.Uid), int(a.cred.Gid)); err != nil {
			return fmt.Errorf("run directory: %w", err)
		}
	}
	if err := os.Chmod(path, mode); err != nil { // after chown, which clears the setgid bit
		return fmt.Errorf("run directory: %w", err)
	}
	return nil
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
