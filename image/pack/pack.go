// Package pack reads service packs: the one place where a service is known. A pack is a folder with pack.yaml and the files that
// it names; the builder reads its packages and accounts, init its processes, sentry its paths, test data and probes. A vendor
// adds a service by adding a folder. This package checks packs and hands them out; it runs nothing.
package pack

import (
	"fmt"
	"path/filepath"
	"slices"

	"sayasystems.com/atlas/image/settings"
)

// Pack is one service. Paths of data live on the disk set below /var, /srv or /home; configuration below /etc.
type Pack struct {
	Name        string            `yaml:"name" json:"name"`
	Title       string            `yaml:"title" json:"title"`                             // for people: "Web server"
	Scope       string            `yaml:"scope,omitempty" json:"scope"`                   // "site" (default): runs where a set serves, on the service address; "server": runs always (ssh)
	Default     string            `yaml:"default,omitempty" json:"default"`               // "on" (default), "off": runs only where site.yaml names it, "absent": not in an image unless the profile names it; then on
	Conflicts   []string          `yaml:"conflicts,omitempty" json:"conflicts,omitempty"` // packs that cannot run beside this one; the two may share ports, files and accounts
	Address     string            `yaml:"address,omitempty" json:"address"`               // "site" (default): the service address; "own": the address that site.yaml gives this pack in addresses
	Packages    []string          `yaml:"packages" json:"packages"`                       // Debian packages, same name in every release
	PackagesFor []ReleasePackages `yaml:"packages_for,omitempty" json:"packages_for,omitempty"`
	Accounts    []Account         `yaml:"accounts,omitempty" json:"accounts,omitempty"`
	Files       []File            `yaml:"files,omitempty" json:"files,omitempty"` // put into the image over what the packages ship
	Needs       []string          `yaml:"needs,omitempty" json:"needs,omitempty"` // other packs: must be ready before this one starts
	Uses        []string          `yaml:"uses,omitempty" json:"uses,omitempty"`   // other packs that run beside this one and stop after it, but without which it starts all the same
	Init        []Step            `yaml:"init,omitempty" json:"init,omitempty"`   // run in order once the needed packs are ready, before the processes
	Processes   []Process         `yaml:"processes" json:"processes"`
	Config      []string          `yaml:"config" json:"config"`                               // configuration paths below /etc, and single ones on the rest of the disk set: kept in history, carried to other servers
	Own         []string          `yaml:"own,omitempty" json:"own,omitempty"`                 // of these: what is this server's and never travels; * may stand for a part of the last element
	Derived     []string          `yaml:"derived,omitempty" json:"derived,omitempty"`         // of these: what each server makes anew, at each start or by derive; likewise. Files that are templates need not be named
	Derive      *Derive           `yaml:"derive,omitempty" json:"derive,omitempty"`           // makes derived paths anew after a change
	Check       *Check            `yaml:"check,omitempty" json:"check,omitempty"`             // looks at the configuration; without it nothing can
	Trial       *Check            `yaml:"trial,omitempty" json:"trial,omitempty"`             // starts the daemon on a configuration that was converted, where the checker is not enough
	Effective   *Effective        `yaml:"effective,omitempty" json:"effective,omitempty"`     // asks what its configuration comes to
	Exports     []Export          `yaml:"exports,omitempty" json:"exports,omitempty"`         // configuration that lives in databases
	Conversions []Conversion      `yaml:"conversions,omitempty" json:"conversions,omitempty"` // what changes in the configuration between releases of Debian
	Data        []string          `yaml:"data,omitempty" json:"data,omitempty"`
	Formats     []Format          `yaml:"formats,omitempty" json:"formats,omitempty"` // of Data: what daemons of another release do not read as it is
	Logs        []string          `yaml:"logs,omitempty" json:"logs,omitempty"`
	Ports       []Port            `yaml:"ports,omitempty" json:"ports,omitempty"`
	TestData    []Step            `yaml:"test_data,omitempty" json:"test_data,omitempty"` // makes what the probes need; idempotent, run once the service is ready
	Probes      []Probe           `yaml:"probes,omitempty" json:"probes,omitempty"`
	Dir         string            `yaml:"-" json:"-"` // the pack's folder

	file *settings.File // where each key stands
}

// Along are the packs that a site runs wherever it runs p.
func (p Pack) Along() []string { return slices.Concat(p.Needs, p.Uses) }

