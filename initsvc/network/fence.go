package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/roles"
)

// flushTable removes our table whether it is there or not.
const flushTable = "table inet atlas\ndelete table inet atlas\n"

// Ruleset is the fence for p as text for nft -f; loading it replaces the former one at once. It is made from the packs'
// ports and never edited. p's service address must be valid.
//
// On both roles the management address is open for ATLAS itself, and peers reach the packs' ports there. Clients reach the packs' ports at the service
// address of a primary. A twin hears nobody else, and sends nothing but answers and what goes to its peers, and that never from the service
// address. IPv6 has no rule, so the policies drop it.
func Ruleset(p Plan) string {
	service := addr(p.Service.Address)
	mgmt := p.Management.Address.Addr()
	site, server := ports(p.Packs)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	b.WriteString(flushTable)
	line("table inet atlas {")
	if len(p.Peers) > 0 {
		line("\tset peers {\n\t\ttype ipv4_addr\n\t\telements = { %s }\n\t}", join(p.Peers))
		line("\tchain translate {\n\t\ttype nat hook prerouting priority dstnat; policy accept;")
		for _, s := range site {
			line("\t\tip saddr @peers ip daddr %s %s dport { %s } dnat ip to %s", mgmt, s.proto, join(s.ports), service)
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
	line("\t\tip daddr %s icmp type echo-request accept", mgmt)
	for _, s := range server {
		line("\t\tip daddr %s %s dport { %s } accept", mgmt, s.proto, join(s.ports))
	}
	if len(p.Peers) > 0 {
		line("\t\tip saddr @peers ct status dnat accept")
	}
	if p.Role == roles.Primary {
		line("\t\tip daddr %s icmp type echo-request accept", service)
		for _, s := range site {
			line("\t\tip daddr %s %s dport { %s } accept", service, s.proto, join(s.ports))
		}
	}
	line("\t}")

	line("\tchain through {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}")

	if p.Role == roles.Secondary {
		line("\tchain out {\n\t\ttype filter hook output priority filter; policy drop;")
		line("\t\toifname lo accept")
		line("\t\tct state established,related accept")
		line("\t\tip saddr %s drop", service)
		if len(p.Peers) > 0 {
			line("\t\tip daddr @peers accept")
		}
		line("\t}")
	}
	line("}")
	return b.String()
}

// portSet is the ports of one protocol.
type portSet struct {
	proto string
	ports []int
}

// ports collects the ports of site packs and those on the management address, ATLAS's own among them.
func ports(packs []pack.Pack) (site, server []portSet) {
	by := map[bool]map[string][]int{true: {"tcp": {layout.SSHPort, layout.DashboardPort, layout.PeerPort}}, false: {}}
	for _, p := range packs {
		own := p.Scope == pack.ScopeServer
		for _, port := range p.Ports {
			proto := port.Proto
			if proto == "" {
				proto = "tcp"
			}
			by[own][proto] = append(by[own][proto], port.Port)
		}
	}
	sets := func(m map[string][]int) (out []portSet) {
		for _, proto := range []string{"tcp", "udp"} {
			if len(m[proto]) > 0 {
				slices.Sort(m[proto])
				out = append(out, portSet{proto, slices.Compact(m[proto])})
			}
		}
		return out
	}
	return sets(by[false]), sets(by[true])
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
