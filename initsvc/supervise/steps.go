package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/logfile"
)

// prepare writes the pack's template files and runs the first-time steps that are not done yet.
func (s *Service) prepare(ctx context.Context) error {
	if err := s.writeTemplates(); err != nil {
		return err
	}
	return s.steps(ctx, s.pack.Init)
}

// testData runs the pack's test data steps once its processes are ready, again and again until they succeed: what the probes
// need must be there in the end.
func (s *Service) testData(ctx context.Context) {
	if len(s.pack.TestData) == 0 {
		return
	}
	for {
		for _, p := range s.procs {
			select {
			case <-p.first:
			case <-ctx.Done():
				return
			}
		}
		err := s.steps(ctx, s.pack.TestData)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.sup.opts.Log.Warn("test data not made", "service", s.pack.Name, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.sup.opts.StepRetry):
		}
	}
}

func (s *Service) steps(ctx context.Context, steps []pack.Step) error {
	for _, st := range steps {
		if st.Unless != "" {
			unless, err := s.sup.opts.Expand(st.Unless, s.vars)
			if err != nil {
				return fmt.Errorf("step %s: %w", st.Name, err)
			}
			if _, err := os.Lstat(filepath.Join(s.sup.opts.Root, unless)); err == nil {
				continue
			}
		}
		args, err := s.expandAll(st.Command)
		if err != nil {
			return fmt.Errorf("step %s: %w", st.Name, err)
		}
		start := time.Now()
		sctx, cancel := context.WithTimeout(ctx, duration(st.Timeout, time.Minute))
		var out bytes.Buffer
		err = s.command(sctx, st.Name, args, st.User, &out)
		cancel()
		if err != nil {
			return &StepError{Step: st.Name, Err: err, Last: lastLines(out.String(), 5)}
		}
		s.sup.opts.Log.Info("step done", "service", s.pack.Name, "step", st.Name, "took", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// StepError tells of a first-time or test data step that failed.
type StepError struct {
	Step string
	Err  error
	Last []string
}

func (e *StepError) Error() string {
	t := "step " + e.Step + ": " + e.Err.Error()
	if len(e.Last) > 0 {
		t += ": " + strings.Join(e.Last, " | ")
	}
	return t
}

func (e *StepError) Unwrap() error { return e.Err }

func lastLines(s string, n int) []string {
	r := logfile.NewRing(n)
	_ = logfile.Lines(strings.NewReader(s), r.Add)
	return r.Last(0)
}

// command runs a command to its end in a control group of its own, which is killed afterwards or when ctx ends. Its output goes
// to the service's log and to out.
func (s *Service) command(ctx context.Context, name string, args []string, user string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("no command")
	}
	a, err := lookup(user)
	if err != nil {
		return err
	}
	group, err := s.sup.opts.Cgroup.Group("services/" + s.pack.Name + "/" + strings.ReplaceAll("step-"+name, "/", "-"))
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
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Dir = a.environ(), "/"
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: a.cred}
	if group != nil {
		f, err := group.Open()
		if err != nil {
			w.Close()
			return err
		}
		defer f.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", args[0], err)
	}
	copied := make(chan struct{})
	s.sup.opts.Guard.Go("output of "+name, func() {
		defer close(copied)
		_ = logfile.Lines(r, func(line string) {
			_, _ = io.WriteString(out, line+"\n")
			if out != io.Discard {
				_, _ = s.log.Write(logfile.Stamp(time.Now(), name, line))
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
		return fmt.Errorf("%s: %w", args[0], ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// writeTemplates expands the pack's template files in place. An unchanged file is not written.
func (s *Service) writeTemplates() error {
	for _, f := range s.pack.Files {
		if !f.Template {
			continue
		}
		if err := s.writeTemplate(f); err != nil {
			return fmt.Errorf("template %s: %w", f.To, err)
		}
	}
	return nil
}

func (s *Service) writeTemplate(f pack.File) error {
	raw, err := os.ReadFile(filepath.Join(s.pack.Dir, f.From))
	if err != nil {
		return err
	}
	text, err := s.sup.opts.Expand(string(raw), s.vars)
	if err != nil {
		return err
	}
	mode := uint64(0o644)
	if f.Mode != "" {
		if mode, err = strconv.ParseUint(f.Mode, 8, 12); err != nil {
			return fmt.Errorf("mode %q: %w", f.Mode, err)
		}
	}
	to := filepath.Join(s.sup.opts.Root, f.To)
	if old, err := os.ReadFile(to); err == nil && string(old) == text {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	err = siteconf.WriteFile(to, []byte(text), os.FileMode(mode))
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("no disk set is mounted, so this place is read-only: %w", fs.ErrPermission)
	}
	return err
}

func kill(pid int, sig syscall.Signal) error { return unix.Kill(pid, sig) }
