package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Timing of a bond (Documentation/networking/bonding.rst).
const (
	bondMonitor  = 100 // ms between two looks at the links
	bondAnnounce = 3   // ARP announcements after a failover
	bondWait     = 10 * time.Second
)

// makeBond joins the two NICs, names or MACs, to one that uses one of them at a time (active-backup, which needs nothing of the switch). A NIC that does
// not come in time is left out with a warning: the other one carries the server. With no link on either it returns ErrNoLink besides.
func makeBond(ctx context.Context, want []string, log *slog.Logger) (nic, error) {
	// Without max_bonds=0 the module makes a bond0 of its own.
	if err := run(ctx, "", "modprobe", "-q", "bonding", "max_bonds=0"); err != nil {
		log.Debug("load bonding", "err", err)
	}
	found, err := waitNICs(ctx, want)
	if err != nil {
		return nic{}, err
	}
	if old, err := netlink.LinkByName(bondName); err == nil {
		if err := netlink.LinkDel(old); err != nil {
			return nic{}, fmt.Errorf("remove old %s: %w", bondName, err)
		}
	}
	a := netlink.NewLinkAttrs()
	a.Name = bondName
	b := netlink.NewLinkBond(a)
	b.Mode, b.Miimon, b.NumPeerNotif = netlink.BOND_MODE_ACTIVE_BACKUP, bondMonitor, bondAnnounce
	// Both NICs carry the bond's MAC and hear the service MAC: that is what fail_over_mac "none" means.
	b.FailOverMac = netlink.BOND_FAIL_OVER_MAC_NONE
	if err := netlink.LinkAdd(b); err != nil {
		return nic{}, fmt.Errorf("make %s: %w; is the kernel module bonding there?", bondName, err)
	}
	if err := apply(noIPv6(bondName)); err != nil {
		return nic{}, err
	}
	var joined []string
	for _, n := range found {
		if err := joinBond(n, b); err != nil {
			log.Warn("network interface left out of the bond", "interface", n.name, "err", err)
			continue
		}
		joined = append(joined, n.name)
	}
	if len(joined) == 0 {
		return nic{}, fmt.Errorf("make %s: none of %s could join", bondName, strings.Join(want, " and "))
	}
	if err := netlink.LinkSetUp(b); err != nil {
		return nic{}, fmt.Errorf("switch %s on: %w", bondName, err)
	}
	log.Info("network interfaces joined", "bond", bondName, "interfaces", joined)
	return bondLink(ctx)
}

// joinBond makes n a part of the bond. It must be down for that, and the bond switches it on.
func joinBond(n nic, b *netlink.Bond) error {
	l, err := netlink.LinkByIndex(n.index)
	if err != nil {
		return fmt.Errorf("find network interface %s: %w", n.name, err)
	}
	if err := netlink.LinkSetDown(l); err != nil {
		return fmt.Errorf("switch %s off: %w", n.name, err)
	}
	if err := apply(noIPv6(n.name)); err != nil {
		return err
	}
	if err := netlink.LinkSetBondSlave(l, b); err != nil {
		return fmt.Errorf("join %s to %s: %w", n.name, bondName, err)
	}
	return netlink.LinkSetUp(l)
}

// waitNICs returns those of the wanted NICs that are there in time, in the wanted order.
func waitNICs(ctx context.Context, want []string) ([]nic, error) {
	limit := time.Now().Add(bondWait)
	for {
		links, err := netlink.LinkList()
		if err != nil {
			return nil, fmt.Errorf("list network interfaces: %w", err)
		}
		var found []nic
		var seen []string
		for _, w := range want {
			for _, l := range links {
				if n, ok := candidate(l); ok && (n.name == w || strings.EqualFold(permanent(l), w)) {
					found = append(found, n)
					break
				}
			}
		}
		if len(found) == len(want) {
			return found, nil
		}
		if time.Now().After(limit) {
			if len(found) > 0 {
				return found, nil
			}
			for _, l := range links {
				if n, ok := candidate(l); ok {
					seen = append(seen, fmt.Sprintf("%s (%s)", n.name, n.mac))
				}
			}
			return nil, fmt.Errorf("network interfaces %s not found; there are: %s; correct management.bond in server.yaml", strings.Join(want, " and "), strings.Join(seen, ", "))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for network interfaces: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// permanent is the MAC that a NIC was made with: in a bond it shows the bond's.
func permanent(l netlink.Link) string {
	a := l.Attrs()
	if len(a.PermHWAddr) == 6 {
		return a.PermHWAddr.String()
	}
	return a.HardwareAddr.String()
}

// bondLink waits until the bond has a link.
func bondLink(ctx context.Context) (nic, error) {
	limit := time.Now().Add(linkWait)
	for {
		l, err := netlink.LinkByName(bondName)
		if err != nil {
			return nic{}, fmt.Errorf("find %s: %w", bondName, err)
		}
		a := l.Attrs()
		n := nic{index: a.Index, name: a.Name, mac: a.HardwareAddr.String(), link: a.RawFlags&unix.IFF_LOWER_UP != 0}
		if n.link {
			return n, nil
		}
		if time.Now().After(limit) {
			return n, fmt.Errorf("%s: %w on either network interface within %s; check the cables and the switch", bondName, ErrNoLink, linkWait)
		}
		select {
		case <-ctx.Done():
			return n, errors.Join(ErrNoLink, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
