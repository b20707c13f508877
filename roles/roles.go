// Package roles knows labels and disk sets, and decides what a server may do with the disks that are in it.
//
// Labels are read from whatever disks are there, put together as a View with what the other servers attest, and Decide, a pure
// function, answers with a Decision and its reasons in words. Only ReadLabel and WriteLabel touch a disk; nothing here starts
// arrays, mounts or networks, and no server's configuration is known here.
//
// The promise is that at most one lineage of a set ever serves, and that it is the one with the newest data unless an operator
// ordered otherwise. It rests on four things: every start writes the labels before md writes a byte; a set without a member starts
// by itself only where the label of those that stay records that the member left; a lineage gets a new name whenever a member
// leaves, so that two halves that ran apart can always be told from one half that fell behind; and a server tells its peers what
// it holds before it asks them (roles.Tell), so that of two servers that boot at the same moment at least one sees the other.
package roles

import "time"

// Role is what a disk set makes of the server that holds it.
type Role string

// Roles.
const (
	Primary   Role = "primary"
	Secondary Role = "secondary"
)

// Level is the RAID level of a set.
type Level string

// RAID levels.
const (
	RAID1  Level = "raid1"
	RAID5  Level = "raid5"
	RAID10 Level = "raid10"
)

// Label is the record on every member of a disk set. All members of a healthy set carry the same, but for Self.
type Label struct {
	Version    int       `json:"version"` // format; LabelVersion
	Site       string    `json:"site"`    // UUID
	SiteName   string    `json:"site_name"`
	Set        string    `json:"set"`   // UUID
	Array      string    `json:"array"` // md array UUID, as mdadm --detail prints it
	Role       Role      `json:"role"`
	Level      Level     `json:"level"`
	Members    []Member  `json:"members"`    // in slot order; never shrinks: a replaced member's entry is overwritten
	Self       int       `json:"self"`       // index in Members of the disk that carries this copy
	Generation uint64    `json:"generation"` // + 1 on the first mount of each boot, and when a member leaves or joins
	Image      string    `json:"image"`      // version of the image that wrote the set last
	Server     string    `json:"server"`     // name of the server that wrote it last
	Written    time.Time `json:"written"`
	// Lineage names the stretches of the set's life, newest first: every time a member leaves, those that stay take a new name.
	// A disk whose newest name is in here holds nothing that this one lacks; see Label.Judge. Empty = as made.
	Lineage []string `json:"lineage,omitempty"`
	// Aside lists members (as "member@lineage") whose own later data an operator gave up in favour of this lineage. They are left
	// alone until somebody asks for them to be wiped.
	Aside []string `json:"aside,omitempty"`
	// GivenUp, on a member that an operator's order set aside, is the lineage that was kept. Such a member never starts by itself.
	GivenUp string `json:"given_up,omitempty"`
}

// Member is one disk of a set as its label lists it.
type Member struct {
	ID      string `json:"id"` // UUID of this membership; a disk that rejoins gets a new one
	Serial  string `json:"serial"`
	Model   string `json:"model"`
	Size    uint64 `json:"size"`              // bytes of the whole disk
	Ejected uint64 `json:"ejected,omitempty"` // generation at which it left; 0 = active
	Reason  string `json:"reason,omitempty"`  // why it left: "pulled or failed in bay 2"
}

// Disk is one disk that is in the server now.
type Disk struct {
	Dev    string `json:"dev"` // "/dev/vda", or the lab's path
	Bay    int    `json:"bay"` // 0 = none (not in a swappable bay)
	Serial string `json:"serial"`
	Model  string `json:"model"`
	Size   uint64 `json:"size"`
	Label  *Label `json:"label,omitempty"`
	// LabelErr tells why Label is nil although the disk has a label partition: ErrTorn, ErrFuture…
	LabelErr string `json:"label_err,omitempty"`
	// Blank: no partition table, no filesystem, no array superblock.
	Blank bool `json:"blank"`
	// Content describes what is on a disk without a label that is not blank: "ext4 filesystem", "GPT with 3 partitions".
	Content string `json:"content,omitempty"`
	// Array is the md UUID found on the member partition ("" if none), to be held against the label's.
	Array string `json:"array,omitempty"`
	// Events is md's event counter of the member; Missing the slots that its superblock marks as missing.
	Events  uint64 `json:"events,omitempty"`
	Missing []int  `json:"missing,omitempty"`
	// Recovering: its superblock says that the rebuild onto it had not finished ("Recovery Offset" of mdadm --examine).
	Recovering bool `json:"recovering,omitempty"`
}

