package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// setting is one of the kernel's network settings; docs: Documentation/networking/ip-sysctl.rst.
type setting struct{ path, value string }

// everywhere holds what ATLAS needs of every interface. Management and service address lie in one network on two interfaces: without
// arp_ignore each would answer for the other, and a twin's NIC for the service address.
func everywhere() []setting {
	return []setting{
		{"ipv4/conf/all/arp_ignore", "1"},   // answer only for addresses of the interface that was asked
		{"ipv4/conf/all/arp_announce", "2"}, // ask with an address of the interface that asks
		{"ipv4/conf/all/rp_filter", "2"},    // replies may leave elsewhere; unroutable sources are still dropped
		{"ipv4/conf/all/accept_redirects", "0"},
		{"ipv4/conf/all/accept_source_route", "0"},
		{"ipv4/ip_forward", "0"},
	}
}

// onService holds what the service interface needs for IPv6: an address that is configured, and nothing that the network's routers or the kernel
// would like to add. A primary has a link-local address besides, which multicast listener reports need (RFC 3810); a twin asks for nothing.
func onService(twin bool) []setting {
	generate, duplicates := "0", "1"
	if twin {
		generate, duplicates = "1", "0"
	}
	conf := "ipv6/conf/" + Service + "/"
	return []setting{
		{conf + "accept_ra", "0"},
		{conf + "autoconf", "0"},
		{conf + "router_solicitations", "0"},
		{conf + "accept_redirects", "0"},
		{conf + "accept_source_route", "0"},
		{conf + "addr_gen_mode", generate},
		{conf + "accept_dad", duplicates},
		{conf + "disable_ipv6", "0"},
	}
}

// noIPv6 switches IPv6 off on an interface ("default": on those to come).
func noIPv6(ifname string) setting { return setting{"ipv6/conf/" + ifname + "/disable_ipv6", "1"} }

// apply writes settings. One that the kernel does not have (IPv6 left out) is passed over.
func apply(settings ...setting) error {
	for _, s := range settings {
		path := filepath.Join("/proc/sys/net", s.path)
		if old, err := os.ReadFile(path); err == nil && len(old) > 0 && string(old[:len(old)-1]) == s.value {
			continue
		}
		if err := os.WriteFile(path, []byte(s.value), 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set net/%s to %s: %w", s.path, s.value, err)
		}
	}
	return nil
}
