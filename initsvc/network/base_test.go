package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// A server that holds or boots is fenced from the first moment.
func TestHolding(t *testing.T) {
	w := newWire(t, "left", "client")
	left, client := w.hosts["left"], w.hosts["client"]
	client.address(t, "10.7.0.100/24")
	client.serve(t, "10.7.0.100:53")
	left.do(t, func() error {
		_, err := BringUp(t.Context(), siteconf.Management{Address: "10.7.0.11/24"}, quiet)
		return err
	})
	for _, port := range []string{"22", "8443", "8444", "80", "20389"} {
		left.serve(t, "0.0.0.0:"+port)
		want := "left hears 10.7.0.100"
		if port == "80" || port == "20389" {
			want = ""
		}
		if got, err := client.ask("10.7.0.11:"+port, ""); got != want {
			t.Errorf("client asks port %s of a server that holds = %q, %v; want %q", port, got, err, want)
		}
	}
	if got, err := left.ask("10.7.0.100:53", ""); err != nil || got != "client hears 10.7.0.11" {
		t.Errorf("a server that holds asks outside = %q, %v; want an answer", got, err)
	}
}

// While the fence is not loaded the service address does not exist.
func TestNoFenceNoAddress(t *testing.T) {
	w := newWire(t, "left", "right")
	for name, role := range map[string]roles.Role{"left": roles.Primary, "right": roles.Secondary} {
		p := w.start(t, name, "10.7.0.11/24", "10.7.0.12", role)
		w.hosts[name].do(t, func() error { return Lower(t.Context()) })
		p.Packs = append(p.Packs, pack.Pack{Name: "bad", Ports: []pack.Port{{Port: 99999}}}) // nft refuses it
		err := w.hosts[name].try(func() error { return Raise(t.Context(), p, quiet) })
		if err == nil || !strings.Contains(err.Error(), "load the fence") {
			t.Errorf("Raise as %s with a fence that cannot be loaded = %v; want an error", role, err)
		}
		err = w.hosts[name].try(func() error {
			_, err := net.InterfaceByName(Service)
			return err
		})
		if err == nil {
			t.Errorf("%s exists on a %s without a fence", Service, role)
		}
	}
}

// A twin's service that tries to get out is told at once.
func TestTwinIsRefused(t *testing.T) {
	w := newWire(t, "right", "client")
	w.hosts["client"].address(t, "10.7.0.100/24")
	w.hosts["client"].serve(t, "10.7.0.100:25")
	w.start(t, "right", "10.7.0.12/24", "10.7.0.11", roles.Secondary)
	for _, from := range []string{"", serviceIP, ownIP} {
		began := time.Now()
		_, err := w.hosts["right"].ask("10.7.0.100:25", from)
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(began) > 500*time.Millisecond {
			t.Errorf("the twin's mail from %q = %v after %s; want it refused at once", from, err, time.Since(began))
		}
	}
}

// UDP services work for clients and, translated, for peers: each with the address that was asked as the sender of the answer.
func TestUDP(t *testing.T) {
	w := newWire(t, "left", "right", "client")
	w.hosts["client"].address(t, "10.7.0.100/24")
	ports := []pack.Pack{
		{Name: "dns", Ports: []pack.Port{{Port: 53, Proto: "udp"}, {Port: 123, Proto: "udp"}, {Port: 111, Proto: "udp"}}},
		{Name: "ad", Address: pack.AddressOwn, Ports: []pack.Port{{Port: 53, Proto: "udp"}, {Port: 88, Proto: "udp"}}},
	}
	for name, role := range map[string]roles.Role{"left": roles.Primary, "right": roles.Secondary} {
		own, peer := "10.7.0.11", "10.7.0.12"
		if name == "right" {
			own, peer = peer, own
		}
		p := w.start(t, name, own+"/24", peer, role)
		p.Packs = ports
		w.hosts[name].do(t, func() error { return Fence(t.Context(), p) })
		for _, at := range []string{serviceIP + ":53", serviceIP + ":123", serviceIP + ":111", serviceIP + ":88", ownIP + ":53", ownIP + ":88"} {
			w.hosts[name].echo(t, at)
		}
	}
	for _, tc := range []struct{ from, to, want string }{
		{"client", serviceIP + ":53", "left " + serviceIP}, {"client", serviceIP + ":123", "left " + serviceIP}, {"client", serviceIP + ":111", "left " + serviceIP},
		{"client", serviceIP + ":88", ""}, {"client", ownIP + ":88", "left " + ownIP}, {"client", ownIP + ":53", "left " + ownIP},
		{"client", "10.7.0.11:53", ""}, {"client", "10.7.0.12:53", ""}, {"client", "10.7.0.12:20053", ""},
		{"left", "10.7.0.12:53", "right " + serviceIP}, {"left", "10.7.0.12:123", "right " + serviceIP}, {"left", "10.7.0.12:20053", "right " + ownIP},
		{"left", "10.7.0.12:20088", "right " + ownIP}, {"right", "10.7.0.11:20088", "left " + ownIP}, {"right", "10.7.0.11:111", "left " + serviceIP},
	} {
		if got, err := w.hosts[tc.from].query(tc.to); got != tc.want {
			t.Errorf("%s asks %s over UDP = %q, %v; want %q", tc.from, tc.to, got, err, tc.want)
		}
	}
}

