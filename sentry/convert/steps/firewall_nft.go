package steps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// nftChain is a chain with its rules in nftables' words.
type nftChain struct {
	name, policy string // policy "" of people's own chains
	rules        []string
}

type nftTable struct {
	name   string
	chains []*nftChain
}

func (t *nftTable) chain(name string) *nftChain {
	for _, c := range t.chains {
		if c.name == name {
			return c
		}
	}
	return nil
}

// toNFT says rules as iptables-save writes them in nftables' words: one rule for one. family is "ip" or "ip6".
func toNFT(family, text string) (out string, rules int, bad []badRule) {
	var tables []*nftTable
	var t *nftTable
	no := 0
	for raw := range strings.Lines(text) {
		no++
		line := strings.TrimSpace(raw)
		switch {
		case line == "" || strings.HasPrefix(line, "#") || line == "COMMIT":
		case strings.HasPrefix(line, "*"):
			t = &nftTable{name: line[1:]}
			tables = append(tables, t)
		case t == nil:
			bad = append(bad, badRule{no, line, "it stands in no table"})
		case strings.HasPrefix(line, ":"):
			f := words(line[1:])
			if len(f) < 2 || !nftName.MatchString(f[0]) {
				bad = append(bad, badRule{no, line, "the chain has a name that nftables does not take"})
				continue
			}
			c := &nftChain{name: f[0], policy: strings.ToLower(strings.TrimPrefix(f[1], "-"))}
			if c.policy != "" && hook(t.name, c.name) == "" {
				bad = append(bad, badRule{no, line, "there is no chain " + c.name + " in " + t.name})
			}
			t.chains = append(t.chains, c)
		default:
			r := nftRule{family: family, table: t}
			chain, rule, why := r.translate(words(line))
			if c := t.chain(chain); why == "" && c != nil {
				c.rules = append(c.rules, rule)
				rules++
			} else {
				if why == "" {
					why = "there is no chain " + chain
				}
				bad = append(bad, badRule{no, line, why})
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#!/usr/sbin/nft -f\n# From rules of iptables: as many, in the same order.\n")
	for _, t := range tables {
		fmt.Fprintf(&b, "table %[1]s %[2]s\ndelete table %[1]s %[2]s\ntable %[1]s %[2]s {\n", family, t.name)
		for _, c := range t.chains {
			fmt.Fprintf(&b, "\tchain %s {\n", c.name)
			if c.policy != "" {
				fmt.Fprintf(&b, "\t\ttype %s; policy %s;\n", hook(t.name, c.name), c.policy)
			}
			for _, r := range c.rules {
				fmt.Fprintf(&b, "\t\t%s\n", r)
			}
			b.WriteString("\t}\n")
		}
		b.WriteString("}\n")
	}
	return b.String(), rules, bad
}

var nftName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)

// hook is where a chain of iptables' own stands.
func hook(table, chain string) string {
	kind, priority := "filter", map[string]string{"filter": "filter", "mangle": "mangle", "raw": "raw", "security": "security", "nat": "dstnat"}[table]
	switch {
	case priority == "" || !slices.Contains([]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}, chain):
		return ""
	case table == "nat":
		kind = "nat"
		// Old versions take the words dstnat and srcnat for prerouting and postrouting alone.
		priority = map[string]string{"PREROUTING": "dstnat", "OUTPUT": "-100", "INPUT": "100", "POSTROUTING": "srcnat"}[chain]
	case table == "mangle" && chain == "OUTPUT":
		kind = "route"
	}
	return fmt.Sprintf("%s hook %s priority %s", kind, strings.ToLower(chain), priority)
}

// nftRule is one rule on its way.
type nftRule struct {
	family string
	table  *nftTable
	proto  string
	match  []string
	args   []string
	not    bool
}

func (r *nftRule) next() string {
	if len(r.args) == 0 {
		return ""
	}
	v := r.args[0]
	r.args = r.args[1:]
	if v == "!" { // as it was written long ago: -s ! ADDRESS
		r.not = true
		return r.next()
	}
	return v
}

// add writes a match, with what stood before it as "not".
func (r *nftRule) add(what, value string) {
	if r.not {
		value = "!= " + value
	}
	r.match = append(r.match, what+" "+value)
	r.not = false
}

// translate gives the chain that a rule belongs to and what it says; why tells what cannot be said.
func (r *nftRule) translate(args []string) (chain, rule, why string) {
	r.args = args
	jump := "jump"
	var verdict []string
	for len(r.args) > 0 && why == "" {
		option := r.next()
		switch option {
		case "-A", "--append":
			chain = r.next()
		case "-j", "--jump", "-g", "--goto":
			if option == "-g" || option == "--goto" {
				jump = "goto"
			}
			verdict, why = r.verdict(r.next(), jump)
		case "-c", "--set-counters":
			r.next()
			r.next()
		case "-m", "--match":
			if m := r.next(); !slices.Contains(nftMatches(), m) {
				why = "there is no counterpart of the match " + m
			}
		default:
			if strings.HasPrefix(option, "[") { // counters
				continue
			}
			why = r.option(option)
		}
	}
	if why == "" && r.not {
		why = "the ! stands before nothing"
	}
	if chain == "" && why == "" {
		why = "it is no rule"
	}
	parts := r.match
	if r.proto != "" && !slices.ContainsFunc(parts, func(m string) bool { return strings.HasPrefix(m, r.proto+" ") }) {
		parts = append([]string{"meta l4proto " + r.proto}, parts...)
	}
	return chain, strings.Join(slices.Concat(parts, []string{"counter"}, verdict), " "), why
}
