package steps

import (
	"strings"
	"testing"
)

func TestFirewall(t *testing.T) { nested(t, "firewall", Firewall()) }

// FuzzFirewall: as many rules come out as go in, or a word is said of what does not.
func FuzzFirewall(f *testing.F) {
	f.Add("*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp ! --syn -j DROP\nCOMMIT\n")
	f.Add(":input DENY\n-A input -s ! 10.0.0.0/8 ! 80 -p 6 -i ! eth0 -j DENY -l\n-A forward -j MASQ\n")
	f.Fuzz(func(t *testing.T, text string) {
		in := 0
		for l := range strings.Lines(text) {
			if w := words(strings.TrimSpace(l)); len(w) > 0 && w[0] == "-A" {
				in++
			}
		}
		for _, family := range []string{"ip", "ip6"} {
			_, n, bad := toNFT(family, text)
			if len(bad) == 0 && n < in {
				t.Errorf("%d rules became %d", in, n)
			}
		}
		c := parseIPChains(text)
		made := c.iptables()
		if len(c.bad) == 0 && strings.Count(made, "\n-A ") < len(c.rules) && len(c.rules) > 0 {
			for _, r := range c.rules {
				if r.chain != "input" && r.chain != "output" { // forward alone may be empty, when nothing is forwarded
					return
				}
			}
			t.Errorf("%d rules became\n%s", len(c.rules), made)
		}
	})
}
