package steps

import (
	"regexp"
	"strings"
)

func nftMatches() []string {
	return []string{"tcp", "udp", "icmp", "icmp6", "ipv6-icmp", "state", "conntrack", "multiport", "limit", "comment", "mac", "iprange", "mark", "owner", "addrtype", "pkttype"}
}

// option says one option of a match.
func (r *nftRule) option(option string) string {
	if option == "" {
		return "" // the ! before the next one
	}
	th := r.proto
	switch option {
	case "-s", "--source", "--src":
		return r.addresses("saddr")
	case "-d", "--destination", "--dst":
		return r.addresses("daddr")
	case "-i", "--in-interface", "-o", "--out-interface":
		what := map[byte]string{'i': "iifname", 'o': "oifname"}[strings.TrimLeft(option, "-")[0]]
		r.add(what, `"`+strings.Replace(r.next(), "+", "*", 1)+`"`)
	case "-p", "--protocol":
		return r.protocol()
	case "--sport", "--source-port", "--dport", "--destination-port":
		if th != "tcp" && th != "udp" && th != "sctp" {
			return "it names ports of no protocol"
		}
		r.add(th+" "+map[bool]string{true: "sport", false: "dport"}[strings.HasPrefix(option, "--s")], ports(r.next()))
	case "--sports", "--source-ports", "--dports", "--destination-ports":
		if th != "tcp" && th != "udp" {
			return "it names ports of no protocol"
		}
		all := strings.Split(r.next(), ",")
		for i := range all {
			all[i] = ports(all[i])
		}
		r.add(th+" "+map[bool]string{true: "sport", false: "dport"}[strings.HasPrefix(option, "--s")], "{ "+strings.Join(all, ", ")+" }")
	case "--syn":
		return r.flags("fin,syn,rst,ack", "syn")
	case "--tcp-flags":
		mask, want := strings.ToLower(r.next()), strings.ToLower(r.next())
		return r.flags(mask, want)
	case "--icmp-type", "--icmpv6-type":
		return r.icmp(r.next())
	case "--state", "--ctstate":
		return r.state(strings.ToLower(r.next()))
	case "--limit":
		r.match = append(r.match, "limit rate "+limit(r.next()))
		if len(r.args) > 1 && r.args[0] == "--limit-burst" {
			r.next()
			r.match[len(r.match)-1] += " burst " + r.next() + " packets"
		} else {
			r.match[len(r.match)-1] += " burst 5 packets"
		}
		if r.not {
			return "a limit cannot be turned round"
		}
	case "-f", "--fragment":
		if r.not {
			r.match = append(r.match, "ip frag-off & 0x1fff == 0")
		} else {
			r.match = append(r.match, "ip frag-off & 0x1fff != 0")
		}
		r.not = false
	case "--comment":
		r.next() // a remark
	case "--mac-source":
		r.add("ether saddr", strings.ToLower(r.next()))
	case "--src-range":
		r.add(r.family+" saddr", r.next())
	case "--dst-range":
		r.add(r.family+" daddr", r.next())
	case "--mark":
		mark, mask, ok := strings.Cut(r.next(), "/")
		if ok {
			return "a mark with a mask " + mask + " is not carried"
		}
		r.add("meta mark", mark)
	case "--uid-owner":
		r.add("meta skuid", r.next())
	case "--gid-owner":
		r.add("meta skgid", r.next())
	case "--dst-type":
		r.add("fib daddr type", strings.ToLower(r.next()))
	case "--src-type":
		r.add("fib saddr type", strings.ToLower(r.next()))
	case "--pkt-type":
		r.add("meta pkttype", strings.ToLower(r.next()))
	default:
		return "there is no counterpart of " + option
	}
	return ""
}

