package steps

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// ipchain is a rule of ipchains in the parts that iptables says differently.
type ipchain struct {
	line           int
	text           string
	chain, target  string
	source, dest   string // as iptables has them, "" for any; with "! " before
	sports, dports string
	proto, iface   string
	log, frag      bool
	syn            string // "--syn", "! --syn" or ""
	mark           string
	both           bool // -b: the other way round as well
}

// ipchains are rules as ipchains-save writes them.
type ipchains struct {
	policy map[string]string
	user   []string
	rules  []ipchain
	bad    []badRule
	masq   bool
}

func parseIPChains(text string) *ipchains {
	c := &ipchains{policy: map[string]string{"input": "ACCEPT", "forward": "ACCEPT", "output": "ACCEPT"}}
	no := 0
	for line := range strings.Lines(text) {
		no++
		f := words(strings.TrimRight(line, "\n"))
		switch {
		case len(f) == 0 || strings.HasPrefix(f[0], "#"):
		case strings.HasPrefix(f[0], ":") && len(f) > 1:
			if name := f[0][1:]; f[1] == "-" {
				c.user = append(c.user, name)
			} else if c.policy[name] == "" {
				c.bad = append(c.bad, badRule{no, strings.TrimSpace(line), "there is no chain " + name})
			} else {
				c.policy[name] = f[1]
			}
		default:
			if slices.Contains([]string{"ipchains", "/sbin/ipchains"}, f[0]) {
				f = f[1:]
			}
			r, why := parseIPChain(f)
			r.line, r.text = no, strings.TrimSpace(line)
			if why != "" {
				c.bad = append(c.bad, badRule{no, r.text, why})
				continue
			}
			c.masq = c.masq || r.target == "MASQ"
			c.rules = append(c.rules, r)
		}
	}
	return c
}

func parseIPChain(f []string) (r ipchain, why string) {
	not := ""
	next := func(i *int) string {
		if *i+1 >= len(f) {
			return ""
		}
		*i++
		if f[*i] == "!" && *i+1 < len(f) {
			*i++
			not = "! "
		}
		return f[*i]
	}
	// port reads what may stand behind an address: "22:22", "1024:".
	port := func(i *int) string {
		if *i+1 < len(f) && !strings.HasPrefix(f[*i+1], "-") && (f[*i+1] != "!" || *i+2 < len(f) && !strings.HasPrefix(f[*i+2], "-")) {
			not = ""
			p := onePort(next(i))
			return not + p
		}
		return ""
	}
	for i := 0; i < len(f); i++ {
		word := f[i]
		if word == "!" {
			not = "! "
			continue
		}
		before := not
		not = ""
		switch word {
		case "-A":
			r.chain = next(&i)
		case "-s", "-d":
			a, ok := address(next(&i))
			if !ok {
				return r, "the address is not understood"
			}
			if a != "" {
				a = not + before + a
			} else if not+before != "" {
				return r, "it never matches"
			}
			if word == "-s" {
				r.source, r.sports = a, port(&i)
			} else {
				r.dest, r.dports = a, port(&i)
			}
		case "-p":
			r.proto = protocol(next(&i))
			if not+before != "" {
				return r, "every protocol but one has no counterpart here"
			}
		case "-i":
			r.iface = next(&i)
			r.iface = not + before + r.iface
		case "-j":
			if r.target = next(&i); r.target == "REDIRECT" {
				next(&i) // its port
			}
		case "-l":
			r.log = true
		case "-y":
			r.syn = before + "--syn"
		case "-f":
			r.frag = true
		case "-b":
			r.both = true
		case "-m":
			r.mark = next(&i)
		case "-v", "-n":
		default:
			return r, word + " has no counterpart"
		}
	}
	switch {
	case r.chain == "":
		return r, "it is no rule"
	case r.target == "REDIRECT":
		return r, "REDIRECT changes packets before the rules see them there; say it as -t nat -A PREROUTING … -j REDIRECT"
	case r.target == "MASQ" && r.chain != "forward":
		return r, "MASQ has a meaning in the chain forward alone"
	case (r.sports != "" || r.dports != "") && !slices.Contains([]string{"tcp", "udp", "icmp"}, r.proto):
		return r, "ports need a protocol"
	case r.proto == "icmp" && strings.ContainsAny(r.sports+r.dports, "!:"):
		return r, "the port or the type is not understood"
	}
	return r, ""
}

// onePort is "22" for "22:22".
func onePort(p string) string {
	if a, b, ok := strings.Cut(p, ":"); ok && a == b {
		return a
	}
	return p
}

func protocol(p string) string {
	switch p {
	case "6":
		return "tcp"
	case "17":
		return "udp"
	case "1":
		return "icmp"
	case "0", "all":
		return ""
	}
	return p
}

