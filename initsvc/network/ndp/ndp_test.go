package ndp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	own, other = net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	a, b       = netip.MustParseAddr("fd07::10"), netip.MustParseAddr("fd07::11")
)

func TestFrames(t *testing.T) {
	for name, tc := range map[string]struct {
		frame []byte
		want  Packet
	}{
		"question":     {question(own, a), Packet{From: own, Source: nobody, Kind: Solicitation, Target: a}},
		"announcement": {announcement(own, a), Packet{From: own, Source: a, Kind: Advertisement, Target: a}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tc.frame)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("Parse (-want +got):\n%s", d)
			}
			for i := ipAt + 8; i < len(tc.frame); i++ {
				bad := append([]byte(nil), tc.frame...)
				bad[i] ^= 0x40
				if _, err := Parse(bad); err == nil {
					t.Errorf("Parse accepts a frame with byte %d wrong", i)
				}
			}
			if _, err := Parse(tc.frame[:len(tc.frame)-1]); err == nil {
				t.Error("Parse accepts a frame cut short")
			}
		})
	}
	if got := solicited(netip.MustParseAddr("fd07::1:2345:6789")); got != netip.MustParseAddr("ff02::1:ff45:6789") {
		t.Errorf("solicited = %s", got)
	}
}

func TestConflicts(t *testing.T) {
	for _, tc := range []struct {
		name    string
		p       Packet
		probing bool
		want    bool
	}{
		{"answer", Packet{From: other, Source: b, Kind: Advertisement, Target: a}, true, true},
		{"user asks for another", Packet{From: other, Source: a, Kind: Solicitation, Target: b}, false, true},
		{"other probes as well", Packet{From: other, Source: nobody, Kind: Solicitation, Target: a}, true, true},
		{"other probes, we have it", Packet{From: other, Source: nobody, Kind: Solicitation, Target: a}, false, false},
		{"client looks for it", Packet{From: other, Source: b, Kind: Solicitation, Target: a}, true, false},
		{"own comes back", Packet{From: own, Source: a, Kind: Advertisement, Target: a}, true, false},
		{"somebody else's", Packet{From: other, Source: b, Kind: Advertisement, Target: b}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := conflicts(tc.p, a, own, tc.probing); got != tc.want {
				t.Errorf("conflicts = %v; want %v", got, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(question(own, a))
	f.Add(announcement(own, a))
	f.Fuzz(func(t *testing.T, in []byte) {
		if p, err := Parse(in); err == nil && (len(p.From) != 6 || !p.Target.Is6()) {
			t.Errorf("Parse = %+v", p)
		}
	})
}
