package pid1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/cgroup"
	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/initsvc/logfile"
	"sayasystems.com/atlas/initsvc/network"
	"sayasystems.com/atlas/initsvc/storage"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

const (
	siteID = "11111111-1111-1111-1111-111111111111"
	setID  = "22222222-2222-2222-2222-222222222222"
	idA    = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
	idB    = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb"
)

// machine is a server with everything around init faked; it notes what init does to it, in order.
type machine struct {
	t    *testing.T
	dirs Dirs

	mu      sync.Mutex
	did     []string
	disks   []roles.Disk
	atts    []roles.Attestation
	attErr  error
	startAs error // result of Store.Start
	raise   []error
	packs   []pack.Pack
	blessed bool
	good    bool
}

func (m *machine) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.did = append(m.did, fmt.Sprintf(format, args...))
}

func (m *machine) log() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string{}, m.did...)
}

func (m *machine) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// store is m as a storage.Store.
type store struct{ m *machine }

func (s store) Disks(context.Context) ([]roles.Disk, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return append([]roles.Disk{}, s.m.disks...), nil
}

func (s store) Start(_ context.Context, d roles.Decision, w storage.Writer) error {
	s.m.note("start %s with %d by %s", d.Role, len(d.Members), w.Server)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.m.startAs
}

func (s store) Set(context.Context) (initapi.Set, error) { return initapi.Set{ID: setID}, nil }
func (s store) Watch(ctx context.Context, found func(initapi.Finding), _ func(string)) {
	found(initapi.Finding{ID: "set-degraded", Severity: "critical", What: "one is missing"})
	<-ctx.Done()
}

func (s store) Nudge() {}

func (s store) Add(_ context.Context, r initapi.AddRequest) error {
	s.m.note("add bay %d", r.Bay)
	return nil
}
func (s store) Stop(context.Context) error { s.m.note("stop set"); return nil }
func (s store) Create(context.Context, storage.CreateSpec) (roles.Label, error) {
	return roles.Label{}, errors.New("not here")
}

func label(role roles.Role, self int) *roles.Label {
	return &roles.Label{
		Version: roles.LabelVersion, Site: siteID, SiteName: "Miller Dental", Set: setID, Array: "a1:b2:c3:d4", Role: role, Level: roles.RAID1,
		Members: []roles.Member{{ID: idA, Serial: "A", Size: 1 << 33}, {ID: idB, Serial: "B", Size: 1 << 33}}, Self: self, Generation: 7,
		Image: "1.0", Server: "left", Written: time.Unix(1, 0),
	}
}

func disk(bay int, l *roles.Label) roles.Disk {
	d := roles.Disk{Dev: fmt.Sprintf("/dev/bay%d", bay), Bay: bay, Serial: "X", Size: 1 << 33, Label: l, Blank: l == nil}
	if l != nil {
		d.Serial, d.Array = l.Members[l.Self].Serial, l.Array
	}
	return d
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, good: true, dirs: Dirs{
		Run: dir + "/run", State: dir + "/state", Set: dir + "/set", Image: dir + "/image", Lib: dir + "/lib",
		Log: dir + "/log", RunLog: dir + "/run/log", Etc: dir + "/etc",
	}}
	write := func(path, text string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(m.dirs.State+"/server.yaml", "id: 33333333-3333-3333-3333-333333333333\nname: left\nmanagement: {address: 10.7.0.11/24}\n")
	write(m.dirs.State+"/peers.yaml", "site: "+siteID+"\nsite_name: Miller Dental\nadmin: hash\npeers:\n- {id: 44444444-4444-4444-4444-444444444444, name: right, address: 10.7.0.12, cert: x}\n")
	write(m.dirs.Etc+"/atlas/site.yaml", "site: "+siteID+"\nname: Miller Dental\nhostname: office\nservice: {address: 10.7.0.10/24, mac: '02:a7:1a:50:00:01'}\n")
	write(m.dirs.Lib+"/sentry", "#!/bin/sh\nexec sleep 1000\n")
	m.disks = []roles.Disk{disk(1, label(roles.Primary, 0)), disk(2, label(roles.Primary, 1))}
	m.atts = []roles.Attestation{{Server: "right", Reachable: true}}
	m.packs = []pack.Pack{
		{Name: "web", Title: "Web server", Processes: []pack.Process{{Name: "httpd", Command: []string{"/bin/sleep", "1000"}}}},
		{Name: "ssh", Scope: "server", Processes: []pack.Process{{Name: "sshd", Command: []string{"/bin/sleep", "1000"}}}},
	}
	return m
}

