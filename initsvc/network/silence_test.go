package network

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/network/arp"
	"sayasystems.com/atlas/initsvc/network/ndp"
	"sayasystems.com/atlas/roles"
)

// silence is how long the twin is listened to while its services talk.
const silence = 10 * time.Second

// TestSilence lets a twin's services try all ways to the wire that services know, and some that they should not.
func TestSilence(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	w := newWire(t, "left", "right", "client")
	w.service6 = service6 + "/64"
	w.hosts["client"].address(t, "10.7.0.100/24")
	w.hosts["client"].address(t, "fd07::100/64")
	w.hosts["client"].serve(t, "10.7.0.100:25")
	w.start(t, "left", "10.7.0.11/24", "10.7.0.12", roles.Primary)

	// Before the fence is up something has a connection already.
	right := w.hosts["right"]
	var old net.Conn
	right.do(t, func() error {
		if _, err := BringUp(t.Context(), siteconf.Management{Address: "10.7.0.12/24", Gateway: "10.7.0.1"}, quiet); err != nil {
			return err
		}
		c, err := net.DialTimeout("tcp4", "10.7.0.100:25", 5*time.Second) // the bridge notices a carrier within a second
		old = c
		return err
	})
	defer func() { _ = old.Close() }()
	w.start(t, "right", "10.7.0.12/24", "10.7.0.11", roles.Secondary)
	time.Sleep(300 * time.Millisecond) // what was on its way before

	heard := w.tap(t, "right")
	end := time.Now().Add(silence)
	attempts := 0
	for time.Now().Before(end) {
		for name, try := range noise(old) {
			if err := right.try(try); attempts < 2*len(noise(old)) {
				t.Logf("%s: %v", name, err)
			}
			attempts++
		}
		// What must be heard goes on all the time: else the silence proves nothing.
		if got, err := right.ask("10.7.0.11:80", ""); err != nil || got != "left hears 10.7.0.12" {
			t.Fatalf("the twin asks its peer = %q, %v", got, err)
		}
		if got, err := w.hosts["client"].ask("10.7.0.12:8443", ""); err != nil || got != "right hears 10.7.0.100" {
			t.Fatalf("the client asks the twin's page = %q, %v", got, err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	toPeer, answers := 0, 0
	frames := heard()
	for _, f := range frames {
		switch {
		case f.kind == unix.ETH_P_ARP && strings.HasPrefix(f.ip, "10.7.0.12 → 10.7.0."):
			if !strings.HasSuffix(f.ip, ".11") && !strings.HasSuffix(f.ip, ".100") {
				t.Errorf("the twin looks for a stranger: %+v", f)
			}
		case f.kind == unix.ETH_P_IP && f.ip == "10.7.0.12 → 10.7.0.11":
			toPeer++
		case f.kind == unix.ETH_P_IP && f.ip == "10.7.0.12 → 10.7.0.100" && f.port == 8443:
			answers++
		default:
			t.Errorf("frame from the twin: %+v", f)
		}
	}
	t.Logf("%d attempts in %s; heard %d frames to the peer, %d answers of the page, %d in all", attempts, silence, toPeer, answers, len(frames))
	if toPeer == 0 || answers == 0 || attempts < 50 {
		t.Error("the tap is blind or the services were quiet")
	}

	// The same without the fence is heard: else the attempts above were none.
	heard = w.tap(t, "right")
	right.do(t, func() error { return Fence(t.Context(), Plan{}) })
	for _, try := range noise(old) {
		_ = right.try(try)
	}
	loud := map[string]bool{}
	for _, f := range heard() {
		loud[f.ip] = true
		loud[fmt.Sprintf("%#x", f.kind)] = true
	}
	for _, want := range []string{
		"10.7.0.12 → 10.7.0.100", "10.7.0.12 → 10.7.0.255", "10.7.0.12 → 255.255.255.255", "10.7.0.12 → 224.0.0.251", "10.7.0.12 → 224.0.0.22",
		serviceIP + " → " + serviceIP, service6 + " → ff02::1", "0x88cc",
	} {
		if !loud[want] {
			t.Errorf("without the fence %s is not heard either; want it, as the proof that the fence holds it back", want)
		}
	}
}

// noise is what services and people do on a network, each once.
func noise(old net.Conn) map[string]func() error {
	dial := func(network, addr, from string) func() error {
		return func() error {
			d := net.Dialer{Timeout: 30 * time.Millisecond}
			if ap, err := netip.ParseAddrPort(from + ":0"); err == nil {
				d.LocalAddr = net.TCPAddrFromAddrPort(ap)
			}
			c, err := d.Dial(network, addr)
			if err == nil {
				_ = c.Close()
				return fmt.Errorf("%s reached", addr)
			}
			return err
		}
	}
	udp := func(from, to string) func() error {
		return func() error {
			network := "udp4"
			if strings.HasPrefix(from, "[") {
				network = "udp6"
			}
			c, err := net.ListenPacket(network, from)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			_, err = c.WriteTo([]byte("anybody there?"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
			return err
		}
	}
	return map[string]func() error{
		"mail to the client":            dial("tcp4", "10.7.0.100:25", ""),
		"mail from the service address": dial("tcp4", "10.7.0.100:25", serviceIP),
		"mail from a pack's address":    dial("tcp4", "10.7.0.100:25", ownIP),
		"web request to the world":      dial("tcp4", "192.0.2.1:80", ""),
		"web request over IPv6":         dial("tcp6", "[2001:db8::1]:80", ""),
		"mail over IPv6":                dial("tcp6", "[fd07::100]:25", ""),
		"name server":                   udp("0.0.0.0:0", "10.7.0.1:53"),
		"time server":                   udp(serviceIP+":0", "192.0.2.1:123"),
		"NetBIOS broadcast":             udp("0.0.0.0:0", "10.7.0.255:137"),
		"NetBIOS of the service":        udp(serviceIP+":0", "10.7.0.255:138"),
		"global broadcast":              udp("0.0.0.0:0", "255.255.255.255:138"),
		"multicast DNS":                 udp("0.0.0.0:0", "224.0.0.251:5353"),
		"multicast DNS over IPv6":       udp("[::]:0", "[ff02::fb%svc0]:5353"),
		"all nodes on the NIC":          udp("[::]:0", "[ff02::1%eth0]:5353"),
		"join of groups": func() error {
			for _, name := range []string{"eth0", Service} {
				ifc, err := net.InterfaceByName(name)
				if err != nil {
					return err
				}
				if c, err := net.ListenPacket("udp4", "0.0.0.0:0"); err == nil {
					_ = ipv4.NewPacketConn(c).JoinGroup(ifc, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251)})
					_ = c.Close() // leaves it again: another report
				}
				if c, err := net.ListenPacket("udp6", "[::]:0"); err == nil {
					_ = ipv6.NewPacketConn(c).JoinGroup(ifc, &net.UDPAddr{IP: net.ParseIP("ff02::fb")})
					_ = c.Close()
				}
			}
			return nil
		},
		"old connection": func() error { _, err := old.Write([]byte("QUIT\r\n")); return err },
		"ping": func() error {
			c, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			_, err = c.WriteTo([]byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}, &net.IPAddr{IP: net.IPv4(10, 7, 0, 100)})
			return err
		},
		"ARP for the service address": func() error { return arp.Announce("eth0", netip.MustParseAddr(serviceIP)) },
		"neighbour advertisement": func() error {
			l, err := ndp.Open("eth0")
			if err != nil {
				return err
			}
			defer l.Close()
			return l.Announce(netip.MustParseAddr(service6))
		},
		"raw frame": func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			ifc, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 2, 0x88, 0xcc}, make([]byte, 46)...) // LLDP
			return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifc.Index})
		},
	}
}
