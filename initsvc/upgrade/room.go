package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// room is a root in which programs of one release run, in a mount namespace of their own: with the set's data at their usual place, and a
// directory in memory, which old and new programs share for their sockets, at /tmp.
type room struct {
	root string // "/" or a root of its own
	data string // on the set
	path string // where data are seen
	work string // seen at /tmp
	uid  uint32
	gid  uint32
}

const enter = `set -e
root=$1 data=$2 path=$3 work=$4 as=$5
shift 5
if [ "$root" != / ]; then
	mount --rbind /dev "$root/dev"
	mount --bind "$data" "$root$path"
	if [ -d "$root/usr/share/zoneinfo" ] && [ -d /usr/share/zoneinfo ]; then mount --bind /usr/share/zoneinfo "$root/usr/share/zoneinfo"; fi
fi
mount --bind "$work" "$root/tmp"
exec chroot --userspec="$as" --groups= "$root" "$@"`

// command runs a program in the room. When ctx ends it gets SIGQUIT, upon which servers of PostgreSQL end at once with all that is theirs.
func (r room) command(ctx context.Context, argv ...string) *exec.Cmd {
	args := []string{"--mount", "--propagation", "private", "--ipc", "sh", "-c", enter, "room", r.root, r.data, r.path, r.work, fmt.Sprintf("%d:%d", r.uid, r.gid)}
	cmd := exec.CommandContext(ctx, "/usr/bin/unshare", append(args, argv...)...) // process 1 has no PATH
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=/tmp", "PGTZ=UTC", "PGOPTIONS=-c client_min_messages=warning"}
	cmd.Dir = "/"
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// output runs a program to its end and returns what it prints; the error has its last words.
func (r room) output(ctx context.Context, argv ...string) (string, error) {
	cmd := r.command(ctx, argv...)
	var out, said tail
	out.all = true
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, said.last())
	}
	return out.buf.String(), nil
}

// tail keeps the end of what a program says, or all of it.
type tail struct {
	all bool
	buf bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if n := t.buf.Len(); !t.all && n > 64<<10 {
		t.buf.Next(n - 32<<10)
	}
	return len(p), nil
}

// last is the last words, in one line: those that tell of an error if there are such.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(t.buf.String()), "\n")
	var errs []string
	for _, l := range lines {
		if strings.Contains(l, "FATAL:") || strings.Contains(l, "ERROR:") || strings.Contains(l, "error:") {
			errs = append(errs, l)
		}
	}
	if len(errs) > 0 {
		lines = errs
	}
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// daemon is a running server.
type daemon struct {
	cmd  *exec.Cmd
	said *tail
	done chan struct{}
	err  error
}

// start starts a server.
func (r room) start(ctx context.Context, argv ...string) (*daemon, error) {
	d := &daemon{cmd: r.command(ctx, argv...), said: &tail{}, done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = d.said, d.said
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	return d, nil
}

// ready asks until the server answers or has ended.
func (d *daemon) ready(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-d.done:
			return fmt.Errorf("the server does not start: %s", d.said.last())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// stop ends the server in order, and whatever happens, ends it.
func (d *daemon) stop() error {
	if d == nil {
		return nil
	}
	for _, s := range []struct {
		sig  os.Signal
		wait time.Duration
	}{{syscall.SIGINT, 10 * time.Minute}, {syscall.SIGQUIT, 10 * time.Second}, {syscall.SIGKILL, 10 * time.Second}} {
		_ = d.cmd.Process.Signal(s.sig)
		select {
		case <-d.done:
			if d.err != nil {
				return fmt.Errorf("the server does not end well: %w: %s", d.err, d.said.last())
			}
			return nil
		case <-time.After(s.wait):
		}
	}
	return errors.New("the server does not end")
}

// server finds the version of PostgreSQL that this image serves with.
func (k *Keeper) server() (version int, root string, err error) {
	var found []int
	for v := range versions(k.o.Image) {
		found = append(found, v)
	}
	if len(found) != 1 {
		return 0, "", fmt.Errorf("the image has %d versions of PostgreSQL's server below /usr/lib/postgresql; build it with one", len(found))
	}
	return found[0], k.o.Image, nil
}

// Older yields the older versions of PostgreSQL that the image has programs for, with their roots.
func (k *Keeper) Older() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		roots, _ := filepath.Glob(filepath.Join(k.o.Older, "*")) // the pattern is good
		slices.Sort(roots)
		for _, root := range roots {
			for v := range versions(root) {
				if !yield(v, root) {
					return
				}
			}
		}
	}
}

// versions yields those of PostgreSQL's servers in root.
func versions(root string) iter.Seq[int] {
	return func(yield func(int) bool) {
		names, _ := filepath.Glob(filepath.Join(root, "usr/lib/postgresql/*/bin/postgres")) // the pattern is good
		for _, n := range names {
			v, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(n))))
			if err == nil && !yield(v) {
				return
			}
		}
	}
}