// addresses says where a packet comes from or goes to; several parted by commas are several rules in iptables, and a set here.
func (r *nftRule) addresses(side string) string {
	value := r.next()
	if strings.Trim(value, "0123456789abcdefABCDEF.:/,") != "" {
		return "the address " + value + " is a name"
	}
	all := strings.Split(value, ",")
	for i, a := range all {
		if fixed, ok := address(a); ok && r.family == "ip" && fixed != "" {
			a = strings.TrimSuffix(fixed, "/32")
		}
		if strings.HasSuffix(a, "/0") {
			if len(all) > 1 || r.not {
				return "the address " + value + " is not understood"
			}
			return ""
		}
		all[i] = a
	}
	if len(all) > 1 {
		r.add(r.family+" "+side, "{ "+strings.Join(all, ", ")+" }")
	} else {
		r.add(r.family+" "+side, all[0])
	}
	return ""
}

func (r *nftRule) protocol() string {
	p := protocol(strings.ToLower(r.next()))
	switch p {
	case "":
		return ""
	case "ipv6-icmp", "58":
		p = "icmpv6"
	}
	if r.not {
		r.not = false
		r.match = append(r.match, "meta l4proto != "+p)
		return ""
	}
	r.proto = p
	return ""
}

// flags says which of some flags of TCP are set.
func (r *nftRule) flags(mask, want string) string {
	if r.proto != "tcp" {
		return "it names flags of another protocol than TCP"
	}
	say := func(list string) string {
		switch list {
		case "none":
			return "0x0"
		case "all":
			return "fin|syn|rst|psh|ack|urg"
		}
		return strings.ReplaceAll(list, ",", "|")
	}
	sign := "=="
	if r.not {
		sign = "!="
	}
	r.not = false
	r.match = append(r.match, "tcp flags & ("+say(mask)+") "+sign+" "+say(want))
	return ""
}

// icmp says a kind of message; some names stand for a type with a code.
func (r *nftRule) icmp(kind string) string {
	if r.proto != "icmp" && r.proto != "icmpv6" {
		return "it names a kind of message of another protocol"
	}
	if kind == "any" || kind == "255" {
		return ""
	}
	names := map[string]string{
		"ping": "8", "pong": "0", "echo-request": "8", "echo-reply": "0", "destination-unreachable": "3", "network-unreachable": "3/0", "host-unreachable": "3/1",
		"protocol-unreachable": "3/2", "port-unreachable": "3/3", "fragmentation-needed": "3/4", "source-quench": "4", "redirect": "5", "router-advertisement": "9",
		"router-solicitation": "10", "time-exceeded": "11", "ttl-exceeded": "11", "ttl-zero-during-transit": "11/0", "parameter-problem": "12", "timestamp-request": "13",
		"timestamp-reply": "14",
	}
	if r.proto == "icmpv6" {
		names = map[string]string{
			"ping": "128", "pong": "129", "echo-request": "128", "echo-reply": "129", "destination-unreachable": "1", "packet-too-big": "2", "time-exceeded": "3",
			"ttl-exceeded": "3", "parameter-problem": "4", "router-solicitation": "133", "router-advertisement": "134", "neighbour-solicitation": "135",
			"neighbor-solicitation": "135", "neighbour-advertisement": "136", "neighbor-advertisement": "136", "redirect": "137",
		}
	}
	if n, ok := names[kind]; ok {
		kind = n
	}
	kind, code, coded := strings.Cut(kind, "/")
	switch {
	case !digits.MatchString(kind) || coded && !digits.MatchString(code):
		return "the kind of message " + kind + " is not known"
	case coded && r.not:
		return "every message but one with a code is not carried"
	}
	r.add(r.proto+" type", kind)
	if coded {
		r.add(r.proto+" code", code)
	}
	return ""
}

var digits = regexp.MustCompile(`^[0-9]+$`)

func (r *nftRule) state(list string) string {
	all := strings.Split(list, ",")
	for _, s := range all {
		switch s {
		case "new", "established", "related", "invalid", "untracked":
		case "dnat", "snat":
			if len(all) == 1 {
				r.add("ct status", s)
				return ""
			}
			fallthrough
		default:
			return "the state " + s + " is not carried"
		}
	}
	if len(all) == 1 {
		r.add("ct state", all[0])
	} else {
		r.add("ct state", "{ "+strings.Join(all, ", ")+" }")
	}
	return ""
}

