// Package network gives a server its addresses and puts the fence up.
//
// BringUp puts up the fence of a server that does not serve and configures the management address, early in every boot and without a disk set; Keep renews its
// DHCP lease, and Conflicts tells who else has it. When a set has been started, Raise loads the fence of its role and brings up the service interface, always called Service:
//
//	primary    macvlan on the management NIC, or a VLAN of it, with the site's MAC, so that the addresses and the MAC are on the wire; before, the
//	           wire is probed for the addresses, and after, they are announced
//	secondary  bridge without ports with the same MAC and addresses, without ARP and neighbour discovery: services bind as on the primary, and
//	           nothing of it can reach the wire
//
// The service addresses are the site's (IPv4, and IPv6 if wanted) and those of packs with their own. Peers reach the packs' ports of both roles at the management
// address, translated to the service addresses. Lower undoes Raise.
// The management network is IPv4 only: IPv6 is switched off on its NIC. The package knows nothing of disks, sets or processes.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/network/maker"
	"sayasystems.com/atlas/roles"
)

// Service is the name of the service interface on both roles.
const Service = "svc0"

// Names of what may lie between the NICs and the service interface.
const (
	vlanName = "svcvlan" // of a service network with an 802.1Q tag, on a primary
	bondName = "bond0"   // of two NICs that are used as one
)

// Routing of what leaves from the service address of a primary.
const (
	serviceTable   = 100    // routing table with svc0's routes
	translatedMark = 0xa71a // replies to peers that came by the management address
	markPriority   = 90
	fromPriority   = 100
)

// Management is the management network as it is configured now.
type Management struct {
	Interface string       // "eth0"
	Address   netip.Prefix // with the length of the network: 10.7.0.11/24
	Gateway   netip.Addr   // zero = none
	DNS       []netip.Addr
	Lease     *Lease // how it came, nil when it is static; see Keep
}

// Plan is everything that Raise needs.
type Plan struct {
	Role       roles.Role
	Service    siteconf.Service
	Management Management
	Addresses  []siteconf.PackAddress // of packs with one of their own; those of packs that do not run are passed over
	Packs      []pack.Pack            // those that run here; their ports open
	Peers      []netip.Addr           // management addresses of the site's other servers
}

// ErrNoLink tells that an interface has no cable or its other end is off. The static address is configured all the same
// and works as soon as the link comes.
var ErrNoLink = errors.New("no link")

// ErrConflict tells that another machine has a service address.
type ErrConflict struct {
	Address netip.Addr
	MAC     net.HardwareAddr
}

func (e ErrConflict) Error() string {
	return fmt.Sprintf("service address %s is in use by %s; switch that one off, or give it another address, before this server serves", e.Address, e.Who())
}

// Who names the other machine as far as the wire tells.
func (e ErrConflict) Who() string {
	if v := maker.Of(e.MAC); v != "" {
		return fmt.Sprintf("the machine with the MAC address %s (%s)", e.MAC, v)
	}
	return fmt.Sprintf("the machine with the MAC address %s", e.MAC)
}

// ownAddress is the address, with prefix length, that the site gives the pack; "" if none.
func (p Plan) ownAddress(name string) string {
	for _, a := range p.Addresses {
		if a.Pack == name {
			return a.Address
		}
	}
	return ""
}

// wire is the interface that the service network is reached by: the management NIC, or the VLAN on it.
func (p Plan) wire() string {
	if p.Service.VLAN != 0 {
		return vlanName
	}
	return p.Management.Interface
}

// parsed is a Plan's service with its values read.
type parsed struct {
	prefix  netip.Prefix
	all     []netip.Prefix // prefix and those of packs with their own
	mac     net.HardwareAddr
	gateway netip.Addr // zero = none

	prefix6  netip.Prefix // zero = no IPv6
	gateway6 netip.Addr   // zero = none
}

func (p Plan) parse() (parsed, error) {
	var out parsed
	var err error
	if out.prefix, err = netip.ParsePrefix(p.Service.Address); err != nil || !out.prefix.Addr().Is4() {
		return out, fmt.Errorf("service address %q must be an IPv4 address with prefix length such as 10.7.0.10/24; correct service.address in /etc/%s", p.Service.Address, siteconf.SiteFile)
	}
	if out.mac, err = net.ParseMAC(p.Service.MAC); err != nil || len(out.mac) != 6 {
		return out, fmt.Errorf("service MAC %q must be an Ethernet address such as 02:a7:1a:50:00:01; correct service.mac in /etc/%s", p.Service.MAC, siteconf.SiteFile)
	}
	switch {
	case p.Service.Gateway != "":
		if out.gateway, err = netip.ParseAddr(p.Service.Gateway); err != nil {
			return out, fmt.Errorf("service gateway %q is not an address; correct service.gateway in /etc/%s", p.Service.Gateway, siteconf.SiteFile)
		}
	case out.prefix.Contains(p.Management.Gateway):
		out.gateway = p.Management.Gateway
	}
	if p.Role != roles.Primary && p.Role != roles.Secondary {
		return out, fmt.Errorf("role %q is neither primary nor secondary", p.Role)
	}
	if p.Service.Address6 != "" {
		if out.prefix6, err = netip.ParsePrefix(p.Service.Address6); err != nil || !out.prefix6.Addr().Is6() {
			return out, fmt.Errorf("service address %q must be an IPv6 address with prefix length such as fd07::10/64; correct service.address6 in /etc/%s", p.Service.Address6, siteconf.SiteFile)
		}
	}
	if p.Service.Gateway6 != "" {
		if out.gateway6, err = netip.ParseAddr(p.Service.Gateway6); err != nil || !out.gateway6.Is6() {
			return out, fmt.Errorf("service gateway %q is no IPv6 address; correct service.gateway6 in /etc/%s", p.Service.Gateway6, siteconf.SiteFile)
		}
	}
	if p.Service.VLAN < 0 || p.Service.VLAN > 4094 {
		return out, fmt.Errorf("VLAN %d must be between 1 and 4094; correct service.vlan in /etc/%s", p.Service.VLAN, siteconf.SiteFile)
	}
	out.all = []netip.Prefix{out.prefix}
	for _, k := range p.Packs {
		a := p.ownAddress(k.Name)
		if k.Address != pack.AddressOwn || a == "" {
			continue // a pack that needs an address and has none is not started; the others are
		}
		own, err := netip.ParsePrefix(a)
		if err != nil || !own.Addr().Is4() {
			return out, fmt.Errorf("address %q of %s must be an IPv4 address with prefix length such as 10.7.0.20/24; correct addresses in /etc/%s", a, k.Name, siteconf.SiteFile)
		}
		out.all = append(out.all, own)
	}
	for i, a := range out.all {
		if a.Addr() == p.Management.Address.Addr() {
			return out, fmt.Errorf("service address and management address are both %s; they must differ", a.Addr())
		}
		for _, b := range out.all[:i] {
			if a.Addr() == b.Addr() {
				return out, fmt.Errorf("the service address %s is given twice; correct addresses in /etc/%s", a.Addr(), siteconf.SiteFile)
			}
		}
	}
	return out, nil
}

// run executes a program of the image, with stdin, and puts its last words into the error.
func run(ctx context.Context, stdin string, name string, args ...string) error {
	path, err := tool(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// tool finds a program where Debian has it, since PID 1 may have an empty PATH.
func tool(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s: not in the image", name)
}
