// Package site puts together what is known of all servers of a site, and judges it: the findings, and the readiness verdict
// ("would a swap done right now bring every service up?").
//
// What each server's sentry knows of itself and has probed comes in as Report, over the network or from this server; Judge is pure
// and runs the same on every server. Missing evidence is a fault: whatever was not heard, not probed or is too old makes the
// verdict "no" with the reason that it is not known.
package site

import (
	"time"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/verify"
	"sayasystems.com/atlas/sentry/watch/health"
)

// Report is all that one server's sentry tells about its own server and about what it has probed.
type Report struct {
	ID        string              `json:"id"`
	Name      string              `json:"name"`
	Address   string              `json:"address"` // management address without prefix length
	Site      string              `json:"site"`
	SiteName  string              `json:"site_name"`
	At        time.Time           `json:"at"`              // when this was put together, by that server's clock
	State     *initapi.State      `json:"state,omitempty"` // nil: init does not answer
	StateErr  string              `json:"state_err,omitempty"`
	Boot      *initapi.BootReport `json:"boot,omitempty"`
	Inventory *hwcheck.Inventory  `json:"inventory,omitempty"`
	Probes    []verify.Result     `json:"probes"`
	Peers     []string            `json:"peers"` // names of the servers that it has pinned
	Packs     []Service           `json:"packs"` // services of its image
	PackErr   string              `json:"pack_err,omitempty"`
	Sync      *state.Status       `json:"sync,omitempty"`   // nil: no set serves, or the server's version has no Synchronizer
	Starts    *rehearsal.Status   `json:"starts,omitempty"` // of a secondary: which of its services are proven to start from cold
	Ledger    []ledger.Entry      `json:"ledger,omitempty"` // the newest of the set that is started here, the newest first
	Accepted  []accept.Acceptance `json:"accepted,omitempty"`
	Health    *health.Status      `json:"health,omitempty"` // of its hardware, disks and filesystems; nil: its version does not watch them
}

// Service is a pack as pages name it.
type Service struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

// Server is one server of the site as it is known here.
type Server struct {
	Name    string        `json:"name"`
	ID      string        `json:"id"`
	Address string        `json:"address"`
	Self    bool          `json:"self"`            // the server that tells this
	Seen    time.Time     `json:"seen"`            // when its last report came, by this server's clock; zero = never
	Error   string        `json:"error,omitempty"` // why it cannot be asked now
	ErrorAt time.Time     `json:"error_since,omitzero"`
	Ahead   time.Duration `json:"clock_ahead_ns,omitempty"` // its clock less ours
	Report  *Report       `json:"-"`                        // the last one, however old; nil = never

	// Of Report, for those who read the JSON.
	State  *initapi.State      `json:"state"`
	Boot   *initapi.BootReport `json:"boot,omitempty"`
	Probes []verify.Result     `json:"probes"`
	Sync   *state.Status       `json:"sync,omitempty"`
	Starts *rehearsal.Status   `json:"starts,omitempty"`
	Health *health.Status      `json:"health,omitempty"`
}

// Fresh tells whether the server's report is evidence at now.
func (s Server) Fresh(now time.Time) bool {
	return s.Report != nil && !s.Seen.IsZero() && now.Sub(s.Seen) <= FreshFor
}

// FreshFor is how long a report is evidence. Reports come every few seconds.
const FreshFor = 20 * time.Second

// silentAfter is for how long every question to a server must have failed before what others see of its services is told as its silence.
const silentAfter = 5 * time.Second

// Silent tells that s does not answer just now, though its last report is still evidence: it may have lost its power or its cable.
func (s Server) Silent(now time.Time) bool {
	return !s.Self && s.Error != "" && !s.ErrorAt.IsZero() && now.Sub(s.ErrorAt) > silentAfter && s.Fresh(now)
}

// Role of the set that s has started, "" if none or not known.
func (s Server) Role() roles.Role {
	if s.Report == nil || s.Report.State == nil || s.Report.State.State != initapi.Serving {
		return ""
	}
	return s.Report.State.Role
}

// Site is everything, judged.
type Site struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	At        time.Time         `json:"at"`
	Server    string            `json:"server"` // who tells this
	Readiness Readiness         `json:"readiness"`
	Advice    Advice            `json:"advice"`
	Findings  []initapi.Finding `json:"findings"`
	Servers   []Server          `json:"servers"` // by name
	// Accepted are the findings that administrators have accepted, those that ended lately too.
	Accepted []accept.Acceptance `json:"accepted,omitempty"`
	Ledger   []ledger.Entry      `json:"ledger,omitempty"` // of all servers that are heard, the newest first
}

// Readiness is the verdict.
type Readiness struct {
	At      time.Time `json:"at"`
	Ready   bool      `json:"ready"`
	Verdict string    `json:"verdict"` // initapi.VerdictYes, VerdictNo or VerdictUnknown: no, but only for lack of evidence
	Reasons []Reason  `json:"reasons"` // why not ready, most important first; empty when ready
	// Accepted stand in the way too, and an administrator has accepted them for a time.
	Accepted []Reason `json:"accepted"`
	// Open are changes whose start from cold is still to be proven, and will be in time: they do not count yet.
	Open []string `json:"open,omitempty"`
}

// Reason is one thing that stands in the way of a swap. ID is that of the finding which tells of it too, where there is one.
type Reason struct {
	ID       string            `json:"id"`
	Text     string            `json:"text"` // what, in the owner's words
	Evidence string            `json:"evidence,omitempty"`
	Also     []string          `json:"also,omitempty"`     // what comes from the same cause
	Explains []string          `json:"explains,omitempty"` // IDs of that
	Next     string            `json:"next,omitempty"`
	Server   string            `json:"server,omitempty"`
	Since    time.Time         `json:"since,omitzero"`
	Unknown  bool              `json:"unknown,omitempty"` // not a fault that was seen, but evidence that is missing
	Accepted *initapi.Accepted `json:"accepted,omitempty"`
}

// Find gives the server called name.
func (s Site) Find(name string) (Server, bool) {
	for _, v := range s.Servers {
		if v.Name == name {
			return v, true
		}
	}
	return Server{}, false
}

// ByRole gives the servers whose started set has role r.
func (s Site) ByRole(r roles.Role) []Server {
	var out []Server
	for _, v := range s.Servers {
		if v.Role() == r {
			out = append(out, v)
		}
	}
	return out
}
