package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/steps"
	"sayasystems.com/atlas/sentry/convert/vendor"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/engine"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// CheckVerb is the hidden subcommand by which sentry's binary becomes the helper of package check.
const CheckVerb = "check-helper"

// synchronizer runs the engine while a set is started, and stands in for it while none is.
type synchronizer struct {
	d        *Daemon
	findings engine.Findings

	since time.Time // when serving began; of serving

	mu      sync.Mutex
	engine  *engine.Engine // nil while none runs
	handler http.Handler   // of the receiver, nil while none runs
	err     error          // why none runs
}

var errNoEngine = errors.New("changes are not followed while no disk set serves on this server")

// now is the engine, if one runs.
func (s *synchronizer) now() (*engine.Engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.engine != nil:
		return s.engine, nil
	case s.err != nil:
		return nil, s.err
	}
	return nil, errNoEngine
}

// status is nil while no set is started.
func (s *synchronizer) status() *state.Status {
	if f := s.d.cfg.FakeSync; f != nil {
		if st := s.serving(); st != nil {
			return f(st.Role)
		}
		return nil
	}
	e, err := s.now()
	if err == nil {
		st := e.Status()
		return &st
	}
	if errors.Is(err, errNoEngine) {
		return nil
	}
	return &state.Status{At: time.Now(), Findings: append(s.findings.List(), initapi.Finding{
		ID: "sync-broken", Severity: "critical", Where: s.d.server.Name, What: "Changes are not recorded and not carried to the other servers: " + err.Error() + ".",
		Next: "It is tried again by itself. If it stays so, restart the server; the services run on meanwhile.",
	})}
}

// pinned is how the peers' API reaches the receiver of the engine that runs now.
func (s *synchronizer) pinned(w http.ResponseWriter, r *http.Request, from siteconf.Peer) {
	s.mu.Lock()
	h := s.handler
	s.mu.Unlock()
	if h == nil {
		http.Error(w, `{"error":"`+errNoEngine.Error()+`"}`, http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, from)))
}

type peerKey struct{}

// routes lets a receiver that comes later be mounted on a mux of its own.
type routes struct{ *http.ServeMux }

// Handle implements what carry.Receiver mounts itself on.
func (m routes) Handle(pattern string, h peers.Pinned) {
	m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		from, _ := r.Context().Value(peerKey{}).(siteconf.Peer)
		h(w, r, from)
	})
}

