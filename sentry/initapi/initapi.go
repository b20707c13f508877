// Package initapi is what init tells and does for other processes on the same server, over the Unix socket layout.InitSocket
// (HTTP with JSON bodies; only root may connect):
//
//	GET  /v1/state                       State
//	GET  /v1/boot                        BootReport of this boot
//	GET  /v1/inventory                   hwcheck.Inventory
//	POST /v1/services/{name}/{verb}      verb: start, stop, restart, reload
//	POST /v1/power                       PowerRequest
//	POST /v1/set/add                     AddRequest: take the disk in a bay into the set and rebuild it
//	POST /v1/set/order                   roles.Order: an operator's decision while holding
//
// Errors are {"error": "what is wrong; what to do"} with status 4xx or 5xx.
package initapi

import (
	"time"

	"sayasystems.com/atlas/roles"
)

// Phase of the whole server's life, as State.State.
const (
	Booting    = "booting"
	Serving    = "serving"    // a set is started; Role says which
	Holding    = "holding"    // no set may start; Reasons say why
	Installing = "installing" // booted from the install stick
	Stopping   = "stopping"
)

// State is everything init knows about its server.
type State struct {
	Server   string       `json:"server"`
	Kind     string       `json:"kind"` // "hardware" or "namespace" (the lab's)
	State    string       `json:"state"`
	Phase    string       `json:"phase,omitempty"` // boot phase while booting
	Role     roles.Role   `json:"role,omitempty"`
	Ready    bool         `json:"ready"` // serving, and every process of every pack ready
	Version  string       `json:"version"`
	Release  string       `json:"release"` // Debian release, "13"
	Slot     string       `json:"slot,omitempty"`
	SlotGood bool         `json:"slot_good"`
	Set      *Set         `json:"set,omitempty"`
	Disks    []roles.Disk `json:"disks"` // all disks seen, labels included
	// DisksKnown: labels of all disks have been read in this boot. Before, sentry attests nothing: an empty list is no evidence.
	DisksKnown bool `json:"disks_known"`
	// Seen is what the server remembers of the sets that it ran: the last label of each, for roles.Attestation.
	Seen      []roles.Holding `json:"seen,omitempty"`
	Reasons   []roles.Reason  `json:"reasons,omitempty"`
	Addresses Addresses       `json:"addresses"`
	Services  []Service       `json:"services"`
	Findings  []Finding       `json:"findings"`
	Started   time.Time       `json:"started"`
	MemoryKiB int             `json:"memory_kib"` // resident size of PID 1
}

// Set is the started disk set.
type Set struct {
	ID         string       `json:"id"`
	Level      roles.Level  `json:"level"`
	Generation uint64       `json:"generation"`
	Degraded   bool         `json:"degraded"`
	Rebuild    string       `json:"rebuild,omitempty"` // "12 % (3 min left)"
	Members    []MemberInfo `json:"members"`
	SizeBytes  uint64       `json:"size_bytes"`
	FreeBytes  uint64       `json:"free_bytes"`
}

// MemberInfo is one member as it is now. State: "active", "rebuilding", "missing", "failed".
type MemberInfo struct {
	Bay    int    `json:"bay"`
	Serial string `json:"serial"`
	Dev    string `json:"dev,omitempty"`
	State  string `json:"state"`
}

// Addresses of the server. MAC and Service are empty while no set is started.
type Addresses struct {
	Management string `json:"management,omitempty"` // CIDR
	Service    string `json:"service,omitempty"`    // CIDR
	Service6   string `json:"service6,omitempty"`   // CIDR
	ServiceMAC string `json:"service_mac,omitempty"`
	Announced  bool   `json:"announced"` // true on the primary only
}

// Service is one pack's state. State: "starting", "ready", "failed", "stopped", "stopping".
type Service struct {
	Name      string    `json:"name"`
	Title     string    `json:"title"`
	State     string    `json:"state"`
	Since     time.Time `json:"since"`
	Restarts  int       `json:"restarts"`
	Error     string    `json:"error,omitempty"` // last words of the process that failed
	Processes []Process `json:"processes"`
}

// Process is one supervised process.
type Process struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	State string `json:"state"`
}

// Finding is something wrong or worth telling. Severity: "info", "warning", "critical".
type Finding struct {
	ID       string    `json:"id"` // stable: "set-degraded"
	Severity string    `json:"severity"`
	What     string    `json:"what"`
	Where    string    `json:"where"` // server, bay, service
	Next     string    `json:"next"`
	Since    time.Time `json:"since"`
}

// BootReport tells how a boot went.
type BootReport struct {
	Server   string        `json:"server"`
	Version  string        `json:"version"`
	Slot     string        `json:"slot,omitempty"`
	Started  time.Time     `json:"started"`
	Firmware time.Duration `json:"firmware_ns,omitempty"` // firmware and boot loader, from systemd-boot's variables, when told
	Kernel   time.Duration `json:"kernel_ns"`             // kernel start to init's first line
	Phases   []PhaseReport `json:"phases"`
	Total    time.Duration `json:"total_ns"` // kernel start to the end of the last phase
	Outcome  string        `json:"outcome"`  // "primary", "secondary", "holding", or the error
}

// PhaseReport is one phase of a boot.
type PhaseReport struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"duration_ns"`
	Result   string        `json:"result"` // "ok", "skipped", or the error
	Note     string        `json:"note,omitempty"`
}

// PowerRequest asks for an orderly end. Action: "off" or "reboot".
type PowerRequest struct {
	Action string `json:"action"`
	Reason string `json:"reason,omitempty"`
}

// AddRequest takes the disk in Bay into the set. Serial must be given when the disk is not blank, and match.
type AddRequest struct {
	Bay    int    `json:"bay"`
	Serial string `json:"serial,omitempty"`
}
