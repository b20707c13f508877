// Package office is the lab's network: one network namespace with a bridge, which stands for the office's switch, cables from
// it to the servers (taps for virtual machines, veth pairs for namespace servers), and a second network namespace for the
// client computer. Nothing leads from it to the host's networks: the lab itself enters the namespace to reach a dashboard.
//
//	10.7.0.1   the gateway, on the bridge     10.7.0.10  the service address
//	10.7.0.11… the servers' management        10.7.0.100 the client
//	10.7.0.101 the client with a kernel of its own
//
// The gateway, the service address and the client have IPv6 addresses too: fd07::1, fd07::10 and fd07::100.
package office

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/build/lab/place"
)

// Addresses of the office, with the prefix length of its network.
const (
	Prefix  = "/24"
	Gateway = "10.7.0.1"
	Service = "10.7.0.10"
	AD      = "10.7.0.20" // service address of the pack addc
	Client  = "10.7.0.100"
	NFS     = "10.7.0.101" // the client with a kernel of its own
)

// The office's IPv6 network and DNS domain.
const (
	Prefix6  = "/64"
	Gateway6 = "fd07::1"
	Service6 = "fd07::10"
	Client6  = "fd07::100"
	Domain   = "office.example"
)

const bridge = "switch"

// Office is one lab's network. Make it with New.
type Office struct{ name string }

// New returns the office of the lab in dir. Its name depends on dir only, so every command finds the same one.
func New(dir string) Office {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	sum := sha256.Sum256([]byte(dir))
	return Office{name: "atlas-" + hex.EncodeToString(sum[:4])}
}

// Name is the name of the network namespace.
func (o Office) Name() string { return o.name }

// NetNS is the path of the network namespace with the switch.
func (o Office) NetNS() string { return "/run/netns/" + o.name }

// ClientNetNS is the path of the client's network namespace.
func (o Office) ClientNetNS() string { return "/run/netns/" + o.name + "-client" }

// Exists tells whether the network is there.
func (o Office) Exists() bool {
	for _, p := range []string{o.NetNS(), o.ClientNetNS()} {
		var st unix.Statfs_t
		// A left-over name of a namespace that is gone is a plain file.
		if err := unix.Statfs(p, &st); err != nil || st.Type != unix.NSFS_MAGIC {
			return false
		}
	}
	return true
}

// Up makes the network, if it is not there.
func (o Office) Up() error {
	if o.Exists() {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("the lab's network needs root: run the lab as root")
	}
	if err := o.Down(); err != nil {
		return err
	}
	for _, n := range []string{o.name, o.name + "-client"} {
		if err := named(n); err != nil {
			return err
		}
	}
	h, done, err := handle(o.NetNS())
	if err != nil {
		return err
	}
	defer done()
	br := &netlink.Bridge{LinkAttrs: attrs(bridge)}
	if err := h.LinkAdd(br); err != nil {
		return fmt.Errorf("make the lab's switch: %w", err)
	}
	if err := up(h, "lo"); err != nil {
		return err
	}
	if err := up(h, bridge, Gateway+Prefix, Gateway6+Prefix6); err != nil {
		return err
	}
	client, err := netns.GetFromPath(o.ClientNetNS())
	if err != nil {
		return fmt.Errorf("open the client's network: %w", err)
	}
	defer func() { _ = client.Close() }()
	if err := o.veth(h, "client", "eth0", "", netlink.NsFd(int(client))); err != nil {
		return err
	}
	ch, cdone, err := handle(o.ClientNetNS())
	if err != nil {
		return err
	}
	defer cdone()
	if err := up(ch, "lo"); err != nil {
		return err
	}
	if err := up(ch, "eth0", Client+Prefix, Client6+Prefix6); err != nil {
		return err
	}
	for _, gw := range []string{Gateway, Gateway6} {
		if err := ch.RouteAdd(&netlink.Route{Gw: net.ParseIP(gw)}); err != nil {
			return fmt.Errorf("give the client its gateway: %w", err)
		}
	}
	return nil
}

// Down removes the network. One that is not there is no error.
func (o Office) Down() error {
	for _, p := range []string{o.ClientNetNS(), o.NetNS()} {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove network namespace %s: %w", p, err)
		}
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove network namespace %s: %w", p, err)
		}
	}
	return nil
}