// run keeps an engine at work for as long as the set that is started stays the same.
func (s *synchronizer) run(ctx context.Context) error {
	if s.d.cfg.FakeSync != nil {
		return nil
	}
	said := ""
	for ctx.Err() == nil {
		st := s.serving()
		if st != nil {
			err := s.serve(ctx, *st)
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			if err != nil && ctx.Err() == nil && err.Error() != said { // once, not every two seconds
				said = err.Error()
				s.d.log.Error("synchronizer", "err", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
	return nil
}

// serving is init's state if a set serves and its services have settled: while they start they write many files of their own.
func (s *synchronizer) serving() *initapi.State {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	st := s.d.own.state
	if st == nil || st.State != initapi.Serving || st.Set == nil || st.Role == "" {
		s.since = time.Time{}
		return nil
	}
	if s.since.IsZero() {
		s.since = time.Now()
	}
	if !st.Ready && time.Since(s.since) < settling {
		return nil
	}
	return st
}

// settling is how long services have to become ready before changes are followed all the same.
const settling = 2 * time.Minute

// serve runs one engine until another set or role is started, or ctx ends.
func (s *synchronizer) serve(ctx context.Context, st initapi.State) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := s.d
	dir := filepath.Join(d.cfg.SetDir, layout.SetSentry, "sync")
	v := carry.Versions{Image: st.Version, Debian: st.Release}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	places, err := places(d.cfg.SetDir)
	if err != nil {
		return err
	}
	conf := d.settings()
	facts, err := s.facts(conf)
	if err != nil {
		return err
	}
	stale := func() bool { return !reflect.DeepEqual(conf, d.settings()) }
	cfg := engine.Config{
		Dir: dir, Root: "/", Places: places, Server: d.server.Name, Versions: v, Role: st.Role, Facts: facts, ImageRoot: layout.ImageDir, Steps: s.steps(),
		Kept: places[0].Dir + layout.EtcKept, Stale: stale, Ready: s.ready,
		Helper: check.Helper{Command: []string{self, CheckVerb}}, Services: orders{initapi.NewClient("").Patient()},
		Findings: &s.findings, Changed: d.hub.publish, Log: d.log, Prober: prober{d},
	}
	mux := routes{http.NewServeMux()}
	store := &repository{}
	switch st.Role {
	case roles.Primary:
		cfg.Sender = carry.NewSender(carry.SenderConfig{
			Dir: filepath.Join(dir, "send"), Store: store, Server: d.server.Name, Versions: v, Client: d.client, Log: d.log,
			Peers: func() ([]siteconf.Peer, error) {
				p, err := d.book.Peers()
				return p.Peers, err
			},
			Changed: func(carry.Status) { d.hub.publish() },
		})
	default:
		cfg.Receiver = carry.NewReceiver(carry.ReceiverConfig{
			Dir: filepath.Join(dir, "receive"), Store: store, Server: d.server.Name, Versions: v, Attest: d.attestAll, Log: d.log,
		})
		cfg.Receiver.Mount(mux)
	}
	e, err := engine.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }() // all is durable before
	store.Repo = e.History()
	if cfg.Sender != nil {
		label, err := labelOf(st)
		if err != nil {
			return err
		}
		if err := cfg.Sender.Start(carry.SourceOf(label)); err != nil {
			return err
		}
		defer cfg.Sender.Stop()
	}
	if cfg.Receiver != nil {
		p, err := d.book.Peers()
		if err != nil {
			return err
		}
		if err := cfg.Receiver.Start(p.Site, st.Role); err != nil {
			return err
		}
		defer cfg.Receiver.Stop()
	}
	s.mu.Lock()
	s.engine, s.handler, s.err = e, mux, nil
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.engine, s.handler = nil, nil
		s.mu.Unlock()
	}()
	d.log.Info("synchronizer at work", "role", st.Role)
	go s.follow(ctx, cancel, st, stale, cfg.Sender)
	return e.Run(ctx)
}

// follow ends the engine when what it was started for has ended, and tells the sender of new labels.
func (s *synchronizer) follow(ctx context.Context, cancel func(), was initapi.State, stale func() bool, sender *carry.Sender) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	defer cancel()
	last := was.Set.Generation
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.d.mu.Lock()
		st, err := s.d.own.state, s.d.own.err
		s.d.mu.Unlock()
		switch {
		case err != nil || st == nil: // not known: goes on
			continue
		case st.Set == nil || st.Set.ID != was.Set.ID || st.Role != was.Role || st.State == initapi.Stopping || stale():
			return
		}
		if sender != nil && st.Set.Generation != last {
			if label, err := labelOf(*st); err == nil && sender.SetSource(carry.SourceOf(label)) == nil {
				last = st.Set.Generation
			}
		}
	}
}

// facts are what the packs that this site runs say.
func (s *synchronizer) facts(conf siteconf.Site) (engine.Facts, error) {
	s.d.mu.Lock()
	packs := s.d.packs
	s.d.mu.Unlock()
	return facts(packs, conf, pack.Vars{Server: s.d.server.Name, StateDir: s.d.cfg.StateDir})
}

// steps are what is known of conversion: of the image's services, and what packs bring.
func (s *synchronizer) steps() []convert.Step {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return append(steps.All(), vendor.Steps(s.d.packs, vendor.Sandboxed)...)
}

func facts(packs []pack.Pack, conf siteconf.Site, v pack.Vars) (engine.Facts, error) {
	chosen := pack.Choose(packs, conf)
	all := append([]pack.Pack{}, chosen.Packs...)
	for _, p := range packs {
		if p.Scope == pack.ScopeServer {
			all = append(all, p)
		}
	}
	v.Site, v.SiteName = conf.Site, conf.Name
	return engine.FactsOf(all, v, conf)
}

