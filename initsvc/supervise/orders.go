package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/launch"
)

// setup makes the process's directories below /run, but for those that only it sees: these it returns for the launch helper,
// with its limit of open files. It is nil if there is neither.
func (p *process) setup() (*launch.Spec, error) {
	spec := launch.Spec{Private: p.def.Private, Files: p.def.Limits.Files}
	for _, d := range p.def.RunDirs {
		private := slices.ContainsFunc(p.def.Private, func(dir string) bool { return launch.Below(d.Path, dir) })
		if !private {
			if err := makeRunDir(d); err != nil {
				return nil, err
			}
			continue
		}
		dir, err := privateDir(d)
		if err != nil {
			return nil, err
		}
		spec.Dirs = append(spec.Dirs, dir)
	}
	if len(spec.Private) == 0 && spec.Files == 0 {
		return nil, nil
	}
	return &spec, nil
}

// inside is what lets a command see the private directories of process pid.
func (p *process) inside(pid int) *launch.Spec {
	if len(p.def.Private) == 0 || pid == 0 {
		return nil
	}
	return &launch.Spec{Enter: pid}
}

// rooted is the prefix of paths as process pid sees them.
func (p *process) rooted(pid int) string {
	if len(p.def.Private) == 0 || pid == 0 {
		return ""
	}
	return "/proc/" + strconv.Itoa(pid) + "/root"
}

func privateDir(d pack.RunDir) (launch.Dir, error) {
	out := launch.Dir{Path: d.Path, Mode: 0o755}
	if d.Mode != "" {
		m, err := strconv.ParseUint(d.Mode, 8, 12)
		if err != nil {
			return out, fmt.Errorf("run directory %s: mode %q: %w", d.Path, d.Mode, err)
		}
		out.Mode = uint32(m)
	}
	a, err := lookup(d.User)
	if err != nil {
		return out, fmt.Errorf("run directory %s: %w", d.Path, err)
	}
	if a.cred != nil {
		out.UID, out.GID = int(a.cred.Uid), int(a.cred.Gid)
	}
	return out, nil
}

// ask runs the readiness command once, as root.
func (p *process) ask(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return p.svc.command(ctx, order{name: "ready-" + p.def.Name, args: p.def.Ready.Command, env: p.def.Env, setup: p.inside(pid), quiet: true})
}

// run runs the process's stop or reload command as its user, where it sees what the process sees. Its error has its last words.
func (p *process) run(ctx context.Context, what string, args []string, limit time.Duration, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out bytes.Buffer
	err := p.svc.command(ctx, order{name: what + "-" + p.def.Name, args: args, env: p.def.Env, user: p.def.User, setup: p.inside(pid), out: &out})
	if err != nil {
		return &StepError{Step: what + " command of " + p.def.Name, Err: err, Last: lastLines(out.String(), 5)}
	}
	return nil
}

// reload makes the process read its configuration again. It returns false if it cannot, or does not run.
func (p *process) reload(ctx context.Context) (bool, error) {
	p.mu.Lock()
	pid, ready := p.pid, p.state == Ready
	p.mu.Unlock()
	switch {
	case len(p.def.ReloadCommand) > 0 && (pid != 0 || ready):
		return true, p.run(ctx, "reload", p.def.ReloadCommand, time.Minute, pid)
	case p.def.Reload == "" || pid == 0:
		return false, nil
	}
	sig, err := signalNumber(p.def.Reload, 0)
	if err != nil {
		return false, err
	}
	return true, kill(pid, sig)
}

// runToEnd is one life of a oneshot process: it is ready when its command has ended well, and stays so until ctx ends; then its
// stop command undoes it. What the command leaves running in the background lives on with it.
func (p *process) runToEnd(ctx context.Context, group *cgroup.Group, setup *launch.Spec) error {
	l, err := p.launch(p.def.Env, group, setup)
	if err != nil {
		return fmt.Errorf("%s: %w", p.def.Name, err)
	}
	p.set(Starting, l.pid)
	limit := duration(p.def.Ready.Timeout, time.Minute)
	slow, late := time.NewTimer(limit), time.NewTimer(patience*limit)
	defer slow.Stop()
	defer late.Stop()
	for running := true; running; {
		select {
		case <-l.done:
			running = false
		case <-slow.C:
			p.slow(&ExitError{Process: p.def.Name, How: fmt.Sprintf("not done after %s", limit), Last: p.ring.Last(5)}, l.pid)
		case <-late.C:
			return p.lastWords(l, group, fmt.Sprintf("not done after %s", patience*limit))
		case <-ctx.Done():
			p.set(Stopping, l.pid)
			return p.end(l, group)
		}
	}
	if l.signal != 0 || l.code != 0 && !slices.Contains(p.def.ExitCodes, l.code) {
		return p.lastWords(l, group, "ended by itself: "+l.how())
	}
	p.set(Ready, 0)
	<-ctx.Done()
	p.set(Stopping, 0)
	if len(p.def.StopCommand) > 0 {
		err = p.run(context.Background(), "stop", p.def.StopCommand, duration(p.def.StopTimeout, 20*time.Second), 0)
		if err != nil {
			p.svc.sup.opts.Log.Warn("stop command failed", "service", p.svc.pack.Name, "process", p.def.Name, "err", err)
		}
	}
	return errors.Join(err, killGroup(group))
}
