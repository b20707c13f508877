package carry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/state"
)

// ReceiverConfig is what a Receiver needs. Dir, Store and Attest must be set.
type ReceiverConfig struct {
	Dir    string // on the disk set, for this package alone: transfers that are not whole, and where changes came from
	Store  Importer
	Server string // this server's name
	Versions
	// Attest asks this server and all reachable peers what they hold. It may take seconds; the receiver keeps what it answers.
	Attest func(ctx context.Context) (own roles.Attestation, others []roles.Attestation, err error)
	Limits Limits
	Clock  Clock
	Log    *slog.Logger
}

// Receiver is a secondary's side. It answers from Mount on; between Start and Stop it takes what the primary sends.
type Receiver struct {
	cfg   ReceiverConfig
	lim   Limits
	clock Clock
	board *board
	on    func(state.Commit, Offer)

	importing chan struct{} // holds one token: who has it may read a pack and write history

	busy atomic.Bool // a whole pack is taken into history

	mu       sync.Mutex
	run      *run         // nil while stopped
	replace  state.Branch // ordered by Replace or by the primary; "" = not
	findings map[string]initapi.Finding
	polls    map[string]int // who waits for news, by server
}

// maxPolls bounds how many requests of one server wait for news.
const maxPolls = 4

// run is what holds from one Start to the next Stop.
type run struct {
	site    string
	role    roles.Role
	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	work    sync.WaitGroup // requests that are being answered
	judge   *judge
	source  followed // guarded by Receiver.mu
	apart   *Apart   // guarded by Receiver.mu
	reading func()   // cuts the transfer that is being read; guarded by Receiver.mu
}

// NewReceiver makes a receiver that is stopped.
func NewReceiver(cfg ReceiverConfig) *Receiver {
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{
		cfg: cfg, lim: cfg.Limits.withDefaults(), clock: cfg.Clock, board: newBoard(cfg.Versions),
		importing: make(chan struct{}, 1), findings: map[string]initapi.Finding{}, polls: map[string]int{},
	}
	r.importing <- struct{}{}
	return r
}

// OnReceived has f called with each state that is durable here, before the primary is answered: f must return at once. Call it before Start.
func (r *Receiver) OnReceived(f func(state.Commit, Offer)) { r.on = f }

// Mount adds the receiver's paths to the peers' API.
func (r *Receiver) Mount(s interface{ Handle(string, peers.Pinned) }) {
	s.Handle("POST "+PathHello, r.hello)
	s.Handle("POST "+PathPush, r.push)
	s.Handle("GET "+PathProgress, r.progress)
}

// Start begins to take states; role is that of the set which this server has started. With the role of a primary it only explains why it
// takes nothing.
func (r *Receiver) Start(site string, role roles.Role) error {
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("receive changes: %w", err)
	}
	src, err := loadFollowed(r.sourcePath())
	if err != nil {
		return fmt.Errorf("receive changes: %w", err)
	}
	if err := r.sweep(); err != nil {
		return fmt.Errorf("receive changes: %w", err)
	}
	head, _ := r.cfg.Store.Head(state.Site)
	ctx, cancel := context.WithCancel(context.Background())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run != nil {
		cancel()
		return errors.New("receive changes: started already")
	}
	now := &run{site: site, role: role, ctx: ctx, cancel: cancel, source: src, judge: newJudge(r.cfg.Attest, r.clock, r.lim.Fresh)}
	r.run = now
	r.board.change(func(p *Progress) {
		if p.Head.ID != head.ID {
			p.Head = pointOf(head)
		}
	})
	if role == roles.Secondary {
		now.work.Go(func() { now.judge.keep(ctx) })
	}
	return nil
}

// Stop ends all transfers and waits until none writes any more. Parts of packs stay for the next Start.
func (r *Receiver) Stop() {
	r.mu.Lock()
	run := r.run
	r.run = nil
	if run != nil {
		run.cancel()
		if run.reading != nil {
			run.reading()
		}
	}
	r.mu.Unlock()
	if run != nil {
		run.work.Wait()
	}
}

// SetProgress tells what became of the newest state; the primary hears of it at once. A Head or Live of zero stays as it was. While a state
// is not settled the engine must tell something at least every Limits.Missing, else the primary takes it for hung.
func (r *Receiver) SetProgress(p Progress) {
	r.board.change(func(q *Progress) {
		if p.Head == (Point{}) {
			p.Head = q.Head
		}
		if p.Live == (Point{}) {
			p.Live = q.Live
		}
		if p.At.IsZero() {
			p.At = r.clock.Now().UTC()
		}
		p.Findings = slices.Clone(p.Findings)
		p.Got, p.Size = q.Got, q.Size
		*q = p
	})
}

