// Package verify proves services by real transactions: each probe kind (one file each, listed in Kinds) does one against an address
// and says what it found, in words. The Runner does each check again and again, on its own, so that a slow one delays no other,
// and keeps the newest result and a bounded history of each. Out of its turn a check runs when somebody has to know now: the Synchronizer,
// right after a change.
//
// It does not know servers, roles or sites: the daemon makes the checks, and the site package judges the results.
package verify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
}

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

// Kind does one transaction. It must end when ctx does.
type Kind func(ctx context.Context, t Target) Outcome

// Kinds are all probe kinds by the name that packs use. To add one is to add a file, and its line here.
func Kinds() map[string]Kind {
	return map[string]Kind{
		"dns":      DNS,
		"http":     HTTP,
		"imap":     IMAP,
		"kerberos": Kerberos,
		"ldap":     LDAP,
		"mail":     Mail,
		"mysql":    MySQL,
		"nfs":      NFS,
		"ntp":      NTP,
		"nut":      NUT,
		"pgsql":    PgSQL,
		"ping":     Ping,
		"smb":      SMB,
		"smtp":     SMTP,
		"ssh":      SSH,
		"tcp":      TCP,
	}
}

// Three parameters belong to every kind and are seen to by the daemon: timeout of a run (Go duration, "10s"), every (the time between two
// runs, for transactions that cost much: "1m") and secret (the file that holds Target.Secret, "/etc/atlas/verify.secret").

// CheckParams tells a pack's author about a parameter that kind does not have.
func CheckParams(kind string, params map[string]string) error {
	known := map[string][]string{
		"dns":      {"port", "name", "type", "contains", "timeout"},
		"http":     {"scheme", "port", "path", "host", "status", "contains", "user", "unauthorized", "secret", "timeout"},
		"imap":     {"port", "user", "secret", "tls", "timeout"},
		"kerberos": {"port", "realm", "user", "service", "secret", "timeout"},
		"ldap":     {"port", "base", "user", "attribute", "secret", "timeout"},
		"mail":     {"port", "imap", "user", "secret", "to", "tls", "timeout"},
		"mysql":    {"port", "user", "secret", "database", "table", "scratch", "timeout"},
		"nfs":      {"export", "uid", "portmap", "timeout"},
		"ntp":      {"port", "offset", "timeout"},
		"nut":      {"port", "ups", "timeout"},
		"pgsql":    {"port", "user", "secret", "database", "table", "scratch", "timeout"},
		"ping":     {"timeout"},
		"smb":      {"port", "share", "user", "secret", "file", "contains", "write", "timeout"},
		"smtp":     {"port", "accept", "refuse", "open", "user", "secret", "tls", "timeout"},
		"ssh":      {"port", "user", "timeout"},
		"tcp":      {"port", "expect", "timeout"},
	}[kind]
	if known == nil {
		return fmt.Errorf("probe kind %q is not known", kind)
	}
next:
	for k := range params {
		if k == "every" {
			continue
		}
		for _, n := range known {
			if k == n {
				continue next
			}
		}
		return fmt.Errorf("probe kind %s has no parameter %q; it has %v", kind, k, known)
	}
	return nil
}

// failed words an error of a transaction.
func failed(step string, err error, next string) Outcome {
	if errors.Is(err, context.DeadlineExceeded) {
		return Outcome{Fail, step + ": no answer in time", next}
	}
	return Outcome{Fail, fmt.Sprintf("%s: %v", step, err), next}
}

// Result is what a check found last.
type Result struct {
	Observer string        `json:"observer"` // server that probed
	Target   string        `json:"target"`   // server that was probed
	Service  string        `json:"service"`  // pack's name, or "network"
	Probe    string        `json:"probe"`    // name in the pack
	Title    string        `json:"title"`    // for people
	Status   Status        `json:"status"`
	Evidence string        `json:"evidence"`
	Next     string        `json:"next,omitempty"`
	At       time.Time     `json:"at"`    // when the run ended; zero = not run yet
	Since    time.Time     `json:"since"` // since when the status is the same
	Duration time.Duration `json:"duration_ns"`
	Minor    bool          `json:"minor,omitempty"`   // its failure is told, but does not stand in the way of a swap
	Every    time.Duration `json:"every_ns"`          // how often it runs; a result much older than that is no evidence
	History  []Point       `json:"history,omitempty"` // oldest first
}

// Point is one run in a result's history.
type Point struct {
	At       time.Time     `json:"at"`
	Status   Status        `json:"status"`
	Duration time.Duration `json:"duration_ns"`
}

// Stale tells whether the result is too old at now to be evidence.
func (r Result) Stale(now time.Time) bool {
	return r.At.IsZero() || now.Sub(r.At) > 3*r.Every+10*time.Second
}

// key tells checks and results apart.
func (r Result) key() string { return r.Target + "\x00" + r.Service + "\x00" + r.Probe }