func (m *machine) server(kind string) *Server {
	pop := func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.raise) == 0 {
			return nil
		}
		err := m.raise[0]
		m.raise = m.raise[1:]
		return err
	}
	return New(Options{
		Handover: handover.Handover{Kind: kind, Mode: handover.Boot, Version: "1.0", Slot: "a", Steps: []handover.Step{{Name: "modules", Duration: time.Second}}},
		Dirs:     m.dirs, Log: slog.New(slog.DiscardHandler), Ring: logfile.NewRing(10), Started: time.Now(), Quick: true,
		Parts: Parts{
			OpenStore: func(handover.Handover, *slog.Logger) (storage.Store, error) { return store{m}, nil },
			PrepareTree: func(_ context.Context, _, _, version string, _ func(string)) (Prepared, error) {
				m.note("prepare tree %s", version)
				return Prepared{}, nil
			},
			BindTree:   func(string, string) error { m.note("bind tree"); return nil },
			UnbindTree: func() error { m.note("unbind tree"); return nil },
			Network: func(context.Context, siteconf.Management, *slog.Logger) (network.Management, error) {
				m.note("network")
				return network.Management{Interface: "eth0", Address: netip.MustParsePrefix("127.77.77.77/8")}, nil
			},
			Keep: func(ctx context.Context, _ network.Management, _ *slog.Logger) error { <-ctx.Done(); return nil },
			Raise: func(_ context.Context, p network.Plan, _ *slog.Logger) error {
				var names []string
				for _, q := range p.Packs {
					names = append(names, q.Name)
				}
				m.note("raise %s %s for %v, peers %v", p.Role, p.Service.Address, names, p.Peers)
				return pop()
			},
			Defend: func(ctx context.Context, _ network.Plan, _ *slog.Logger, _ func(network.ErrConflict)) error {
				<-ctx.Done()
				return nil
			},
			Fence:  func(_ context.Context, p network.Plan) error { m.note("fence for %v", p.Peers); return nil },
			Lower:  func(context.Context) error { m.note("lower"); return nil },
			Packs:  func(string) ([]pack.Pack, error) { return m.packs, nil },
			Expand: func(s string, _ pack.Vars) (string, error) { return s, nil },
			Attest: func(context.Context) ([]roles.Attestation, error) {
				m.mu.Lock()
				defer m.mu.Unlock()
				return m.atts, m.attErr
			},
			Inventory: func(context.Context) (Inventory, error) {
				return Inventory{Raw: []byte(`{"product":"P"}`), Findings: []initapi.Finding{{ID: "hw-memory", Severity: "warning", What: "less memory"}}}, nil
			},
			Coldplug:   func(context.Context) (string, error) { m.note("coldplug"); return "", nil },
			Mounts:     func(context.Context) error { m.note("mounts"); return nil },
			MountState: func(context.Context) (string, error) { m.note("state"); return "", nil },
			Cgroup:     func() (*cgroup.Tree, error) { return nil, nil },
			Hostname:   func(n string) error { m.note("host name %s", n); return nil },
			Slot:       func(context.Context) (bool, error) { return m.good, nil },
			Bless:      func(context.Context) error { m.set(func() { m.blessed = true }); return nil },
		},
	})
}

// run runs the server and returns a function that ends it and waits.
func (m *machine) run(s *Server) (stop func()) {
	ended := make(chan initapi.PowerRequest, 1)
	go func() { ended <- s.Run(context.Background()) }()
	return func() {
		m.t.Helper()
		if err := s.Power(context.Background(), initapi.PowerRequest{Action: "reboot"}); err != nil {
			m.t.Error(err)
		}
		select {
		case r := <-ended:
			if r.Action != "reboot" {
				m.t.Errorf("ended with %+v", r)
			}
		case <-time.After(30 * time.Second):
			m.t.Error("does not end")
		}
		if st := s.State(context.Background()).State; st != initapi.Stopping {
			m.t.Errorf("state after the end: %s", st)
		}
	}
}

