package siteconf

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"sayasystems.com/atlas/image/settings"
)

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	domainPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	uuidPattern   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// ValidName tells whether s can be a server's or host's name: a DNS label in lower case, at most 32 characters.
func ValidName(s string) bool { return namePattern.MatchString(s) }

// LoadServer reads server.yaml in dir.
func LoadServer(dir string) (Server, error) {
	var s Server
	f, err := settings.Load(filepath.Join(dir, ServerFile), &s)
	if err != nil {
		return s, err
	}
	switch {
	case !uuidPattern.MatchString(s.ID):
		return s, f.Errorf("id", "must be a UUID")
	case !ValidName(s.Name):
		return s, f.Errorf("name", "must be lower-case letters, digits and hyphens, at most 32")
	}
	return s, s.Management.Check(f, "management")
}

// Check tells what is wrong with the management network; prefix is its key in f.
func (m Management) Check(f *settings.File, prefix string) error {
	if m.Address != "dhcp" {
		if _, err := netip.ParsePrefix(m.Address); err != nil {
			return f.Errorf(prefix+".address", "must be an address with prefix length such as 10.7.0.11/24, or dhcp")
		}
	}
	switch {
	case len(m.Bond) == 1 || len(m.Bond) > 2:
		return f.Errorf(prefix+".bond", "must name two network interfaces")
	case len(m.Bond) == 2 && m.Bond[0] == m.Bond[1]:
		return f.Errorf(prefix+".bond[1]", "%s stands here twice", m.Bond[1])
	case len(m.Bond) > 0 && m.Interface != "":
		return f.Errorf(prefix+".bond", "stands beside interface; give one of them")
	}
	return checkHosts(f, prefix, m.Gateway, m.DNS)
}

// LoadPeers reads peers.yaml in dir.
func LoadPeers(dir string) (Peers, error) {
	var p Peers
	f, err := settings.Load(filepath.Join(dir, PeersFile), &p)
	if err != nil {
		return p, err
	}
	if !uuidPattern.MatchString(p.Site) {
		return p, f.Errorf("site", "must be a UUID")
	}
	for i, q := range p.Peers {
		if !uuidPattern.MatchString(q.ID) {
			return p, f.Errorf(fmt.Sprintf("peers[%d].id", i), "must be a UUID")
		}
		if _, err := netip.ParseAddr(q.Address); err != nil {
			return p, f.Errorf(fmt.Sprintf("peers[%d].address", i), "must be an address such as 10.7.0.12")
		}
	}
	return p, nil
}

// LoadSite reads site.yaml below etc, the directory that is or becomes /etc.
func LoadSite(etc string) (Site, error) {
	s, _, err := ReadSite(etc)
	return s, err
}

// ReadSite is LoadSite that also returns the file, which knows where each key stands.
func ReadSite(etc string) (Site, *settings.File, error) {
	var s Site
	f, err := settings.Load(filepath.Join(etc, SiteFile), &s)
	if err != nil {
		return s, f, err
	}
	return s, f, s.check(f)
}

func (s Site) check(f *settings.File) error {
	switch {
	case !uuidPattern.MatchString(s.Site):
		return f.Errorf("site", "must be a UUID")
	case !ValidName(s.Hostname):
		return f.Errorf("hostname", "must be lower-case letters, digits and hyphens, at most 32")
	}
	if s.Domain != "" && !ValidDomain(s.Domain) {
		return f.Errorf("domain", "must be a DNS domain in lower case such as office.example")
	}
	if err := s.Service.Check(f, "service"); err != nil {
		return err
	}
	if _, err := s.Rehearsal.Parse(); err != nil {
		return f.Errorf("rehearsal.window", "%v", err)
	}
	return CheckAddresses(f, "addresses", s.Addresses, s.Service.Address)
}

// ValidDomain tells whether s can be a site's DNS domain.
func ValidDomain(s string) bool { return len(s) <= 200 && domainPattern.MatchString(s) }

// CheckAddresses tells what is wrong with the addresses of packs; key is theirs in f.
func CheckAddresses(f *settings.File, key string, list []PackAddress, service string) error {
	packs, used := map[string]bool{}, map[netip.Addr]bool{}
	if p, err := netip.ParsePrefix(service); err == nil {
		used[p.Addr()] = true
	}
	for i, a := range list {
		k := fmt.Sprintf("%s[%d]", key, i)
		p, err := netip.ParsePrefix(a.Address)
		switch {
		case !namePattern.MatchString(a.Pack):
			return f.Errorf(k+".pack", "must be the name of a service pack")
		case packs[a.Pack]:
			return f.Errorf(k+".pack", "%s stands here twice", a.Pack)
		case err != nil || !p.Addr().Is4() || p.Addr() == p.Masked().Addr():
			return f.Errorf(k+".address", "must be an IPv4 host address with prefix length such as 10.7.0.20/24")
		case used[p.Addr()]:
			return f.Errorf(k+".address", "%s is used already; each pack needs its own", p.Addr())
		}
		packs[a.Pack], used[p.Addr()] = true, true
	}
	return nil
}

// Check tells what is wrong with the service address; prefix is its key in f.
func (s Service) Check(f *settings.File, prefix string) error {
	if p, err := netip.ParsePrefix(s.Address); err != nil || p.Addr() == p.Masked().Addr() {
		return f.Errorf(prefix+".address", "must be a host address with prefix length such as 10.7.0.10/24")
	}
	if s.Address6 != "" {
		if p, err := netip.ParsePrefix(s.Address6); err != nil || !p.Addr().Is6() || p.Addr().Is4In6() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsMulticast() {
			return f.Errorf(prefix+".address6", "must be an IPv6 address with prefix length such as fd07::10/64")
		}
	}
	if s.Gateway6 != "" {
		if a, err := netip.ParseAddr(s.Gateway6); err != nil || !a.Is6() {
			return f.Errorf(prefix+".gateway6", "must be an IPv6 address such as fd07::1")
		}
	}
	if s.VLAN < 0 || s.VLAN > 4094 {
		return f.Errorf(prefix+".vlan", "must be between 1 and 4094, or left out")
	}
	if s.MAC != "" {
		if m, err := net.ParseMAC(s.MAC); err != nil || len(m) != 6 || m[0]&1 != 0 {
			return f.Errorf(prefix+".mac", "must be a unicast MAC address such as 02:a7:1a:50:00:01")
		}
	}
	return checkHosts(f, prefix, s.Gateway, s.DNS)
}

func checkHosts(f *settings.File, prefix, gateway string, dns []string) error {
	if gateway != "" {
		if _, err := netip.ParseAddr(gateway); err != nil {
			return f.Errorf(prefix+".gateway", "must be an address such as 10.7.0.1")
		}
	}
	for i, d := range dns {
		if _, err := netip.ParseAddr(d); err != nil {
			return f.Errorf(fmt.Sprintf("%s.dns[%d]", prefix, i), "must be an address such as 10.7.0.1")
		}
	}
	return nil
}

// Save writes v as YAML to path durably: temporary file, fsync, rename, fsync of the directory.
func Save(path string, v any, mode os.FileMode) error {
	data, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return WriteFile(path, data, mode)
}

// WriteFile replaces path durably: after a power cut either the old or the new content is there, whole.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Chmod(mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !strings.Contains(err.Error(), "invalid argument") {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
