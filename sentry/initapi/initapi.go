// Package initapi is what init tells and does for other processes on the same server, over the Unix socket layout.InitSocket
// (HTTP with JSON bodies; only root may connect):
//
//	GET  /v1/state                       State
//	GET  /v1/boot                        BootReport of this boot
//	GET  /v1/inventory                   hwcheck.Inventory
//	POST /v1/services/{name}/{verb}      Done; name: of a pack, or a unit or process of one. verb: start, stop, restart, reload,
//	                                     enable, disable (these two change the site's settings and take packs' names only)
//	POST /v1/site/reload                 Done: reads the site's settings again and applies their list of services
//	POST /v1/power                       PowerRequest
//	POST /v1/set/add                     AddRequest: take the disk in a bay into the set and rebuild it
//	POST /v1/set/order                   roles.Order: an operator's decision while holding
//	POST /v1/rehearse                    RehearseRequest: stop services of a secondary and start them as a boot does
//	POST /v1/data/commit                 CommitRequest, answered with Committed: give up the way back to an older release
//
// Errors are {"error": "what is wrong; what to do"} with status 4xx or 5xx.
package initapi

import (
	"slices"
	"strings"
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
	Off       []Service       `json:"off"` // packs of the image that the site does not run; their State is "off"
	Findings  []Finding       `json:"findings"`
	Forms     []DataForm      `json:"forms,omitempty"` // of data that not every release reads: what the image can take, and what the set has
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

// Service is one pack's state. State: "starting", "ready", "failed", "stopped", "stopping", "off" (not chosen by the site).
type Service struct {
	Name        string    `json:"name"`
	Title       string    `json:"title"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`
	Restarts    int       `json:"restarts"`
	Error       string    `json:"error,omitempty"`   // last words of the process that failed
	Waiting     string    `json:"waiting,omitempty"` // what it waits for before it starts: "Database, which has failed"
	Enabled     bool      `json:"enabled"`           // starts with the server, by the site's choice or since every server runs it
	Log         string    `json:"log"`               // path of its log file; rotated ones beside it have .1, .2, …
	MemoryBytes int64     `json:"memory_bytes,omitempty"`
	// Reloading: processes are being told to read their files again. Reloaded is when they last had been.
	Reloading bool      `json:"reloading,omitempty"`
	Reloaded  time.Time `json:"reloaded,omitzero"`
	Processes []Process `json:"processes"`
}

// Process is one supervised process.
type Process struct {
	Name    string   `json:"name"`
	PID     int      `json:"pid"` // 0: none, as with a oneshot that has done its work
	State   string   `json:"state"`
	Units   []string `json:"units"`   // names by which systemctl and service know it
	Reloads bool     `json:"reloads"` // can read its configuration again without a restart
	Error   string   `json:"error,omitempty"`
}

// Off is the state of a pack that the site does not run.
const Off = "off"

// Done answers what has been ordered. Note is for people: what was done besides, or what is still to be done; may be empty.
type Done struct {
	OK   bool   `json:"ok"`
	Note string `json:"note,omitempty"`
}

// Find returns the service that name means, running or off: a pack's name, or else that of a unit or process (with or without
// .service); then process is its index in Processes, else -1. Running services come before those that are off.
func (s State) Find(name string) (svc Service, process int, ok bool) {
	name = strings.TrimSuffix(name, ".service")
	for _, list := range [][]Service{s.Services, s.Off} {
		for _, v := range list {
			if v.Name == name {
				return v, -1, true
			}
		}
	}
	for _, list := range [][]Service{s.Services, s.Off} {
		for _, v := range list {
			for i, p := range v.Processes {
				if slices.Contains(p.Units, name) {
					return v, i, true
				}
			}
		}
	}
	for _, list := range [][]Service{s.Services, s.Off} {
		for _, v := range list {
			for i, p := range v.Processes {
				if p.Name == name {
					return v, i, true
				}
			}
		}
	}
	return Service{}, -1, false
}

// Finding is something wrong or worth telling. Severity: "info", "warning", "critical".
type Finding struct {
	ID       string    `json:"id"` // stable: "set-degraded"
	Severity string    `json:"severity"`
	What     string    `json:"what"`
	Where    string    `json:"where"` // server, bay, service
	Next     string    `json:"next"`
	Since    time.Time `json:"since"`
	// News tells of what has happened, and not how things stand: it ends at Until (zero: never by itself), or when a person has acknowledged it.
	News  bool      `json:"news,omitempty"`
	Until time.Time `json:"until,omitzero"`
	// Accepted: somebody has accepted it for a time; it does not stand in the way of a swap.
	Accepted *Accepted `json:"accepted,omitempty"`
}

// Accepted tells who has accepted a finding.
type Accepted struct {
	Who   string    `json:"who"`
	Why   string    `json:"why"`
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
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

// DataForm tells of one service's data what this server's image can take, and, if a set is started here, what the set has.
type DataForm struct {
	Service string `json:"service"`
	Title   string `json:"title"`
	Path    string `json:"path"`
	Kind    string `json:"kind"`            // as packs name it: "postgresql", "copy"
	Takes   int    `json:"takes"`           // form that the image's daemon works with: PostgreSQL's major version, or the Debian release
	Older   []int  `json:"older,omitempty"` // older forms that the image can bring forward

	Form  int       `json:"form,omitempty"`  // of the data on the started set; 0 = there are none
	Since time.Time `json:"since,omitzero"`  // when they got this form
	Kept  []int     `json:"kept,omitempty"`  // older forms to which there is a way back
	Room  int64     `json:"room,omitempty"`  // bytes that it takes to bring them forward
	Bytes int64     `json:"bytes,omitempty"` // that they take
}

// RehearseRequest names services of a secondary, all of the site's if none: they are stopped, those that others need last, and started again.
// The answer comes when the starts are ordered. A primary refuses.
type RehearseRequest struct {
	Services []string `json:"services,omitempty"`
}

// CommitRequest gives up the way back to an older release for the data of services, all if none are named. Ask: only tell what would be removed.
type CommitRequest struct {
	Services []string `json:"services,omitempty"`
	Ask      bool     `json:"ask,omitempty"`
}

// Committed answers CommitRequest.
type Committed struct {
	Kept  []string `json:"kept"`            // what would be, or was, removed: one line for people each
	Freed int64    `json:"freed,omitempty"` // bytes
}

// AddRequest takes the disk in Bay into the set. Serial must be given when the disk is not blank, and match.
type AddRequest struct {
	Bay    int    `json:"bay"`
	Serial string `json:"serial,omitempty"`
}