// address is "192.168.1.0/24" for "192.168.1.0/255.255.255.0", "" for any.
func address(a string) (string, bool) {
	host, mask, ok := strings.Cut(a, "/")
	if !ok {
		mask = "32"
	}
	if m := net.ParseIP(mask).To4(); m != nil {
		n, bits := net.IPMask(m).Size()
		if bits == 0 {
			return "", false
		}
		mask = fmt.Sprint(n)
	}
	if mask == "0" {
		return "", true
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	p, err := netip.ParsePrefix(host + "/" + mask)
	if err != nil {
		return "", false
	}
	return p.Masked().String(), true
}

// iptables says the rules as iptables-restore reads them. A packet that goes through crossed input, forward and output, and had to be let through by all
// three; now it crosses FORWARD alone. So the rules stand there as three chains, where to accept means to go on to the next one. In forward, -i had been
// the interface by which a packet leaves.
func (c *ipchains) iptables() string {
	var chains, lines, nat []string
	emit := func(chain, prefix, accept, policy string, of string, flag string) {
		lines = append(lines, c.chain(chain, prefix, accept, of, flag)...)
		if policy != "" {
			lines = append(lines, "-A "+chain+" "+policy)
		}
	}
	verdict := func(name, accept string) string {
		switch c.policy[name] {
		case "ACCEPT":
			return "-j " + accept
		case "REJECT":
			return "-j REJECT"
		}
		return "-j DROP"
	}
	forwards := c.policy["forward"] == "ACCEPT" || slices.ContainsFunc(c.rules, func(r ipchain) bool { return r.chain == "forward" })
	for _, name := range []string{"input", "output"} {
		policy, last := "DROP", ""
		switch c.policy[name] {
		case "ACCEPT":
			policy = "ACCEPT"
		case "REJECT":
			last = "-j REJECT"
		}
		chains = append(chains, ":"+strings.ToUpper(name)+" "+policy+" [0:0]")
		emit(strings.ToUpper(name), name[:1]+"-", "ACCEPT", last, name, map[string]string{"input": "-i", "output": "-o"}[name])
	}
	chains = append(chains, ":FORWARD DROP [0:0]")
	if forwards {
		if c.masq {
			lines = append(lines, "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
		}
		lines = append(lines, "-A FORWARD -j through-input")
		for i, name := range []string{"input", "forward", "output"} {
			next := []string{"through-forward", "through-output", "ACCEPT"}[i]
			chains = append(chains, ":through-"+name+" - [0:0]")
			emit("through-"+name, "t"+name[:1]+"-", next, verdict(name, next), name, []string{"-i", "-o", "-o"}[i])
		}
	}
	prefixes := []string{"i-", "o-"}
	if forwards {
		prefixes = append(prefixes, "ti-", "tf-", "to-")
	}
	for _, u := range c.user {
		for _, p := range prefixes {
			accept, flag := "ACCEPT", "-i"
			switch p {
			case "o-", "to-", "tf-":
				flag = "-o"
			}
			switch p {
			case "ti-":
				accept = "through-forward"
			case "tf-":
				accept = "through-output"
			}
			chains = append(chains, ":"+p+u+" - [0:0]")
			lines = append(lines, c.chain(p+u, p, accept, u, flag)...)
		}
	}
	if c.masq {
		nat = c.masquerade()
	}
	text := "*filter\n" + strings.Join(append(chains, lines...), "\n") + "\nCOMMIT\n"
	if len(nat) > 0 {
		text += "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n" + strings.Join(nat, "\n") + "\nCOMMIT\n"
	}
	return text
}

// masquerade says which packets leave with the server's own address. What forward decided before a MASQ keeps its own.
func (c *ipchains) masquerade() (out []string) {
	n := 0
	for _, r := range c.rules {
		switch {
		case r.chain != "forward" || r.target == "":
			continue
		case r.target == "MASQ":
			out = append(out, "-A POSTROUTING"+r.match("-o")+" -j MASQUERADE")
			n = len(out)
		case slices.Contains(c.user, r.target):
			c.bad = append(c.bad, badRule{r.line, r.text, "a chain of its own in forward, beside MASQ, has no counterpart"})
		default:
			out = append(out, "-A POSTROUTING"+r.match("-o")+" -j RETURN")
		}
	}
	return out[:n]
}

// chain says the rules of one chain of ipchains in a chain of another name.
func (c *ipchains) chain(name, prefix, accept, of, flag string) []string {
	var out []string
	for _, r := range c.rules {
		if r.chain != of {
			continue
		}
		target := ""
		switch r.target {
		case "":
		case "ACCEPT", "MASQ":
			target = " -j " + accept
		case "DENY":
			target = " -j DROP"
		case "REJECT", "RETURN":
			target = " -j " + r.target
		default:
			if !slices.Contains(c.user, r.target) {
				c.bad = append(c.bad, badRule{r.line, r.text, "there is no chain " + r.target})
				continue
			}
			target = " -j " + prefix + r.target
		}
		both := []ipchain{r}
		if r.both {
			b := r
			b.source, b.dest, b.sports, b.dports = r.dest, r.source, r.dports, r.sports
			both = append(both, b)
		}
		for _, r := range both {
			if r.log {
				out = append(out, "-A "+name+r.match(flag)+` -j LOG --log-prefix "Packet log: `+of+` "`)
			}
			out = append(out, "-A "+name+r.match(flag)+target)
		}
	}
	return out
}

// match is what a rule looks at.
func (r ipchain) match(flag string) string {
	var b strings.Builder
	put := func(option, value string) {
		if value == "" {
			return
		}
		value, not := strings.CutPrefix(value, "! ")
		if not {
			b.WriteString(" !")
		}
		b.WriteString(" " + option + " " + value)
	}
	put("-s", r.source)
	put("-d", r.dest)
	put(flag, r.iface)
	put("-p", r.proto)
	if r.frag {
		b.WriteString(" -f")
	}
	if r.proto == "icmp" {
		kind := r.sports
		if r.dports != "" {
			kind += "/" + r.dports
		}
		put("--icmp-type", kind)
	} else {
		put("--sport", r.sports)
		put("--dport", r.dports)
	}
	if r.syn != "" {
		b.WriteString(" " + r.syn)
	}
	if r.mark != "" {
		b.WriteString(" -m mark --mark " + r.mark)
	}
	return b.String()
}
