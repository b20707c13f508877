package carry

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	testSite = "2f6a0c52-0000-4000-8000-00000000000a"
	testSet  = "9d1b7b1e-0000-4000-8000-00000000000b"
	lineage0 = "aaaaaaaaaaaaaaaa"
	lineage1 = "bbbbbbbbbbbbbbbb"
)

// fakeHistory is a line of commits in memory. A pack of it is JSON, one commit a line.
type fakeHistory struct {
	mu      sync.Mutex
	commits map[string]fakeCommit
	head    state.Commit
	exports int
	fail    error         // of Import
	slow    time.Duration // of Import
}

type fakeCommit struct {
	state.Commit
	Data []byte
}

func newFakeHistory() *fakeHistory { return &fakeHistory{commits: map[string]fakeCommit{}} }

// record adds a commit with data.
func (f *fakeHistory) record(data []byte) state.Commit {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha1.Sum(fmt.Appendf(nil, "%s %d %s", f.head.ID, f.head.Seq+1, data))
	c := state.Commit{ID: hex.EncodeToString(sum[:]), Parent: f.head.ID, Seq: f.head.Seq + 1, Title: "changed etc/hosts"}
	f.commits[c.ID], f.head = fakeCommit{c, data}, c
	return c
}

func (f *fakeHistory) Head(state.Branch) (state.Commit, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head, f.head.ID != ""
}

func (f *fakeHistory) Commit(id string) (state.Commit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.commits[id]
	if !ok {
		return c.Commit, history.ErrNotFound
	}
	return c.Commit, nil
}

func (f *fakeHistory) Export(w io.Writer, have []string, want string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exports++
	var list []fakeCommit
	for id := want; id != "" && (len(have) == 0 || id != have[0]); {
		c, ok := f.commits[id]
		if !ok {
			return history.ErrNotFound
		}
		list = append(list, c)
		id = c.Parent
	}
	for _, c := range slices.Backward(list) {
		if err := json.NewEncoder(w).Encode(c); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeHistory) Import(r io.Reader, limit int64, _ state.Branch, head string, keep state.Branch) (state.Commit, error) {
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return state.Commit{}, f.fail
	}
	d := json.NewDecoder(io.LimitReader(r, limit))
	at := f.head
	if keep != "" {
		at = state.Commit{}
	}
	var list []fakeCommit
	for {
		var c fakeCommit
		err := d.Decode(&c)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return at, fmt.Errorf("%w: %w", history.ErrMalformed, err)
		}
		if c.Parent != at.ID {
			return at, &history.DivergedError{Branch: "site"}
		}
		list, at = append(list, c), c.Commit
	}
	if at.ID != head {
		return at, fmt.Errorf("%w: it ends elsewhere", history.ErrMalformed)
	}
	for _, c := range list {
		f.commits[c.ID] = c
	}
	f.head = at
	return at, nil
}

// server is one server of the test's site, with its peers' port open on a loopback address of its own.
type server struct {
	t    testing.TB
	self siteconf.Peer
	id   peers.Identity
	dir  string
	book *peers.Book
	api  *peers.Server
	hist *fakeHistory
	// store is hist, or a real history.
	store interface {
		Exporter
		Importer
	}
	recv *Receiver
	send *Sender
	ip   string
	port int

	requests atomic.Int64 // of pushes and hellos
	mu       sync.Mutex
	att      roles.Attestation
	others   func() []roles.Attestation
	stop     func()
}

// site is a primary and some secondaries, which know each other.
type testRig struct {
	t    testing.TB
	port int
	all  []*server
}

var nextIP atomic.Uint32