func (m *machine) wait(s *Server, what string, f func(initapi.State) bool) initapi.State {
	m.t.Helper()
	var st initapi.State
	for range 1000 {
		if st = s.State(context.Background()); f(st) {
			return st
		}
		time.Sleep(20 * time.Millisecond)
	}
	m.t.Errorf("never %s: %+v\ndid %q", what, st, m.log())
	return st
}

// serving tells whether the server serves and its service runs. Sentry, which is faked without its port, never gets ready.
func serving(st initapi.State) bool {
	for _, v := range st.Services {
		if v.Name == "web" && v.State != "ready" {
			return false
		}
	}
	return st.State == initapi.Serving
}

func holding(st initapi.State) bool { return st.State == initapi.Holding }

func TestBootAndShutdownInOrder(t *testing.T) {
	m := newMachine(t)
	s := m.server(handover.Hardware)
	stop := m.run(s)
	st := m.wait(s, "serving", serving)
	if st.Role != roles.Primary || !st.Addresses.Announced || st.Addresses.Service != "10.7.0.10/24" || !st.DisksKnown || st.Set == nil {
		t.Errorf("state %+v", st)
	}
	ids := map[string]bool{}
	for _, f := range st.Findings {
		ids[f.ID] = true
	}
	if !ids["hw-memory"] {
		t.Errorf("findings %+v; want the inventory's", st.Findings)
	}
	m.wait(s, "told what the watch of the set found", func(st initapi.State) bool { return st.Findings[0].ID == "set-degraded" })
	m.wait(s, "finished", func(initapi.State) bool { return s.Boot(context.Background()).Outcome == "primary" })
	stop()
	want := []string{
		"mounts", "coldplug", "state", "host name left", "network", "start primary with 2 by left", "prepare tree 1.0", "bind tree",
		"host name office", "raise primary 10.7.0.10/24 for [web], peers [10.7.0.12]", "lower", "unbind tree", "stop set",
	}
	if d := cmp.Diff(want, m.log()); d != "" {
		t.Error(d)
	}
	var names []string
	for _, p := range s.Boot(context.Background()).Phases {
		if p.Result != "ok" {
			t.Errorf("phase %s: %s", p.Name, p.Result)
		}
		names = append(names, p.Name)
	}
	wantPhases := "early modules, mounts, cgroup, devices, state, inventory, network, access, labels, peers, decide, assemble, etc, site, address, data, services"
	if got := strings.Join(names, ", "); got != wantPhases {
		t.Errorf("phases %s", got)
	}
	kept, err := s.Boots(context.Background())
	if err != nil || len(kept) != 1 || kept[0].Outcome != "primary" {
		t.Errorf("kept reports %+v, %v", kept, err)
	}
	seen, err := loadMemory(m.dirs.State)
	if err != nil || len(seen) != 1 || seen[0].Set != setID || seen[0].Generation != 8 || seen[0].Pending {
		t.Errorf("memory %+v, %v; want generation 8", seen, err)
	}
}

func TestHoldUntilTheDiskIsBack(t *testing.T) {
	m := newMachine(t)
	m.atts = []roles.Attestation{{Server: "right"}} // unreachable
	whole := m.disks
	m.disks = whole[:1]
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "holding", holding)
	if len(st.Reasons) == 0 || st.Reasons[0].Next == "" || st.Role != "" || st.Set != nil {
		t.Errorf("state %+v; want reasons that say what to do", st)
	}
	for _, did := range m.log() {
		if strings.HasPrefix(did, "start") {
			t.Errorf("holding, but %s", did)
		}
	}
	m.set(func() { m.disks = whole })
	s.disksChanged()
	if st = m.wait(s, "serving", serving); len(st.Reasons) != 0 {
		t.Errorf("reasons left: %+v", st.Reasons)
	}
}

func TestHoldUntilThePeerAttests(t *testing.T) {
	m := newMachine(t)
	m.atts, m.attErr = nil, errors.New("no network")
	m.disks = m.disks[:1]
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	m.wait(s, "holding", holding)
	m.set(func() { m.atts, m.attErr = []roles.Attestation{{Server: "right", Reachable: true}}, nil })
	m.wait(s, "serving", serving)
	if got := m.log(); !strings.Contains(strings.Join(got, "; "), "start primary with 1 by left") {
		t.Errorf("did %q", got)
	}
}

