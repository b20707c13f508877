package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/roles"
)

// flushTable removes our tables whether they are there or not.
const flushTable = "table inet atlas\ndelete table inet atlas\ntable netdev atlas\ndelete table netdev atlas\n"

// Fence loads p's ruleset in one transaction and touches nothing else. Raise does so by itself; this is for a change of peers or packs while
// serving, and, with a Plan of no role, for a server that does not serve: then only the management ports are open, and nothing is held back on its way out.
func Fence(ctx context.Context, p Plan) error {
	if p.Role != "" {
		if _, err := p.parse(); err != nil {
			return err
		}
	}
	if err := run(ctx, Ruleset(p), "nft", "-f", "-"); err != nil {
		return fmt.Errorf("load the fence: %w", err)
	}
	return nil
}

// Ruleset is the fence for p as text for nft -f; loading it replaces the former one at once. It is made from the packs'
// ports and never edited. p must be one that parse accepts, or have no role.
//
// On every server the management address is open for ATLAS itself. Where a set serves, peers reach the packs' ports there: those of site packs as they are, those
// of a pack with its own address at pack.PeerPort, since two packs may use one port. Clients of a primary reach each pack's ports at its address and at no
// other. A twin hears nobody else, and sends nothing but answers and what goes to its peers, and that never from a service
// address; connections that were begun before the fence was up count as nothing. IPv6 is let in to the primary's service address alone.
func Ruleset(p Plan) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	holders, server := p.holders()
	mgmt := "meta nfproto ipv4 " // before the address is known: any
	if a := p.Management.Address; a.IsValid() {
		mgmt = fmt.Sprintf("ip daddr %s ", a.Addr())
	}
	peers := len(p.Peers) > 0 && p.Role != ""

	b.WriteString(flushTable)
	line("table inet atlas {")
	if peers {
		line("\tset peers {\n\t\ttype ipv4_addr\n\t\telements = { %s }\n\t}", join(p.Peers))
		line("\tchain translate {\n\t\ttype nat hook prerouting priority dstnat; policy accept;")
		for _, h := range holders {
			h.translate(line, mgmt)
		}
		line("\t}")
		line("\tchain answers {\n\t\ttype route hook output priority mangle; policy accept;")
		line("\t\tct status dnat meta mark set %#x", translatedMark)
		line("\t}")
	}

	line("\tchain in {\n\t\ttype filter hook input priority filter; policy drop;")
	line("\t\tiifname lo accept")
	line("\t\tct state invalid drop")
	line("\t\tct state established,related accept")
	line("\t\t%sicmp type echo-request accept", mgmt)
	for _, s := range server {
		line("\t\t%s%s dport { %s } accept", mgmt, s.proto, join(s.ports))
	}
	if peers {
		line("\t\tip saddr @peers ct status dnat accept")
	}
	if p.Role == roles.Primary {
		for _, h := range holders {
			h.admit(line)
		}
		if p.Service.Address6 != "" {
			// Neighbour discovery, path MTU discovery (RFC 4890), and what keeps multicast groups alive in switches that look into them.
			line("\t\tiifname %s ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept", Service)
			line("\t\tiifname %s icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, mld-listener-query } accept", Service)
		}
	}
	line("\t}")

	line("\tchain through {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}")

	if p.Role == roles.Secondary {
		line("\tchain out {\n\t\ttype filter hook output priority filter; policy drop;")
		line("\t\toifname lo accept")
		line("\t\tct state established,related ct direction reply accept")
		for _, h := range holders {
			line("\t\tip saddr %s meta l4proto tcp reject with tcp reset", h.addr)
			line("\t\tip saddr %s drop", h.addr)
		}
		if peers {
			line("\t\tip daddr @peers accept")
		}
		// A service that tries is told at once; it would wait for minutes else. The reset goes to itself, over lo.
		line("\t\tmeta l4proto tcp reject with tcp reset")
		line("\t}")
	}
	line("}")
	if p.Role == roles.Secondary && p.Management.Interface != "" {
		p.guardWire(line, server)
	}
	return b.String()
}