// echo answers every datagram with the host's name and the address that it listens at.
func (h *host) echo(t *testing.T, at string) {
	t.Helper()
	var c net.PacketConn
	h.do(t, func() (err error) {
		c, err = net.ListenPacket("udp4", at)
		return err
	})
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(h.name+" "+netip.MustParseAddrPort(at).Addr().String()), from)
		}
	}()
}

// query sends a datagram and returns the answer that comes from the same address.
func (h *host) query(to string) (string, error) {
	var out string
	err := h.try(func() error {
		c, err := net.Dial("udp4", to)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(400 * time.Millisecond))
		if _, err := c.Write([]byte("?")); err != nil {
			return err
		}
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		out = string(buf[:n])
		return err
	})
	return out, err
}

func TestManagementConflict(t *testing.T) {
	w := newWire(t, "left", "intruder")
	w.hosts["intruder"].address(t, "10.7.0.11/24")
	found := make(chan ErrConflict, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w.hosts["left"].do(t, func() error {
		m, err := BringUp(ctx, siteconf.Management{Address: "10.7.0.11/24"}, quiet)
		if err != nil {
			return err
		}
		return Conflicts(ctx, m, func(c ErrConflict) { found <- c; cancel() })
	})
	select {
	case c := <-found:
		if c.MAC.String() != "52:54:00:00:00:02" || !strings.Contains(c.Who(), "QEMU") {
			t.Errorf("found %v; want 52:54:00:00:00:02 and its maker", c)
		}
	default:
		t.Error("the second machine with the management address is not found")
	}
}

// A cable that comes back may be in another port of the switch: the addresses are announced again.
func TestAnnouncedAgain(t *testing.T) {
	w := newWire(t, "left")
	p := w.start(t, "left", "10.7.0.11/24", "10.7.0.12", roles.Primary)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- w.hosts["left"].try(func() error { return Defend(ctx, p, quiet, func(ErrConflict) {}) })
	}()
	time.Sleep(4 * time.Second) // the second announcement is over
	w.cable(t, "left", false)
	time.Sleep(500 * time.Millisecond)
	heard := w.tap(t, "left")
	w.cable(t, "left", true)
	time.Sleep(3 * time.Second)
	announced := map[string]bool{}
	for _, f := range heard() {
		if f.kind == unix.ETH_P_ARP && f.src == serviceMAC {
			announced[f.ip] = true
		}
	}
	for _, a := range []string{serviceIP, ownIP} {
		if !announced[a+" → "+a] {
			t.Errorf("%s is not announced after the cable came back: %v", a, announced)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Defend = %v", err)
	}
}

// kernelHas skips the test where the kernel lacks a kind of link.
func kernelHas(t *testing.T, module string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join("/sys/module", module)); err == nil {
		return
	}
	if err := run(t.Context(), "", "modprobe", "-q", module); err != nil {
		t.Skipf("this kernel has no %s: run this test on an appliance's kernel (%v)", module, err)
	}
}
