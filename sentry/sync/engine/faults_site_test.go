package engine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

func ownToo(f func(state.Path) class.Class, own ...state.Path) func(state.Path) class.Class {
	return func(p state.Path) class.Class {
		if slices.Contains(own, p) {
			return class.Own
		}
		return f(p)
	}
}

// checker makes a service's checker that can be broken: it runs the script "checker" below the root.
func checker(s *server, c *Config) {
	script := s.path("checker")
	if _, err := os.Stat(script); err != nil {
		must(s.t, os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o755)) //nolint:gosec // a program
	}
	c.Facts.Checks = func(services []string) []check.Check {
		if !slices.Contains(services, "web") {
			return nil
		}
		return []check.Check{{Service: "web", Title: "Web server", Command: []string{script}, Timeout: 5 * time.Second}}
	}
}

func script(s *server, text string) {
	must(s.t, os.WriteFile(s.path("checker.new"), []byte("#!/bin/sh\n"+text+"\n"), 0o755)) //nolint:gosec // a program
	must(s.t, os.Rename(s.path("checker.new"), s.path("checker")))
}

type stubborn struct {
	apply.Services
	off *atomic.Bool
}

func (s stubborn) Do(ctx context.Context, name, verb string) error {
	if s.off.Load() {
		return errors.New("httpd: cannot bind to port 80")
	}
	return s.Services.Do(ctx, name, verb)
}

// database is an export whose programs can be broken.
func database(dump, load string) func(*server, *Config) {
	return func(s *server, c *Config) {
		if s.read("db/roles") == "" { // else it begins anew
			write(s.t, s.path("db/roles"), "one\n")
		}
		write(s.t, s.path("db/dump"), dump)
		write(s.t, s.path("db/load"), load)
		sh := func(p string) Command {
			return Command{Args: []string{"/bin/sh", s.path("db/" + p), s.path("db/roles")}, Timeout: 20 * time.Second}
		}
		c.Facts.Exports = []Export{{Service: "web", Path: "@db/web/roles", Title: "Roles", Every: 100 * time.Millisecond, Dump: sh("dump"), Load: sh("load")}}
	}
}

const (
	goodDump = "cat $1"
	goodLoad = "cat > $1"
)

