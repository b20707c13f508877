package state

import (
	"fmt"
	"strings"
)

// Resync orders that a secondary whose history is another one than the primary's takes the primary's files and history.
type Resync struct {
	Server string `json:"server,omitempty"` // the secondary; "" = the one that it can only be
	Try    bool   `json:"try,omitempty"`    // only tell what would be done
	// Plan is Resynced.Plan of an earlier try: what would be done now must be the same as what was shown then. "" = whatever it is.
	Plan string `json:"plan,omitempty"`
}

// Resynced tells what was ordered, or would be.
type Resynced struct {
	Server string `json:"server"`  // whose files and history are replaced
	From   string `json:"from"`    // by those of this one
	Has    uint64 `json:"has"`     // changes in the history of Server
	HasID  string `json:"has_id"`  // the newest of them
	Takes  uint64 `json:"takes"`   // changes in the history of From
	Kept   Branch `json:"kept"`    // line under which Server keeps its own
	Plan   string `json:"plan"`    // see Resync.Plan
	Done   bool   `json:"ordered"` // and not only tried
}

// Words tell a person what it does, a sentence each. They are fit for a terminal.
func (r Resynced) Words() []string {
	to, from := strings.ToUpper(Printable(r.Server)), strings.ToUpper(Printable(r.From))
	return []string{
		fmt.Sprintf("%s takes %s's files as they are now, and its history (%s).", to, from, changes(r.Takes)),
		fmt.Sprintf("%s's own history (%s) is kept aside on %s as %s: on %s, atlas history --line %s.", to, changes(r.Has), to, r.Kept, to, r.Kept),
		fmt.Sprintf("Files that differ on %s are overwritten; what they held is in that history. Services there are checked and told as with any change.", to),
		fmt.Sprintf("Do this only if %s is right. If older disks were put into %s by mistake, put the newest ones back instead.", from, from),
	}
}

func changes(n uint64) string {
	if n == 1 {
		return "1 change"
	}
	return fmt.Sprintf("%d changes", n)
}
