package arp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestFrameParse(t *testing.T) {
	want := Packet{
		To: broadcast, From: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Operation: Reply,
		SenderMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, SenderIP: netip.MustParseAddr("10.7.0.10"),
		TargetMAC: net.HardwareAddr{2, 0, 0, 0, 0, 3}, TargetIP: netip.MustParseAddr("10.7.0.11"),
	}
	got, err := Parse(want.Frame())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("Parse(Frame()) (-want +got):\n%s", d)
	}
	if _, err := Parse(want.Frame()[:41]); err == nil {
		t.Error("Parse of a short frame succeeded")
	}
}

func TestConflicts(t *testing.T) {
	own, other := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	a, b := netip.MustParseAddr("10.7.0.10"), netip.MustParseAddr("10.7.0.11")
	for _, tc := range []struct {
		name    string
		p       Packet
		probing bool
		want    bool
	}{
		{"answer", Packet{Operation: Reply, SenderMAC: other, SenderIP: a}, true, true},
		{"user asks for another", Packet{Operation: Request, SenderMAC: other, SenderIP: a, TargetIP: b}, true, true},
		{"other probes as well", Packet{Operation: Request, SenderMAC: other, SenderIP: nobody, TargetIP: a}, true, true},
		{"other probes, we have it", Packet{Operation: Request, SenderMAC: other, SenderIP: nobody, TargetIP: a}, false, false},
		{"own probe comes back", Packet{Operation: Request, SenderMAC: own, SenderIP: nobody, TargetIP: a}, true, false},
		{"client looks for it", Packet{Operation: Request, SenderMAC: other, SenderIP: b, TargetIP: a}, true, false},
		{"somebody else's", Packet{Operation: Reply, SenderMAC: other, SenderIP: b}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := conflicts(tc.p, a, own, tc.probing); got != tc.want {
				t.Errorf("conflicts = %v; want %v", got, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Packet{To: broadcast, From: broadcast, SenderIP: nobody, TargetIP: nobody}.Frame())
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse(in)
		if err != nil {
			return
		}
		if d := cmp.Diff(in[:frameLen], p.Frame()); d != "" {
			t.Errorf("Frame(Parse(b)) differs:\n%s", d)
		}
	})
}
