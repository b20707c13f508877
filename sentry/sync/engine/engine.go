// Package engine is the Synchronizer at work on one server: it ties together what the packages beside it do.
//
// On the primary: watch tells an action, record makes a commit of it, gate asks the checkers of the services that it concerns and has the
// services probed, and carry sends it to the other servers; what a checker refuses, or what makes a probe fail that was good before, is held
// back, with everything after it, until all is good again or a person rolls back or releases. On a secondary: carry has received a state,
// twin brings the files of this server to it (staged, checked, live, services told, probed), and reports; where a probe that was good before
// fails with it, trial goes back to the files from before. What was changed on the secondary itself is recorded on a line of its own and then
// overwritten: the primary wins, and nothing is lost. Where the two have different histories, since one was damaged and begun anew, nothing is
// carried until a person orders that the secondary takes the primary's (Resync).
//
// Run does it all in one loop, so that recording, applying and rolling back never overlap; checks, services and probes take their time in
// goroutines of their own. What stands still for too long shows in Status.At.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/sync/watch"
)

// Config says where everything is and who does what.
type Config struct {
	Dir    string        // on the disk set, for the Synchronizer alone
	Root   string        // "/"
	Places []apply.Place // see apply.Options
	Server string
	carry.Versions
	Role     roles.Role
	Facts    Facts
	Stale    func() bool // the site's choice has changed since Facts were made: nothing is sent or applied until there is a new engine; may be nil
	Helper   check.Helper
	Services apply.Services
	Ready    func(service string) bool // whether its database can be asked; nil: always
	Prober   Prober                    // nil: nothing is probed
	Sender   *carry.Sender             // on the primary; nil elsewhere
	Receiver *carry.Receiver           // on a secondary; nil elsewhere
	Findings *Findings
	Own      bool // changes by this process are recorded too; for tests
	// The image's own root filesystem, and how configuration is carried between releases of Debian. ImageRoot "": only between servers of the
	// same image.
	ImageRoot string
	Steps     []convert.Step
	Kept      string        // file with what was kept when the files of this server were converted; need not be there
	Rescan    time.Duration // everything is compared again so often: 10 min
	Changed   func()        // something worth showing has changed; must return at once; may be nil
	Log       *slog.Logger

	own      time.Duration // what a secondary's service did to a database by itself is left so long: 20 s
	patience time.Duration // a file that changes all the time is told after: 1 min
	again    time.Duration // what was refused is asked again at the latest after: 1 min
	proof    patience      // of a secondary's probes after a change: twinPatience
	calm     time.Duration // so long a file is left alone that a program here changes again and again: 10 min
	limit    int           // of files; 0 is snapshot's own
	late     func()        // for tests: nothing is read of what the kernel tells before it returns; may be nil
}

// Engine works on one started set.
type Engine struct {
	cfg     Config
	image   string // what names the image that runs: products of one version are made on several releases of Debian
	repo    *history.Repo
	tree    *snapshot.Tree
	names   *snapshot.Names
	applier *apply.Applier
	watcher *watch.Watcher
	facts   Facts
	log     *slog.Logger
	seen    stamps

	opened     time.Time
	background sync.WaitGroup
	triggers   map[state.Path]chan struct{} // of exports: look now
	loadings   map[state.Path]*atomic.Int64 // of exports: how often one began and ended

	orders    chan order    // what people ask for, done in the loop
	suspect   chan struct{} // the history may be damaged
	suspectAt time.Time     // of the loop alone
	wake      chan struct{} // a state was received, or a check has ended
	again     map[state.Path]time.Time
	busy      map[state.Path]time.Time // since when a file could not be read, since it was changed all the time
	links     map[state.Path]bool      // names of files that have several, since everything was compared
	unsaved   map[string]string        // see rememberSoon

	last struct { // the newest commit made of an action, to be amended by further parts of it
		action uint64
		commit string
	}
	gate     gate
	twin     twin
	versions versions
	asked    asked

	mu     sync.Mutex
	status state.Status
	still  bool                            // no further state of the primary is brought here: services are being started from cold
	begun  string                          // what was live on this secondary when the engine began
	proven map[string][]rehearsal.Unproven // what Unproven found last, by what was asked
}

