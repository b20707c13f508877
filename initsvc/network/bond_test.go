package network

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

func TestBond(t *testing.T) {
	kernelHas(t, "bonding")
	w := newWire(t, "left", "client")
	left, client := w.hosts["left"], w.hosts["client"]
	w.plug(t, left, "left1", "eth1", net.HardwareAddr{0x52, 0x54, 0, 0, 1, 1})
	client.address(t, "10.7.0.100/24")
	var p Plan
	left.do(t, func() error {
		m, err := BringUp(t.Context(), siteconf.Management{Bond: []string{"eth0", "52:54:00:00:01:01"}, Address: "10.7.0.11/24"}, quiet)
		if err != nil {
			return err
		}
		p = Plan{
			Role: roles.Primary, Service: siteconf.Service{Address: serviceIP + "/24", MAC: serviceMAC}, Management: m,
			Packs: []pack.Pack{{Name: "web", Ports: []pack.Port{{Port: 80}}}},
		}
		return Raise(t.Context(), p, quiet)
	})
	if p.Management.Interface != "bond0" {
		t.Errorf("management interface %s; want bond0", p.Management.Interface)
	}
	left.serve(t, serviceIP+":80")
	left.serve(t, "10.7.0.11:8443")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- left.try(func() error { return Defend(ctx, p, quiet, func(c ErrConflict) { t.Errorf("found %v", c) }) })
	}()
	active := func() (name string) {
		left.do(t, func() error {
			l, err := netlink.LinkByName("bond0")
			if err != nil {
				return err
			}
			a, err := netlink.LinkByIndex(l.(*netlink.Bond).ActiveSlave)
			if err == nil {
				name = a.Attrs().Name
			}
			return err
		})
		return name
	}
	port := map[string]string{"eth0": "left", "eth1": "left1"}
	for range 2 { // there and back
		for _, at := range []string{serviceIP + ":80", "10.7.0.11:8443"} {
			if got, err := client.ask(at, ""); err != nil || got != "left hears 10.7.0.100" {
				t.Fatalf("client asks %s by %s = %q, %v", at, active(), got, err)
			}
		}
		was := active()
		heard := w.tap(t, port[map[string]string{"eth0": "eth1", "eth1": "eth0"}[was]])
		w.cable(t, port[was], false)
		began := time.Now()
		for {
			got, err := client.ask(serviceIP+":80", "")
			if err == nil && got == "left hears 10.7.0.100" {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatalf("after the cable of %s was cut the service is gone: %v", was, err)
			}
		}
		t.Logf("%s cut: the service answers by %s after %s", was, active(), time.Since(began).Round(time.Millisecond))
		time.Sleep(2 * time.Second)
		announced := false
		for _, f := range heard() {
			announced = announced || f.src == serviceMAC && f.ip == serviceIP+" → "+serviceIP
		}
		if !announced {
			t.Errorf("the service address is not announced by the other NIC")
		}
		w.cable(t, port[was], true)
		time.Sleep(500 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Defend = %v", err)
	}
}

func TestVLAN(t *testing.T) {
	kernelHas(t, "8021q")
	w := newWire(t, "left", "client", "intruder")
	left, client := w.hosts["left"], w.hosts["client"]
	tagged := func(h *host, cidr string) {
		h.address(t, "10.7.0.100/24")
		h.do(t, func() error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			if err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "eth0.7", ParentIndex: l.Attrs().Index}, VlanId: 7}); err != nil {
				return err
			}
			return configureUp("eth0.7", netip.MustParsePrefix(cidr))
		})
	}
	tagged(client, "10.8.0.100/24")
	w.cable(t, "intruder", false)
	tagged(w.hosts["intruder"], "10.8.0.10/24")
	var p Plan
	left.do(t, func() error {
		m, err := BringUp(t.Context(), siteconf.Management{Address: "10.7.0.11/24"}, quiet)
		p = Plan{
			Role: roles.Primary, Service: siteconf.Service{Address: "10.8.0.10/24", Address6: "fd08::10/64", MAC: serviceMAC, VLAN: 7}, Management: m,
			Packs: []pack.Pack{{Name: "web", Ports: []pack.Port{{Port: 80}}}},
		}
		if err != nil {
			return err
		}
		return Raise(t.Context(), p, quiet)
	})
	left.serve(t, "10.8.0.10:80")
	if got, err := client.ask("10.8.0.10:80", ""); err != nil || got != "left hears 10.8.0.100" {
		t.Errorf("client asks in the VLAN = %q, %v", got, err)
	}
	left.do(t, func() error { return Raise(t.Context(), p, quiet) })
	left.do(t, func() error { return Lower(t.Context()) })
	w.cable(t, "intruder", true)
	time.Sleep(1500 * time.Millisecond) // the bridge notices the carrier
	if err := left.try(func() error { return Raise(t.Context(), p, quiet) }); err == nil {
		t.Error("Raise with the address taken in the VLAN succeeds")
	}
	left.do(t, func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if l.Type() == "vlan" || l.Type() == "macvlan" {
				t.Errorf("%s is left over after the conflict", l.Attrs().Name)
			}
		}
		return err
	})
}
