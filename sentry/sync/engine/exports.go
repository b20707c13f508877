package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Command is a program of a pack, run as root or as User.
type Command struct {
	Args    []string
	User    string
	Timeout time.Duration
}

// Export is configuration that lives in a database: dumped as text, which is recorded and carried like a file, and loaded on the other side.
type Export struct {
	Service string
	Path    state.Path // where it stands in the history
	Title   string
	Watch   []string      // files and directories that are written when it changes; none: looked at Every
	Every   time.Duration // the least time between two looks
	Changed Command       // cheap; another output means: dump. No Args: dump always
	Dump    Command
	Load    Command
	Clients []string // programs that people change it with
}

// exports starts what looks at databases.
func (e *Engine) exports(ctx context.Context) {
	e.triggers, e.loadings = map[state.Path]chan struct{}{}, map[state.Path]*atomic.Int64{}
	for _, x := range e.facts.Exports {
		e.triggers[x.Path], e.loadings[x.Path] = make(chan struct{}, 1), &atomic.Int64{}
	}
	for _, x := range e.facts.Exports { // they read both
		e.background.Go(func() { e.export(ctx, x, e.triggers[x.Path]) })
	}
}

func trigger(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// export looks at one export whenever it may have changed, or is told to.
func (e *Engine) export(ctx context.Context, x Export, told <-chan struct{}) {
	id := "sync-export-" + x.Service + "-" + x.Path.Base()
	var seen, mark string
	failed, last := time.Time{}, time.Now()
	for {
		now, before := e.written(x), last
		last = time.Now()
		if now != seen || len(x.Watch) == 0 {
			err := e.dump(ctx, x, &mark, before.Add(-clientTime))
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				seen, failed = now, time.Time{}
				e.cfg.Findings.Clear(id)
			case failed.IsZero():
				failed = time.Now()
			case time.Since(failed) > e.cfg.patience && e.ready(x.Service):
				e.cfg.Findings.Set(initapi.Finding{
					ID: id, Severity: "warning", Where: e.cfg.Server,
					What: fmt.Sprintf("%s (%s): changes are not recorded: %v.", e.title(x.Service), x.Title, err),
					Next: "Look into /var/log/atlas/" + x.Service + ".log; it is tried again by itself.",
				})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-told:
			seen, mark = "", ""
		case <-time.After(x.Every):
		}
	}
}

// written sums up the times and sizes of what an export is written to.
func (e *Engine) written(x Export) string {
	var b strings.Builder
	for _, w := range x.Watch {
		_ = filepath.WalkDir(filepath.Join(e.cfg.Root, w), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // what is missing is nothing
			}
			if st, err := d.Info(); err == nil {
				fmt.Fprintln(&b, path, st.Size(), st.ModTime().UnixNano())
			}
			return nil
		})
	}
	return b.String()
}

var (
	errNotReady = errors.New("the service is not ready")
	errLoaded   = errors.New("it was loaded meanwhile")
)

// clientTime is how long before a change its author's program may have been started: an earlier look may have come in between.
const clientTime = 3 * time.Second

// dump records an export if it has changed, by whoever used one of its programs since then.
func (e *Engine) dump(ctx context.Context, x Export, mark *string, since time.Time) error {
	if !e.ready(x.Service) {
		return errNotReady
	}
	was := *mark
	if len(x.Changed.Args) > 0 {
		out, err := e.run(ctx, x.Changed, nil)
		if err != nil {
			return err
		}
		if *mark = string(out); *mark == was && was != "" {
			return nil
		}
	}
	before := e.loadings[x.Path].Load()
	text, err := e.run(ctx, x.Dump, nil)
	if err == nil {
		err = e.do(ctx, func(ctx context.Context) error {
			// What was read before a rollback or a change of the primary, and is told only after it, would undo it in the history.
			if n := e.loadings[x.Path].Load(); n != before || n%2 == 1 {
				return errLoaded
			}
			e.recordExport(ctx, x, text, since)
			return nil
		})
	}
	if err != nil {
		*mark = ""
	}
	return err
}

// noFile records text at a path at which no file is.
func noFile(p state.Path, text []byte) []history.Edit {
	edits := []history.Edit{{Path: p, Entry: &state.Entry{Kind: state.File, Mode: 0o600, Owner: "root", Group: "root"}, Content: text}}
	for dir := p.Dir(); dir != ""; dir = dir.Dir() {
		edits = append(edits, history.Edit{Path: dir, Entry: &state.Entry{Kind: state.Dir, Mode: 0o700, Owner: "root", Group: "root"}})
	}
	return edits
}

// recordExport is done in the loop.
func (e *Engine) recordExport(ctx context.Context, x Export, text []byte, since time.Time) {
	who := state.Who{Service: x.Service}
	if by, ok := e.watcher.Started(x.Clients, since); ok {
		who = by
	}
	e.record(ctx, noFile(x.Path, text), history.Meta{Who: who, Title: "changed " + strings.ToLower(x.Title[:1]) + x.Title[1:], Image: e.image}, 0)
}

// load makes a database equal to the text in the history.
func (e *Engine) load(ctx context.Context, x Export, hash state.Hash) error {
	r, err := e.repo.Content(hash)
	if err != nil {
		return err
	}
	defer r.Close()
	n := e.loadings[x.Path] // odd while it lasts
	n.Add(1)
	defer n.Add(1)
	if _, err := e.run(ctx, x.Load, r); err != nil {
		return fmt.Errorf("%s: %w", x.Title, err)
	}
	return nil
}

func (e *Engine) ready(service string) bool { return e.cfg.Ready == nil || e.cfg.Ready(service) }

// mostOutput bounds what a command may print.
const mostOutput = maxFile

// run runs a program to its end and gives what it printed. An error has its first words.
func (e *Engine) run(ctx context.Context, c Command, in io.Reader) ([]byte, error) {
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root"}
	cmd.Dir = "/"
	cmd.Stdin = in
	// In a group of its own, so that all of it can be ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.User != "" && c.User != "root" {
		// Without PAM, which would log a session each time.
		names := e.names.Now()
		uid, err := names.UID(c.User)
		if err != nil {
			return nil, err
		}
		gid, err := names.GID(c.User)
		if err != nil {
			return nil, err
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out limited
	var words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err := cmd.Run()
	switch {
	case out.over:
		return nil, fmt.Errorf("%s prints more than %d MiB", c.Args[0], mostOutput>>20)
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("%s took longer than %v", strings.Join(c.Args[:min(2, len(c.Args))], " "), c.Timeout)
	case err != nil:
		return nil, fmt.Errorf("%w: %s", err, mistake(words.String()))
	}
	return out.buf.Bytes(), nil
}

// limited holds up to mostOutput bytes.
type limited struct {
	buf  bytes.Buffer // not embedded: its ReadFrom would pass Write by
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.buf.Len()+len(p) > mostOutput {
		l.over = true
		return len(p), nil
	}
	return l.buf.Write(p)
}
