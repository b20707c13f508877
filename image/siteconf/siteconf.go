// Package siteconf holds what is configured about a server and about a site, and where it is kept:
//
//	state partition  server.yaml  this server: name, id, management network     (never travels)
//	state partition  peers.yaml   the site as this server knows it: id, admin login, pinned peers
//	disk set         /etc/atlas/site.yaml  what the office uses: service address, MAC, host name, services
//
// Load functions check every value and name file, line and key of a bad one. It does not apply anything.
package siteconf

import "strings"

// Server is server.yaml: the facts of one chassis.
type Server struct {
	ID         string     `yaml:"id" json:"id"`     // UUID made at installation
	Name       string     `yaml:"name" json:"name"` // unique in the site: "left", "right"
	Management Management `yaml:"management" json:"management"`
	Bays       []Bay      `yaml:"bays,omitempty" json:"bays,omitempty"`
}

// Management is a server's own network configuration.
type Management struct {
	Interface string   `yaml:"interface,omitempty" json:"interface,omitempty"` // name or MAC address; "" = the first Ethernet with a link
	Bond      []string `yaml:"bond,omitempty" json:"bond,omitempty"`           // names or MAC addresses of two NICs to be used as one (active-backup); instead of interface
	Address   string   `yaml:"address" json:"address"`                         // CIDR "10.7.0.11/24", or "dhcp"
	Gateway   string   `yaml:"gateway,omitempty" json:"gateway,omitempty"`
	DNS       []string `yaml:"dns,omitempty" json:"dns,omitempty"`
}

// Bay ties a disk's place in the hardware to the number printed on the front.
type Bay struct {
	Number int    `yaml:"number" json:"number"`
	Path   string `yaml:"path" json:"path"` // hwcheck.Disk.Path
}

// Peers is peers.yaml: the site as this server knows it, also without a disk set.
type Peers struct {
	Site     string   `yaml:"site" json:"site"` // site UUID
	SiteName string   `yaml:"site_name" json:"site_name"`
	Admin    string   `yaml:"admin" json:"-"` // bcrypt hash of the administrator's password, for the dashboard
	SSHKeys  []string `yaml:"ssh_keys,omitempty" json:"-"`
	Peers    []Peer   `yaml:"peers,omitempty" json:"peers,omitempty"`
}

// Peer is another server of the site.
type Peer struct {
	ID      string `yaml:"id" json:"id"`
	Name    string `yaml:"name" json:"name"`
	Address string `yaml:"address" json:"address"` // management address without prefix length
	Cert    string `yaml:"cert" json:"cert"`       // PEM, pinned at joining
}

// Site is /etc/atlas/site.yaml on the disk set.
type Site struct {
	Site     string  `yaml:"site" json:"site"` // site UUID, as on the labels
	Name     string  `yaml:"name" json:"name"`
	Hostname string  `yaml:"hostname" json:"hostname"`                 // without domain
	Domain   string  `yaml:"domain,omitempty" json:"domain,omitempty"` // DNS domain of the office; DefaultDomain if empty
	Service  Service `yaml:"service" json:"service"`
	// Addresses are those of packs that have one of their own, beside the service address.
	Addresses []PackAddress `yaml:"addresses,omitempty" json:"addresses,omitempty"`
	Services  []string      `yaml:"services,omitempty" json:"services,omitempty"` // packs to run; empty = those of the image that are on by default; "all" = all
	// Rehearsal: when a secondary starts its services from cold, to prove that they would start after a swap.
	Rehearsal Rehearsal `yaml:"rehearsal,omitempty" json:"rehearsal,omitzero"`
}

// DefaultDomain is for sites that give none: .internal is reserved for private use (ICANN, 2024).
const DefaultDomain = "atlas.internal"

// PackAddress is the service address of one pack.
type PackAddress struct {
	Pack    string `yaml:"pack" json:"pack"`
	Address string `yaml:"address" json:"address"` // CIDR
}

// DNSDomain is the site's DNS domain.
func (s Site) DNSDomain() string {
	if s.Domain == "" {
		return DefaultDomain
	}
	return s.Domain
}

// FQDN is the host name with the domain.
func (s Site) FQDN() string { return s.Hostname + "." + s.DNSDomain() }

// Realm is the site's Kerberos realm.
func (s Site) Realm() string { return strings.ToUpper(s.DNSDomain()) }

// BaseDN is the base of the site's LDAP directory: "dc=office,dc=example".
func (s Site) BaseDN() string { return "dc=" + strings.ReplaceAll(s.DNSDomain(), ".", ",dc=") }

// AddressOf is the address, without prefix length, that pack listens on; "" if a pack of its own address has none.
func (s Site) AddressOf(pack string, own bool) string {
	cidr := s.Service.Address
	if own {
		cidr = ""
		for _, a := range s.Addresses {
			if a.Pack == pack {
				cidr = a.Address
			}
		}
	}
	addr, _, _ := strings.Cut(cidr, "/")
	return addr
}

// Service is the address that clients use. It moves with the primary set.
type Service struct {
	Address  string   `yaml:"address" json:"address"`                       // CIDR
	Address6 string   `yaml:"address6,omitempty" json:"address6,omitempty"` // IPv6, CIDR; "" = none
	MAC      string   `yaml:"mac" json:"mac"`                               // locally administered, made at installation
	VLAN     int      `yaml:"vlan,omitempty" json:"vlan,omitempty"`         // 802.1Q tag of the office's network at the management interface; 0 = untagged
	Gateway  string   `yaml:"gateway,omitempty" json:"gateway,omitempty"`
	Gateway6 string   `yaml:"gateway6,omitempty" json:"gateway6,omitempty"`
	DNS      []string `yaml:"dns,omitempty" json:"dns,omitempty"`
}

// Names of the files, in their directories.
const (
	ServerFile = "server.yaml"
	PeersFile  = "peers.yaml"
	SiteFile   = "atlas/site.yaml" // below /etc
	KeyFile    = "server.key"      // PEM PKCS#8 Ed25519, mode 0600, in the state partition
	CertFile   = "server.crt"      // PEM, self-signed, SAN = server id
)
