package steps

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Firewall carries people's own rules of the packet filter: ipchains → iptables → nftables. No image has the programs of the first two. A file becomes
// another as a whole or not at all: a rule that cannot be said there blocks, since one that refuses packets must not vanish.
//
// ATLAS itself makes a fence of its own from the packs' ports (initsvc/network) and loads no rules of people; what is converted is at hand for whoever
// loads it, and the findings say so.
func Firewall() []convert.Step {
	var out []convert.Step
	for _, old := range []int{11, 12} {
		suffix := ""
		if old == 11 {
			suffix = "-11"
		}
		out = append(out,
			convert.Step{
				ID: "firewall-ipchains" + suffix, Old: old, Class: convert.Rewritten,
				Title:   "ipchains → iptables: DENY → DROP, -y → --syn, -l → LOG, MASQ → MASQUERADE; forwarded packets cross FORWARD alone, so it gets the rules of all three",
				Source:  "ipchains(8), Linux 2.4 packet filtering HOWTO",
				Forward: ipchainsForward,
			},
			convert.Step{
				ID: "firewall-iptables" + suffix, Old: old, Class: convert.Rewritten,
				Title:   "/etc/iptables/rules.v4, rules.v6 → nftables, rule by rule; what nftables cannot say (string, recent, a set from outside) blocks",
				Source:  "iptables-extensions(8), nft(8); measured: nft of both takes as many rules as went in",
				Forward: iptablesForward,
			},
		)
	}
	return out
}

const (
	rulesV4 = state.Path("etc/iptables/rules.v4")
	own     = "ATLAS loads no rules of people; its own fence is made from the services' ports. Load them, if they are still wanted: nft -f /"
)

// firewallFile is what rules of a family become.
func firewallFile(family string) state.Path {
	return state.Path("etc/nftables.d/iptables-" + family + ".nft")
}

// badRule is a rule that cannot be said otherwise.
type badRule struct {
	line int
	rule string
	why  string
}

func tellBad(w *convert.Work, p state.Path, bad []badRule, what string) {
	for i, b := range bad {
		if slices.Contains(bad[:i], b) { // a rule may stand in two chains there
			continue
		}
		w.Tell(convert.Finding{
			Class: convert.Blocking, Path: p, Line: b.line, What: fmt.Sprintf("%s cannot say the rule “%s”: %s. No rule of this file is converted.", what, b.rule, b.why),
			Next: "Say it in another way, or take it out; or remove the file, if nothing loads it.",
		})
	}
}

func ipchainsForward(w *convert.Work) error {
	for _, p := range w.Changed("etc/ipchains.rules", "etc/ipchains.conf", "etc/sysconfig/ipchains", "etc/default/ipchains.rules") {
		if len(w.Changed(string(rulesV4))) > 0 {
			w.Tell(convert.Finding{Class: convert.Ignored, Path: p, What: "Rules of ipchains are read by nothing there; /" + string(rulesV4) + " is there as well."})
			continue
		}
		c := parseIPChains(string(w.Text(p)))
		text := c.iptables()
		if len(c.bad) > 0 {
			tellBad(w, p, c.bad, "iptables")
			continue
		}
		w.Tell(convert.Finding{Path: p, Line: 1, What: fmt.Sprintf("The rules of ipchains (%d) are said as iptables' in /%s.", len(c.rules), rulesV4)})
		if c.masq {
			w.Tell(convert.Finding{
				Class: convert.Approximated, Path: p, Line: 1, Next: "Look whether answers from outside reach the office.",
				What: "Answers to masqueraded connections were let in by rules for the ports 61000 to 65095; the kernel knows by itself now which they are, and they are let in.",
			})
		}
		w.Write(rulesV4, []byte(text))
		w.Remove(p)
	}
	return nil
}

func iptablesForward(w *convert.Work) error {
	for _, p := range w.Changed("etc/iptables/rules.v4", "etc/iptables/rules.v6", "etc/iptables.rules", "etc/iptables.up.rules", "etc/ip6tables.rules", "etc/ip6tables.up.rules") {
		family, name := "ip", "v4"
		if base := path.Base(string(p)); base == "rules.v6" || strings.HasPrefix(base, "ip6") {
			family, name = "ip6", "v6"
		}
		to := firewallFile(name)
		if _, there := w.Get(to); there {
			w.Tell(convert.Finding{Class: convert.Ignored, Path: p, What: "Rules of iptables are read by nothing there; /" + string(to) + " is there already."})
			continue
		}
		text, n, bad := toNFT(family, string(w.Text(p)))
		if len(bad) > 0 {
			tellBad(w, p, bad, "nftables")
			continue
		}
		w.Tell(convert.Finding{
			Path: p, Line: 1, What: fmt.Sprintf("iptables is not there; its rules (%d) are said as nftables' in /%s, one for one.", n, to), Next: own + string(to) + ".",
		})
		w.Write(to, []byte(text))
		w.Remove(p)
	}
	return nil
}

// words parts a line as a shell does: blanks part, quotes hold together.
func words(line string) []string {
	var out []string
	var word strings.Builder
	in, quote := false, rune(0)
	escaped := false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, in = r, true
		case r == ' ' || r == '\t' || r == '\r':
			if in {
				out = append(out, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if in {
		out = append(out, word.String())
	}
	return out
}
