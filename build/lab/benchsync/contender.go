package benchsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// contender carries files from one directory to another.
type contender struct {
	name     string
	from, to string // as seen from here
	group    group  // all that works for it, on both sides
	// changed is what an administrator calls after a change; it returns when the command has ended. Nil: changes are noticed.
	changed func(context.Context) error
	// begin makes both sides equal and known to be so, after the other files were written to both; nil: it carries them itself.
	begin func(context.Context) error
	rest  int // how many processes it has when nothing is to be done; 0: it is not to be told from that
	ends  []func() error
}

func (c *contender) stop() error {
	var errs []error
	for _, end := range c.ends {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// wait returns when nothing is to be done any more, if that can be told.
func (c *contender) wait(ctx context.Context) error {
	for c.rest > 0 && len(c.group.pids()) > c.rest {
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// perDir is how many files lie in a directory: many small ones, like those below /etc.
const perDir = 50

// filled makes files that lie there, nested, and waits until the other side has all of them.
func (r *result) filled(ctx context.Context, c *contender) error {
	began, used := time.Now(), c.group.used()
	sides := []string{c.from}
	if c.begin != nil {
		sides = append(sides, c.to)
	}
	for _, side := range sides {
		if err := others(side, r.tree); err != nil {
			return err
		}
	}
	if c.begin != nil {
		if err := c.begin(ctx); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(10 * time.Minute)
	for has := 0; has < r.tree; has = count(filepath.Join(c.to, "other")) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the other side has %d of %d files after 10 minutes", has, r.tree)
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	if err := c.wait(ctx); err != nil {
		return err
	}
	r.fill = time.Since(began)
	err := pause(ctx, 3*time.Second) // what is still to be tidied up
	r.fillCPU = c.group.used() - used
	return err
}

// others writes the files from 0 to n that are not there yet.
func others(side string, n int) error {
	for i := range n {
		d := i / perDir
		dir := filepath.Join(side, "other", strconv.Itoa(d/20), strconv.Itoa(d%20))
		if i%perDir == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		path := filepath.Join(dir, strconv.Itoa(i)+".conf")
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "setting = %d\n%s", i, strings.Repeat("# as many lines as a small file has\n", 20)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func count(dir string) int {
	n := 0
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return nil
	})
	return n
}

// write changes one file, waits until the other side has the same bytes, and notes how long that took and what it cost.
func (r *result) write(ctx context.Context, c *contender, text []byte, n int) error {
	used := c.group.used()
	arrived, ended, err := c.write(ctx, fmt.Sprintf("measured-%d.conf", n%10), text)
	if err != nil {
		return err
	}
	if err := pause(ctx, apart); err != nil {
		return err
	}
	r.took, r.ended = append(r.took, arrived), append(r.ended, ended)
	r.cpu += c.group.used() - used
	return nil
}

// apart is the time between two writes: an action ends, and is not joined with the next.
const apart = time.Second

// write tells when the bytes were there, and when all that was to be done for them had ended.
func (c *contender) write(ctx context.Context, name string, text []byte) (arrived, ended time.Duration, err error) {
	done := make(chan error, 1)
	began := time.Now()
	if err := os.WriteFile(filepath.Join(c.from, name), text, 0o644); err != nil {
		return 0, 0, err
	}
	if c.changed != nil {
		go func() { done <- c.changed(ctx) }()
	} else {
		done <- nil
	}
	for {
		if got, err := os.ReadFile(filepath.Join(c.to, name)); err == nil && bytes.Equal(got, text) {
			break
		}
		since := time.Since(began)
		if since > time.Minute {
			return 0, 0, fmt.Errorf("%s did not arrive within a minute", name)
		}
		// Looking takes processor time from those that work: who takes long is looked at less often, to the hundredth.
		if err := pause(ctx, max(200*time.Microsecond, since/200)); err != nil {
			return 0, 0, err
		}
	}
	arrived = time.Since(began)
	err = errors.Join(<-done, c.wait(ctx))
	return arrived, time.Since(began), err
}

// look notes the memory at rest and the most during a write.
func (r *result) look(ctx context.Context, c *contender, text []byte) error {
	r.memory = c.group.memory()
	done := make(chan error, 1)
	go func() {
		_, _, err := c.write(ctx, "memory.conf", text)
		done <- err
	}()
	for {
		r.most = max(r.most, c.group.memory())
		select {
		case err := <-done:
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
}
