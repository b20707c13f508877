// Package verify proves services by real transactions: each probe kind (one file each, listed in Kinds) does one against an address, and what must
// be refused besides, and says what it found, in words. The Runner does each check again and again, on its own, so that a slow one delays no
// other, and keeps the newest result and a bounded history of each. What fails is looked at again at once, and stands only when it was seen
// several times (Result, states.go); between runs a cheap look sees early that nothing answers (watch.go). Out of its turn a check runs when
// somebody has to know now: the Synchronizer, right after a change.
//
// It does not know servers, roles or sites: the daemon makes the checks, and the site package judges the results.
package verify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Status of a result: five different things besides pass.
type Status string

// Statuses.
const (
	Pass          Status = "pass"
	Warn          Status = "warn"           // works, but something should be done
	Fail          Status = "fail"           // the transaction did not succeed
	Unknown       Status = "unknown"        // no evidence: the probe did not run or the observer could not tell
	NotApplicable Status = "not applicable" // there is nothing to probe here
	Skipped       Status = "skipped"        // could be probed, but not now; Evidence says why
)

// Outcome is what one run of a probe found.
type Outcome struct {
	Status   Status
	Evidence string // what was seen: "200, 1.4 KB, contains “ATLAS”"
	Next     string // what to do, when not Pass
	Weight   int    // of a Warn or Fail: how many such runs in a row make it stand; 0 = Tries, 1 = at once
}

// Tries is how many runs in a row must find the same trouble before it stands: one lost packet is none. Twice is enough for a refused
// connection, which is the server's own answer, and for silence through a run's whole time, in which every packet was sent several times. What
// was let in and must not be stands at once.
const (
	Tries      = 3
	triesSure  = 2
	triesAlarm = 1
)

// Target is what a probe is run against.
type Target struct {
	Address  string            // of the service: its address, or a peer's management address
	PortBase int               // added to every port: peers reach a pack with its own address at shifted ones (pack.PeerPort)
	Server   string            // name, for words
	Observer string            // name of the server that probes
	Hostname string            // the site's host name
	Secret   string            // password of the verification account; "" = not known here
	Params   map[string]string // of the pack's probe, keys in lower case
}

// Param gives a parameter or its default. A port (key "port", or one that ends in "_port") is given as it is reached at Address, so kinds need to know nothing of
// PortBase; those that use a port that is no parameter take it from Port.
func (t Target) Param(key, or string) string {
	v := t.Params[key]
	if v == "" {
		v = or
	}
	if key == "port" || strings.HasSuffix(key, "_port") {
		return t.Port(v)
	}
	return v
}

// Port gives the number at which the service's port n is reached at Address. What is no number comes back as it is.
func (t Target) Port(n string) string {
	if i, err := strconv.Atoi(n); err == nil && t.PortBase != 0 {
		return strconv.Itoa(i + t.PortBase)
	}
	return n
}

// Run does one transaction. It must end when ctx does.
type Run func(ctx context.Context, t Target) Outcome

func failure(evidence, next string) Outcome {
	return Outcome{Status: Fail, Evidence: evidence, Next: next}
}

func warning(evidence, next string) Outcome {
	return Outcome{Status: Warn, Evidence: evidence, Next: next}
}

func unknown(evidence, next string) Outcome {
	return Outcome{Status: Unknown, Evidence: evidence, Next: next}
}

// alarm tells of a refusal that has stopped: what must not be let in was. Nothing lost on the way can look like it.
func alarm(evidence, next string) Outcome {
	return Outcome{Status: Fail, Evidence: evidence, Next: next, Weight: triesAlarm}
}

// misnamed is for a probe whose parameters cannot be used.
func misnamed(what string) Outcome { return unknown(what, "Correct the probe in the service pack.") }

// failed words an error of a transaction.
func failed(step string, err error, next string) Outcome {
	if errors.Is(err, context.DeadlineExceeded) {
		return Outcome{Status: Fail, Evidence: step + ": " + silence, Next: next, Weight: triesSure}
	}
	out := failure(fmt.Sprintf("%s: %v", step, err), next)
	if errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "connection refused") { // some libraries keep only the words
		out.Weight = triesSure
	}
	return out
}

// Result is what a check found last.
//
// Status is what the newest run found, and Stands what to believe: trouble stands only once it was found Tries times in a row; until then it
// is soft, is being looked at again within seconds, and what stood before stands. Whoever judges or alarms asks Standing; whoever shows
// what is going on shows Status too.
type Result struct {
	Observer string        `json:"observer"` // server that probed
	Target   string        `json:"target"`   // server that was probed
	Service  string        `json:"service"`  // pack's name, or "network"
	Probe    string        `json:"probe"`    // name in the pack
	Title    string        `json:"title"`    // for people
	Status   Status        `json:"status"`
	Stands   Status        `json:"stands,omitempty"` // "" from versions that do not tell: then Status
	Evidence string        `json:"evidence"`
	Next     string        `json:"next,omitempty"`
	At       time.Time     `json:"at"`    // when the run ended; zero = not run yet
	Since    time.Time     `json:"since"` // since when the status is the same
	Duration time.Duration `json:"duration_ns"`
	Steps    []Step        `json:"steps,omitempty"`    // parts of Duration, in order; what was between them is in none
	Flapping bool          `json:"flapping,omitempty"` // comes and goes: Stands is Warn at best
	Minor    bool          `json:"minor,omitempty"`    // its failure is told, but does not stand in the way of a swap
	Rests    []string      `json:"rests_on,omitempty"` // services of the target without which it cannot succeed
	Every    time.Duration `json:"every_ns"`           // how often it runs; a result much older than that is no evidence
	History  []Point       `json:"history,omitempty"`  // oldest first
}

// Standing is what to believe.
func (r Result) Standing() Status {
	if r.Stands == "" {
		return r.Status
	}
	return r.Stands
}

// Soft tells that the newest run found trouble that does not stand yet: it is being looked at again.
func (r Result) Soft() bool {
	return (r.Status == Fail || r.Status == Warn) && r.Standing() != r.Status && !r.Flapping
}

// Point is one run in a result's history.
type Point struct {
	At       time.Time     `json:"at"`
	Status   Status        `json:"status"`
	Duration time.Duration `json:"duration_ns"`
}

// Stale tells whether the result is too old at now to be evidence. So is one from the future: a clock was set back, and how old it is
// nobody knows.
func (r Result) Stale(now time.Time) bool {
	age := now.Sub(r.At)
	return r.At.IsZero() || age > 3*r.Every+10*time.Second || age < -maxAhead
}

// maxAhead is how far a result may seem to come from the future: two servers know each other's clock only so well.
const maxAhead = 10 * time.Second

// key tells checks and results apart.
func (r Result) key() string { return r.Target + "\x00" + r.Service + "\x00" + r.Probe }
