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
	"sync/atomic"
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
	port     int
	plan     plan
	disk     *disk       // nil: none of its own
	dark     atomic.Bool // its disk is gone: errors are no wonder

	mu    sync.Mutex
	tells []string // what services were told
}

// plan is what a test wants otherwise than usual.
type plan struct {
	disk    bool                             // roots on filesystems that can lose what was not flushed
	via     func(to string, port int) string // the address at which left reaches right, such as a proxy's
	root    func(s *server) string
	config  func(s *server, c *Config)
	sender  func(c *carry.SenderConfig)
	receive func(c *carry.ReceiverConfig)
	peer    func(left bool, p *siteconf.Peer) // what each knows of the other
	prepare func(s *server)                   // before the first start
	broken  bool                              // from the beginning: the two never get in step
	differs bool                              // their files are not all equal in the end
}

type store struct{ *history.Repo }

func (s *store) Import(src io.Reader, limit int64, b state.Branch, head string, keep state.Branch) (state.Commit, error) {
	return s.Repo.Import(src, limit, b, head, history.ImportOptions{Replace: keep != "", Keep: keep})
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

// site makes two servers and starts them.
func site(t *testing.T) (left, right *server) {
	t.Helper()
	return siteOf(t, plan{})
}

func siteOf(t testing.TB, pl plan) (left, right *server) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("fanotify, owners and mounts need root")
	}
	port := freePort(t)
	var all []*server
	for i, name := range []string{"left", "right"} {
		s := &server{t: t, name: name, dir: t.TempDir(), port: port, plan: pl}
		switch {
		case pl.disk:
			s.disk = newDisk(t)
			s.root = filepath.Join(s.disk.dir, "root")
		case pl.root != nil:
			s.root = pl.root(s)
		default:
			s.root = rootDir(t)
		}
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
			Site: testSite, SiteName: "Miller", Admin: "hash", Peers: []siteconf.Peer{s.knows(all[1-i].self)},
		}, 0o600))
		if pl.prepare != nil {
			pl.prepare(s)
		}
	}
	for _, s := range all {
		s.start()
	}
	return all[0], all[1]
}

// knows gives what the server's book says of the other.
func (s *server) knows(other siteconf.Peer) siteconf.Peer {
	if s.name == "left" && s.plan.via != nil {
		other.Address = s.plan.via(other.Address, s.port)
	}
	if s.plan.peer != nil {
		s.plan.peer(s.name == "left", &other)
	}
	return other
}

// start opens the server's engine as it is on the appliance: the first is primary.
func (s *server) start() {
	t, port := s.t, s.port
	s.dark.Store(false)
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
	if s.plan.config != nil {
		s.plan.config(s, &cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	if role == roles.Primary {
		sc := carry.SenderConfig{
			Dir: filepath.Join(cfg.Dir, "send"), Store: st, Server: s.name, Versions: versions13, Client: peers.NewClient(s.id, port), Log: log,
			Peers: func() ([]siteconf.Peer, error) { p, err := book.Peers(); return p.Peers, err },
		}
		if s.plan.sender != nil {
			s.plan.sender(&sc)
		}
		cfg.Sender = carry.NewSender(sc)
	} else {
		rc := carry.ReceiverConfig{
			Dir: filepath.Join(cfg.Dir, "receive"), Store: st, Server: s.name, Versions: versions13, Log: log,
			Attest: func(context.Context) (roles.Attestation, []roles.Attestation, error) {
				return roles.Attestation{Server: "right", Reachable: true, Role: roles.Secondary, Serving: true, Set: "other"},
					[]roles.Attestation{{Server: "left", Reachable: true, Role: roles.Primary, Serving: true, Set: testSet, Holds: []roles.Holding{{Set: testSet, Role: roles.Primary, Lineage: "aaaaaaaaaaaaaaaa"}}}}, nil
			},
		}
		if s.plan.receive != nil {
			s.plan.receive(&rc)
		}
		cfg.Receiver = carry.NewReceiver(rc)
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
		if err := s.engine.Run(ctx); err != nil && !s.dark.Load() {
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
		if err := s.engine.Close(); err != nil && !s.dark.Load() {
			t.Error(err)
		}
	})
	t.Cleanup(func() { s.stop() })
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

// seen acknowledges news, which else stay.
func (s *server) seen(id string) {
	s.t.Helper()
	_, err := s.engine.Acknowledge(id)
	must(s.t, err)
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
	defer func() { must(t, l.Close()) }()
	return l.Addr().(*net.TCPAddr).Port
}

// rootDir is not below /tmp or /var/tmp, which a checker sees as empty folders.
func rootDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/var/cache", "atlas-engine-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