func ports(p string) string {
	from, to, ok := strings.Cut(p, ":")
	if !ok {
		return p
	}
	if from == "" {
		from = "0"
	}
	if to == "" {
		to = "65535"
	}
	return from + "-" + to
}

func limit(rate string) string {
	n, unit, _ := strings.Cut(rate, "/")
	for _, u := range []string{"second", "minute", "hour", "day"} {
		if unit != "" && strings.HasPrefix(u, unit) {
			return n + "/" + u
		}
	}
	return n + "/second"
}

// verdict says what becomes of a packet.
func (r *nftRule) verdict(target, jump string) (out []string, why string) {
	option := func(name string) (string, bool) {
		if len(r.args) > 1 && r.args[0] == name {
			r.next()
			return r.next(), true
		}
		return "", false
	}
	switch target {
	case "ACCEPT", "DROP", "RETURN":
		return []string{strings.ToLower(target)}, ""
	case "REJECT":
		with, ok := option("--reject-with")
		switch {
		case !ok:
			return []string{"reject"}, ""
		case with == "tcp-reset" || with == "tcp-rst":
			return []string{"reject with tcp reset"}, ""
		case r.family == "ip" && strings.HasPrefix(with, "icmp-"):
			kind := strings.Replace(strings.TrimPrefix(with, "icmp-"), "proto-", "prot-", 1)
			return []string{"reject with icmp type " + kind}, ""
		case r.family == "ip6" && strings.HasPrefix(with, "icmp6-"):
			kind := map[string]string{"icmp6-no-route": "no-route", "icmp6-adm-prohibited": "admin-prohibited", "icmp6-addr-unreachable": "addr-unreachable", "icmp6-port-unreachable": "port-unreachable"}[with]
			if kind != "" {
				return []string{"reject with icmpv6 type " + kind}, ""
			}
		}
		return nil, "it refuses with " + with + ", which is not carried"
	case "LOG":
		out = []string{"log"}
		for len(r.args) > 1 {
			if v, ok := option("--log-prefix"); ok {
				out = append(out, `prefix "`+strings.ReplaceAll(v, `"`, "'")+`"`)
			} else if v, ok := option("--log-level"); ok {
				names := map[string]string{"0": "emerg", "1": "alert", "2": "crit", "3": "err", "4": "warn", "5": "notice", "6": "info", "7": "debug", "warning": "warn", "error": "err"}
				if n, ok := names[v]; ok {
					v = n
				}
				out = append(out, "level "+v)
			} else {
				return nil, r.args[0] + " of LOG is not carried"
			}
		}
		return out, ""
	case "MASQUERADE":
		if p, ok := option("--to-ports"); ok {
			return []string{"masquerade to :" + p}, ""
		}
		return []string{"masquerade"}, ""
	case "REDIRECT":
		if p, ok := option("--to-ports"); ok {
			return []string{"redirect to :" + p}, ""
		}
		return []string{"redirect"}, ""
	case "SNAT", "DNAT":
		name := map[string]string{"SNAT": "--to-source", "DNAT": "--to-destination"}[target]
		if to, ok := option(name); ok {
			return []string{strings.ToLower(target) + " to " + to}, ""
		}
	case "MARK":
		for _, name := range []string{"--set-mark", "--set-xmark"} {
			if v, ok := option(name); ok {
				mark, mask, masked := strings.Cut(v, "/")
				if masked && strings.ToLower(mask) != "0xffffffff" {
					return nil, "a mark with a mask is not carried"
				}
				return []string{"meta mark set " + mark}, ""
			}
		}
	case "TCPMSS":
		if len(r.args) > 0 && r.args[0] == "--clamp-mss-to-pmtu" {
			r.next()
			return []string{"tcp option maxseg size set rt mtu"}, ""
		}
		if v, ok := option("--set-mss"); ok {
			return []string{"tcp option maxseg size set " + v}, ""
		}
	case "NOTRACK":
		return []string{"notrack"}, ""
	default:
		if r.table.chain(target) != nil {
			return []string{jump + " " + target}, ""
		}
		return nil, "there is no chain or target " + target
	}
	return nil, target + " is not understood as it stands"
}