// newRig makes servers "left" (primary), "right", "third"… The ports open with serve.
func newRig(t testing.TB, n int) *testRig {
	t.Helper()
	leakCheck(t)
	rig := &testRig{t: t, port: freePort(t)}
	for i := range n {
		name := []string{"left", "right", "third"}[i]
		s := &server{t: t, dir: t.TempDir(), hist: newFakeHistory(), ip: newIP(), port: rig.port}
		id := fmt.Sprintf("6a1b7b1e-0000-4000-8000-00000000000%d", i+1)
		ok(t, peers.NewKey(s.dir, id))
		var err error
		s.id, err = peers.LoadIdentity(s.dir)
		ok(t, err)
		s.self = siteconf.Peer{ID: id, Name: name, Address: s.ip, Cert: s.id.Cert}
		s.att = roles.Attestation{Server: name, Reachable: true, Role: roles.Secondary, Serving: true, Set: "set-" + name}
		s.store = s.hist
		if i == 0 {
			s.att = attest(name, testSet, lineage0)
		}
		rig.all = append(rig.all, s)
	}
	for _, s := range rig.all {
		book := siteconf.Peers{Site: testSite, SiteName: "Miller", Admin: "hash"}
		for _, o := range rig.all {
			if o != s {
				book.Peers = append(book.Peers, o.self)
			}
		}
		ok(t, siteconf.Save(filepath.Join(s.dir, siteconf.PeersFile), book, 0o600))
		var err error
		s.book, err = peers.OpenBook(s.dir)
		ok(t, err)
		s.others = func() []roles.Attestation {
			var out []roles.Attestation
			for _, o := range rig.all {
				if o != s {
					out = append(out, o.attestation())
				}
			}
			return out
		}
	}
	return rig
}

func attest(name, set, lineage string) roles.Attestation {
	return roles.Attestation{
		Server: name, Reachable: true, Role: roles.Primary, Serving: true, Set: set,
		Holds: []roles.Holding{{Set: set, Role: roles.Primary, Lineage: lineage}},
	}
}

func (s *server) attestation() roles.Attestation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.att
}

func (s *server) setAttestation(a roles.Attestation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.att = a
}

var fast = Limits{
	Memory: 32 << 10, Piece: 64 << 10, Stall: 2 * time.Second, Answer: 3 * time.Second, Poll: 2 * time.Second, Backoff: 50 * time.Millisecond,
	Beat: 500 * time.Millisecond,
}

// receive opens the port of s and starts its receiver.
func (s *server) receive(lim Limits, clock Clock) *Receiver {
	s.recv = NewReceiver(ReceiverConfig{
		Dir: filepath.Join(s.dir, "carry"), Store: s.store, Server: s.self.Name, Versions: Versions{"1.0", "13"}, Limits: lim, Clock: clock,
		Attest: func(context.Context) (roles.Attestation, []roles.Attestation, error) {
			return s.attestation(), s.others(), nil
		},
	})
	s.serve()
	ok(s.t, s.recv.Start(testSite, roles.Secondary))
	s.t.Cleanup(s.recv.Stop)
	return s.recv
}