// Errorf makes an error that points at key of the pack's file: "probes[0].kind".
func (p Pack) Errorf(key, format string, args ...any) error {
	if p.file == nil {
		return &settings.Error{File: filepath.Join(p.Dir, FileName), Key: key, Msg: fmt.Sprintf(format, args...)}
	}
	return p.file.Errorf(key, format, args...)
}

// ReleasePackages adds packages for one Debian release ("12", "13").
type ReleasePackages struct {
	Release  string   `yaml:"release" json:"release"`
	Packages []string `yaml:"packages" json:"packages"`
}

// Account is a system user and its group of the same name, with the same fixed ID in every image (600 to 639).
type Account struct {
	Name   string   `yaml:"name" json:"name"`
	ID     int      `yaml:"id" json:"id"`
	Home   string   `yaml:"home,omitempty" json:"home,omitempty"`
	Groups []string `yaml:"groups,omitempty" json:"groups,omitempty"`
}

// Format tells that data have a form that the daemons of two Debian releases do not both read. Data without one work in both. What is done
// with them when a disk set meets an image of another release: initsvc/dataform.
type Format struct {
	Path string `yaml:"path" json:"path"` // of Data, or below: "/var/lib/mysql"
	// Kind: "postgresql", clusters VERSION/main, which are written anew by the newer server; "copy", data that the newer daemon changes in place,
	// and the older one does not read afterwards: a copy is kept before it starts.
	Kind string `yaml:"kind" json:"kind"`
}

// File is copied from the pack's folder into the image. A template is not: init expands it from the pack's folder in the image
// to its place below /etc or /run before the pack's steps and processes run, at each start; people who edit it edit in vain, so
// templates are small files that say so.
type File struct {
	From     string `yaml:"from" json:"from"`                             // relative to the pack's folder
	To       string `yaml:"to" json:"to"`                                 // absolute path in the image
	Mode     string `yaml:"mode,omitempty" json:"mode,omitempty"`         // octal, "0644" if empty
	Template bool   `yaml:"template,omitempty" json:"template,omitempty"` // expanded by init: see above and Vars
}

// Step is one command that is run when Unless does not exist yet; without Unless it is run at every start and must be idempotent.
type Step struct {
	Name   string `yaml:"name" json:"name"`
	Unless string `yaml:"unless,omitempty" json:"unless,omitempty"` // absolute path; the step is done once this exists
	// Watch saves work at a boot: the step is left out when it succeeded before on this disk set, and since then the image, the pack's folder, the
	// command's arguments and these paths have stayed as they were. It is run whenever the service is started by hand.
	Watch   []string `yaml:"watch,omitempty" json:"watch,omitempty"`
	Command []string `yaml:"command" json:"command"`
	User    string   `yaml:"user,omitempty" json:"user,omitempty"`
	Timeout string   `yaml:"timeout,omitempty" json:"timeout,omitempty"` // Go duration, "5m" if empty
}

// Process is one supervised daemon.
type Process struct {
	Name          string   `yaml:"name" json:"name"`
	Command       []string `yaml:"command" json:"command"` // absolute path first; arguments may use {{.Service}} and the other Vars
	User          string   `yaml:"user,omitempty" json:"user,omitempty"`
	Env           []string `yaml:"env,omitempty" json:"env,omitempty"` // "KEY=VALUE"
	RunDirs       []RunDir `yaml:"run_dirs,omitempty" json:"run_dirs,omitempty"`
	Ready         Ready    `yaml:"ready" json:"ready"`
	After         []string `yaml:"after,omitempty" json:"after,omitempty"`                   // processes of this pack that must be ready first
	Units         []string `yaml:"units,omitempty" json:"units,omitempty"`                   // names by which systemctl and service know it; its own if empty
	Only          string   `yaml:"only,omitempty" json:"only,omitempty"`                     // "hardware" or "namespace" (the lab's kind of server): elsewhere it is left out
	Oneshot       bool     `yaml:"oneshot,omitempty" json:"oneshot,omitempty"`               // the command runs to its end, then the process counts as ready; stop_command undoes it
	StopCommand   []string `yaml:"stop_command,omitempty" json:"stop_command,omitempty"`     // run before the stop signal
	Stop          string   `yaml:"stop,omitempty" json:"stop,omitempty"`                     // signal name, "TERM" if empty
	StopTimeout   string   `yaml:"stop_timeout,omitempty" json:"stop_timeout,omitempty"`     // then the cgroup is killed; "20s" if empty
	Reload        string   `yaml:"reload,omitempty" json:"reload,omitempty"`                 // signal name; "" = cannot
	ReloadCommand []string `yaml:"reload_command,omitempty" json:"reload_command,omitempty"` // instead of a signal
	Limits        Limits   `yaml:"limits,omitempty" json:"limits"`
	Private       []string `yaml:"private,omitempty" json:"private,omitempty"`       // directories that are empty ones of its own, in a mount namespace of its own
	ExitCodes     []int    `yaml:"exit_codes,omitempty" json:"exit_codes,omitempty"` // regarded as a clean stop besides 0
}

