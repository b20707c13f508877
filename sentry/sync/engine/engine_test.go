package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/image/pack"
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

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "check-helper" {
		os.Exit(check.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// server is one of a site of two, with a root filesystem of its own and the real parts: fanotify, history, mutual TLS, staging.
type server struct {
	t        testing.TB
	name     string
	root     string
	self     siteconf.Peer
	id       peers.Identity
	dir      string
	engine   *Engine
	findings Findings
	stop     func()

	mu    sync.Mutex
	tells []string // what services were told
}

type store struct{ *history.Repo }

func (s *store) Import(src io.Reader, limit int64, b state.Branch, head string, replace bool) (state.Commit, error) {
	return s.Repo.Import(src, limit, b, head, history.ImportOptions{Replace: replace})
}

const (
	testSite = "2f6a0c52-0000-4000-8000-00000000000a"
	testSet  = "9d1b7b1e-0000-4000-8000-00000000000b"
)

// Do implements apply.Services.
func (s *server) Do(_ context.Context, name, verb string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tells = append(s.tells, verb+" "+name)
	return nil
}

func (s *server) told(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.tells, what)
}

var versions13 = carry.Versions{Image: "1.0", Debian: "13"}

// facts: one service, whose checker refuses any file that says "broken".
func facts(root string) Facts {
	web := pack.Pack{Name: "web", Title: "Web server", Config: []string{"/etc/web"}, Processes: []pack.Process{{Name: "httpd", Reload: "HUP"}}}
	return Facts{
		Packs: []pack.Pack{web},
		Class: func(p state.Path) class.Class {
			switch {
			case strings.HasSuffix(string(p), ".swp"):
				return class.Ignored
			case p == "etc/machine-id":
				return class.Own
			}
			return class.Shared
		},
		Checks: func(services []string) []check.Check {
			if !slices.Contains(services, "web") {
				return nil
			}
			return []check.Check{{Service: "web", Title: "Web server", Command: []string{"/bin/sh", "-c", "! grep -rn broken " + root + "/etc/web"}, Timeout: 20 * time.Second}}
		},
		BaseChecks: func([]state.Change) []check.Check { return nil },
		Derive:     func(string) (Command, bool) { return Command{}, false },
		Hide:       history.ShowAll,
	}
}

// site makes two servers; the second is started by start.
func site(t *testing.T) (left, right *server) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("fanotify, owners and mounts need root")
	}
	port := freePort(t)
	var all []*server
	for i, name := range []string{"left", "right"} {
		s := &server{t: t, name: name, root: rootDir(t), dir: t.TempDir()}
		id := fmt.Sprintf("6a1b7b1e-0000-4000-8000-00000000000%d", i+1)
		must(t, peers.NewKey(s.dir, id))
		var err error
		s.id, err = peers.LoadIdentity(s.dir)
		must(t, err)
		s.self = siteconf.Peer{ID: id, Name: name, Address: fmt.Sprintf("127.0.77.%d", i+1), Cert: s.id.Cert}
		for path, text := range map[string]string{
			"etc/passwd": "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n", "etc/group": "root:x:0:\nwww-data:x:33:\n",
			"etc/hosts": "127.0.0.1 localhost\n", "etc/machine-id": name + "\n", "etc/web/site.conf": "listen 80\n",
		} {
			write(t, filepath.Join(s.root, path), text)
		}
		all = append(all, s)
	}
	for i, s := range all {
		must(t, siteconf.Save(filepath.Join(s.dir, siteconf.PeersFile), siteconf.Peers{
			Site: testSite, SiteName: "Miller", Admin: "hash", Peers: []siteconf.Peer{all[1-i].self},
		}, 0o600))
	}
	for _, s := range all {
		s.start(port)
	}
	return all[0], all[1]
}

