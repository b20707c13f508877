package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/network/arp"
	"sayasystems.com/atlas/initsvc/network/ndp"
	"sayasystems.com/atlas/roles"
)

// Raise loads the fence and then brings the service interface up as p.Role says. On a primary it returns an ErrConflict, with
// the fence up and the service address down, when another machine has the address, and ErrNoLink when the wire cannot be asked. It may be called again.
func Raise(ctx context.Context, p Plan, log *slog.Logger) error {
	svc, err := p.parse()
	if err != nil {
		return err
	}
	loadModules(ctx, log)
	if err := apply(everywhere()...); err != nil {
		return fmt.Errorf("prepare service address: %w", err)
	}
	if err := Fence(ctx, p); err != nil {
		return err
	}
	if err := removeService(); err != nil {
		return err
	}
	if p.Role == roles.Secondary {
		if err := makeService(svc, &netlink.Bridge{LinkAttrs: svc.attrs()}, p.Role); err != nil {
			return err
		}
		log.Info("service address held silently behind the fence", "address", svc.all, "mac", svc.mac, "peers", len(p.Peers))
		return nil
	}
	if err := p.makeWire(); err != nil {
		return err
	}
	if err := freeOnWire(ctx, p, svc); err != nil {
		return errors.Join(err, removeService())
	}
	under, err := netlink.LinkByName(p.wire())
	if err != nil {
		return fmt.Errorf("find network interface %s: %w", p.wire(), err)
	}
	attrs := svc.attrs()
	attrs.ParentIndex = under.Attrs().Index
	if err := makeService(svc, &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}, p.Role); err != nil {
		return err
	}
	if err := svc.announce(); err != nil {
		return err
	}
	log.Info("service address announced", "address", svc.all, "address6", p.Service.Address6, "mac", svc.mac, "interface", p.wire(), "peers", len(p.Peers))
	return nil
}

// freeOnWire probes for the service address with the server's own MAC: the service MAC must not be seen on a second port of the
// switch while the other primary still uses it.
func freeOnWire(ctx context.Context, p Plan, svc parsed) error {
	up, err := hasLink(p.Management.Interface)
	if err != nil {
		return err
	}
	if !up {
		return fmt.Errorf("network interface %s: %w: nobody can be asked whether service address %s is free; check the cable and the switch", p.Management.Interface, ErrNoLink, svc.prefix.Addr())
	}
	// Both at once: each takes two seconds. The sockets are made here, since they belong to this thread's network.
	four, err := arp.Open(p.wire())
	if err != nil {
		return fmt.Errorf("look for conflicts: %w", err)
	}
	defer four.Close()
	claim6 := make(chan error, 1)
	if svc.prefix6.IsValid() {
		six, err := ndp.Open(p.wire(), svc.prefix6.Addr())
		if err != nil {
			return fmt.Errorf("look for conflicts: %w", err)
		}
		defer six.Close()
		go func() {
			claim, err := six.Probe(ctx, svc.prefix6.Addr())
			if err == nil && claim != nil {
				err = ErrConflict{Address: claim.Address, MAC: claim.MAC}
			}
			claim6 <- err
		}()
	} else {
		claim6 <- nil
	}
	claim, err := four.Probe(ctx, addrs(svc.all), arp.Timing{})
	err6 := <-claim6
	switch {
	case err != nil:
		return fmt.Errorf("look for conflicts: %w", err)
	case claim != nil:
		return ErrConflict{Address: claim.Address, MAC: claim.MAC}
	case err6 != nil:
		return fmt.Errorf("look for conflicts: %w", err6)
	}
	return nil
}

// announce tells the wire of all addresses.
func (s parsed) announce() error {
	if err := arp.Announce(Service, addrs(s.all)...); err != nil {
		return fmt.Errorf("announce service address: %w", err)
	}
	if !s.prefix6.IsValid() {
		return nil
	}
	six, err := ndp.Open(Service)
	if err != nil {
		return fmt.Errorf("announce service address: %w", err)
	}
	defer six.Close()
	if err := six.Announce(s.prefix6.Addr()); err != nil {
		return fmt.Errorf("announce service address: %w", err)
	}
	return nil
}

func addrs(list []netip.Prefix) []netip.Addr {
	out := make([]netip.Addr, 0, len(list))
	for _, p := range list {
		out = append(out, p.Addr())
	}
	return out
}

func (s parsed) attrs() netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = Service
	a.HardwareAddr = s.mac
	return a
}