// Tap makes a cable for a virtual machine: the tap device that QEMU opens inside the namespace, joined to the switch.
func (o Office) Tap(name string) error {
	h, done, err := handle(o.NetNS())
	if err != nil {
		return err
	}
	defer done()
	if _, err := h.LinkByName(name); err == nil {
		return nil
	}
	// TUNSETIFF acts on the calling thread's namespace, unlike netlink through a handle.
	err = place.Place{NetNS: o.NetNS()}.Do(func() error {
		t := &netlink.Tuntap{LinkAttrs: attrs(name), Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
		return netlink.LinkAdd(t)
	})
	if err != nil {
		return fmt.Errorf("make tap %s (is the tun module loaded?): %w", name, err)
	}
	return o.plug(h, name)
}

// Veth makes a cable to a namespace server: outside is its end at the switch, inside its name in the network namespace of
// process pid, where it gets the given MAC.
func (o Office) Veth(outside string, pid int, inside, mac string) error {
	h, done, err := handle(o.NetNS())
	if err != nil {
		return err
	}
	defer done()
	// The old end goes with the old server's namespace, but not always at once.
	if l, err := h.LinkByName(outside); err == nil {
		if err := h.LinkDel(l); err != nil {
			return fmt.Errorf("remove old cable %s: %w", outside, err)
		}
	}
	return o.veth(h, outside, inside, mac, netlink.NsPid(pid))
}

func (o Office) veth(h *netlink.Handle, outside, inside, mac string, peer any) error {
	v := &netlink.Veth{LinkAttrs: attrs(outside), PeerName: inside, PeerNamespace: peer}
	if mac != "" {
		hw, err := net.ParseMAC(mac)
		if err != nil {
			return fmt.Errorf("cable %s: %w", outside, err)
		}
		v.PeerHardwareAddr = hw
	}
	if err := h.LinkAdd(v); err != nil {
		return fmt.Errorf("make cable %s: %w", outside, err)
	}
	return o.plug(h, outside)
}

// plug joins a device to the switch and switches it on.
func (o Office) plug(h *netlink.Handle, name string) error {
	l, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("plug cable %s: %w", name, err)
	}
	br, err := h.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("plug cable %s: %w", name, err)
	}
	if err := h.LinkSetMaster(l, br); err != nil {
		return fmt.Errorf("plug cable %s: %w", name, err)
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("plug cable %s: %w", name, err)
	}
	return nil
}

// Cable cuts or joins a cable at the switch. A veth's other end loses its carrier with it; a tap's does not (QEMU's set_link
// does that).
func (o Office) Cable(name string, join bool) error {
	h, done, err := handle(o.NetNS())
	if err != nil {
		return err
	}
	defer done()
	l, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("cable %s: %w", name, err)
	}
	set := h.LinkSetDown
	if join {
		set = h.LinkSetUp
	}
	if err := set(l); err != nil {
		return fmt.Errorf("cable %s: %w", name, err)
	}
	return nil
}

// Dial connects to an address (an IP literal) of the office from the gateway.
func (o Office) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := place.Place{NetNS: o.NetNS()}.Do(func() error {
		var err error
		// One literal address is dialled on the calling goroutine, so the socket is made in this thread's namespace.
		conn, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial %s in the lab's network: %w", address, err)
	}
	return conn, nil
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

func up(h *netlink.Handle, name string, cidrs ...string) error {
	l, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("network device %s: %w", name, err)
	}
	// First on, then the addresses: a device that is off has no routes of IPv6.
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("switch %s on: %w", name, err)
	}
	for _, cidr := range cidrs {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return fmt.Errorf("network device %s: %w", name, err)
		}
		if a.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD // nobody else can have it, and it is used at once
		}
		if err := h.AddrAdd(l, a); err != nil {
			return fmt.Errorf("give %s address %s: %w", name, cidr, err)
		}
	}
	return nil
}

func handle(path string) (*netlink.Handle, func(), error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open network namespace %s (is the lab up?): %w", path, err)
	}
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		_ = ns.Close()
		return nil, nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return h, func() { h.Close(); _ = ns.Close() }, nil
}

// named makes a network namespace that lives on without a process, as ip-netns(8) does.
func named(name string) error {
	return place.Thread(func() error {
		ns, err := netns.NewNamed(name)
		if err != nil {
			return fmt.Errorf("make network namespace %s: %w", name, err)
		}
		_ = ns.Close()
		return nil
	})
}
