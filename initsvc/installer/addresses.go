package installer

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

func nicNames(d *draft) []string {
	var out []string
	for _, n := range d.hw.inv.NICs {
		s := n.Name
		if !n.Link {
			s += " (no cable)"
		}
		out = append(out, s)
	}
	return out
}

func defInterface(d *draft) string {
	if d.a.Management.Interface != "" {
		return d.a.Management.Interface
	}
	for _, n := range d.hw.inv.NICs {
		if n.Link {
			return n.Name
		}
	}
	return d.hw.inv.NICs[0].Name
}

func takeInterface(d *draft, s string) error {
	for _, n := range d.hw.inv.NICs {
		if n.Name == s {
			d.a.Management.Interface = s
			return nil
		}
	}
	return fmt.Errorf("there is no interface %q; answer one of %s", s, strings.Join(nicNames(d), ", "))
}

func takeManagement(d *draft, s string) error {
	if strings.EqualFold(s, "dhcp") {
		d.a.Management.Address, d.a.Management.Gateway, d.a.Management.DNS = "dhcp", "", nil
		return nil
	}
	if err := hostAddress(s); err != nil {
		return err
	}
	if d.a.Join != nil && defJoinAddress(d) == address(s).String() {
		return errors.New("that is the other server's address; each server needs its own")
	}
	d.a.Management.Address = s
	return nil
}

// defManagement proposes what was answered before, else a neighbour of the server to join, else DHCP.
func defManagement(d *draft) string {
	if d.a.Management.Address != "" {
		return d.a.Management.Address
	}
	if d.a.Join != nil {
		if a, err := netip.ParseAddr(defJoinAddress(d)); err == nil && a.Is4() && a.As4()[3] < 254 {
			return a.Next().String() + "/24"
		}
	}
	return "dhcp"
}

func takeService(d *draft, s string) error {
	if err := hostAddress(s); err != nil {
		return err
	}
	if address(s) == address(d.a.Management.Address) {
		return errors.New("that is the management address; clients need an address of their own")
	}
	d.a.New.Service.Address = s
	return nil
}

// defGateway proposes what was answered before, else the management network's gateway, else its first address.
func defGateway(d *draft, key, have string) string {
	switch {
	case d.given[key] && have == "":
		return "none"
	case have != "":
		return have
	case key != "management.gateway" && d.a.Management.Address != "dhcp":
		return orNone(d.a.Management.Gateway)
	}
	if p, err := netip.ParsePrefix(d.a.Management.Address); err == nil {
		return p.Masked().Addr().Next().String()
	}
	return "none"
}

func takeGateway(field func(*draft) *string) func(*draft, string) error {
	return func(d *draft, s string) error {
		if strings.EqualFold(s, "none") {
			*field(d) = ""
			return nil
		}
		if _, err := netip.ParseAddr(s); err != nil {
			return errors.New("give an address such as 10.7.0.1, or none")
		}
		*field(d) = s
		return nil
	}
}

func defDNS(d *draft, key string, have []string) string {
	switch {
	case len(have) > 0:
		return strings.Join(have, " ")
	case d.given[key]:
		return "none"
	case key != "management.dns" && d.a.Management.Address != "dhcp":
		return orNone(strings.Join(d.a.Management.DNS, " "))
	case key != "management.dns":
		return orNone(d.a.New.Service.Gateway)
	}
	return orNone(d.a.Management.Gateway)
}

func takeDNS(field func(*draft) *[]string) func(*draft, string) error {
	return func(d *draft, s string) error {
		if strings.EqualFold(s, "none") {
			*field(d) = nil
			return nil
		}
		list := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' })
		for _, a := range list {
			if _, err := netip.ParseAddr(a); err != nil {
				return fmt.Errorf("%q is not an address; give addresses such as 10.7.0.1, or none", a)
			}
		}
		*field(d) = list
		return nil
	}
}

func hostAddress(s string) error {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return errors.New("give an address with prefix length such as 10.7.0.11/24")
	case p.Addr().Is4() && p.Bits() < 31 && p.Addr() == p.Masked().Addr():
		return fmt.Errorf("%s is the network itself, not a host in it", s)
	}
	return nil
}

func address(s string) netip.Addr {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