// CheckSite is an error if the site's settings have a mistake, or name services that cannot run, together or at all.
func CheckSite(cfg Config) error {
	packs, err := pack.LoadAll(cfg.PacksDir)
	if err != nil {
		return err
	}
	conf, f, err := siteconf.ReadSite(cfg.Etc)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range pack.Choose(packs, conf).Problems {
		errs = append(errs, f.Errorf(p.Key, "%s", p.Msg))
	}
	return errors.Join(errs...)
}

// Check has the checkers of the named services (or of "accounts", "sudo" and the like, which belong to none), or of all that the site runs, look at the configuration as it is.
func Check(ctx context.Context, cfg Config, names []string) ([]check.Verdict, error) {
	packs, err := pack.LoadAll(cfg.PacksDir)
	if err != nil {
		return nil, err
	}
	conf, err := siteconf.LoadSite(cfg.Etc)
	if err != nil {
		return nil, err
	}
	f, err := facts(packs, conf, pack.Vars{StateDir: cfg.StateDir})
	if err != nil {
		return nil, err
	}
	base := f.BaseChecks(nil)
	if len(names) == 0 {
		for _, p := range f.Packs {
			names = append(names, p.Name)
		}
	} else {
		base = slices.DeleteFunc(base, func(c check.Check) bool { return !slices.Contains(names, c.Service) })
	}
	checks := append(f.Checks(names), base...)
	if len(checks) == 0 {
		return nil, fmt.Errorf("nothing called %s has a checker here; without a name all are asked", strings.Join(names, ", "))
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return check.Helper{Command: []string{self, CheckVerb}}.Run(ctx, checks, nil), nil
}

// ready tells whether a service's database can be asked.
func (s *synchronizer) ready(service string) bool {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.d.own.state != nil && slices.ContainsFunc(s.d.own.state.Services, func(v initapi.Service) bool { return v.Name == service && v.State == "ready" })
}

// places are where the set's directories are reached for writing, /etc first: not through what is bound from them, since a rename does not cross mounts.
func places(set string) ([]apply.Place, error) {
	etc, err := filepath.EvalSymlinks(filepath.Join(set, layout.SetEtc, "current"))
	if err != nil {
		return nil, fmt.Errorf("the set's /etc: %w", err)
	}
	out := []apply.Place{{Prefix: "etc", Dir: etc}}
	for _, dir := range []string{layout.SetVar, layout.SetSrv, layout.SetHome, layout.SetRoot} {
		out = append(out, apply.Place{Prefix: state.Path(dir), Dir: filepath.Join(set, dir)})
	}
	return out, nil
}

// labelOf is the newest label of the set that is started.
func labelOf(st initapi.State) (roles.Label, error) {
	var out *roles.Label
	for _, k := range st.Disks {
		if l := k.Label; l != nil && l.Set == st.Set.ID && (out == nil || l.Generation > out.Generation) {
			out = l
		}
	}
	if out == nil {
		return roles.Label{}, errors.New("the label of the disk set is not known yet")
	}
	return *out, nil
}

// attestAll asks this server and all peers what they hold.
func (d *Daemon) attestAll(ctx context.Context) (roles.Attestation, []roles.Attestation, error) {
	own, err := d.Attest(ctx)
	if err != nil {
		return own, nil, err
	}
	p, err := d.book.Peers()
	if err != nil {
		return own, nil, err
	}
	others, _ := d.client.AttestAll(ctx, p.Peers) // those that do not answer are listed as such
	return own, others, nil
}

// orders lets init tell services.
type orders struct{ init *initapi.Client }

// Do implements apply.Services.
func (o orders) Do(ctx context.Context, name, verb string) error {
	if verb == apply.Choose {
		_, err := o.init.ReloadSite(ctx)
		return err
	}
	return o.init.Service(ctx, name, verb)
}

// repository is the history as carry wants it. Repo is set before anything is started.
type repository struct{ *history.Repo }

// Import implements carry.Importer.
func (r *repository) Import(src io.Reader, limit int64, b state.Branch, head string, keep state.Branch) (state.Commit, error) {
	return r.Repo.Import(src, limit, b, head, history.ImportOptions{Replace: keep != "", Keep: keep})
}