// serviceFaults are about checkers, services and databases.
func serviceFaults() []fault {
	held := func(name, break1, words string) fault {
		return fault{
			name: name, plan: plan{config: checker}, on: "left", id: "sync-held", what: []string{"Web server", words}, next: []string{"atlas rollback --held", "atlas release"},
			plant: func(l, _ *server) {
				if break1 == "" {
					must(l.t, os.Remove(l.path("checker")))
				} else {
					script(l, break1)
				}
				write(l.t, l.path("etc/web/site.conf"), "new\n")
			},
			stops: true, mend: func(l, _ *server) { script(l, "exit 0") },
		}
	}
	var off atomic.Bool
	return []fault{
		held("checker missing", "", "could not be asked"),
		held("checker hanging", "sleep 1000", "could not be asked"),
		held("checker crashing", "kill -SEGV $$", "egmentation"),
		{
			name: "checker refuses on the secondary alone", plan: plan{config: checker}, on: "right", id: "sync-refused", what: []string{"Web server", "no such module"},
			next: []string{"atlas rollback", "run on"}, stops: true,
			plant: func(l, r *server) {
				script(r, "echo no such module here; exit 1")
				write(l.t, l.path("etc/web/site.conf"), "new\n")
			},
			mend: func(_, r *server) { script(r, "exit 0") },
		},
		{
			name: "service that refuses the reload", plan: plan{config: func(s *server, c *Config) {
				if s.name == "right" {
					c.Services = stubborn{c.Services, &off}
				}
			}},
			plant: func(l, _ *server) { off.Store(true); write(l.t, l.path("etc/web/site.conf"), "new\n") },
			on:    "right", id: "sync-service-web", what: []string{"Web server", "port 80"}, next: []string{"/var/log/atlas/web.log", "atlas service restart web"},
			mend: func(l, _ *server) { off.Store(false); pause(); write(l.t, l.path("etc/web/site.conf"), "newer\n") },
		},
		{
			name: "export failing", plan: plan{config: database("echo no such role >&2; exit 3", goodLoad)}, on: "left", id: "sync-export-web-roles",
			what: []string{"Roles", "no such role"}, next: []string{"/var/log/atlas/web.log"},
			mend: func(l, r *server) { write(l.t, l.path("db/dump"), goodDump); write(r.t, r.path("db/dump"), goodDump) },
		},
		{
			name: "export too large", plan: plan{config: database("head -c 70000000 /dev/zero", goodLoad)}, on: "left", id: "sync-export-web-roles",
			what: []string{"Roles", "64 MiB"}, next: []string{"tried again"},
			mend: func(l, r *server) { write(l.t, l.path("db/dump"), goodDump); write(r.t, r.path("db/dump"), goodDump) },
		},
		{
			name: "load failing", plan: plan{config: database(goodDump, "echo role is in use >&2; exit 1")}, on: "right", id: "sync-load-web",
			plant: func(l, _ *server) { write(l.t, l.path("db/roles"), "one\ntwo\n") },
			what:  []string{"Roles", "role is in use"}, next: []string{"/var/log/atlas/web.log"},
			mend: func(l, r *server) {
				write(r.t, r.path("db/load"), goodLoad)
				eventually(l.t, "rows on right", func() bool { return r.read("db/roles") == "one\ntwo\n" })
			},
		},
		{
			name: "load failing until the primary goes back",
			plan: plan{config: database(goodDump, "case $(cat) in *two*) echo no module two >&2; exit 1 ;; esac; echo one > $1")}, on: "right", id: "sync-load-web",
			plant: func(l, _ *server) { write(l.t, l.path("db/roles"), "one\ntwo\n") },
			what:  []string{"Roles", "no module two"}, next: []string{"/var/log/atlas/web.log"},
			mend: func(l, _ *server) { write(l.t, l.path("db/roles"), "one\n") },
		},
	}
}