// Limits bound one process with all its children; zero values bound nothing.
type Limits struct {
	Memory    string `yaml:"memory,omitempty" json:"memory,omitempty"`       // "512M", "2G": memory.max of its control group
	Processes int    `yaml:"processes,omitempty" json:"processes,omitempty"` // pids.max
	Files     int    `yaml:"files,omitempty" json:"files,omitempty"`         // RLIMIT_NOFILE
}

// RunDir is a directory below /run made before the start.
type RunDir struct {
	Path string `yaml:"path" json:"path"`
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty"` // octal, "0755" if empty
}

// Ready tells when a process serves. Exactly one of notify, started, tcp, socket and command. A command is run again and again until it
// succeeds, which costs a small machine much while all services start: the other ways cost nothing.
type Ready struct {
	Notify  bool     `yaml:"notify,omitempty" json:"notify,omitempty"`   // sd_notify READY=1
	Started bool     `yaml:"started,omitempty" json:"started,omitempty"` // at once: it shows nothing that could be waited for
	TCP     int      `yaml:"tcp,omitempty" json:"tcp,omitempty"`         // port on the service address (server scope: management address)
	Ask     string   `yaml:"ask,omitempty" json:"ask,omitempty"`         // with tcp: sent once connected ("GET / HTTP/1.0\r\n\r\n")
	Answers string   `yaml:"answers,omitempty" json:"answers,omitempty"` // with tcp: what must come back begins with this ("HTTP/")
	Socket  string   `yaml:"socket,omitempty" json:"socket,omitempty"`   // Unix socket that accepts
	Command []string `yaml:"command,omitempty" json:"command,omitempty"` // exits 0
	Timeout string   `yaml:"timeout,omitempty" json:"timeout,omitempty"` // "60s" if empty
}

// Port is one that clients reach at the service address.
type Port struct {
	Port  int    `yaml:"port" json:"port"`
	Proto string `yaml:"proto,omitempty" json:"proto,omitempty"` // "tcp" if empty
	Name  string `yaml:"name,omitempty" json:"name,omitempty"`
}

// Probe is one transaction of the verifier; Kind names an entry of sentry's registry, which defines the Params.
type Probe struct {
	Name   string            `yaml:"name" json:"name"`
	Title  string            `yaml:"title" json:"title"` // for people: "PHP page from the database"
	Kind   string            `yaml:"kind" json:"kind"`
	Needs  []string          `yaml:"needs,omitempty" json:"needs,omitempty"`   // other packs without which there is nothing to probe: where one does not run, or is not in the image, it is left out
	Params map[string]string `yaml:"params,omitempty" json:"params,omitempty"` // keys in lower case
}

// Vars are what commands, arguments and template files of a pack may refer to, as {{.Name}}.
type Vars struct {
	Service    string // service address without prefix length
	Service6   string // IPv6 service address without prefix length; "" = none
	Address    string // address that the pack listens on: its own if it has one, else Service
	Prefix     string // service address with prefix length
	DNS        string // name servers of the service address's network, separated by spaces; "" = none
	Management string // management address without prefix length
	Hostname   string // the site's host name, without domain
	Domain     string // the site's DNS domain
	FQDN       string // Hostname and Domain
	Realm      string // Kerberos realm: Domain in upper case
	BaseDN     string // LDAP base: dc=office,dc=example
	Role       string // "primary" or "secondary"
	Kind       string // "hardware" or "namespace" (the lab's)
	Release    string // Debian release of the image: "13"
	Peers      string // management addresses of the other servers, separated by spaces
	Server     string // this server's name
	Site       string // site UUID
	SiteName   string
	Verify     string // password of the verification account (file /etc/atlas/verify.secret on the set)
	StateDir   string // the state partition's directory
}
