// Package ledger keeps, on a disk set, which starts of services from cold were tried and what became of them: every boot with the set,
// and every rehearsal of a secondary. The set carries it, so that after a swap the other server tells the same.
//
// Data flow: the daemon opens a Book on the started set and puts an Entry when services start, and again when it is known whether all of
// them worked; Proofs and the other pure functions read from the list what is proven. It starts nothing, and probes nothing.
package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// Kinds of entries.
const (
	Start     = "start"     // the server was booted with the set
	Rehearsal = "rehearsal" // services of a secondary were stopped and started again
)

// Entry is one start from cold.
type Entry struct {
	ID     string        `json:"id"`   // names it for good: kind and At
	Kind   string        `json:"kind"` // Start, Rehearsal
	At     time.Time     `json:"at"`   // power-on; of a rehearsal: when the services were stopped
	Server string        `json:"server"`
	Set    string        `json:"set"`
	Role   roles.Role    `json:"role"`
	Image  string        `json:"image"`             // version that ran
	From   string        `json:"from,omitempty"`    // server that ran the set before, if another one: the sets were swapped
	Live   string        `json:"live,omitempty"`    // commit of the Synchronizer that the services started with
	Why    string        `json:"why,omitempty"`     // of a rehearsal: "nightly", "after a change"
	By     string        `json:"by,omitempty"`      // who ordered it; "" = by itself
	Done   time.Time     `json:"done,omitzero"`     // when it was known what became of it; zero = under way
	Good   bool          `json:"good"`              // all services started, and all their transactions worked, seen from every server of Seen
	Took   time.Duration `json:"took_ns,omitempty"` // until all was good; 0 = not measured
	Seen   []string      `json:"seen,omitempty"`    // servers whose transactions worked
	Words  string        `json:"words,omitempty"`   // why not Good
	All    bool          `json:"all,omitempty"`     // every service of the site was started
	// Services in the order in which they stand in the site.
	Services []Service `json:"services,omitempty"`
}

// Service is what became of one service.
type Service struct {
	Name  string        `json:"name"`
	Title string        `json:"title,omitempty"`
	Took  time.Duration `json:"took_ns,omitempty"` // until it worked; 0 = not measured
	Form  int           `json:"form,omitempty"`    // of its data, as initapi.DataForm has it
	Good  bool          `json:"good"`
	Words string        `json:"words,omitempty"` // why not: the daemon's own
	// Untold: not Good, but nothing was seen to fail either: a server did not tell in time what it sees. That proves nothing, and is no fault.
	Untold bool `json:"untold,omitempty"`
}

// Swap tells whether the set came from another server.
func (e Entry) Swap() bool { return e.Kind == Start && e.From != "" }

// ID makes the name of an entry.
func ID(kind string, at time.Time) string {
	return kind + "-" + at.UTC().Format("20060102T150405.000Z")
}

// So many are kept of each sort: starts and rehearsals of some months, and the swaps of a server's life.
const (
	mostRehearsals = 120
	mostStarts     = 60
	mostSwaps      = 120
)

// Book is the ledger of one set. Its methods may be called from anywhere.
type Book struct {
	path string

	mu   sync.Mutex
	list []Entry // oldest first
	rev  int
}

// Open reads the ledger at path; one that is not there is empty. One that cannot be read is set aside and begun anew: then the Book is good
// and the error tells of it.
func Open(path string) (*Book, error) {
	b := &Book{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &b.list)
	}
	if err != nil {
		b.list = nil
		aside := os.Rename(path, path+".damaged")
		return b, errors.Join(fmt.Errorf("the ledger of starts cannot be read and is begun anew; the old one is kept as %s.damaged: %w", path, err), aside)
	}
	return b, nil
}

// Put adds an entry, or takes the place of the one with its ID, durably.
func (b *Book) Put(e Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.list, func(o Entry) bool { return o.ID == e.ID }); i >= 0 {
		b.list[i] = e
	} else {
		b.list = bounded(append(b.list, e))
	}
	b.rev++
	data, err := json.Marshal(b.list)
	if err == nil {
		err = siteconf.WriteFile(b.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the ledger of starts: %w", err)
	}
	return nil
}

// List gives all entries, the newest first, and a number that changes with them.
func (b *Book) List() ([]Entry, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(b.list)
	slices.Reverse(out)
	return out, b.rev
}

// bounded drops the oldest of each sort. list is oldest first.
func bounded(list []Entry) []Entry {
	left := map[string]int{Rehearsal: mostRehearsals, Start: mostStarts, "swap": mostSwaps}
	var out []Entry
	for _, e := range slices.Backward(list) {
		sort := e.Kind
		if e.Swap() {
			sort = "swap"
		}
		if left[sort] > 0 {
			left[sort]--
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// Merge puts lists of several sets into one, the newest first.
func Merge(lists ...[]Entry) []Entry {
	var out []Entry
	known := map[string]bool{}
	for _, list := range lists {
		for _, e := range list {
			if k := e.Set + " " + e.Server + " " + e.ID; !known[k] {
				known[k] = true
				out = append(out, e)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return b.At.Compare(a.At) })
	return out
}

// What words an entry in a line: "rehearsal of RIGHT (nightly)", "the primary set, swapped from LEFT into RIGHT".
func (e Entry) What() string {
	name := strings.ToUpper(e.Server)
	switch {
	case e.Kind == Rehearsal && e.All:
		return name + " rehearsed: all services" + brackets(e.Why)
	case e.Kind == Rehearsal:
		var t []string
		for _, s := range e.Services {
			t = append(t, s.Label())
		}
		return name + " rehearsed: " + strings.Join(t, ", ") + brackets(e.Why)
	case e.Swap():
		return fmt.Sprintf("%s set swapped from %s into %s", e.Role, strings.ToUpper(e.From), name)
	}
	return fmt.Sprintf("%s started with the %s set", name, e.Role)
}

func brackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// Result words what became of it: "all good after 41 s".
func (e Entry) Result() string {
	switch {
	case e.Good && e.Took > 0:
		return fmt.Sprintf("all good after %s", Seconds(e.Took))
	case e.Good:
		return "all good"
	case e.Done.IsZero():
		return "not proven yet"
	}
	if !e.Fails() {
		return "not proven: " + e.Words
	}
	return "NOT GOOD: " + e.Words
}

// Fails tells whether any service was seen to fail.
func (e Entry) Fails() bool {
	return slices.ContainsFunc(e.Services, func(s Service) bool { return !s.Good && !s.Untold })
}

// Seconds words how long a start took.
func Seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// Label is the service's title, or its name if it has none.
func (s Service) Label() string {
	if s.Title != "" {
		return s.Title
	}
	return s.Name
}