// start opens the server's engine as it is on the appliance: the first is primary.
func (s *server) start(port int) {
	t := s.t
	role := roles.Secondary
	if s.name == "left" {
		role = roles.Primary
	}
	book, err := peers.OpenBook(s.dir)
	must(t, err)
	st := &store{}
	log := slog.New(slog.NewTextHandler(&lines{t: t, name: s.name}, nil))
	cfg := Config{
		Dir: filepath.Join(s.root, "sync"), Root: s.root, Places: []apply.Place{{Prefix: "etc", Dir: filepath.Join(s.root, "etc")}, {Prefix: "var", Dir: filepath.Join(s.root, "var")}},
		Server: s.name, Versions: versions13, Role: role, Facts: facts(s.root), Services: s, Findings: &s.findings, Log: log, Own: true,
		Helper: check.Helper{Command: []string{os.Args[0], "check-helper"}},
	}
	must(t, os.MkdirAll(filepath.Join(s.root, "var"), 0o755))
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	if role == roles.Primary {
		cfg.Sender = carry.NewSender(carry.SenderConfig{
			Dir: filepath.Join(cfg.Dir, "send"), Store: st, Server: s.name, Versions: versions13, Client: peers.NewClient(s.id, port), Log: log,
			Peers: func() ([]siteconf.Peer, error) { p, err := book.Peers(); return p.Peers, err },
		})
	} else {
		cfg.Receiver = carry.NewReceiver(carry.ReceiverConfig{
			Dir: filepath.Join(cfg.Dir, "receive"), Store: st, Server: s.name, Versions: versions13, Log: log,
			Attest: func(context.Context) (roles.Attestation, []roles.Attestation, error) {
				return roles.Attestation{Server: "right", Reachable: true, Role: roles.Secondary, Serving: true, Set: "other"},
					[]roles.Attestation{{Server: "left", Reachable: true, Role: roles.Primary, Serving: true, Set: testSet, Holds: []roles.Holding{{Set: testSet, Role: roles.Primary, Lineage: "aaaaaaaaaaaaaaaa"}}}}, nil
			},
		})
		api := peers.NewServer(s.id, book, peers.NewOffers(s.dir, nil), nil, log)
		cfg.Receiver.Mount(api)
		l, err := net.Listen("tcp", net.JoinHostPort(s.self.Address, fmt.Sprint(port)))
		must(t, err)
		work.Go(func() { _ = api.Serve(ctx, l) })
	}
	s.engine, err = Open(cfg)
	must(t, err)
	st.Repo = s.engine.History()
	if cfg.Sender != nil {
		must(t, cfg.Sender.Start(carry.Source{Site: testSite, Set: testSet, Lineage: []string{"aaaaaaaaaaaaaaaa"}}))
	} else {
		must(t, cfg.Receiver.Start(testSite, role))
	}
	work.Go(func() {
		if err := s.engine.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		cancel()
		if cfg.Sender != nil {
			cfg.Sender.Stop()
		} else {
			cfg.Receiver.Stop()
		}
		work.Wait()
		must(t, s.engine.Close())
	})
	t.Cleanup(s.stop)
}

type lines struct {
	t    testing.TB
	name string
}

func (l *lines) Write(p []byte) (int, error) {
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, "%s: %s", l.name, p)
	}
	return len(p), nil
}

func (s *server) path(p string) string { return filepath.Join(s.root, p) }

func (s *server) read(p string) string {
	data, err := os.ReadFile(s.path(p))
	if err != nil {
		return ""
	}
	return string(data)
}

func (s *server) finding(prefix string) bool {
	return slices.ContainsFunc(s.findings.List(), func(f initapiFinding) bool { return strings.HasPrefix(f.ID, prefix) })
}

func TestCarried(t *testing.T) {
	left, right := site(t)
	write(t, left.path("etc/hosts"), "127.0.0.1 localhost\n10.0.0.5 printer\n")
	eventually(t, "hosts on right", func() bool { return strings.Contains(right.read("etc/hosts"), "printer") })
	pause()
	if got := right.read("etc/machine-id"); got != "right\n" {
		t.Errorf("machine-id of right is %q; it is its own", got)
	}
	must(t, os.MkdirAll(left.path("etc/new/deep"), 0o750))
	write(t, left.path("etc/new/deep/a"), "a")
	must(t, os.Chown(left.path("etc/new/deep/a"), 33, 33))
	must(t, os.Symlink("a", left.path("etc/new/deep/l")))
	eventually(t, "new tree on right", func() bool {
		st, err := os.Stat(right.path("etc/new/deep/a"))
		l, _ := os.Readlink(right.path("etc/new/deep/l"))
		return err == nil && l == "a" && owner(st) == 33
	})
	pause()
	must(t, os.RemoveAll(left.path("etc/new")))
	eventually(t, "tree gone on right", func() bool { _, err := os.Stat(right.path("etc/new")); return os.IsNotExist(err) })
	pause()
	write(t, left.path("etc/web/site.conf"), "listen 8080\n")
	eventually(t, "service told", func() bool { return right.told("reload web") })
	eventually(t, "in step", func() bool {
		st := left.engine.Status()
		return len(st.Peers) == 1 && st.Peers[0].State == "in step" && st.Peers[0].Behind == 0 && right.engine.Status().InStep
	})
	events, err := left.engine.Events(state.Query{Path: "etc/hosts"})
	must(t, err)
	if len(events) != 2 || events[0].Title != "changed etc/hosts" {
		t.Errorf("history of etc/hosts: %+v", events)
	}
}

