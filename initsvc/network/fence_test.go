package network

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func plan(role roles.Role, peers ...string) Plan {
	p := Plan{
		Role:       role,
		Service:    siteconf.Service{Address: "10.7.0.10/24", MAC: "02:a7:1a:50:00:01"},
		Management: Management{Interface: "eth0", Address: netip.MustParsePrefix("10.7.0.11/24"), Gateway: netip.MustParseAddr("10.7.0.1")},
		Addresses:  []siteconf.PackAddress{{Pack: "ad", Address: "10.7.0.20/24"}, {Pack: "off", Address: "10.7.0.21/24"}},
		Packs: []pack.Pack{
			{Name: "apache", Scope: pack.ScopeSite, Ports: []pack.Port{{Port: 443, Proto: "tcp"}, {Port: 80}}},
			{Name: "dns", Scope: pack.ScopeSite, Ports: []pack.Port{{Port: 53, Proto: "tcp"}, {Port: 53, Proto: "udp"}}},
			{Name: "ad", Scope: pack.ScopeSite, Address: pack.AddressOwn, Ports: []pack.Port{{Port: 53}, {Port: 53, Proto: "udp"}, {Port: 389}}},
			{Name: "nowhere", Scope: pack.ScopeSite, Address: pack.AddressOwn, Ports: []pack.Port{{Port: 99}}},
			{Name: "ssh", Scope: pack.ScopeServer, Ports: []pack.Port{{Port: 22, Proto: "tcp"}}},
		},
	}
	for _, a := range peers {
		p.Peers = append(p.Peers, netip.MustParseAddr(a))
	}
	return p
}

func TestRuleset(t *testing.T) {
	none := plan(roles.Secondary, "10.7.0.12")
	none.Packs = nil
	base := plan("", "10.7.0.12")
	six := func(role roles.Role) Plan {
		p := plan(role, "10.7.0.12")
		p.Service.Address6 = "fd07::10/64"
		return p
	}
	for name, p := range map[string]Plan{
		"primary-0": plan(roles.Primary), "primary-1": plan(roles.Primary, "10.7.0.12"), "primary-2": plan(roles.Primary, "10.7.0.12", "10.7.0.13"),
		"secondary-0": plan(roles.Secondary), "secondary-1": plan(roles.Secondary, "10.7.0.12"), "secondary-2": plan(roles.Secondary, "10.7.0.12", "10.7.0.13"),
		"secondary-no-packs": none, "base": base, "base-no-address": {},
		"primary-6": six(roles.Primary), "secondary-6": six(roles.Secondary),
	} {
		t.Run(name, func(t *testing.T) {
			got := Ruleset(p)
			golden := filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("Ruleset (-want +got):\n%s", d)
			}
			if os.Geteuid() != 0 {
				return
			}
			w := newWire(t, "left") // the rules name its NIC
			w.hosts["left"].do(t, func() error { return run(t.Context(), got, "nft", "--check", "-f", "-") })
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Plan)
		want   string
	}{
		{"no prefix length", func(p *Plan) { p.Service.Address = "10.7.0.10" }, "service address"},
		{"IPv6", func(p *Plan) { p.Service.Address = "fd00::1/64" }, "IPv4"},
		{"MAC", func(p *Plan) { p.Service.MAC = "" }, "service MAC"},
		{"gateway", func(p *Plan) { p.Service.Gateway = "x" }, "service gateway"},
		{"IPv6 address", func(p *Plan) { p.Service.Address6 = "10.7.0.13/24" }, "service.address6"},
		{"IPv6 gateway", func(p *Plan) { p.Service.Gateway6 = "10.7.0.1" }, "service.gateway6"},
		{"VLAN", func(p *Plan) { p.Service.VLAN = 4095 }, "service.vlan"},
		{"role", func(p *Plan) { p.Role = "both" }, "role"},
		{"same address as a pack", func(p *Plan) { p.Addresses[0].Address = "10.7.0.10/24" }, "twice"},
		{"a pack with the management address", func(p *Plan) { p.Addresses[0].Address = "10.7.0.11/24" }, "must differ"},
		{"address of a pack", func(p *Plan) { p.Addresses[0].Address = "10.7.0.20" }, "of ad must be an IPv4 address"},
		{"same address", func(p *Plan) { p.Service.Address = "10.7.0.11/24" }, "must differ"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := plan(roles.Primary)
			tc.change(&p)
			if _, err := p.parse(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("parse error = %v; want one with %q", err, tc.want)
			}
		})
	}
	got, err := plan(roles.Primary).parse()
	if err != nil || got.gateway != netip.MustParseAddr("10.7.0.1") {
		t.Errorf("parse = %v, %v; want the management gateway, which is in the service network", got.gateway, err)
	}
}