// order is a function that the loop runs, between other things.
type order struct {
	do   func(ctx context.Context) error
	done chan error
}

// Open opens the history and the staging folder on the set, and finishes what a power cut interrupted. A damaged history is set aside and
// begun anew, with a finding.
func Open(cfg Config) (*Engine, error) {
	if cfg.Rescan == 0 {
		cfg.Rescan = 10 * time.Minute
	}
	if cfg.own == 0 {
		cfg.own = 20 * time.Second
	}
	if cfg.patience == 0 {
		cfg.patience = time.Minute
	}
	if cfg.again == 0 {
		cfg.again = time.Minute
	}
	if cfg.proof == (patience{}) {
		cfg.proof = twinPatience
	}
	if cfg.calm == 0 {
		cfg.calm = 10 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	e := &Engine{
		cfg: cfg, log: cfg.Log, orders: make(chan order), wake: make(chan struct{}, 1), suspect: make(chan struct{}, 1), again: map[state.Path]time.Time{},
		busy: map[state.Path]time.Time{}, links: map[state.Path]bool{}, seen: stamps{}, facts: cfg.Facts, opened: time.Now(), asked: newAsked(),
		unsaved: map[string]string{},
	}
	if e.image = cfg.Image; cfg.Debian != "" {
		e.image += " on Debian " + cfg.Debian
	}
	e.status.Role, e.status.At = string(cfg.Role), time.Now()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the Synchronizer's folder: %w", err)
	}
	e.gate.done, e.twin.told, e.twin.back = make(chan verdicts, 1), make(chan outcome, 1), map[state.Path][]time.Time{}
	e.twin.fights = map[state.Path]time.Time{}
	if !e.recall(ownFile, &e.twin.own) || e.twin.own == nil {
		e.twin.own = map[state.Path]ownWork{}
	}
	e.gate.allowed, e.twin.applied = e.remembered(allowedFile), e.remembered(appliedFile)
	e.recallBaseline()
	e.recallTrial()
	err := cfg.Findings.load(filepath.Join(cfg.Dir, newsFile), func(id string) bool {
		name, ok := strings.CutPrefix(id, servicePrefix) // a service was told once, and may still have the files from before
		return ok && (e.runs(name) || name == apply.Site)
	})
	if err != nil {
		e.log.Warn("older news are not told any more", "err", err)
	}
	if cfg.Receiver != nil {
		e.oldFights()
	}
	if e.repo, err = e.openHistory(); err != nil {
		return nil, err
	}
	e.names = snapshot.NewNames(cfg.Root)
	if e.tree, err = snapshot.Open(cfg.Root, snapshot.Options{MaxFile: maxFile, MaxEntries: e.cfg.limit, Names: e.names}); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.applier, err = apply.Open(apply.Options{
		Places: cfg.Places, Staging: filepath.Join(cfg.Dir, "staging"), Root: cfg.Root, Names: e.names, Content: e.repo.Content, Keep: e.keep, Log: cfg.Log,
	})
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	if cfg.Receiver != nil { // it is started after this returns, and before Run
		cfg.Receiver.OnReceived(func(c state.Commit, o carry.Offer) {
			if o.Kept != "" {
				e.replaced(c, o)
			}
			e.nudge()
		})
	}
	rec, err := e.applier.Recover()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("finish what was interrupted: %w", err), e.Close())
	}
	if len(rec.Finished)+len(rec.Undone) > 0 {
		e.log.Info("an interrupted change of files was finished", "finished", rec.Finished, "undone", rec.Undone)
	}
	return e, nil
}

// newsFile keeps the findings about what has happened.
const newsFile = "news"

// maxFile is the largest file that is recorded and carried.
const maxFile = 64 << 20

