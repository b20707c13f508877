package state

import (
	"time"

	"sayasystems.com/atlas/sentry/initapi"
)

// Held is a change of the primary that is not sent on.
type Held struct {
	Since   time.Time `json:"since"`
	Commit  string    `json:"commit"`  // the newest that is held back
	Good    string    `json:"good"`    // the newest that is sent on
	Service string    `json:"service"` // whose checker refuses it, or whose probe fails with it
	Words   string    `json:"words"`   // what the checker or the probe says
	Paths   []Path    `json:"paths"`   // what was changed since Good and concerns the service
}

// Peer is how it stands with the changes of this server at another one.
type Peer struct {
	Name    string    `json:"name"`
	Up      bool      `json:"up"`
	Live    string    `json:"live,omitempty"` // commit that is live there
	Seq     uint64    `json:"seq,omitempty"`
	State   string    `json:"state"`           // words of carry.Stage: "in step", "checking"
	Behind  uint64    `json:"behind"`          // commits
	Since   time.Time `json:"since,omitzero"`  // when the first of them was recorded
	Err     string    `json:"err,omitempty"`   // why it does not get on
	Apart   bool      `json:"apart,omitempty"` // it has another history than this server; see Resync
	Missing bool      `json:"missing"`         // it has not reported for too long
	Report  time.Time `json:"report,omitzero"` // when it last reported
}

// Status is what a server's Synchronizer tells of itself.
type Status struct {
	At       time.Time         `json:"at"`             // when it last was seen at work
	Role     string            `json:"role,omitempty"` // "primary", "secondary"; "" while no set is started
	Head     *Commit           `json:"head,omitempty"` // newest recorded; on a secondary: received
	Live     *Commit           `json:"live,omitempty"` // on a secondary: newest of its own line
	InStep   bool              `json:"in_step"`        // on a secondary: Head is live, its services were told and work
	Commits  int               `json:"commits"`        // of the site's line
	Held     *Held             `json:"held,omitempty"`
	Peers    []Peer            `json:"peers,omitempty"` // on the primary
	Findings []initapi.Finding `json:"findings"`
}
