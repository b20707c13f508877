package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
			case <-p.firstReady():
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
		if s.unchanged(st, args) {
			continue
		}
		start := time.Now()
		sctx, cancel := context.WithTimeout(ctx, duration(st.Timeout, 5*time.Minute))
		var out bytes.Buffer
		err = s.command(sctx, order{name: st.Name, args: args, user: st.User, out: &out})
		cancel()
		if err != nil {
			return &StepError{Step: st.Name, Err: err, Last: lastLines(out.String(), 5)}
		}
		s.stamp(st, args)
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
