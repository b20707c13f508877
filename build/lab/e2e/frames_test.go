package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// frame is one that a server sent, read from a line of tcpdump -nn -e.
type frame struct {
	line     string
	kind     string // "arp", "ip4", "ip6", "other"
	from, to netip.AddrPort
	syn      bool // begins a TCP connection
	target   netip.Addr
}

var (
	etherType = regexp.MustCompile(`ethertype ([A-Za-z0-9 .-]+?)(?: \(0x[0-9a-f]{4}\))?, length \d+: (.*)$`)
	flow      = regexp.MustCompile(`^(?:\([^)]*\)\s*)?([0-9a-f.:]+) > ([0-9a-f.:]+): (.*)$`)
	arpPair   = regexp.MustCompile(`(?:who-has ([0-9.]+)(?: \([^)]*\))? tell ([0-9.]+))|(?:Reply ([0-9.]+) is-at)`)
)

// parseFrame reads a line of tcpdump -nn -e -t. A frame that it cannot read is of kind other, which nobody may send.
func parseFrame(line string) frame {
	f := frame{line: line, kind: "other"}
	m := etherType.FindStringSubmatch(line)
	if m == nil {
		return f
	}
	what := m[2]
	switch m[1] {
	case "ARP":
		if a := arpPair.FindStringSubmatch(what); a != nil {
			f.kind = "arp"
			sender := a[2] + a[3] // of a request, or of an answer
			f.from = netip.AddrPortFrom(parseAddr(sender), 0)
			f.target = parseAddr(a[1])
		}
	case "IPv4", "IPv6":
		p := flow.FindStringSubmatch(what)
		if p == nil {
			return f
		}
		f.kind = "ip" + m[1][3:]
		f.from, f.to = parseEnd(p[1], m[1] == "IPv4"), parseEnd(p[2], m[1] == "IPv4")
		f.syn = strings.HasPrefix(p[3], "Flags [S]") || strings.HasPrefix(p[3], "Flags [SEW]")
	}
	return f
}

func parseAddr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s) // none is the zero address, which is nobody's
	return a
}

// parseEnd reads tcpdump's address with or without .PORT.
func parseEnd(s string, v4 bool) netip.AddrPort {
	if v4 && strings.Count(s, ".") == 3 || !v4 && !strings.Contains(s, ".") {
		return netip.AddrPortFrom(parseAddr(s), 0)
	}
	at := strings.LastIndexByte(s, '.')
	var port uint16
	if _, err := fmt.Sscan(s[at+1:], &port); err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(parseAddr(s[:at]), port)
}

// twinRules says what a twin may send: to its peers, and to testers the answers of its management ports.
type twinRules struct {
	own, peers, testers []netip.Addr
	open                []uint16
}

// breach tells why a twin must not have sent f, "" if it may.
func (r twinRules) breach(f frame) string {
	has := func(list []netip.Addr, a netip.Addr) bool { return slices.Contains(list, a) }
	switch f.kind {
	case "arp":
		if !has(r.own, f.from.Addr()) {
			return "ARP in the name of " + f.from.Addr().String()
		}
		if f.target.IsValid() && !has(r.peers, f.target) && !has(r.testers, f.target) {
			return "it looks for " + f.target.String()
		}
		return ""
	case "ip4", "ip6":
		if !has(r.own, f.from.Addr()) {
			return "sent from " + f.from.Addr().String()
		}
		if has(r.peers, f.to.Addr()) {
			return ""
		}
		if has(r.testers, f.to.Addr()) && !f.syn && slices.Contains(r.open, f.from.Port()) {
			return ""
		}
		return "sent to " + f.to.Addr().String()
	}
	return "neither ARP nor IP"
}

func twin() twinRules {
	a := func(s ...string) (out []netip.Addr) {
		for _, v := range s {
			out = append(out, netip.MustParseAddr(v))
		}
		return out
	}
	return twinRules{own: a("10.7.0.12"), peers: a("10.7.0.11"), testers: a("10.7.0.1", "10.7.0.100"), open: []uint16{22, 8443, 8444}}
}

func TestTwinRules(t *testing.T) {
	const eth = "52:54:00:a1:41:82 > 52:54:00:00:00:01, "
	for _, c := range []struct{ line, want string }{
		{eth + "ethertype IPv4 (0x0800), length 74: 10.7.0.12.8444 > 10.7.0.11.43210: Flags [S.], seq 1, ack 1, length 0", ""},
		{eth + "ethertype IPv4 (0x0800), length 74: 10.7.0.12.43210 > 10.7.0.11.8444: Flags [S], seq 1, length 0", ""},
		{eth + "ethertype IPv4 (0x0800), length 74: 10.7.0.12.22 > 10.7.0.1.43210: Flags [P.], seq 1, length 10", ""},
		{eth + "ethertype IPv4 (0x0800), length 74: 10.7.0.12.22 > 10.7.0.1.43210: Flags [S], seq 1, length 0", "sent to 10.7.0.1"},
		{eth + "ethertype IPv4 (0x0800), length 74: 10.7.0.12.43210 > 10.7.0.1.80: Flags [S], seq 1, length 0", "sent to 10.7.0.1"},
		{eth + "ethertype IPv4 (0x0800), length 74: 10.7.0.12.80 > 10.7.0.100.4000: Flags [S.], seq 1, length 0", "sent to 10.7.0.100"},
		{eth + "ethertype IPv4 (0x0800), length 98: 10.7.0.10 > 10.7.0.100: ICMP echo reply, id 1, seq 1, length 64", "sent from 10.7.0.10"},
		{eth + "ethertype IPv4 (0x0800), length 90: 10.7.0.12.5353 > 224.0.0.251.5353: 0 PTR (QM)? _x. (30)", "sent to 224.0.0.251"},
		{eth + "ethertype ARP (0x0806), length 42: Request who-has 10.7.0.11 tell 10.7.0.12, length 28", ""},
		{eth + "ethertype ARP (0x0806), length 42: Request who-has 10.7.0.100 (ff:ff:ff:ff:ff:ff) tell 10.7.0.12, length 28", ""},
		{eth + "ethertype ARP (0x0806), length 42: Reply 10.7.0.12 is-at 52:54:00:a1:41:82, length 28", ""},
		{eth + "ethertype ARP (0x0806), length 42: Reply 10.7.0.10 is-at 02:a7:1a:2c:52:fe, length 28", "ARP in the name of 10.7.0.10"},
		{eth + "ethertype ARP (0x0806), length 42: Request who-has 10.7.0.10 tell 0.0.0.0, length 28", "ARP in the name of 0.0.0.0"},
		{eth + "ethertype ARP (0x0806), length 42: Request who-has 10.7.0.77 tell 10.7.0.12, length 28", "it looks for 10.7.0.77"},
		{eth + "ethertype ARP (0x0806), length 42: Announcement 10.7.0.10, length 28", "neither ARP nor IP"},
		{eth + "ethertype IPv6 (0x86dd), length 90: fe80::1 > ff02::16: HBH ICMP6, multicast listener report v2, 1 group record(s), length 28", "sent from fe80::1"},
		{eth + "ethertype IPv6 (0x86dd), length 94: fd07::10.43210 > fd07::1.80: Flags [S], seq 1, length 0", "sent from fd07::10"},
		{eth + "ethertype LLDP (0x88cc), length 94: LLDP, length 80", "neither ARP nor IP"},
		{"what is this", "neither ARP nor IP"},
	} {
		if got := twin().breach(parseFrame(c.line)); got != c.want {
			t.Errorf("breach(%q) = %q; want %q", c.line, got, c.want)
		}
	}
}
