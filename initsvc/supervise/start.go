package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/launch"
	"sayasystems.com/atlas/initsvc/logfile"
)

// program says what to start.
type program struct {
	args, env []string
	user      string
	group     *cgroup.Group
	setup     *launch.Spec // what the launch helper prepares before; nil: started without it
	out       *os.File
}

// begin starts a program as leader of a session of its own. When it returns without an error, the program itself runs.
func (s *Service) beginProgram(ctx context.Context, p program) (*exec.Cmd, error) {
	a, err := lookup(p.user)
	if err != nil {
		return nil, err
	}
	args, attr := p.args, &syscall.SysProcAttr{Setsid: true, Credential: a.cred}
	var told *os.File // the helper's status
	var status *os.File
	if p.setup != nil {
		if len(s.sup.opts.Helper) == 0 {
			return nil, errors.New("start: private directories and limits of open files need init's launch helper")
		}
		spec := *p.setup
		spec.Args, attr.Credential = p.args, nil
		if a.cred != nil {
			spec.User = &launch.User{UID: int(a.cred.Uid), GID: int(a.cred.Gid), Groups: []int{}}
			for _, g := range a.cred.Groups {
				spec.User.Groups = append(spec.User.Groups, int(g))
			}
		}
		text, err := spec.Encode()
		if err != nil {
			return nil, err
		}
		args = append(append([]string{}, s.sup.opts.Helper...), text)
		if told, status, err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("status pipe: %w", err)
		}
		defer told.Close()
		defer status.Close()
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Dir = a.environ(p.env...), "/"
	cmd.Stdout, cmd.Stderr = p.out, p.out
	cmd.SysProcAttr = attr
	if status != nil {
		cmd.ExtraFiles = []*os.File{status}
	}
	if p.group != nil {
		f, err := p.group.Open()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(f.Fd())
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if told == nil {
		return cmd, nil
	}
	_ = status.Close()
	why, err := io.ReadAll(io.LimitReader(told, 4096)) // ends when the program begins, or the helper ends
	if len(why) > 0 || err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("start: %s", logfile.Clean(string(why)))
	}
	return cmd, nil
}

// launch starts the process; its output goes to the service's log file and to its ring.
func (p *process) launch(env []string, group *cgroup.Group, setup *launch.Spec) (*launched, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("output pipe: %w", err)
	}
	defer w.Close()
	cmd, err := p.svc.beginProgram(context.Background(), program{args: p.def.Command, env: env, user: p.def.User, group: group, setup: setup, out: w})
	if err != nil {
		r.Close()
		return nil, err
	}
	l := &launched{pid: cmd.Process.Pid, done: make(chan struct{}), read: make(chan struct{})}
	p.svc.sup.opts.Guard.Go("output of "+p.def.Name, func() {
		defer close(l.read)
		defer r.Close()
		_ = logfile.Lines(r, p.say)
	})
	p.svc.sup.opts.Guard.Go("wait for "+p.def.Name, func() {
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

// say keeps a line of the process.
func (p *process) say(line string) {
	p.ring.Add(line)
	_, _ = p.svc.log.Write(logfile.Stamp(time.Now(), p.def.Name, line))
}

// order is a command that is run to its end.
type order struct {
	name  string // of its control group, and in the log
	args  []string
	env   []string
	user  string
	setup *launch.Spec
	quiet bool // what it prints is not logged
	out   io.Writer
}

// command runs a command to its end in a control group of its own, which is killed afterwards or when ctx ends.
func (s *Service) command(ctx context.Context, o order) error {
	if len(o.args) == 0 {
		return errors.New("no command")
	}
	group, err := s.sup.opts.Cgroup.Group("services/" + s.pack.Name + "/" + strings.ReplaceAll("step-"+o.name, "/", "-"))
	if err != nil {
		return err
	}
	if err := renewGroup(group); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("output pipe: %w", err)
	}
	defer r.Close()
	cmd, err := s.beginProgram(ctx, program{args: o.args, env: o.env, user: o.user, group: group, setup: o.setup, out: w})
	w.Close()
	if err != nil {
		_ = group.Remove()
		return fmt.Errorf("%s: %w", o.args[0], err)
	}
	copied := make(chan struct{})
	s.sup.opts.Guard.Go("output of "+o.name, func() {
		defer close(copied)
		_ = logfile.Lines(r, func(line string) {
			if o.out != nil {
				_, _ = io.WriteString(o.out, line+"\n")
			}
			if !o.quiet {
				_, _ = s.log.Write(logfile.Stamp(time.Now(), o.name, line))
			}
		})
	})
	err = cmd.Wait()
	if group == nil {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	if kerr := killGroup(group); err == nil {
		err = kerr
	}
	_ = group.Remove()
	<-copied // all writers are dead
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", o.args[0], ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.args[0], err)
	}
	return nil
}
