package network

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/roles"
)

// addIPv6 gives the service interface, which is up, its IPv6 address. The kernel need not look for duplicates: on a primary Raise has done so and can
// tell who it is, and on a twin there is nobody to ask.
func addIPv6(svc parsed, l netlink.Link, role roles.Role) error {
	if err := apply(onService(role == roles.Secondary)...); err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: ipNet(svc.prefix6), Flags: unix.IFA_F_NODAD}
	if role == roles.Secondary {
		a.Flags |= unix.IFA_F_NOPREFIXROUTE // to itself only
	}
	if err := netlink.AddrReplace(l, a); err != nil {
		return fmt.Errorf("add %s: %w", svc.prefix6, err)
	}
	if role == roles.Secondary || !svc.gateway6.IsValid() {
		return nil
	}
	// No other interface has IPv6, so its routes stand in the main table.
	r := netlink.Route{LinkIndex: l.Attrs().Index, Gw: svc.gateway6.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
	if err := netlink.RouteReplace(&r); err != nil {
		return fmt.Errorf("add the default route by %s: %w", svc.gateway6, err)
	}
	return nil
}
