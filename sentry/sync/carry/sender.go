package carry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/state"
)

// SenderConfig is what a Sender needs. Dir, Store, Peers and Client must be set.
type SenderConfig struct {
	Dir    string // for this package alone: packs that do not fit into memory
	Store  Exporter
	Server string // this server's name
	Versions
	Peers   func() ([]siteconf.Peer, error) // who belongs to the site; asked every second
	Client  *peers.Client
	Changed func(Status) // called when something in a status changed that is worth showing; must return at once; may be nil
	Limits  Limits
	Clock   Clock
	Log     *slog.Logger
}

// Sender is the primary's side. It sends nothing before Start and Allow.
type Sender struct {
	cfg   SenderConfig
	lim   Limits
	clock Clock
	packs *packs

	mu      sync.Mutex
	head    Point   // newest that is recorded
	allowed Point   // newest that may be sent on
	limit   Point   // newest that is sent on: allowed, but as it was when a hold began
	held    string  // why, "" = not
	recent  []known // when which commit became known, oldest first; bounded
	source  Source
	links   map[string]*link // by peer's name; nil while stopped
	cancel  context.CancelFunc
	work    sync.WaitGroup
}

type known struct {
	seq uint64
	at  time.Time
}

// maxRecent bounds how far back it is known since when a peer lags.
const maxRecent = 1024

// Status is how it stands with one peer.
type Status struct {
	Peer     string    `json:"peer"`
	Address  string    `json:"address"`
	Versions           // of the peer, "" if it never answered
	Up       bool      `json:"up"`       // its last answer came, whatever it said
	Reached  time.Time `json:"reached"`  // when; zero = never
	Received Point     `json:"received"` // durable there
	Live     Point     `json:"live"`     // in step there at
	State    Stage     `json:"state"`
	Lag      Lag       `json:"lag"`
	// Sent of Size bytes of a large pack have been taken; Size is 0 while none is on its way.
	Sent     int64             `json:"sent,omitempty"`
	Size     int64             `json:"size,omitempty"`
	Held     string            `json:"held,omitempty"`    // why nothing newer is sent on
	Err      string            `json:"err,omitempty"`     // why it does not get on, in words
	Code     Code              `json:"code,omitempty"`    // of Err, if the peer refused
	Damaged  bool              `json:"damaged,omitempty"` // Err is that our own history cannot be read
	Apart    bool              `json:"apart,omitempty"`   // what it has received is not in our history; see Replace
	Findings []initapi.Finding `json:"findings,omitempty"`
	// LastReport is when the peer last told what became of the changes, or confirmed what it had told; zero = never. Missing: that is longer ago
	// than Limits.Missing, or as long it has told nothing new about changes that it still works on. Missing is a fault, whatever State says.
	LastReport time.Time `json:"last_report"`
	Missing    bool      `json:"missing"`
}

// Lag is how far what is live at a peer is behind what is recorded here.
type Lag struct {
	Commits uint64    `json:"commits"`
	Since   time.Time `json:"since,omitzero"` // when the first change was recorded that is not live there; zero if none, or not known
}

// NewSender makes a sender that is stopped.
func NewSender(cfg SenderConfig) *Sender {
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	lim := cfg.Limits.withDefaults()
	return &Sender{cfg: cfg, lim: lim, clock: cfg.Clock, packs: newPacks(cfg.Dir, cfg.Store, lim, cfg.Clock)}
}

