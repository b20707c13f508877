package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire is a switch with hosts, each a network namespace of its own. Nothing of it touches the machine's own network.
type wire struct {
	hub   *host
	hosts map[string]*host
	// service6 is the IPv6 service address that start uses, with prefix length; "" = none.
	service6 string
}

// host is one network namespace; do runs in it.
type host struct {
	name string
	fd   int
}

func newWire(t *testing.T, names ...string) *wire {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	if _, err := tool("nft"); err != nil {
		t.Skipf("needs nft: %v", err)
	}
	w := &wire{hub: newHost(t, "hub"), hosts: map[string]*host{}}
	w.hub.do(t, func() error {
		b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := netlink.LinkAdd(b); err != nil {
			return fmt.Errorf("make bridge: %w", err)
		}
		return netlink.LinkSetUp(b)
	})
	for i, name := range names {
		h := newHost(t, name)
		w.hosts[name] = h
		w.plug(t, h, name, "eth0", net.HardwareAddr{0x52, 0x54, 0, 0, 0, byte(i + 1)})
	}
	return w
}

// plug makes a cable from the switch's port to the host's NIC.
func (w *wire) plug(t *testing.T, h *host, port, nic string, mac net.HardwareAddr) {
	t.Helper()
	w.hub.do(t, func() error {
		br, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		v := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: br.Attrs().Index}, PeerName: nic, PeerNamespace: netlink.NsFd(h.fd), PeerHardwareAddr: mac,
		}
		if err := netlink.LinkAdd(v); err != nil {
			return fmt.Errorf("make cable %s: %w", port, err)
		}
		return netlink.LinkSetUp(v)
	})
}

// cable plugs a host's cable in or out at the switch.
func (w *wire) cable(t *testing.T, name string, in bool) {
	t.Helper()
	w.hub.do(t, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if in {
			return netlink.LinkSetUp(l)
		}
		return netlink.LinkSetDown(l)
	})
}

func newHost(t *testing.T, name string) *host {
	t.Helper()
	fd := make(chan int, 1)
	fail := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			fail <- fmt.Errorf("make network namespace: %w", err)
			return
		}
		n, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			fail <- err
			return
		}
		fd <- n
	}()
	select {
	case err := <-fail:
		t.Skipf("network namespaces do not work here: %v", err)
	case n := <-fd:
		t.Cleanup(func() { _ = unix.Close(n) })
		return &host{name: name, fd: n}
	}
	return nil
}

// try runs f on a thread inside the host. Sockets and files that f opens stay the host's.
func (h *host) try(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(h.fd, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (h *host) do(t *testing.T, f func() error) {
	t.Helper()
	if err := h.try(f); err != nil {
		t.Fatalf("on %s: %v", h.name, err)
	}
}

// address gives the host a plain address, as a client has one.
func (h *host) address(t *testing.T, cidr string) {
	t.Helper()
	h.do(t, func() error {
		return configureUp("eth0", netip.MustParsePrefix(cidr))
	})
}

func configureUp(ifname string, p netip.Prefix) error {
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	return netlink.AddrReplace(l, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD})
}

// neighbour is the MAC that the host's ARP table has for a.
func (h *host) neighbour(t *testing.T, a string) string {
	t.Helper()
	var mac string
	h.do(t, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		list, err := netlink.NeighList(l.Attrs().Index, unix.AF_UNSPEC)
		for _, n := range list {
			if n.IP.String() == a {
				mac = n.HardwareAddr.String()
			}
		}
		return err
	})
	return mac
}

func setUp(ifname string) error {
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}
