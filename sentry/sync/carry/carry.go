// Package carry brings the primary's history to every secondary, and what became of it back, over the peers' port and pins (package peers).
//
// Data flow. On the primary a Sender is told what was recorded (Update) and up to which commit it may send (Allow). It has one link for each
// peer, which works on its own:
//
//	hello (who we are, which set) → what the other has → push (what is missing, as a pack of git) → what the other has now → push …
//
// The answer to a push says what the receiver has, so in the normal case a change costs one request on an open connection. On the secondary
// a Receiver takes packs into its history and answers when that is durable; then the engine there is called (OnReceived), and tells what it
// makes of it (SetProgress). A second connection of the sender waits for exactly that (GET progress), so that news cross within
// milliseconds and silence is noticed (Status.Missing).
//
// A pack that does not fit into memory goes through a file on both sides, in pieces; what has arrived is kept, so that a transfer goes on
// where it was cut. A pack counts only when it is whole, has the checksum that was told, and history has taken it.
//
// What a receiver takes is decided by set and lineage, never by server: after a swap of disk sets the other server is the source, with the
// same set. It takes nothing from a server that is not attested as the only primary with that set, nor anything older than what it has, nor what
// does not continue it. The two sides then tell each other that they are apart, and a person may order on either that the primary's history
// takes the place of the secondary's, which keeps its own as another line.
//
// This package decides nothing about roles, applies nothing, and never looks into a pack.
package carry

import (
	"io"
	"time"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Protocol is the version of the messages. Both sides must speak the same.
const Protocol = 1

// Paths that a receiver adds to the peers' API.
const (
	PathHello    = "/v1/sync/hello"    // POST Hello → State
	PathPush     = "/v1/sync/push"     // POST Offer and a piece of a pack → State, when it is durable
	PathProgress = "/v1/sync/progress" // GET ?epoch=E&after=N → Progress, as soon as there is a later one than N
)

// Exporter is the history that a Sender reads; see FromHistory.
type Exporter interface {
	// Commit reads a commit; an error that wraps history.ErrNotFound if it is not here.
	Commit(id string) (state.Commit, error)
	// Export writes a pack of git with all that want has and have lacks.
	Export(w io.Writer, have []string, want string) error
}

// Importer is the history that a Receiver writes; see FromHistory.
type Importer interface {
	// Head is the newest commit of branch; false if there is none.
	Head(branch state.Branch) (state.Commit, bool)
	// Import takes a pack of at most limit bytes when inflated and makes head the newest commit of branch, durably or not at all. With keep that
	// may be a line which does not continue the one that is here; that one is kept under the name keep.
	Import(r io.Reader, limit int64, branch state.Branch, head string, keep state.Branch) (state.Commit, error)
}

// Apart is how the histories of a primary and a secondary stand that do not continue each other.
type Apart struct {
	With   string // the other server
	Theirs Point  // what it has
	Ours   Point
}

// KeptName names the line under which a history is kept that another one takes the place of, ordered at t.
func KeptName(t time.Time) state.Branch { return state.Branch(t.UTC().Format("kept-20060102-150405")) }

// Kept tells whether a line is one of those.
func Kept(b state.Branch) bool { return keptName.MatchString(string(b)) }

// Limits bound memory, disk and time. Zero values stand for the defaults named here.
type Limits struct {
	Memory  int64         // a pack up to this size is kept in memory: 1 MiB
	Piece   int64         // of larger ones, as much is sent at once: 4 MiB
	Pack    int64         // larger ones are refused: 8 GiB
	Inflate int64         // nor may they grow to more than: 32 GiB
	Stall   time.Duration // a transfer in which nothing moves for so long is cut: 10 s
	Answer  time.Duration // what the other side has for its answer, besides the time for a large pack: 30 s
	Poll    time.Duration // the receiver says that there is nothing new after: 20 s
	Beat    time.Duration // an idle sender looks whether the other side is there, and keeps its connection warm, every: 20 s
	Missing time.Duration // no report for so long is a fault: 1 min
	Backoff time.Duration // the longest wait between attempts: 5 s
	Fresh   time.Duration // an attestation counts for so long: 10 s
}

func (l Limits) withDefaults() Limits {
	size := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	size(&l.Memory, 1<<20)
	size(&l.Piece, 4<<20)
	size(&l.Pack, 8<<30)
	size(&l.Inflate, 32<<30)
	span(&l.Stall, 10*time.Second)
	span(&l.Answer, 30*time.Second)
	span(&l.Poll, 20*time.Second)
	span(&l.Beat, 20*time.Second)
	span(&l.Missing, time.Minute)
	span(&l.Backoff, 5*time.Second)
	span(&l.Fresh, 10*time.Second)
	return l
}

// slowest is how many bytes a second a transfer must make over its whole length; slower ones are cut and go on later.
const slowest = 16 << 10

// importRate is how many bytes of a pack a second the receiver surely takes into its history; the sender waits accordingly.
const importRate = 1 << 20

// Clock is what time it is; tests have one of their own. Deadlines of the network are of the real clock in any case.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
