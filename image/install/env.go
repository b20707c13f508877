package install

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"sayasystems.com/atlas/image/esp"
	"sayasystems.com/atlas/image/install/systemdisk"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// Env is where an installation takes place and what it is done with. The functions are those of the floors above; all but the
// ones said to be optional must be there.
type Env struct {
	Version      string // of the image
	NoSystemDisk bool   // the lab's namespaces: StateDir is a directory that is there already
	Root         string // device of the squashfs that is installed
	StateDir     string
	StickDir     string // root of the stick's ESP
	ImageDir     string // the image's root, for the first content of the set

	Disks func(ctx context.Context) ([]Disk, error)
	// CreateSet makes the disk set and mounts it. StopSet unmounts and stops it; it is not an error when none is
	// started.
	CreateSet func(ctx context.Context, s NewSet) error
	StopSet   func(ctx context.Context) error
	// Tree fills a mounted set with etc, var, srv, home and root of the image.
	Tree func(setDir, imageDir, version string) error
	// Network brings the management network up and tells the address got.
	Network func(ctx context.Context, m siteconf.Management) (netip.Prefix, error)
	// NewKey makes key and certificate of the server in dir, if absent.
	NewKey func(dir, serverID string) error
	// JoinCode makes the code that the next server joins with, and keeps it in dir.
	JoinCode func(dir string) (string, error)
	Join     Joiner
	Patience time.Duration // how long a server to join is asked again while it does not answer; 0 = once

	System   SystemDisk       // nil: the real one
	Progress func(Progress)   // optional
	Now      func() time.Time // optional

	after func(phase string) error                                    // tests interrupt here
	hash  func(password string) (dashboard, shadow string, err error) // tests have no time for real ones
}

// NewSet is a disk set to make.
type NewSet struct {
	Disks []roles.Disk
	Label roles.Label // with Site, SiteName, Role, Level, Image and Server
	Say   func(string)
	// Fill puts the first content onto the mounted set. The labels must be written after it, so that an interrupted set is none.
	Fill func(ctx context.Context, setDir string) error
}

// Joiner asks the server at address to let this one into its site.
type Joiner func(ctx context.Context, address, code string, me JoinRequest) (JoinReply, error)

// ErrRefused is wrapped by a Joiner's error when asking again is of no use: the other server has answered no.
var ErrRefused = errors.New("refused")

// JoinRequest is what a new server tells about itself.
type JoinRequest struct {
	ID      string
	Name    string
	Address string // management address without prefix length
	Cert    string // PEM
}

// JoinReply is what it gets.
type JoinReply struct {
	Site      string
	SiteName  string
	SiteYAML  string // text of site.yaml
	Admin     string // bcrypt, for the dashboard
	SSHKeys   []string
	Peers     []siteconf.Peer
	RootHash  string // crypt(5)
	AdminHash string // crypt(5)
	NTHash    string // text of admin.nt; "" if the site has none
	Verify    string // password of the verification account
	Secret    string // from which packs derive what is the same on every set; "" if the site has none
}

// Progress is one line for the person who waits. Done and Total are bytes where a step takes long, else zero.
type Progress struct {
	Step  int // from 1
	Of    int
	Phase string
	Text  string
	Done  int64
	Total int64
}

// Summary tells what an installation did.
type Summary struct {
	Server     string   `yaml:"server"`
	Site       string   `yaml:"site"`
	SiteName   string   `yaml:"site_name"`
	Did        []string `yaml:"did"`
	Warnings   []string `yaml:"warnings,omitempty"`
	Management string   `yaml:"management"` // address without prefix length; "" when DHCP has not told
	JoinCode   string   `yaml:"-"`          // for the next server; a secret for a day
	JoinOnFile bool     `yaml:"-"`          // join.yaml is on the stick
}

// Parts are the partitions of a system disk.
type Parts struct{ ESP, RootA, RootB, State string }

// SystemDisk writes system disks; package systemdisk is the real one.
type SystemDisk interface {
	Prepare(ctx context.Context, dev string, m systemdisk.Mark) (Parts, error)
	CopyRoot(ctx context.Context, from, to string, copied, verified systemdisk.Progress) error
	MakeState(ctx context.Context, part string) error
	MountState(part, dir string) error
	UnmountState(dir string) error
	WriteESP(ctx context.Context, part string, files []esp.File) error
	SetMark(dev string, m systemdisk.Mark) error
	ClearMark(dev string) error
}