// Attestation is what another server of the site says about itself.
type Attestation struct {
	Server    string    `json:"server"`
	Reachable bool      `json:"reachable"`
	Role      Role      `json:"role,omitempty"`    // of the set that it has started, "" if none
	Serving   bool      `json:"serving,omitempty"` // its services are started or starting
	Set       string    `json:"set,omitempty"`
	Holds     []Holding `json:"holds,omitempty"` // labels of all disks in it, started or not
	// Booting: reachable, but its disks have not been read yet: Holds says nothing.
	Booting bool `json:"booting,omitempty"`
	// Unreadable are the serials of disks in it whose label cannot be read: it cannot attest what they are.
	Unreadable []string `json:"unreadable,omitempty"`
	// Seen is what the server remembers: of each set the last label that it wrote.
	Seen []Holding `json:"seen,omitempty"`
}

// Holding is a member that a server has in one of its bays, or (as memory) the last label that it wrote to a set.
type Holding struct {
	Set        string `json:"set"`
	Member     string `json:"member,omitempty"`
	Generation uint64 `json:"generation"`
	Role       Role   `json:"role,omitempty"`
	Lineage    string `json:"lineage,omitempty"` // Label.Head
	Pending    bool   `json:"pending,omitempty"` // as memory: was about to be written, and may not have been
}

// Policy is what the operator allows.
type Policy struct {
	// StartAttested lets a set with an absent, unrecorded member start when every other server of the site is reachable and
	// attests that it does not hold that member.
	StartAttested bool `json:"start_attested"`
}

// Order is an operator's explicit decision, given at the console or the page for one boot: start Set with the disks Members (ids of
// memberships, Label.ID, or serials) and record every other member as ejected. It does not overrule a peer that runs the set or is
// primary, or that holds newer data of the set.
type Order struct {
	Set     string   `json:"set"`
	Members []string `json:"members"`
}

// View is all that Decide looks at.
type View struct {
	Site   string        `json:"site"`   // this server's site UUID
	Server string        `json:"server"` // its name
	Disks  []Disk        `json:"disks"`
	Peers  []Attestation `json:"peers"` // every other server of the site, reachable or not
	Policy Policy        `json:"policy"`
	Order  *Order        `json:"order,omitempty"`
	// Seen is this server's own memory, from its state partition (Remember). It catches a set's older disk that is put in after a
	// newer one ran here. Empty is allowed: then only labels and peers are asked.
	Seen []Holding `json:"seen,omitempty"`
}

// Action is what a server may do.
type Action string

// Actions.
const (
	Start Action = "start"
	Hold  Action = "hold"
)

// Decision is Decide's answer.
type Decision struct {
	Action   Action   `json:"action"`
	Role     Role     `json:"role,omitempty"`
	Set      string   `json:"set,omitempty"`
	Label    *Label   `json:"label,omitempty"`     // newest label of the set to start
	Members  []Disk   `json:"members,omitempty"`   // disks to assemble, in slot order
	Stale    []Disk   `json:"stale,omitempty"`     // ejected members that are here; may be wiped and rebuilt from the set
	Eject    []int    `json:"eject,omitempty"`     // indexes in Label.Members to record as ejected before the first mount
	EjectWhy []string `json:"eject_why,omitempty"` // for each of Eject, the reason to record
	Aside    []Disk   `json:"aside,omitempty"`     // of the same set, with data of their own that the order gives up; never wiped unasked
	Ordered  bool     `json:"ordered,omitempty"`   // by an operator: the labels record it
	Degraded bool     `json:"degraded"`
	Reasons  []Reason `json:"reasons"` // most important first; at least one when Action is Hold
}

// Reason tells a person what was found and what to do.
type Reason struct {
	Code string `json:"code"` // stable, e.g. "half-elsewhere"
	Text string `json:"text"` // one or two short sentences that name the bay
	Next string `json:"next"` // what to do now; "" if nothing
}