func TestOrder(t *testing.T) {
	m := newMachine(t)
	m.atts = []roles.Attestation{{Server: "right"}}
	m.disks = m.disks[:1]
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	m.wait(s, "holding", holding)
	ctx := context.Background()
	for want, o := range map[string]roles.Order{
		"no disk of set": {Set: siteID, Members: []string{idA}},
		"at least one":   {Set: setID},
	} {
		if err := s.Order(ctx, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Order(%+v) = %v; want %q", o, err, want)
		}
	}
	if err := s.Order(ctx, roles.Order{Set: setID, Members: []string{idA}}); err != nil {
		t.Fatal(err)
	}
	m.wait(s, "serving", serving)
	if err := s.Order(ctx, roles.Order{Set: setID, Members: []string{idA}}); err == nil {
		t.Error("an order while serving must be refused")
	}
}

func TestConflictIsTriedAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the pause between two tries")
	}
	m := newMachine(t)
	m.raise = []error{network.ErrConflict{Address: netip.MustParseAddr("10.7.0.10"), MAC: []byte{2, 0, 0, 0, 0, 1}}}
	s := m.server(handover.Namespace)
	s.retry = 200 * time.Millisecond
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "holding", holding)
	if len(st.Reasons) != 1 || st.Reasons[0].Code != "boot-address" || !strings.Contains(st.Reasons[0].Next, "02:00:00:00:00:01") || st.Addresses.Service != "" {
		t.Errorf("state %+v", st)
	}
	st = m.wait(s, "serving", serving)
	if n := strings.Count(strings.Join(m.log(), "; "), "start primary"); n != 1 {
		t.Errorf("the set was started %d times", n)
	}
	for _, f := range st.Findings {
		if f.ID == "boot-address" {
			t.Errorf("finding left: %+v", f)
		}
	}
}

func TestSetThatDoesNotStart(t *testing.T) {
	m := newMachine(t)
	m.startAs = errors.New("md says no")
	s := m.server(handover.Namespace)
	s.retry = 200 * time.Millisecond
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "holding", holding)
	if st.Reasons[0].Code != "boot-assemble" || !strings.Contains(st.Reasons[0].Text, "md says no") {
		t.Errorf("reasons %+v", st.Reasons)
	}
	m.set(func() { m.startAs = nil })
	m.wait(s, "serving", serving)
}

func TestBrokenStateIsNoPanic(t *testing.T) {
	m := newMachine(t)
	if err := os.WriteFile(m.dirs.State+"/server.yaml", []byte("id: [\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "holding", holding)
	if len(st.Reasons) != 1 || st.Reasons[0].Next == "" || !strings.Contains(st.Reasons[0].Text, "server.yaml") {
		t.Errorf("reasons %+v", st.Reasons)
	}
	if err := s.CheckPassword("x", nil); err == nil {
		t.Error("without a known password nobody may have a shell")
	}
}

func TestPanicInAPartHolds(t *testing.T) {
	m := newMachine(t)
	s := m.server(handover.Namespace)
	s.p.PrepareTree = func(context.Context, string, string, string, func(string)) (Prepared, error) { panic("nil map") }
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "holding", holding)
	if !strings.Contains(st.Reasons[0].Text, "nil map") {
		t.Errorf("reasons %+v", st.Reasons)
	}
}

// TestConversionIsTold: what it is at while it converts, a line in the report, and findings that stay although the next phase fails.
func TestConversionIsTold(t *testing.T) {
	m := newMachine(t)
	s := m.server(handover.Namespace)
	tries := 0
	s.p.PrepareTree = func(_ context.Context, _, _, _ string, say func(string)) (Prepared, error) {
		if tries++; tries > 1 {
			return Prepared{}, nil
		}
		say("Converting the configuration from Debian 12 to 13")
		if got := s.State(t.Context()).Phase; got != "Converting the configuration from Debian 12 to 13" {
			t.Errorf("the phase is called %q", got)
		}
		return Prepared{Note: "converted", Findings: func(server string) []initapi.Finding {
			return []initapi.Finding{{ID: "etc-convert-x", Severity: "critical", Where: server, What: "x"}}
		}}, nil
	}
	s.p.BindTree = func(string, string) error {
		if tries == 1 {
			return errors.New("busy")
		}
		return nil
	}
	s.retry = time.Millisecond
	stop := m.run(s)
	defer stop()
	st := m.wait(s, "serving", serving)
	if i := slices.IndexFunc(st.Findings, func(f initapi.Finding) bool { return f.ID == "etc-convert-x" }); i < 0 || st.Findings[i].Where != st.Server {
		t.Errorf("findings %+v", st.Findings)
	}
	if tries != 2 || !slices.ContainsFunc(s.Boot(t.Context()).Phases, func(p initapi.PhaseReport) bool { return p.Name == "etc" && p.Note == "converted" }) {
		t.Errorf("%d tries, report %+v", tries, s.Boot(t.Context()).Phases)
	}
}

// TestMended: findings about converted files end with those files' next change.
func TestMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Log: slog.New(slog.DiscardHandler)})
		s.lifetime = t.Context()
		all := []initapi.Finding{{ID: "etc-convert-a"}, {ID: "etc-convert-b"}}
		var stand atomic.Int32
		stand.Store(2)
		stands := func(string) []initapi.Finding { return slices.Clone(all[:stand.Load()]) }
		s.tellPrepared(Prepared{
			Findings: func(server string) []initapi.Finding {
				return append([]initapi.Finding{{ID: "etc-kept"}}, stands(server)...)
			},
			Standing: stands,
		})
		for n := 3; n > 0; n-- {
			time.Sleep(time.Hour)
			synctest.Wait()
			if got := len(s.findings.list()); got != n {
				t.Errorf("%d findings; want %d", got, n)
			}
			stand.Store(int32(max(0, n-2)))
		}
	})
}