// Replace orders that the primary's line takes the place of the one that is here, where it does not continue it (CodeDiverged); what is here is
// kept as the line keep (see KeptName). "" calls it off. The order ends when that is done or proves needless, and is forgotten when the daemon
// ends. It does not help against CodeLineage: that is decided by the labels of the disks.
func (r *Receiver) Replace(keep state.Branch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace = keep
}

func (r *Receiver) ordered() state.Branch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.replace
}

// Apart tells of a primary that has another history than this server, by its last greeting; nil if there is none.
func (r *Receiver) Apart() *Apart {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil || r.run.apart == nil {
		return nil
	}
	a := *r.run.apart
	return &a
}

// Progress is what was told last.
func (r *Receiver) Progress() Progress {
	p, _ := r.board.now()
	return p
}

// Source is where the state here came from; the zero Source if nothing was ever received.
func (r *Receiver) Source() Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		return Source{}
	}
	return r.run.source.Source
}

// Findings are the reasons for which servers were refused since they last were not.
func (r *Receiver) Findings() []initapi.Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]initapi.Finding, 0, len(r.findings))
	for _, f := range r.findings {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b initapi.Finding) int { return strings.Compare(a.ID+a.Where, b.ID+b.Where) })
	return out
}

// begin lets a request in. The caller calls done when it is answered.
func (r *Receiver) begin() (*run, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		return nil, nil, refuse(CodeStopped, "server %s does not take changes: it has not started a disk set yet, or is shutting down", r.cfg.Server)
	}
	r.run.work.Add(1)
	return r.run, r.run.work.Done, nil
}

func (r *Receiver) sourcePath() string { return filepath.Join(r.cfg.Dir, "source.json") }

// note keeps the findings in step with what was refused to server, and why; err nil means that it was not. all tells that its changes were
// taken, or that it has none to give, and not only that it may send some.
func (r *Receiver) note(server string, err error, all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	code := CodeOf(err)
	switch code {
	case "":
		if err != nil {
			return
		}
		for k := range r.findings {
			c, of, _ := strings.Cut(k, "@")
			if Code(c) == CodePrimaries || of == server && (all || slices.Contains(ofGreeting, Code(c))) {
				delete(r.findings, k)
			}
		}
		return
	case CodeHello, CodeBase, CodeBusy, CodeCut, CodeStopped, CodeNotReady:
		return // the other side goes on by itself
	}
	key := string(code) + "@" + server
	f := initapi.Finding{ID: "sync-" + string(code), Severity: "warning", What: err.Error(), Where: server, Next: next[code], Since: r.clock.Now().UTC()}
	if old, ok := r.findings[key]; ok {
		f.Since = old.Since
	} else {
		r.cfg.Log.Warn("changes refused", "peer", server, "finding", f.ID, "err", err)
	}
	if code == CodePrimaries {
		f.Severity = "critical"
	}
	r.findings[key] = f
}

// ofGreeting are the codes that a hello is refused with.
var ofGreeting = []Code{CodeProtocol, CodeRole, CodeSite, CodeLineage}

// next tells for each finding what a person can do.
var next = map[Code]string{
	CodeProtocol:  "Bring both servers to the same version of ATLAS.",
	CodePrimaries: "Shut down one of the two primaries at once; keep the one that the office has worked with.",
	CodeRole:      "Look at the page of that server: it sends changes without holding the primary disk set.",
	CodeSite:      "Install one of the two servers anew, with a join code of the other's site.",
	CodeLineage:   "Look at the console of the primary: its disks are not those that this server followed.",
	CodeReplayed:  "Look at the primary's history: it is older than what this server already has. Do not swap the disk sets before that is understood.",
	CodeDiverged: "If disks were swapped or put back, shut the primary down and put the newest ones in. If the primary's files are right, let this server take " +
		"them as they are now: atlas resync. It works on either server, or on the page under Changes, and what is here is kept.",
	CodeFull:    "Make room on this server's disk set.",
	CodeSize:    "Look for very large files among the configuration of the primary.",
	CodeGarbage: "Look at the log of both servers; if it goes on, restart Sentry on the primary.",
	CodeFailed:  "Look at the log of this server; if it goes on, check its disks.",
}