// makeService makes the interface l with the service address. What can be wrong with it is decided while it is down.
func makeService(svc parsed, l netlink.Link, role roles.Role) error {
	if err := netlink.LinkAdd(l); err != nil {
		return fmt.Errorf("make %s as %s: %w; is the kernel module there?", Service, l.Type(), err)
	}
	steps := []func() error{
		func() error { return apply(noIPv6(Service)) },
		func() error { return netlink.LinkSetHardwareAddr(l, svc.mac) },
	}
	if role == roles.Secondary {
		steps = append(steps, func() error { return netlink.LinkSetARPOff(l) })
	}
	steps = append(steps,
		// No route to the network by itself: the management NIC keeps it.
		func() error {
			for _, a := range svc.all {
				if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NOPREFIXROUTE}); err != nil {
					return fmt.Errorf("add %s: %w", a, err)
				}
			}
			return nil
		},
		func() error { return netlink.LinkSetUp(l) },
	)
	if svc.prefix6.IsValid() {
		steps = append(steps, func() error { return addIPv6(svc, l, role) })
	}
	if role == roles.Primary {
		steps = append(steps, func() error { return routeService(svc, l) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return errors.Join(fmt.Errorf("bring up service address %s: %w", svc.prefix, err), removeService())
		}
	}
	return nil
}

// routeService sends what comes from the service address out by svc0, with the service MAC; except replies to peers that came
// translated from the management address: they go back by the management NIC.
func routeService(svc parsed, l netlink.Link) error {
	var routes []netlink.Route
	for _, a := range svc.all {
		routes = append(routes, netlink.Route{LinkIndex: l.Attrs().Index, Table: serviceTable, Dst: ipNet(a.Masked()), Scope: netlink.SCOPE_LINK})
	}
	if svc.gateway.IsValid() {
		routes = append(routes, netlink.Route{LinkIndex: l.Attrs().Index, Table: serviceTable, Gw: svc.gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK)})
	}
	for i := range routes {
		if err := netlink.RouteReplace(&routes[i]); err != nil {
			return fmt.Errorf("add route %s: %w", routes[i], err)
		}
	}
	for _, r := range svc.rules() {
		if err := netlink.RuleAdd(r); err != nil {
			return fmt.Errorf("add routing rule %s: %w", r, err)
		}
	}
	return nil
}

func (s parsed) rules() []*netlink.Rule {
	marked := netlink.NewRule()
	marked.Family, marked.Priority, marked.Mark, marked.Table = unix.AF_INET, markPriority, translatedMark, unix.RT_TABLE_MAIN
	out := []*netlink.Rule{marked}
	for _, a := range s.all {
		from := netlink.NewRule()
		from.Family, from.Priority, from.Src, from.Table = unix.AF_INET, fromPriority, ipNet(netip.PrefixFrom(a.Addr(), 32)), serviceTable
		out = append(out, from)
	}
	return out
}

// removeService takes away the interface and its VLAN, their routes (with them) and the rules, if they are there.
func removeService() error {
	for _, name := range []string{Service, vlanName} {
		if l, err := netlink.LinkByName(name); err == nil {
			if err := netlink.LinkDel(l); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		} else if !errors.As(err, new(netlink.LinkNotFoundError)) {
			return fmt.Errorf("find %s: %w", name, err)
		}
	}
	rules, err := netlink.RuleList(unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list routing rules: %w", err)
	}
	for _, r := range rules {
		if r.Priority != markPriority && r.Priority != fromPriority {
			continue
		}
		r.Family = unix.AF_INET
		if err := netlink.RuleDel(&r); err != nil {
			return fmt.Errorf("remove routing rule %s: %w", r, err)
		}
	}
	return nil
}

// Lower takes the service address down and then leaves the fence of a server that does not serve. It may be called when neither is up.
func Lower(ctx context.Context) error {
	return errors.Join(removeService(), Fence(ctx, Plan{}))
}

// loadModules asks for what the kernel may not load by itself when we need it. In the namespace lab there is nothing to load;
// what is really missing shows in the step that needs it.
func loadModules(ctx context.Context, log *slog.Logger) {
	if err := run(ctx, "", "modprobe", "-q", "-a", "bridge", "macvlan", "8021q", "nf_tables", "nft_ct", "nft_chain_nat", "nft_nat", "nft_reject_inet", "nf_conntrack"); err != nil {
		log.Debug("load network modules", "err", err)
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
