package network

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"sayasystems.com/atlas/image/siteconf"
)

func ack(t *testing.T, options ...dhcpv4.Modifier) *nclient4.Lease {
	t.Helper()
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithYourIP(net.IPv4(10, 7, 0, 50)),
		dhcpv4.WithServerIP(net.IPv4(10, 7, 0, 1)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 7, 0, 1))),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return &nclient4.Lease{Offer: p, ACK: p, CreationTime: time.Unix(1000, 0)}
}

func TestReadLease(t *testing.T) {
	ignore := []cmp.Option{cmpopts.IgnoreUnexported(Lease{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}
	got, err := readLease(ack(t, dhcpv4.WithNetmask(net.CIDRMask(16, 32)), dhcpv4.WithRouter(net.IPv4(192, 168, 1, 1), net.IPv4(10, 7, 9, 1)),
		dhcpv4.WithDNS(net.IPv4(10, 7, 0, 2)), dhcpv4.WithLeaseTime(600)))
	if err != nil {
		t.Fatal(err)
	}
	want := &Lease{
		Address: netip.MustParsePrefix("10.7.0.50/16"), Gateway: netip.MustParseAddr("10.7.9.1"), DNS: []netip.Addr{netip.MustParseAddr("10.7.0.2")},
		Server: netip.MustParseAddr("10.7.0.1"), Renew: time.Unix(1300, 0), Expires: time.Unix(1600, 0),
	}
	if d := cmp.Diff(want, got, ignore...); d != "" {
		t.Errorf("readLease (-want +got):\n%s", d)
	}
	for name, l := range map[string]*nclient4.Lease{
		"no address": ack(t, dhcpv4.WithYourIP(net.IPv4zero)),
		"multicast":  ack(t, dhcpv4.WithYourIP(net.IPv4(224, 0, 0, 1))),
		"mask":       ack(t, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionSubnetMask, []byte{255, 0, 255, 0}))),
	} {
		if got, err := readLease(l); err == nil {
			t.Errorf("%s: readLease = %+v; want an error", name, got)
		}
	}
}

func FuzzReadLease(f *testing.F) {
	p, err := dhcpv4.New(dhcpv4.WithYourIP(net.IPv4(10, 7, 0, 50)), dhcpv4.WithLeaseTime(1), dhcpv4.WithNetmask(net.CIDRMask(24, 32)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.ToBytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := dhcpv4.FromBytes(in)
		if err != nil {
			return
		}
		now := time.Now()
		if l, err := readLease(&nclient4.Lease{Offer: p, ACK: p, CreationTime: now}); err == nil && (!l.Address.IsValid() || !l.Renew.After(now) || !l.Expires.After(l.Renew)) {
			t.Errorf("readLease gives %+v", l)
		}
	})
}

func TestDHCP(t *testing.T) {
	w := newWire(t, "left", "router")
	w.hosts["router"].address(t, "10.7.0.1/24")
	renewed := make(chan struct{}, 10)
	var srv *server4.Server
	w.hosts["router"].do(t, func() (err error) {
		srv, err = server4.NewServer("eth0", &net.UDPAddr{Port: dhcpv4.ServerPort}, func(c net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
			kind := dhcpv4.MessageTypeOffer
			if m.MessageType() == dhcpv4.MessageTypeRequest {
				kind = dhcpv4.MessageTypeAck
				if !m.ClientIPAddr.IsUnspecified() {
					renewed <- struct{}{}
				}
			}
			reply, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(10, 7, 0, 50)),
				dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 7, 0, 1))), dhcpv4.WithRouter(net.IPv4(10, 7, 0, 1)),
				dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(3600), dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(time.Second)))
			if err == nil {
				_, _ = c.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
			}
		})
		return err
	})
	go func() { _ = srv.Serve() }()
	defer func() { _ = srv.Close() }()

	var m Management
	w.hosts["left"].do(t, func() (err error) {
		m, err = BringUp(t.Context(), siteconf.Management{Address: "dhcp"}, quiet)
		return err
	})
	if m.Address.String() != "10.7.0.50/24" || m.Gateway.String() != "10.7.0.1" || m.Lease == nil {
		t.Fatalf("BringUp = %+v; want 10.7.0.50/24 by 10.7.0.1 with a lease", m)
	}
	w.hosts["left"].serve(t, "10.7.0.50:8443")
	if got, err := w.hosts["router"].ask("10.7.0.50:8443", ""); err != nil {
		t.Errorf("the leased address answers %q, %v", got, err)
	}
	go func() { _ = w.hosts["left"].try(func() error { return Keep(t.Context(), m, quiet) }) }()
	select {
	case <-renewed:
	case <-time.After(5 * time.Second):
		t.Error("the lease is not renewed")
	}
}

func TestDHCPWithoutServer(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for an answer that does not come")
	}
	w := newWire(t, "left")
	err := w.hosts["left"].try(func() error {
		_, err := BringUp(t.Context(), siteconf.Management{Address: "dhcp"}, quiet)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "static address") {
		t.Errorf("BringUp without a DHCP server = %v; want advice", err)
	}
}
