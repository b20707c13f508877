package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/verify"
)

const siteID = "6a1b7b1e-0000-4000-8000-000000000001"

// fakeInit is a server's init.
type fakeInit struct {
	mu    sync.Mutex
	state initapi.State
	err   error

	rehearsed []string // services of each rehearsal
	broken    string   // last words of what does not start then
}

func (f *fakeInit) State(context.Context) (initapi.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.err
}

func (f *fakeInit) Boot(context.Context) (initapi.BootReport, error) {
	return initapi.BootReport{Server: f.state.Server}, nil
}

func (f *fakeInit) Inventory(context.Context) (hwcheck.Inventory, error) {
	return hwcheck.Inventory{}, errors.New("none")
}

func (f *fakeInit) set(change func(*initapi.State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
}

func serving(name, addr string, role roles.Role) initapi.State {
	return initapi.State{
		Server: name, State: initapi.Serving, Role: role, Ready: true, DisksKnown: true,
		Set:     &initapi.Set{ID: "set-" + name},
		Started: time.Now(), Version: "1",
		Addresses: initapi.Addresses{Management: addr + "/24", Service: addr + "/24"},
		Services:  []initapi.Service{{Name: "web", Title: "Web", State: "ready"}},
	}
}

// box is one server on loopback.
type box struct {
	name, addr, dir, id string
	init                *fakeInit
	daemon              *Daemon
}

func newBox(t *testing.T, n int, name, addr string, role roles.Role, ports [2]int, web string) *box {
	t.Helper()
	b := &box{name: name, addr: addr, dir: t.TempDir(), id: "6a1b7b1e-0000-4000-8000-00000000010" + string(rune('0'+n))}
	b.init = &fakeInit{state: serving(name, addr, role)}
	must(t, siteconf.Save(filepath.Join(b.dir, siteconf.ServerFile), siteconf.Server{ID: b.id, Name: name, Management: siteconf.Management{Address: addr + "/24"}}, 0o644))
	must(t, siteconf.Save(filepath.Join(b.dir, siteconf.PeersFile), siteconf.Peers{Site: siteID, SiteName: "Miller Dental", Admin: "$2a$10$x"}, 0o600))
	etc := filepath.Join(b.dir, "etc")
	must(t, os.MkdirAll(filepath.Join(etc, "atlas"), 0o755))
	for f, text := range map[string]string{
		"shadow":              "root:$6$r:1::::::\ndaemon:*:1::::::\nadmin:$6$a:1::::::\n",
		"atlas/site.yaml":     "site: " + siteID + "\nname: Miller Dental\nhostname: office\nservice:\n  address: 10.7.0.10/24\n  mac: 02:a7:1a:50:00:01\n",
		"atlas/verify.secret": "geheim\n",
		"atlas/site.secret":   "sehr geheim\n",
		"atlas/admin.nt":      "0123456789ABCDEF\n",
	} {
		must(t, os.WriteFile(filepath.Join(etc, f), []byte(text), 0o600))
	}
	must(t, os.MkdirAll(filepath.Join(b.dir, "set", "sentry"), 0o755))
	packs := filepath.Join(b.dir, "packs")
	must(t, os.MkdirAll(filepath.Join(packs, "web"), 0o755))
	must(t, os.WriteFile(filepath.Join(packs, "web", "pack.yaml"), []byte(strings.ReplaceAll(webPack, "PORT", web)), 0o644))
	d, err := New(Config{
		StateDir: b.dir, Etc: etc, PacksDir: packs, SummaryFile: filepath.Join(b.dir, "run", "sentry.json"), AdminSocket: filepath.Join(b.dir, "run", "sentry.sock"),
		Listen: addr, PeerPort: ports[0], PagePort: ports[1], Interval: 200 * time.Millisecond, Init: b.init,
		FakeSync: func(role roles.Role) *state.Status {
			st := &state.Status{At: time.Now(), Role: string(role)}
			if role == roles.Primary {
				for _, p := range []string{"left", "right", "middle"} {
					st.Peers = append(st.Peers, state.Peer{Name: p, Live: "c1", State: "in step"})
				}
			}
			return st
		},
		FakeLine: &fakeLine{live: "c1"}, SetDir: filepath.Join(b.dir, "set"),
		Kinds: map[string]verify.Kind{"http": {Run: verify.HTTP, Watch: "80"}}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	must(t, err)
	b.daemon = d
	return b
}

const webPack = `name: web
title: Web
packages: [apache2]
processes:
  - {name: web, command: [/usr/sbin/apache2], ready: {notify: true}}
config: [/etc/apache2]
probes:
  - {name: page, title: Page, kind: http, params: {path: /, port: "PORT", contains: hello}}
`

func (b *box) run(ctx context.Context, t *testing.T) {
	t.Helper()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() { done <- b.daemon.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: Run = %v", b.name, err)
		}
	})
}

func (b *box) join(ctx context.Context, t *testing.T, at *box, code string, port string) (peers.JoinReply, error) {
	t.Helper()
	self, err := b.daemon.Self(ctx)
	must(t, err)
	return peers.Join(ctx, net.JoinHostPort(at.addr, port), code, peers.JoinRequest{ID: self.ID, Name: self.Name, Address: self.Address, Cert: self.Cert})
}

// adopt does with a reply what the installer does.
func (b *box) adopt(t *testing.T, r peers.JoinReply) {
	t.Helper()
	must(t, siteconf.Save(filepath.Join(b.dir, siteconf.PeersFile), siteconf.Peers{Site: r.Site, SiteName: r.SiteName, Admin: r.Admin, Peers: r.Peers}, 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	must(t, err)
	return l
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func freePorts(t *testing.T) [2]int {
	t.Helper()
	var out [2]int
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer func() { _ = l.Close() }()
		out[i] = l.Addr().(*net.TCPAddr).Port
	}
	return out
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 20 s", what)
}

func TestThreeServersJoin(t *testing.T) {
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }), ReadHeaderTimeout: time.Second}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	must(t, err)
	go web.Serve(l) //nolint:errcheck // ends with the test
	defer func() { _ = web.Close() }()
	_, webPort, _ := net.SplitHostPort(l.Addr().String())
	ports := freePorts(t)
	ctx := t.Context()
	left := newBox(t, 1, "left", "127.0.0.11", roles.Primary, ports, webPort)
	right := newBox(t, 2, "right", "127.0.0.12", roles.Secondary, ports, webPort)
	middle := newBox(t, 3, "middle", "127.0.0.13", roles.Secondary, ports, webPort)
	port := strconv.Itoa(ports[0])

	left.run(ctx, t)
	eventually(t, "left offers a join code", func() bool {
		s, err := initapi.ReadSummary(filepath.Join(left.dir, "run", "sentry.json"))
		return err == nil && s.JoinCode != "" && s.Verdict == initapi.VerdictNo
	})
	off, err := left.daemon.JoinCode(false)
	must(t, err)
	var reply peers.JoinReply
	eventually(t, "left listens", func() bool {
		reply, err = right.join(ctx, t, left, strings.ToLower(off.Code), port)
		return err == nil || errors.Is(err, peers.ErrCode)
	})
	must(t, err)
	if reply.Verify != "geheim" || reply.Secret != "sehr geheim" || len(reply.Shadow) != 2 || reply.Peers[0].Name != "left" || reply.NTHash == "" {
		t.Errorf("join reply = %+v; want verify secret, site secret, two shadow entries, NT hash and left as peer", reply)
	}
	// An interrupted installation repeats with the same code; another server may not use it.
	if _, err := right.join(ctx, t, left, off.Code, port); err != nil {
		t.Errorf("second join of right with the same code: %v", err)
	}
	if _, err := middle.join(ctx, t, left, off.Code, port); !errors.Is(err, peers.ErrCode) {
		t.Errorf("join of middle with right's code = %v; want ErrCode", err)
	}
	right.adopt(t, reply)
	right.run(ctx, t)
	eventually(t, "both ready", func() bool {
		return left.daemon.Site().Readiness.Ready && right.daemon.Site().Readiness.Ready
	})
	if _, ok := left.daemon.CurrentCode(); ok {
		t.Error("the join code is still on offer after right was heard")
	}

	off, err = right.daemon.JoinCode(false)
	must(t, err)
	reply, err = middle.join(ctx, t, right, off.Code, port)
	must(t, err)
	middle.adopt(t, reply)
	middle.run(ctx, t)
	eventually(t, "left is told about middle and all are ready", func() bool {
		return len(left.daemon.Site().Servers) == 3 && left.daemon.Site().Readiness.Ready && middle.daemon.Site().Readiness.Ready
	})
	id, err := peers.LoadIdentity(left.dir)
	must(t, err)
	p, err := siteconf.LoadPeers(left.dir)
	must(t, err)
	atts, why := peers.NewClient(id, ports[0]).AttestAll(ctx, append(p.Peers, siteconf.Peer{Name: "gone", Address: "127.0.0.99", Cert: left.daemon.id.Cert}))
	if len(atts) != 3 || !atts[0].Reachable || !atts[0].Serving || atts[0].Set != "set-right" || atts[2].Reachable || why["gone"] == nil {
		t.Errorf("AttestAll = %+v, %v; want right and middle serving, gone unreachable", atts, why)
	}

	right.init.set(func(s *initapi.State) {
		s.State, s.Role, s.Ready, s.Set = initapi.Holding, "", false, nil
		s.Reasons = []roles.Reason{{Code: "no-disks", Text: "There is no disk in any bay.", Next: "Put a disk set in."}}
	})
	eventually(t, "left sees right hold", func() bool {
		s := left.daemon.Site()
		return !s.Readiness.Ready && strings.Contains(s.Readiness.Reasons[0].Text, "There is no disk in any bay.")
	})
	if _, err := right.daemon.HandOut(ctx); !errors.Is(err, peers.ErrNoSet) {
		t.Errorf("HandOut of a holding server = %v; want ErrNoSet", err)
	}
}