func TestHeldAndRolledBack(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	write(t, left.path("etc/web/site.conf"), "broken\n")
	eventually(t, "held", func() bool { return left.engine.Status().Held != nil })
	if h := left.engine.Status().Held; h.Service != "web" || !strings.Contains(h.Words, "broken") || !slices.Contains(h.Paths, "etc/web/site.conf") {
		t.Errorf("held: %+v", h)
	}
	pause()
	write(t, left.path("etc/hosts"), "later\n") // waits behind it
	time.Sleep(300 * time.Millisecond)
	if got := right.read("etc/web/site.conf") + right.read("etc/hosts"); strings.Contains(got, "broken") || strings.Contains(got, "later") {
		t.Errorf("right has %q", got)
	}
	got, err := left.engine.Rollback(context.Background(), state.Rollback{Path: "etc/web/site.conf"}, state.Who{Program: "atlas", User: "root"})
	must(t, err)
	if got.Commit == nil || len(got.Files) != 1 || left.read("etc/web/site.conf") != "listen 80\n" || !left.told("reload web") {
		t.Errorf("rolled back: %+v; file %q", got, left.read("etc/web/site.conf"))
	}
	eventually(t, "released", func() bool { return left.engine.Status().Held == nil && !left.finding("sync-held") })
	eventually(t, "the later change on right", func() bool {
		return right.read("etc/hosts") == "later\n" && right.read("etc/web/site.conf") == "listen 80\n"
	})
}

func TestHeldOrders(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	ctx, root := context.Background(), state.Who{Program: "atlas", User: "root"}
	if _, err := left.engine.Release(ctx, "", root); !Stands(err) {
		t.Errorf("release of nothing: %v", err)
	}
	if _, err := right.engine.Rollback(ctx, state.Rollback{Path: "etc/hosts"}, root); !Stands(err) {
		t.Errorf("rollback on the secondary: %v", err)
	}
	if _, err := right.engine.Release(ctx, "", root); !Stands(err) {
		t.Errorf("release on the secondary: %v", err)
	}
	write(t, left.path("etc/web/site.conf"), "broken\n")
	eventually(t, "held", func() bool { return left.engine.Status().Held != nil })
	held := left.engine.Status().Held
	pause()
	write(t, left.path("etc/hosts"), "unrelated\n")
	eventually(t, "the later change is judged too", func() bool { h := left.engine.Status().Held; return h != nil && h.Commit != held.Commit })
	if _, err := left.engine.Release(ctx, held.Commit, root); !Stands(err) {
		t.Errorf("release of what has changed since it was seen: %v", err)
	}
	if _, err := left.engine.Rollback(ctx, state.Rollback{Path: "etc/web/site.conf", To: "HEAD"}, root); !Stands(err) {
		t.Errorf("rollback to what is: %v", err)
	}
	plan, err := left.engine.Rollback(ctx, state.Rollback{Held: true, Try: true}, root)
	must(t, err)
	if len(plan.Files) != 2 || !slices.Contains(plan.Services, "web") || !strings.Contains(plan.Patch, "-broken\n+listen 80\n") || left.read("etc/web/site.conf") != "broken\n" {
		t.Errorf("plan: %+v", plan)
	}
	if _, err := left.engine.Release(ctx, left.engine.Status().Held.Commit, root); err != nil {
		t.Error(err)
	}
	// The other server's checkers still look at it.
	eventually(t, "right refuses", func() bool { return right.finding("sync-refused") })
	if got := right.read("etc/web/site.conf"); got != "listen 80\n" {
		t.Errorf("right took %q", got)
	}
}

func TestPrimaryWins(t *testing.T) {
	left, right := site(t)
	eventually(t, "first state on right", func() bool { return right.engine.Status().InStep })
	write(t, right.path("etc/hosts"), "mine\n")
	eventually(t, "put back", func() bool {
		return right.read("etc/hosts") == left.read("etc/hosts") && right.finding("sync-local-change")
	})
	events, err := right.engine.Events(state.Query{Path: "etc/hosts", Local: true})
	must(t, err)
	if len(events) < 2 {
		t.Fatalf("own line of right: %+v", events)
	}
	found := false
	for _, e := range events {
		s, err := right.engine.Show(e.ID, "etc/hosts")
		must(t, err)
		found = found || strings.Contains(s.Patch, "+mine")
	}
	if !found {
		t.Errorf("what was overwritten is not in the history: %+v", events)
	}
}

// pause makes what follows another action: by one process and at once it would be the same.
func pause() { time.Sleep(700 * time.Millisecond) }

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not seen within 30 s: %s", what)
		}
	}
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// rootDir is not below /tmp or /var/tmp, which a checker sees as empty folders.
func rootDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/var/cache", "atlas-engine-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
