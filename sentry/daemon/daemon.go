// Package daemon is sentry at work on one server: it follows init's state, asks the other servers for theirs, runs every pack's
// probes against all of them, judges the site, and serves the peers' port, the page, and the administrator's socket.
//
// Data flow: init's socket and the peers' reports are polled into Daemon (own.go, others.go); the runner's results are put beside
// (checks.go); whoever asks gets a site judged from that (Site). It changes nothing on the server but join codes and pins. Anything
// may be absent (init, set, peers, packs): the rest goes on and says what is missing.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/verify"
	"sayasystems.com/atlas/sentry/watch/health"
)

// Init is what the daemon asks init.
type Init interface {
	State(ctx context.Context) (initapi.State, error)
	Boot(ctx context.Context) (initapi.BootReport, error)
	Inventory(ctx context.Context) (hwcheck.Inventory, error)
}

// Config says where everything is; Defaults fills it for an appliance.
type Config struct {
	StateDir    string // server.yaml, peers.yaml, keys, join code
	Etc         string // /etc, the set's when one is started
	PacksDir    string
	SummaryFile string // for init's console; "" = none
	RunDir      string // of files of this boot; "" = none
	AdminSocket string // for the command atlas; "" = none
	Listen      string // address to serve on; "" = the management address
	PeerPort    int
	PagePort    int
	Interval    time.Duration // of probes
	SetDir      string        // filesystem of the started set, whose changes are followed
	// FakeSync stands in for the Synchronizer in tests that have no disk set.
	FakeSync func(role roles.Role) *state.Status
	// FakeLine likewise, for starts from cold.
	FakeLine line
	Health   *health.Config // how this server's health is watched; Facts and Log are filled in; nil = not at all
	Init     Init
	Kinds    map[string]verify.Kind
	Log      *slog.Logger
}

// Defaults gives the configuration of an appliance.
func Defaults(log *slog.Logger) Config {
	watch := health.Defaults(nil, nil)
	return Config{
		StateDir: layout.StateDir, Etc: "/etc", PacksDir: layout.PacksDir, SummaryFile: initapi.SummaryFile, RunDir: layout.Run, AdminSocket: layout.AdminSocket,
		PeerPort: layout.PeerPort, PagePort: layout.DashboardPort, SetDir: layout.SetDir, Health: &watch, Init: initapi.NewClient("").Patient(), Kinds: verify.Kinds(), Log: log,
	}
}

// Daemon is one server's sentry.
type Daemon struct {
	cfg    Config
	server siteconf.Server
	id     peers.Identity
	book   *peers.Book
	offers *peers.Offers
	client *peers.Client
	runner *verify.Runner
	log    *slog.Logger
	hub    hub

	sync     synchronizer
	record   recorder
	starts   *starts
	health   *health.Watcher // nil: not watched
	started  time.Time
	accepted *accept.Book
	memory   site.Memory
	judged   atomic.Pointer[site.Site] // of the last cycle

	site struct { // what settings has read
		sync.Mutex
		modified time.Time
		size     int64
		conf     siteconf.Site
	}

	mu      sync.Mutex
	own     own
	others  map[string]*other // by name
	packs   []pack.Pack
	packErr error
	pending []pendingPin
}

