// Package install puts an image onto a server: it checks the answers (from install.yaml on the stick, or from the wizard on the
// console), refuses disks that hold anything unless they are confirmed, writes the system disk and the disk set, and founds or
// joins a site. It asks nothing itself and knows no screen: the wizard in initsvc/installer does.
package install

import (
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// Answers is install.yaml, and what the wizard fills in.
type Answers struct {
	Server     string              `yaml:"server"` // name of this server: "left"
	SystemDisk DiskChoice          `yaml:"system_disk"`
	Set        SetChoice           `yaml:"set"`
	New        *NewSite            `yaml:"new_site,omitempty"` // exactly one of new_site and join
	Join       *JoinSite           `yaml:"join,omitempty"`
	Management siteconf.Management `yaml:"management"`
	Password   string              `yaml:"password"` // administrator's, for console, dashboard, ssh and shares; not for join
	SSHKeys    []string            `yaml:"ssh_keys,omitempty"`
	Then       string              `yaml:"then,omitempty"` // "reboot" (default) or "off"
}

// DiskChoice names a disk by serial, or by bay where it has one. Erase allows what is on it to be lost.
type DiskChoice struct {
	Serial string `yaml:"serial,omitempty"`
	Bay    int    `yaml:"bay,omitempty"`
	Erase  bool   `yaml:"erase,omitempty"`
}

// SetChoice is the disk set to make. No disks: the server gets none (a third server, say).
type SetChoice struct {
	Level roles.Level  `yaml:"level"`
	Role  roles.Role   `yaml:"role"`
	Disks []DiskChoice `yaml:"disks"`
}

// NewSite founds a site.
type NewSite struct {
	Name      string                 `yaml:"name"`                // for people: "Miller Dental"
	Hostname  string                 `yaml:"hostname"`            // of the primary, as clients know it
	Domain    string                 `yaml:"domain,omitempty"`    // DNS domain of the office
	Service   siteconf.Service       `yaml:"service"`             // MAC may be empty: then it is made
	Addresses []siteconf.PackAddress `yaml:"addresses,omitempty"` // of packs that have their own
	Services  []string               `yaml:"services,omitempty"`  // packs to run; those that are on by default if empty
}

// JoinSite joins the site of a server that is already running.
type JoinSite struct {
	Address string `yaml:"address,omitempty"` // management address of a running server
	Code    string `yaml:"code,omitempty"`    // as its console and dashboard show it
	File    bool   `yaml:"file,omitempty"`    // take both from join.yaml on the stick
}

// Join is join.yaml, written onto the stick when the first server is installed.
type Join struct {
	Site    string `yaml:"site"`
	Name    string `yaml:"name"`
	Address string `yaml:"address"`
	Code    string `yaml:"code"`
}