func TestNewPeerPassesTheFence(t *testing.T) {
	m := newMachine(t)
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	m.wait(s, "serving", serving)
	path := m.dirs.State + "/peers.yaml"
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	more := string(old) + "- {id: 55555555-5555-5555-5555-555555555555, name: middle, address: 10.7.0.13, cert: x}\n"
	if err := siteconf.WriteFile(path, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "fence for [10.7.0.12 10.7.0.13]"
	for range 300 {
		if got := m.log(); got[len(got)-1] == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("did %q; want %s last", m.log(), want)
}

func TestBless(t *testing.T) {
	m := newMachine(t)
	m.good = false
	m.disks = nil // holding is no fault of the image
	s := m.server(handover.Hardware)
	stop := m.run(s)
	defer stop()
	m.wait(s, "holding", holding)
	if s.imageWorks() {
		t.Error("the image passes for good although sentry is not ready")
	}
	if s.imageFails() {
		t.Error("waiting for disks is no failure of the image")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blessed {
		t.Error("blessed too early")
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	m := newMachine(t)
	s := m.server(handover.Namespace)
	ctx := context.Background()
	for name, err := range map[string]error{
		"power":     s.Power(ctx, initapi.PowerRequest{Action: "explode"}),
		"add":       s.Add(ctx, initapi.AddRequest{Bay: 1}),
		"order":     s.Order(ctx, roles.Order{Set: setID, Members: []string{idA}}),
		"service":   func() error { _, err := s.Service(ctx, "ghost", "start"); return err }(),
		"verb":      func() error { _, err := s.Service(ctx, "web", "dance"); return err }(),
		"inventory": func() error { _, err := s.Inventory(ctx); return err }(),
	} {
		if err == nil {
			t.Errorf("%s was not refused", name)
		}
	}
}

func TestChoices(t *testing.T) {
	m := newMachine(t)
	m.atts = []roles.Attestation{{Server: "right"}}
	// The two halves ran apart: each has recorded that the other left.
	a, b := label(roles.Primary, 0).Eject(1, "gone"), label(roles.Primary, 1).Eject(0, "gone")
	m.disks = []roles.Disk{disk(1, &a), disk(2, &b), disk(3, nil)}
	s := m.server(handover.Namespace)
	stop := m.run(s)
	defer stop()
	m.wait(s, "holding", holding)
	got := s.Choices()
	if len(got) != 2 || !strings.Contains(got[0].Text, "bay 1 (A)") || !strings.Contains(got[1].Text, "bay 2 (B)") {
		t.Fatalf("choices %+v", got)
	}
	if err := s.Choose(got[1]); err != nil {
		t.Fatal(err)
	}
	m.wait(s, "serving", serving)
	if got := s.Choices(); len(got) != 0 {
		t.Errorf("choices while serving: %+v", got)
	}
}
