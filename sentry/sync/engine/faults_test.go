package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/carry"
)

// fault is something that goes wrong, and what has to be told about it.
type fault struct {
	name  string
	plan  plan
	plant func(left, right *server)
	on    string // who tells: "left" or "right"
	id    string // the finding's name begins with it; "" where no finding is due, but a word in the primary's list of peers
	what  []string
	next  []string
	stops bool // nothing else can go on while it lasts
	mend  func(left, right *server)
}

// find gives the finding that the fault is to lead to.
func (f fault) find(left, right *server) (initapi.Finding, bool) {
	s := left
	if f.on == "right" {
		s = right
	}
	st := s.engine.Status()
	if f.id == "" {
		for _, p := range st.Peers {
			if p.Err != "" && p.Behind > 0 {
				return initapi.Finding{What: p.Err}, true
			}
		}
	}
	for _, n := range st.Findings {
		if f.id != "" && strings.HasPrefix(n.ID, f.id) {
			return n, true
		}
	}
	return initapi.Finding{}, false
}

func (f fault) run(t *testing.T) {
	t.Parallel()
	pl := f.plan
	config := pl.config
	pl.config = func(s *server, c *Config) {
		c.patience, c.again = 700*time.Millisecond, 500*time.Millisecond
		if config != nil {
			config(s, c)
		}
	}
	sender := pl.sender
	pl.sender = func(c *carry.SenderConfig) {
		c.Limits.Backoff = 50 * time.Millisecond
		if sender != nil {
			sender(c)
		}
	}
	left, right := siteOf(t, pl)
	if !f.plan.broken {
		eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	}
	whole(t, right)
	if f.plant != nil {
		f.plant(left, right)
	}
	got := f.told(t, left, right)
	t.Logf("%s: %s → %s", got.ID, got.What, got.Next)
	if !f.stops {
		write(t, left.path("etc/beside"), "goes on\n")
		eventually(t, "another file on right", func() bool { return right.read("etc/beside") == "goes on\n" })
	}
	if f.mend == nil {
		return
	}
	f.mend(left, right)
	eventually(t, "the finding is taken back", func() bool { _, ok := f.find(left, right); return !ok })
	eventually(t, "in step again", func() bool {
		st := left.engine.Status()
		return right.engine.Status().InStep && len(st.Peers) == 1 && st.Peers[0].Behind == 0 && st.Peers[0].State == string(carry.InStep)
	})
	if !f.plan.differs {
		eventually(t, "both sides equal", func() bool { return len(differ(walk(t, left.root), walk(t, right.root))) == 0 })
	}
}

// told waits for the finding with all its words.
func (f fault) told(t *testing.T, left, right *server) initapi.Finding {
	t.Helper()
	var got initapi.Finding
	lacks := "any word"
	for end := time.Now().Add(30 * time.Second); lacks != ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it lacks %q: %+v", lacks, got)
		}
		var ok bool
		if got, ok = f.find(left, right); !ok {
			continue
		}
		lacks = ""
		for _, w := range f.what {
			if !strings.Contains(got.What, w) {
				lacks = w
			}
		}
		for _, w := range f.next {
			if !strings.Contains(got.Next, w) {
				lacks = w
			}
		}
	}
	return got
}

// whole sees all the time that the large file on the secondary is there wholly or not at all.
func whole(t *testing.T, right *server) {
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
			if st, err := os.Lstat(right.path("etc/big")); err == nil && st.Size() != 8<<20 && st.Size() != 20<<20 {
				t.Errorf("on the secondary there are %d bytes of a larger file", st.Size())
				return
			}
		}
	})
	t.Cleanup(func() { close(done); work.Wait() })
}

func faults(t *testing.T) []fault {
	return append(append(fileFaults(), serviceFaults()...), siteFaults(t)...)
}

// small gives a server a filesystem of some MiB.
func small(who string, size int) func(s *server) string {
	return func(s *server) string {
		dir := rootDir(s.t)
		if s.name == who {
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size)); err != nil {
				s.t.Skipf("no small filesystem to be had: %v", err)
			}
			s.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		}
		return dir
	}
}

// fill leaves free MiB of the filesystem.
func fill(s *server, free int64) {
	var st unix.Statfs_t
	must(s.t, unix.Statfs(s.root, &st))
	n := max(0, int64(st.Bavail)*st.Bsize-free<<20)
	f, err := os.Create(s.path("var/fill"))
	must(s.t, err)
	defer f.Close()
	must(s.t, unix.Fallocate(int(f.Fd()), 0, 0, n))
}