// New reads the server's identity; what can come later (peers, packs, init) is read while running.
func New(cfg Config) (*Daemon, error) {
	server, err := siteconf.LoadServer(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	if err := peers.NewKey(cfg.StateDir, server.ID); err != nil {
		return nil, err
	}
	id, err := peers.LoadIdentity(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	book, err := peers.OpenBook(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	log := cfg.Log.With("server", server.Name)
	d := &Daemon{
		cfg: cfg, server: server, id: id, book: book, offers: peers.NewOffers(cfg.StateDir, nil), client: peers.NewClient(id, cfg.PeerPort),
		log: log, others: map[string]*other{}, started: time.Now(),
	}
	d.own.err = errors.New("not asked yet")
	d.sync.d = d
	d.starts = newStarts(d)
	if cfg.Health != nil {
		watch := *cfg.Health
		watch.Facts, watch.Log = d.healthFacts, log
		d.health = health.New(watch)
	}
	if d.accepted, err = accept.Open(filepath.Join(cfg.StateDir, acceptedFile)); err != nil {
		log.Error("accepted findings", "err", err)
	}
	d.runner = verify.NewRunner(verify.Settings{Observer: server.Name, Interval: cfg.Interval, History: 40, Log: log, Changed: d.hub.publish, Ran: d.record.ran})
	d.packs, d.packErr = pack.LoadAll(cfg.PacksDir)
	if d.packErr != nil {
		log.Error("service packs unreadable", "err", d.packErr)
	}
	d.loadPending()
	return d, nil
}

// Run works until ctx ends.
func (d *Daemon) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	srv := peers.NewServer(d.id, d.book, d.offers, d, d.log)
	srv.Handle("/v1/sync/", d.sync.pinned)
	g.Go(func() error { return d.sync.run(ctx) })
	g.Go(func() error { return d.record.run(ctx, d) })
	g.Go(func() error { return d.cycle(ctx) })
	g.Go(func() error { return d.watchHealth(ctx) })
	g.Go(func() error { return d.serve(ctx, "peers", d.cfg.PeerPort, srv.Serve) })
	g.Go(func() error { return d.serve(ctx, "page", d.cfg.PagePort, d.servePage) })
	if d.cfg.AdminSocket != "" {
		g.Go(func() error { return d.serveAdmin(ctx) })
	}
	return g.Wait()
}

// pollEvery is how often init is asked. Each time costs a small machine some hundredths of a second, while it has services to start too.
const pollEvery = 2 * time.Second

// cycle polls everything until ctx ends.
func (d *Daemon) cycle(ctx context.Context) error {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		d.pollOwn(ctx)
		d.pollOthers(ctx)
		d.runner.Set(ctx, d.checks())
		d.tellPending(ctx)
		d.learnAccepted()
		s := d.Site()
		d.judged.Store(&s)
		d.starts.look(ctx)
		d.writeSummary(s)
		d.hub.publish()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// serve listens on port of the management address, as soon as that is known and up, and again when it has changed.
func (d *Daemon) serve(ctx context.Context, what string, port int, run func(context.Context, net.Listener) error) error {
	said := ""
	for ctx.Err() == nil {
		err := d.serveOnce(ctx, port, run)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if err.Error() != said { // once, not every second
			said = err.Error()
			d.log.Warn("cannot serve yet", "port", what, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

func (d *Daemon) serveOnce(ctx context.Context, port int, run func(context.Context, net.Listener) error) error {
	addr := d.listenAddress()
	if addr == "" {
		return errors.New("the management address is not known yet")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	d.log.Info("listening", "address", l.Addr().String())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		t := time.NewTicker(5 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if now := d.listenAddress(); now != "" && now != addr {
					cancel() // DHCP gave another one
				}
			}
		}
	}()
	err = run(ctx, l)
	_ = l.Close()
	return err
}

func (d *Daemon) listenAddress() string {
	if d.cfg.Listen != "" {
		return d.cfg.Listen
	}
	return d.address()
}

// address is the management address without prefix length: as init has brought it up, else as configured; "" while unknown.
func (d *Daemon) address() string {
	d.mu.Lock()
	st := d.own.state
	d.mu.Unlock()
	for _, a := range []string{stateAddress(st), d.server.Management.Address} {
		if p, err := netip.ParsePrefix(a); err == nil {
			return p.Addr().String()
		}
	}
	return ""
}

func stateAddress(st *initapi.State) string {
	if st == nil {
		return ""
	}
	return st.Addresses.Management
}

// Site is the site as this server sees it now.
func (d *Daemon) Site() site.Site {
	now := time.Now()
	p, err := d.book.Peers()
	if err != nil {
		d.log.Warn("peers unreadable", "err", err)
	}
	mine := d.report(now)
	s := site.Site{ID: p.Site, Name: p.SiteName, At: now, Server: d.server.Name}
	s.Servers = append(s.Servers, site.Server{Name: d.server.Name, ID: d.server.ID, Address: mine.Address, Self: true, Seen: now, Report: &mine})
	d.mu.Lock()
	for _, q := range p.Peers {
		v := site.Server{Name: q.Name, ID: q.ID, Address: q.Address}
		if o := d.others[q.Name]; o != nil && o.peer.Cert == q.Cert {
			v.Seen, v.Report, v.Ahead, v.ErrorAt = o.seen, o.report, o.ahead, o.errAt
			if o.err != nil {
				v.Error = o.err.Error()
			}
		}
		s.Servers = append(s.Servers, v)
	}
	d.mu.Unlock()
	s.Accepted = d.accepted.List()
	var lists [][]ledger.Entry
	for _, v := range s.Servers {
		if v.Report != nil {
			lists = append(lists, v.Report.Ledger)
		}
	}
	s.Ledger = ledger.Merge(lists...)
	s = site.Judge(s)
	d.memory.Stamp(&s)
	return s
}

// lastSite is the site as it was judged in the last cycle: empty before the first.
func (d *Daemon) lastSite() site.Site {
	if s := d.judged.Load(); s != nil {
		return *s
	}
	return site.Site{}
}

// Admin is the bcrypt hash of the administrator's password.
func (d *Daemon) Admin() string {
	p, err := d.book.Peers()
	if err != nil {
		return ""
	}
	return p.Admin
}

// JoinCode gives the join code on offer, making one if needed or if renew is set.
func (d *Daemon) JoinCode(renew bool) (peers.Offer, error) { return d.offers.Show(renew) }

// CurrentCode gives the join code on offer, if there is one.
func (d *Daemon) CurrentCode() (peers.Offer, bool) { return d.offers.Current() }

// Subscribe tells of changes until stop is called.
func (d *Daemon) Subscribe() (changes <-chan struct{}, stop func()) { return d.hub.subscribe() }

// removeSocket makes room for a new Unix socket at path.
func removeSocket(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make %s: %w", filepath.Dir(path), err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	return nil
}

func closed(err error) bool {
	return errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed)
}