// guardWire makes a second fence at the twin's NIC itself: packet sockets, which DHCP clients and scanners use, and the kernel's own ARP pass the first one by.
// It knows no connections; answers are what comes from ATLAS's own ports.
func (p Plan) guardWire(line func(string, ...any), server []portSet) {
	mgmt := p.Management.Address.Addr()
	line("table netdev atlas {")
	line("\tchain out {\n\t\ttype filter hook egress device %q priority filter; policy drop;", p.Management.Interface)
	line("\t\tarp saddr ip %s accept", mgmt)
	line("\t\tarp saddr ip 0.0.0.0 arp daddr ip %s accept", mgmt)
	line("\t\tudp sport 68 udp dport 67 accept")
	if len(p.Peers) > 0 {
		line("\t\tip saddr %s ip daddr { %s } accept", mgmt, join(p.Peers))
	}
	line("\t\tip saddr %s icmp type { echo-reply, destination-unreachable } accept", mgmt)
	for _, s := range server {
		line("\t\tip saddr %s %s sport { %s } accept", mgmt, s.proto, join(s.ports))
	}
	line("\t}\n}")
}

// holder is one service address with the ports that are reached there.
type holder struct {
	addr  string
	addr6 string // "" = none
	own   bool   // of one pack
	sets  []portSet
}

// portSet is the ports of one protocol.
type portSet struct {
	proto string
	ports []int
}

// holders collects the site packs' ports by address, the service address first, and those on the management address, ATLAS's own among them. A pack without its address has none.
func (p Plan) holders() (site []holder, server []portSet) {
	type ports map[string][]int
	add := func(to ports, k pack.Pack) {
		for _, port := range k.Ports {
			proto := port.Proto
			if proto == "" {
				proto = "tcp"
			}
			to[proto] = append(to[proto], port.Port)
		}
	}
	sets := func(m ports) (out []portSet) {
		for _, proto := range []string{"tcp", "udp"} {
			if len(m[proto]) > 0 {
				slices.Sort(m[proto])
				out = append(out, portSet{proto, slices.Compact(m[proto])})
			}
		}
		return out
	}
	atService, atManagement := ports{}, ports{"tcp": {layout.SSHPort, layout.DashboardPort, layout.PeerPort}}
	var own []holder
	for _, k := range p.Packs {
		switch {
		case k.Scope == pack.ScopeServer:
			add(atManagement, k)
		case k.Address == pack.AddressOwn:
			if a := p.ownAddress(k.Name); a != "" {
				m := ports{}
				add(m, k)
				own = append(own, holder{addr: addr(a), own: true, sets: sets(m)})
			}
		default:
			add(atService, k)
		}
	}
	if p.Role == "" {
		return nil, sets(atManagement)
	}
	return append([]holder{{addr: addr(p.Service.Address), addr6: addr(p.Service.Address6), sets: sets(atService)}}, own...), sets(atManagement)
}

// translate leads peers from the management address to h.
func (h holder) translate(line func(string, ...any), mgmt string) {
	for _, s := range h.sets {
		if !h.own {
			line("\t\tip saddr @peers %s%s dport { %s } dnat ip to %s", mgmt, s.proto, join(s.ports), h.addr)
			continue
		}
		for _, n := range s.ports {
			line("\t\tip saddr @peers %s%s dport %d dnat ip to %s:%d", mgmt, s.proto, pack.PeerPort(n), h.addr, n)
		}
	}
}

// admit lets clients in to h.
func (h holder) admit(line func(string, ...any)) {
	line("\t\tip daddr %s icmp type echo-request accept", h.addr)
	for _, s := range h.sets {
		line("\t\tip daddr %s %s dport { %s } accept", h.addr, s.proto, join(s.ports))
	}
	if h.addr6 == "" {
		return
	}
	line("\t\tip6 daddr %s icmpv6 type echo-request accept", h.addr6)
	for _, s := range h.sets {
		line("\t\tip6 daddr %s %s dport { %s } accept", h.addr6, s.proto, join(s.ports))
	}
}

// addr is the address in CIDR text, as text; unchanged when it is none.
func addr(cidr string) string {
	if p, err := netip.ParsePrefix(cidr); err == nil {
		return p.Addr().String()
	}
	return cidr
}

func join[T any](list []T) string {
	s := make([]string, 0, len(list))
	for _, v := range list {
		s = append(s, fmt.Sprint(v))
	}
	return strings.Join(s, ", ")
}