// noise is what cannot be packed smaller.
func noise(n int) []byte {
	b := make([]byte, 0, n)
	r := rand.New(rand.NewPCG(1, 2))
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

func run1(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
}

func flat(s *server, p string, n int) string {
	text := strings.Repeat("0123456789abcde\n", n/16)
	write(s.t, s.path(p), text)
	return text
}

// fileFaults are about files and disks.
func fileFaults() []fault {
	var peace func()
	odd := func(what string, mode uint32) fault {
		return fault{
			name: what, on: "left", id: "sync-not-kept-etc/odd", what: []string{"/etc/odd", what}, next: []string{"/run"},
			plant: func(l, _ *server) { must(l.t, unix.Mknod(l.path("etc/odd"), mode|0o600, int(unix.Mkdev(1, 3)))) },
			mend:  func(l, _ *server) { must(l.t, os.Remove(l.path("etc/odd"))) },
		}
	}
	var stop atomic.Bool
	return []fault{
		odd("FIFO", unix.S_IFIFO), odd("socket", unix.S_IFSOCK), odd("device", unix.S_IFCHR),
		{
			name: "disk full on the primary", plan: plan{root: small("left", 80), prepare: func(s *server) {
				if s.name == "left" {
					flat(s, "var/big", 20<<20)
				}
			}},
			plant: func(l, _ *server) { fill(l, 0); must(l.t, os.Rename(l.path("var/big"), l.path("etc/big"))) },
			on:    "left", id: "sync-not-recorded", what: []string{"etc/big", "no space"}, next: []string{"Make room"}, stops: true,
			mend: func(l, _ *server) { must(l.t, os.Remove(l.path("var/fill"))) },
		},
		{
			name: "disk full on the secondary", plan: plan{root: small("right", 120)},
			plant: func(l, r *server) { fill(r, 0); flat(l, "etc/big", 8<<20) },
			on:    "right", id: "sync-full", what: []string{"no space"}, next: []string{"Make room"}, stops: true,
			mend: func(_, r *server) { must(r.t, os.Remove(r.path("var/fill"))) },
		},
		{
			name: "disk nearly full on the secondary", plan: plan{root: small("right", 120)},
			plant: func(l, r *server) { fill(r, 25); flat(l, "etc/some", 1<<20) },
			on:    "right", id: "sync-refused", what: []string{"no room", "MiB"}, next: []string{"Make room", "right"}, stops: true,
			mend: func(_, r *server) { must(r.t, os.Remove(r.path("var/fill"))) },
		},
		{
			name: "unknown owner on the secondary", plan: plan{differs: true, config: accountsOwn, prepare: func(s *server) {
				if s.name == "left" {
					write(s.t, s.path("etc/passwd"), s.read("etc/passwd")+"anna:x:1000:1000::/:/bin/sh\n")
				}
			}},
			plant: func(l, _ *server) {
				write(l.t, l.path("etc/hers"), "x")
				must(l.t, os.Chown(l.path("etc/hers"), 1000, 0))
			},
			on: "right", id: "sync-left-out-etc/hers", what: []string{"/etc/hers", "anna"}, next: []string{"anna", "right"},
			mend: func(_, r *server) {
				write(r.t, r.path("etc/passwd"), r.read("etc/passwd")+"anna:x:1000:1000::/:/bin/sh\n")
			},
		},
		{
			name: "file made unchangeable on the secondary",
			plant: func(l, r *server) {
				run1(l.t, "chattr", "+i", r.path("etc/hosts"))
				l.t.Cleanup(func() { _ = exec.Command("chattr", "-i", r.path("etc/hosts")).Run() })
				write(l.t, l.path("etc/hosts"), "new\n")
			},
			on: "right", id: "sync-left-out-etc/hosts", what: []string{"etc/hosts", "immutable"}, next: []string{"chattr -i"},
			mend: func(l, r *server) { run1(l.t, "chattr", "-i", r.path("etc/hosts")) },
		},
		{
			name: "read-only target", plan: plan{prepare: func(s *server) { write(s.t, s.path("etc/ro/a"), "old\n") }},
			plant: func(l, r *server) {
				d := r.path("etc/ro")
				must(l.t, unix.Mount(d, d, "", unix.MS_BIND, ""))
				l.t.Cleanup(func() { _ = unix.Unmount(d, unix.MNT_DETACH) })
				must(l.t, unix.Mount("", d, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
				write(l.t, l.path("etc/ro/a"), "new\n")
			},
			on: "right", id: "sync-left-out-etc/ro/a", what: []string{"/etc/ro/a", "mounted"}, next: []string{"nmount"},
			mend: func(_, r *server) { must(r.t, unix.Unmount(r.path("etc/ro"), 0)) },
		},
		{
			name: "file that changes while it is read",
			plant: func(l, _ *server) {
				cmd := exec.Command(os.Args[0], "scribble-helper", l.path("etc/log"))
				must(l.t, cmd.Start())
				end := sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
				l.t.Cleanup(end)
				go func() {
					for !stop.Load() {
						time.Sleep(10 * time.Millisecond)
					}
					end()
				}()
			},
			on: "left", id: "sync-not-kept-etc/log", what: []string{"/etc/log", "being changed"}, next: []string{"fuser", "/etc/log"},
			mend: func(_, _ *server) { stop.Store(true) },
		},
		{
			name: "far too many files", plan: plan{config: func(_ *server, c *Config) { c.limit = 1500 }},
			plant: func(l, _ *server) {
				for i := range 3000 {
					write(l.t, l.path(fmt.Sprintf("outside/dump/%d", i)), "x")
				}
				must(l.t, os.Rename(l.path("outside/dump"), l.path("etc/dump")))
			},
			on: "left", id: "sync-too-many", what: []string{"/etc/dump", "1500"}, next: []string{"by mistake"},
			mend: func(l, _ *server) { must(l.t, os.RemoveAll(l.path("etc/dump"))) },
		},
		{
			name: "file above the limit",
			plant: func(l, _ *server) {
				write(l.t, l.path("etc/huge"), "")
				must(l.t, os.Truncate(l.path("etc/huge"), maxFile+1))
			},
			on: "left", id: "sync-not-kept-etc/huge", what: []string{"/etc/huge", "bytes"}, next: []string{"/srv"},
			mend: func(l, _ *server) { must(l.t, os.Truncate(l.path("etc/huge"), 5)) },
		},
		{
			name: "directory replaced by a link on the secondary", plan: plan{prepare: func(s *server) { write(s.t, s.path("etc/d/a"), "old\n") }},
			plant: func(l, r *server) {
				write(l.t, r.path("outside/a"), "not yours\n")
				must(l.t, os.RemoveAll(r.path("etc/d")))
				must(l.t, os.Symlink("../outside", r.path("etc/d")))
				write(l.t, l.path("etc/d/a"), "new\n")
			},
			on: "right", id: "sync-local-change", what: []string{"/etc/d"}, next: []string{"on the primary"},
			mend: func(l, r *server) {
				eventually(l.t, "directory back", func() bool { return r.read("etc/d/a") == "new\n" })
				if got := r.read("outside/a"); got != "not yours\n" {
					l.t.Errorf("through the link it was written: %q", got)
				}
				r.seen("sync-local-change")
			},
		},
		{
			name: "program that fights on the secondary", plan: plan{config: func(_ *server, c *Config) { c.calm = 6 * time.Second }},
			plant: func(l, r *server) {
				ctx, cancel := context.WithCancel(context.Background())
				cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > "+r.path("etc/hosts")+"; sleep 0.4; done")
				must(l.t, cmd.Start())
				var end sync.Once
				peace = func() { end.Do(func() { cancel(); _ = cmd.Wait() }) }
				l.t.Cleanup(peace)
			},
			mend: func(l, r *server) {
				r.stop() // the next one knows of it
				r.findings = Findings{}
				r.start()
				if !r.finding("sync-fight-etc/hosts") {
					l.t.Error("not told after a restart")
				}
				peace()
				eventually(l.t, "put back in the end", func() bool { return r.read("etc/hosts") == l.read("etc/hosts") })
				r.seen("sync-local-change")
			},
			on: "right", id: "sync-fight-etc/hosts", what: []string{"/etc/hosts", "again and again"}, next: []string{"atlas history /etc/hosts"},
		},
	}
}

func accountsOwn(s *server, c *Config) {
	c.Facts.Class = ownToo(c.Facts.Class, "etc/passwd", "etc/group")
}

// TestFaults plants faults, one after another in sites of their own. Each must be told in words that name the thing and what to do next;
// whatever else is changed goes on; and when it is mended, all is in step and nothing is told any more.
func TestFaults(t *testing.T) {
	for _, f := range faults(t) {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), f.run)
	}
}
