package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
)

// ResolvConf is written by BringUp; the image's /etc/resolv.conf is a link to it.
const ResolvConf = layout.Run + "/resolv.conf"

// BringUp switches the loopback and the management NIC on and gives it its address. cfg.Interface is a name or a MAC, cfg.Bond two of them that are used as one; with neither, the
// first Ethernet with a link is taken, in the order of the hardware. Before, it puts the fence of a server that does not serve up. With a static address and no link it configures everything and returns
// the Management together with ErrNoLink: the address works once the cable is in.
func BringUp(ctx context.Context, cfg siteconf.Management, log *slog.Logger) (Management, error) {
	if err := prepare(); err != nil {
		return Management{}, err
	}
	// Before any NIC is on. A server without it can still be reached and mended: until Raise nothing but ssh and Sentry runs.
	loadModules(ctx, log)
	if err := Fence(ctx, Plan{}); err != nil {
		log.Warn("management ports are not fenced", "err", err)
	}
	find := func() (nic, error) { return waitLink(ctx, cfg.Interface) }
	if len(cfg.Bond) > 0 {
		find = func() (nic, error) { return makeBond(ctx, cfg.Bond, log) }
	}
	n, linkErr := find()
	if linkErr != nil && (!errors.Is(linkErr, ErrNoLink) || cfg.Address == "dhcp") {
		return Management{}, linkErr
	}
	m, err := wanted(cfg)
	if err != nil {
		return Management{}, err
	}
	m.Interface = n.name
	if cfg.Address == "dhcp" {
		lease, err := askLease(ctx, n.name)
		if err != nil {
			return Management{}, err
		}
		m = lease.management(m)
	}
	if err := configure(m); err != nil {
		return Management{}, err
	}
	if err := writeResolv(ResolvConf, m.DNS); err != nil {
		log.Warn("name servers not written", "err", err)
	}
	log.Info("management address up", "interface", m.Interface, "mac", n.mac, "address", m.Address, "gateway", m.Gateway, "dhcp", m.Lease != nil)
	return m, linkErr
}

// prepare does what needs no NIC.
func prepare() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("switch loopback on: %w", err)
	}
	if err := apply(append(everywhere(), noIPv6("default"))...); err != nil {
		return fmt.Errorf("prepare management address: %w", err)
	}
	return nil
}

// wanted reads what cfg says, with no Address when that is "dhcp". What cfg gives goes before what DHCP gives.
func wanted(cfg siteconf.Management) (Management, error) {
	var m Management
	var err error
	if cfg.Address != "dhcp" {
		if m.Address, err = netip.ParsePrefix(cfg.Address); err != nil || !m.Address.Addr().Is4() {
			return m, fmt.Errorf("management address %q must be an IPv4 address with prefix length such as 10.7.0.11/24, or dhcp; correct management.address in %s", cfg.Address, siteconf.ServerFile)
		}
	}
	if cfg.Gateway != "" {
		if m.Gateway, err = netip.ParseAddr(cfg.Gateway); err != nil {
			return m, fmt.Errorf("gateway %q is not an address; correct management.gateway in %s", cfg.Gateway, siteconf.ServerFile)
		}
		if m.Address.IsValid() && !m.Address.Contains(m.Gateway) {
			return m, fmt.Errorf("gateway %s is not in the network of %s; correct management.gateway in %s", m.Gateway, m.Address, siteconf.ServerFile)
		}
	}
	for _, d := range cfg.DNS {
		a, err := netip.ParseAddr(d)
		if err != nil {
			return m, fmt.Errorf("name server %q is not an address; correct management.dns in %s", d, siteconf.ServerFile)
		}
		m.DNS = append(m.DNS, a)
	}
	return m, nil
}

// configure puts m's address and default route on its interface, and takes other IPv4 addresses from it.
func configure(m Management) error {
	l, err := netlink.LinkByName(m.Interface)
	if err != nil {
		return fmt.Errorf("find network interface %s: %w", m.Interface, err)
	}
	if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: ipNet(m.Address)}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", m.Interface, m.Address, err)
	}
	old, err := netlink.AddrList(l, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", m.Interface, err)
	}
	for _, a := range old {
		if a.String() != ipNet(m.Address).String() && a.IPNet.String() != ipNet(m.Address).String() {
			if err := netlink.AddrDel(l, &a); err != nil {
				return fmt.Errorf("take address %s from %s: %w", a.IPNet, m.Interface, err)
			}
		}
	}
	if !m.Gateway.IsValid() {
		return nil
	}
	r := netlink.Route{LinkIndex: l.Attrs().Index, Gw: m.Gateway.AsSlice(), Src: m.Address.Addr().AsSlice()}
	if err := netlink.RouteReplace(&r); err != nil {
		return fmt.Errorf("add the default route by %s: %w", m.Gateway, err)
	}
	return nil
}

func writeResolv(path string, dns []netip.Addr) error {
	var b strings.Builder
	b.WriteString("# Written by ATLAS at each start.\n")
	for _, d := range dns {
		fmt.Fprintf(&b, "nameserver %s\n", d)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