// serve opens the port of s with its present receiver.
func (s *server) serve() {
	s.api = peers.NewServer(s.id, s.book, peers.NewOffers(s.dir, nil), nil, slog.New(slog.DiscardHandler))
	s.recv.Mount(counter{s})
	l, err := net.Listen("tcp", net.JoinHostPort(s.ip, fmt.Sprint(s.port)))
	ok(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.api.Serve(ctx, l) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(s.stop)
}

// counter counts requests on their way to the peers' API.
type counter struct{ s *server }

func (c counter) Handle(pattern string, h peers.Pinned) {
	c.s.api.Handle(pattern, func(w http.ResponseWriter, r *http.Request, from siteconf.Peer) {
		if r.Method == http.MethodPost {
			c.s.requests.Add(1)
		}
		h(w, r, from)
	})
}

func source() Source { return Source{Site: testSite, Set: testSet, Lineage: []string{lineage0}} }

// sender starts to send from s; via gives other addresses for peers.
func (s *server) sender(lim Limits, clock Clock, via map[string]string) *Sender {
	s.send = NewSender(SenderConfig{
		Dir: filepath.Join(s.dir, "carry"), Store: s.store, Server: s.self.Name, Versions: Versions{"1.0", "13"}, Limits: lim, Clock: clock,
		Client: peers.NewClient(s.id, s.port),
		Peers: func() ([]siteconf.Peer, error) {
			p, err := s.book.Peers()
			for i, q := range p.Peers {
				if a := via[q.Name]; a != "" {
					p.Peers[i].Address = a
				}
			}
			return p.Peers, err
		},
	})
	ok(s.t, s.send.Start(source()))
	s.t.Cleanup(s.send.Stop)
	return s.send
}

// change records data on the primary and allows it.
func (s *server) change(data []byte) state.Commit {
	c := s.hist.record(data)
	s.send.Update(c)
	s.send.Allow(c)
	return c
}

func (s *server) waitHead(c state.Commit) {
	s.t.Helper()
	waitFor(s.t, 20*time.Second, func() bool { h, _ := s.hist.Head(state.Site); return h.ID == c.ID }, func() string {
		h, _ := s.hist.Head(state.Site)
		return fmt.Sprintf("%s has change %d; want %d", s.self.Name, h.Seq, c.Seq)
	})
}

func waitFor(t testing.TB, d time.Duration, cond func() bool, what func() string) {
	t.Helper()
	for end := time.Now().Add(d); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what())
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newIP() string {
	n := nextIP.Add(1)
	return netip.AddrFrom4([4]byte{127, 77, byte(n >> 8), byte(n)}).String()
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// leakCheck fails the test if goroutines of it are left when all else was cleaned up.
func leakCheck(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				buf := make([]byte, 1<<20)
				var ours []string
				for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
					if strings.Contains(g, "sync/carry") || strings.Contains(g, "net/http") {
						ours = append(ours, g)
					}
				}
				t.Errorf("%d goroutines are left, %d were there before:\n%s", runtime.NumGoroutine(), before, strings.Join(ours, "\n\n"))
				return
			}
		}
	})
}

// skewed is the system's clock, set forward.
type skewed struct{ by atomic.Int64 }

func (c *skewed) Now() time.Time                         { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *skewed) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (c *skewed) add(d time.Duration)                    { c.by.Add(int64(d)) }

// proxy is a link that breaks: each connection is cut after as many bytes, of both directions together, as limit says.
type proxy struct {
	ip    string
	mu    sync.Mutex
	conns map[net.Conn]bool
	limit func(n int) int64 // of the n-th connection; < 0 = none
	count int
	pass  atomic.Int64 // bytes
}

func newProxy(t testing.TB, to string, port int, limit func(n int) int64) *proxy {
	p := &proxy{ip: newIP(), conns: map[net.Conn]bool{}, limit: limit}
	l, err := net.Listen("tcp", net.JoinHostPort(p.ip, fmt.Sprint(port)))
	ok(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.carry(c, net.JoinHostPort(to, fmt.Sprint(port))) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); p.cut(); wg.Wait() })
	return p
}

func (p *proxy) carry(c net.Conn, to string) {
	defer func() { _ = c.Close() }()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = d.Close() }()
	p.mu.Lock()
	left := &atomic.Int64{}
	left.Store(p.limit(p.count))
	endless := left.Load() < 0
	p.count++
	p.conns[c], p.conns[d] = true, true
	p.mu.Unlock()
	copyUntil := func(dst, src net.Conn) {
		defer func() { _, _ = dst.Close(), src.Close() }()
		buf := make([]byte, 4096)
		for {
			n, err := src.Read(buf)
			if !endless {
				if rest := left.Add(-int64(n)); rest < 0 {
					n = max(0, n+int(rest))
					err = io.EOF
				}
			}
			p.pass.Add(int64(n))
			if _, werr := dst.Write(buf[:n]); werr != nil || err != nil {
				return
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { copyUntil(d, c) })
	copyUntil(c, d)
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, d)
	p.mu.Unlock()
}

// cut ends all connections now.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func random(n int, seed byte) []byte {
	b := make([]byte, 0, n)
	for i := byte(0); len(b) < n; i++ {
		s := sha1.Sum([]byte{seed, i, byte(len(b)), byte(len(b) >> 8), byte(len(b) >> 16)})
		b = append(b, s[:]...)
	}
	return b[:n]
}