// openHistory opens the repository; one that is damaged is kept under another name, and recording begins anew.
func (e *Engine) openHistory() (*history.Repo, error) {
	dir := filepath.Join(e.cfg.Dir, "history")
	opt := history.Options{Server: e.cfg.Server, MaxFile: maxFile}
	repo, err := history.Open(dir, opt)
	if err == nil {
		if err = e.doubted(repo); err != nil {
			err = errors.Join(err, repo.Close())
		}
	}
	var damaged *history.DamagedError
	if !errors.As(err, &damaged) {
		return repo, err
	}
	kept, aside := history.SetAside(dir, time.Now())
	if aside != nil {
		return nil, errors.Join(err, aside)
	}
	e.log.Error("the history of changes is damaged; a new one is begun", "err", damaged, "kept", kept)
	e.note(initapi.Finding{
		ID: "sync-history-damaged", Severity: "warning", Where: e.cfg.Server, What: "The history of changes could not be read any more: " + damaged.Error() + ".",
		Next: "A new history was begun with the files as they are; nothing else is lost. The old one is kept in " + kept + ". Have the disks checked." +
			map[bool]string{true: " Another server does not follow the new one by itself: atlas resync."}[e.cfg.Sender != nil],
	}, 0)
	return history.Open(dir, opt)
}

// Close gives everything free.
func (e *Engine) Close() error {
	var err error
	if e.applier != nil {
		e.applier.Close()
	}
	if e.tree != nil {
		err = e.tree.Close()
	}
	return errors.Join(err, e.repo.Close())
}

// Run watches, records, carries or applies until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer e.save()
	defer e.background.Wait()
	defer cancel()
	o := watch.Options{Root: e.cfg.Root, Roots: roots(e.facts.Packs), Skip: e.ignored, Log: e.log, Own: e.cfg.Own}
	for _, x := range e.facts.Exports {
		o.Clients = append(o.Clients, x.Clients...)
	}
	w, err := watch.New(o)
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	e.watcher = w
	e.background.Go(func() {
		if e.cfg.late != nil {
			e.cfg.late()
		}
		if err := w.Run(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("files are not watched any more; they are compared from time to time only", "err", err)
			e.cfg.Findings.Set(initapi.Finding{
				ID: "sync-watch", Severity: "warning", Where: e.cfg.Server, What: "Changes of files are noticed late: " + err.Error() + ".",
				Next: "Restart the server at the next opportunity; until then changes are found every ten minutes.",
			})
		}
	})
	e.begin(ctx)
	e.exports(ctx)
	e.background.Go(func() { e.upkeep(ctx) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	rescan := time.NewTicker(e.cfg.Rescan)
	defer rescan.Stop()
	actions := w.Actions()
	for {
		e.beat()
		select {
		case <-ctx.Done():
			return nil
		case a, ok := <-actions:
			if !ok {
				actions = nil
				continue
			}
			e.take(ctx, a)
		case o := <-e.orders:
			o.done <- o.do(ctx)
		case <-e.wake:
			e.step(ctx)
		case <-tick.C:
			e.retry(ctx)
			e.save()
			if len(w.Stats().Problems) == 0 {
				e.cfg.Findings.Clear("sync-watch-dirs")
			}
			e.step(ctx)
		case <-rescan.C:
			e.rescan(ctx, "found by comparing everything")
		}
	}
}

// begin records what is there, and takes up where the last run ended.
func (e *Engine) begin(ctx context.Context) {
	e.resume(ctx)
	e.rescan(ctx, "found when the server started")
	e.recordImage(ctx)
	e.noteBegun()
	e.step(ctx)
}

func (e *Engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// step goes on with what waits: changes to be allowed, a state to be applied.
func (e *Engine) step(ctx context.Context) {
	if e.cfg.Sender != nil {
		e.allow(ctx)
		e.peers()
		e.recordEffective(ctx)
	}
	if e.cfg.Receiver != nil {
		e.follow(ctx)
		e.compareEffective(ctx)
	}
}

// do has the loop run f and waits for it.
func (e *Engine) do(ctx context.Context, f func(ctx context.Context) error) error {
	o := order{do: f, done: make(chan error, 1)}
	select {
	case e.orders <- o:
	case <-ctx.Done():
		return fmt.Errorf("the Synchronizer is busy: %w", ctx.Err())
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the Synchronizer is still at it: %w", ctx.Err())
	}
}

// beat notes that the loop is alive.
func (e *Engine) beat() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status.At = time.Now()
}

// line is the line of history that is made on this server.
func (e *Engine) line() state.Branch {
	if e.cfg.Role == roles.Secondary {
		return state.Live
	}
	return state.Site
}

// History is the repository, for those who carry it.
func (e *Engine) History() *history.Repo { return e.repo }
