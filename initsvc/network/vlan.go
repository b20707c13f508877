package network

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// makeWire makes the VLAN that the service network needs, if it needs one.
func (p Plan) makeWire() error {
	if p.Service.VLAN == 0 {
		return nil
	}
	nic, err := netlink.LinkByName(p.Management.Interface)
	if err != nil {
		return fmt.Errorf("find network interface %s: %w", p.Management.Interface, err)
	}
	a := netlink.NewLinkAttrs()
	a.Name, a.ParentIndex = vlanName, nic.Attrs().Index
	v := &netlink.Vlan{LinkAttrs: a, VlanId: p.Service.VLAN}
	if err := netlink.LinkAdd(v); err != nil {
		return fmt.Errorf("make VLAN %d on %s: %w; is the kernel module 8021q there?", p.Service.VLAN, p.Management.Interface, err)
	}
	// It has no address; IPv6 is off by default.
	if err := netlink.LinkSetUp(v); err != nil {
		return fmt.Errorf("switch VLAN %d on %s on: %w", p.Service.VLAN, p.Management.Interface, err)
	}
	return nil
}