// Start begins to send as the primary with the set that src describes (SourceOf its label).
func (s *Sender) Start(src Source) error {
	if err := src.check(); err != nil {
		return fmt.Errorf("send changes: %w", err)
	}
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("send changes: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.packs.start(ctx); err != nil {
		cancel()
		return fmt.Errorf("send changes: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links != nil {
		cancel()
		return errors.New("send changes: started already")
	}
	s.source, s.links, s.cancel = src, map[string]*link{}, cancel
	s.work.Go(func() { s.meet(ctx) })
	return nil
}

// Stop ends all links and waits for them. What was told by Update, Allow and Hold stays.
func (s *Sender) Stop() {
	s.mu.Lock()
	if s.links == nil {
		s.mu.Unlock()
		return
	}
	s.cancel()
	s.mu.Unlock()
	s.work.Wait()
	s.mu.Lock()
	s.links = nil
	s.mu.Unlock()
}

// SetSource tells that the set's label changed: a member left or joined.
func (s *Sender) SetSource(src Source) error {
	if err := src.check(); err != nil {
		return fmt.Errorf("send changes: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source = src
	for _, l := range s.links {
		poke(l.greet)
	}
	return nil
}

// Update tells that head is the newest commit. It is sent only when it is allowed.
func (s *Sender) Update(head state.Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = pointOf(head)
	s.recent = append(s.recent, known{head.Seq, s.clock.Now()})
	if len(s.recent) > maxRecent {
		s.recent = append(s.recent[:0:0], s.recent[maxRecent/2:]...)
	}
}

// Allow tells that c and all before it may be sent on: the primary's services take it. During a hold that counts when the hold ends.
func (s *Sender) Allow(c state.Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = pointOf(c)
	if s.held == "" {
		s.open()
	}
}

// Hold keeps back everything that was not allowed until now, and tells why. A peer that is behind still gets what was.
func (s *Sender) Hold(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reason == "" {
		reason = "held back"
	}
	s.held = reason
}

// Release ends a hold.
func (s *Sender) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = ""
	s.open()
}

// open needs s.mu.
func (s *Sender) open() {
	if s.limit == s.allowed {
		return
	}
	s.limit = s.allowed
	for _, l := range s.links {
		poke(l.wake)
	}
}

// Heard tells that a peer was just seen alive: its link stops waiting for the next attempt.
func (s *Sender) Heard(peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.links[peer]; l != nil && !l.up {
		poke(l.retry)
	}
}

// Replace orders that our line takes the place of the one that peer has, where the two are apart; the peer keeps its own as the line keep (see
// KeptName). It is false where they are not apart. The order ends when that is done, or proves needless, and with Stop.
func (s *Sender) Replace(peer string, keep state.Branch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.links[peer]
	if l == nil || !l.apart {
		return false
	}
	l.order = keep
	poke(l.wake)
	return true
}

// meet keeps a link for every peer.
func (s *Sender) meet(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		all, err := s.cfg.Peers()
		if err == nil {
			said = ""
			s.link(ctx, all)
		} else if err.Error() != said {
			said = err.Error()
			s.cfg.Log.Warn("changes cannot be sent to servers that are not known", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-s.clock.After(time.Second):
		}
	}
}

func (s *Sender) link(ctx context.Context, all []siteconf.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	gone := map[string]bool{}
	for name := range s.links {
		gone[name] = true
	}
	for _, p := range all {
		delete(gone, p.Name)
		if l := s.links[p.Name]; l != nil {
			if l.peer == p {
				continue
			}
			l.cancel() // another address or key: installed anew
		}
		l, err := newLink(ctx, s, p)
		if err != nil {
			s.cfg.Log.Error("changes cannot be sent", "peer", p.Name, "err", err)
			continue
		}
		s.links[p.Name] = l
		s.work.Go(l.carry)
		s.work.Go(l.listen)
	}
	for name := range gone {
		s.links[name].cancel()
		delete(s.links, name)
	}
}

// Status tells how it stands with every peer, by name.
func (s *Sender) Status() map[string]Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]Status, len(s.links))
	for name, l := range s.links {
		out[name] = l.status()
	}
	return out
}

// Head gives the newest recorded and the newest that is sent on.
func (s *Sender) Head() (head, limit Point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, s.limit
}

// since is when the first commit after seq became known. It needs s.mu.
func (s *Sender) since(seq uint64) time.Time {
	for i, k := range s.recent {
		if k.seq > seq {
			if i == 0 && k.seq > seq+1 {
				return time.Time{} // earlier than we remember
			}
			return k.at
		}
	}
	return time.Time{}
}

// poke wakes whoever waits on c; once is enough.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
