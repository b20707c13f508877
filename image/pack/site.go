package pack

import (
	"slices"
	"strings"

	"sayasystems.com/atlas/image/siteconf"
)

// WithSite fills in what v takes from the site's settings, for pack p.
func (v Vars) WithSite(s siteconf.Site, p Pack) Vars {
	if s.Hostname == "" {
		return v
	}
	v.Hostname, v.Domain, v.FQDN, v.Realm, v.BaseDN = s.Hostname, s.DNSDomain(), s.FQDN(), s.Realm(), s.BaseDN()
	v.Prefix = s.Service.Address
	v.Service, _, _ = strings.Cut(s.Service.Address, "/")
	v.Service6, _, _ = strings.Cut(s.Service.Address6, "/")
	v.DNS = strings.Join(s.Service.DNS, " ")
	v.Address = s.AddressOf(p.Name, p.Address == AddressOwn)
	return v
}

// On returns p as it runs on a server of this kind ("hardware" or "namespace"): without the processes that are only for others.
func (p Pack) On(kind string) Pack {
	p.Processes = slices.DeleteFunc(slices.Clone(p.Processes), func(q Process) bool { return q.Only != "" && q.Only != kind })
	return p
}