// siteFaults are about the two servers, the link and the histories.
func siteFaults(t *testing.T) []fault {
	wires := []*wire{}
	via := func() (func(string, int) string, *wire) {
		w := &wire{}
		wires = append(wires, w)
		return func(to string, port int) string { return w.listen(t, to, port) }, w
	}
	cutVia, cutWire := via()
	midVia, midWire := via()
	var two atomic.Bool
	var stranger peers.Identity
	dir := t.TempDir()
	must(t, peers.NewKey(dir, "6a1b7b1e-0000-4000-8000-000000000009"))
	stranger, err := peers.LoadIdentity(dir)
	must(t, err)
	return []fault{
		{
			name: "link away", plan: plan{via: cutVia}, on: "left", what: []string{"right"},
			plant: func(l, _ *server) {
				cutWire.off.Store(true)
				cutWire.cut()
				write(l.t, l.path("etc/hosts"), "new\n")
			},
			stops: true, mend: func(_, _ *server) { cutWire.off.Store(false) },
		},
		{
			name: "link cut in mid-transfer", plan: plan{via: midVia}, on: "left", what: []string{"right"},
			plant: func(l, r *server) {
				midWire.rest.Store(3 << 20)
				midWire.last.Store(true)
				text := string(noise(8 << 20))
				write(l.t, l.path("etc/big"), text)
				eventually(l.t, "cut", func() bool { return midWire.off.Load() })
				if got := r.read("etc/big"); got != "" && got != text {
					l.t.Error("the file is there by half")
				}
			},
			stops: true, mend: func(_, _ *server) { midWire.off.Store(false) },
		},
		{
			name: "peer with a wrong key", plan: plan{broken: true, peer: func(left bool, p *siteconf.Peer) {
				if left {
					p.Cert = stranger.Cert
				}
			}},
			on: "left", what: []string{"right", "certificate"}, stops: true,
		},
		{
			name: "two primaries", plan: plan{receive: func(c *carry.ReceiverConfig) {
				c.Limits.Fresh = 300 * time.Millisecond
				ask := c.Attest
				c.Attest = func(ctx context.Context) (roles.Attestation, []roles.Attestation, error) {
					own, all, err := ask(ctx)
					if two.Load() {
						all = append(all, roles.Attestation{Server: "third", Reachable: true, Role: roles.Primary, Serving: true, Set: testSet})
					}
					return own, all, err
				}
			}},
			plant: func(l, _ *server) {
				two.Store(true)
				time.Sleep(400 * time.Millisecond)
				write(l.t, l.path("etc/hosts"), "new\n")
			},
			on: "right", id: "sync-primaries", what: []string{"left", "third"}, next: []string{"Shut down one"}, stops: true,
			mend: func(_, _ *server) { two.Store(false) },
		},
		{
			name: "other version on the secondary", plan: plan{broken: true, config: func(s *server, c *Config) {
				if s.name == "right" {
					c.Image = "2.0"
				}
			}},
			on: "right", id: "sync-refused", what: []string{"1.0", "2.0"}, next: []string{"same version"}, stops: true,
		},
		{
			name: "receiver stopped", on: "left", what: []string{"right", "does not take changes"}, stops: true,
			plant: func(l, r *server) { r.engine.cfg.Receiver.Stop(); write(l.t, l.path("etc/hosts"), "new\n") },
			mend:  func(_, r *server) { must(r.t, r.engine.cfg.Receiver.Start(testSite, roles.Secondary)) },
		},
		{
			name: "history damaged on the secondary", on: "right", id: "sync-history-damaged", what: []string{"damaged"}, next: []string{"kept in", "disks"},
			plant: func(l, r *server) { damage(r) },
			mend:  func(_, r *server) { r.seen("sync-history-damaged") },
		},
		{
			name: "history damaged on the primary", on: "left", id: "sync-history-damaged", what: []string{"damaged"}, next: []string{"kept in", "disks"},
			plant: func(l, _ *server) {
				time.Sleep(time.Second) // begun anew within the second of the first one it would be the same history
				damage(l)
			}, stops: true,
			mend: func(l, r *server) {
				eventually(l.t, "told that the other does not follow", func() bool { return l.finding("sync-peer-right") })
				if got := r.read("etc/hosts"); got != "127.0.0.1 localhost\n" {
					l.t.Errorf("right has %q", got)
				}
				r.engine.cfg.Receiver.Replace(carry.KeptName(time.Now()))
				l.seen("sync-history-damaged")
				eventually(l.t, "taken back", func() bool { return !l.finding("sync-peer-right") })
			},
		},
		{
			name: "old state of the primary", on: "left", id: "sync-peer-right", what: []string{"right", "older state"}, next: []string{"newest"}, stops: true,
			plant: func(l, r *server) {
				copyOf := filepath.Join(l.t.TempDir(), "old")
				l.stop()
				run1(l.t, "cp", "-a", l.root, copyOf)
				l.start()
				write(l.t, l.path("etc/hosts"), "new\n")
				eventually(l.t, "newer state on right", func() bool { return r.read("etc/hosts") == "new\n" && r.engine.Status().InStep })
				l.stop()
				must(l.t, os.Rename(l.root, l.root+".new"))
				l.t.Cleanup(func() { _ = os.RemoveAll(l.root + ".new") })
				run1(l.t, "cp", "-a", copyOf, l.root)
				l.start()
			},
			mend: func(l, r *server) {
				if got := r.read("etc/hosts"); got != "new\n" {
					l.t.Errorf("right went back to %q", got)
				}
				l.stop()
				must(l.t, os.RemoveAll(l.root))
				must(l.t, os.Rename(l.root+".new", l.root))
				l.start()
			},
		},
	}
}

// damage breaks the newest records of a server's history while it is off.
func damage(s *server) {
	s.stop()
	file := s.path("sync/history/journal")
	data, err := os.ReadFile(file)
	must(s.t, err)
	for i := 8; i < len(data); i += 64 { // all over it, as a bad disk does
		data[i] ^= 0x5a
	}
	must(s.t, os.WriteFile(file, data, 0o600))
	s.start()
}

// TestNotOpened: what keeps a Synchronizer from its work is told in words, and when it is mended it goes on.
func TestNotOpened(t *testing.T) {
	_, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	right.stop()
	again := func() error {
		e, err := Open(right.engine.cfg)
		if err == nil {
			must(t, e.Close())
		}
		return err
	}
	want := func(err error, words ...string) {
		t.Helper()
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("Open() = %v; want words %q", err, w)
			}
		}
	}
	hold, err := history.Open(filepath.Join(right.engine.cfg.Dir, "history"), history.Options{})
	must(t, err)
	want(again(), "another process", "stop that one")
	must(t, hold.Close())
	must(t, again())

	gen := filepath.Join(right.engine.cfg.Dir, "staging", "generation-00009999")
	must(t, os.MkdirAll(gen, 0o700))
	must(t, os.WriteFile(filepath.Join(gen, "journal"), []byte(`{"version":1,"steps":[{"do":"pu`), 0o600))
	want(again(), "journal", gen, "remove the folder")
	must(t, os.RemoveAll(gen))
	must(t, again())

	other := right.engine.cfg
	if err := exec.Command("mountpoint", "-q", "/dev/shm").Run(); err == nil {
		right.engine.cfg.Places = slices.Clone(other.Places)
		shm, err := os.MkdirTemp("/dev/shm", "atlas-")
		must(t, err)
		defer os.RemoveAll(shm)
		right.engine.cfg.Places[1].Dir = shm
		want(again(), "another filesystem", shm)
		right.engine.cfg = other
	}
	must(t, again())
	right.start()
	eventually(t, "in step again", func() bool { return right.engine.Status().InStep })
}

// TestHung: while the loop stands still, Status.At does, by which the page and the alerts know it; what was changed meanwhile is not lost.
func TestHung(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	hang := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- left.engine.do(context.Background(), func(context.Context) error { <-hang; return nil })
	}()
	time.Sleep(200 * time.Millisecond)
	at := left.engine.Status().At
	write(t, left.path("etc/hosts"), "meanwhile\n")
	time.Sleep(2500 * time.Millisecond)
	if now := left.engine.Status().At; !now.Equal(at) {
		t.Errorf("At went on to %s while the loop stood still at %s", now, at)
	}
	close(hang)
	must(t, <-done)
	eventually(t, "the change", func() bool { return right.read("etc/hosts") == "meanwhile\n" && left.engine.Status().At.After(at) })
}

// TestHarmless: what may look like a fault, and is none: nothing is told, and all is carried.
func TestHarmless(t *testing.T) {
	left, right := siteOf(t, plan{receive: func(c *carry.ReceiverConfig) { c.Clock = skewed{} }})
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	for _, name := range []string{".atlas", ".git", ".gitattributes", ".ATLAS", ".atlas=x", "a\nb", "\xff"} {
		write(t, left.path("etc/odd/"+name), name)
		write(t, left.path("etc/odd/"+name+"d/.atlas/x"), name)
	}
	for i := range 3000 { // more at once than is watched one by one
		write(t, left.path("etc/storm"), string(rune('a'+i%26)))
	}
	must(t, left.engine.do(context.Background(), func(ctx context.Context) error {
		left.engine.rescan(ctx, "the queue has overflowed")
		return nil
	}))
	eventually(t, "equal", func() bool {
		return len(differ(walk(t, left.root), walk(t, right.root))) == 0 && right.engine.Status().InStep
	})
	if f := append(left.engine.Status().Findings, right.engine.Status().Findings...); len(f) > 0 {
		t.Errorf("told: %v", f)
	}
	must(t, left.engine.repo.Verify(context.Background()))
}

// skewed is a clock three hours off.
type skewed struct{}

func (skewed) Now() time.Time                         { return time.Now().Add(3 * time.Hour) }
func (skewed) After(d time.Duration) <-chan time.Time { return time.After(d) }
