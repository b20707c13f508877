package installer

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sayasystems.com/atlas/image/install"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// draft is what has been answered so far. It is kept over failures.
type draft struct {
	a         install.Answers
	hw        hardware
	namespace bool          // no system disk to choose
	onStick   *install.Join // join.yaml of the stick, if there is one
	checkCode func(string) error
	given     map[string]bool // keys of questions that were answered: their answers are the defaults
}

// question asks for one thing. Keys are those of install.yaml.
type question struct {
	key    string
	label  string
	help   func(d *draft) string // lines above the prompt; nil = none
	list   bool                  // show the disks
	skip   func(d *draft) bool
	def    func(d *draft) string // what Enter takes; "" = an answer must be given
	take   func(d *draft, s string) error
	secret bool
}

// errBefore makes the wizard go back to the question before, with the reason.
type errBefore struct{ error }

func questions() []question {
	isNew := func(d *draft) bool { return d.a.New != nil }
	notNew := func(d *draft) bool { return d.a.New == nil }
	noSet := func(d *draft) bool { return len(d.a.Set.Disks) == 0 }
	dhcp := func(d *draft) bool { return d.a.Management.Address == "dhcp" }
	text := func(s string) func(*draft) string { return func(*draft) string { return s } }
	return []question{
		{
			key: "site", label: "Found a new site, or join one? (new, join)", take: takeSite, def: defSite,
			help: text("The first server founds the site; the second (and third) joins it."),
		},
		{
			key: "server", label: "Name of this server", take: takeServer, def: defServer,
			help: text("It stays with the chassis: put it on a sticker."),
		},
		{
			key: "system_disk", label: "System disk (number)", list: true, take: takeSystem, def: defSystem,
			skip: func(d *draft) bool { return d.namespace },
			help: text("It holds the operating system and stays in this server for good."),
		},
		{
			key: "set.disks", label: "Disks of the set (numbers, or none)", list: true, take: takeMembers, def: defMembers,
			help: text("They sit in the swappable bays and carry role, configuration and all data."),
		},
		{
			key: "set.level", label: "RAID level", take: takeLevel, def: defLevel, skip: noSet,
			help: func(d *draft) string { return "Possible with these disks: " + joinLevels(len(d.a.Set.Disks)) + "." },
		},
		{
			key: "set.role", label: "Role of the set (primary, secondary)", take: takeRole, def: defRole, skip: noSet,
			help: text("The primary set serves the office; the secondary runs the same services, ready to take over."),
		},
		{
			key: "new_site.name", label: "Name of the site", skip: notNew, take: takeSiteName, def: func(d *draft) string { return d.a.New.Name },
			help: text("For people, such as the company's name."),
		},
		{
			key: "join.address", label: "Management address of the running server", skip: isNew, take: takeJoinAddress, def: defJoinAddress,
			help: func(d *draft) string {
				if d.onStick != nil {
					return "The stick holds the code of site " + d.onStick.Name + ": Enter takes it."
				}
				return "As its console and its page show it."
			},
		},
		{
			key: "join.code", label: "Join code", take: takeJoinCode, def: func(d *draft) string { return d.a.Join.Code },
			skip: func(d *draft) bool { return d.a.Join == nil || d.a.Join.File },
			help: text("Eight groups of five, as the running server's console and page show them."),
		},
		{
			key: "management.interface", label: "Network interface", take: takeInterface, def: defInterface,
			skip: func(d *draft) bool { return len(d.hw.inv.NICs) < 2 },
			help: func(d *draft) string { return "There are: " + strings.Join(nicNames(d), ", ") + "." },
		},
		{
			key: "management.address", label: "Management address of this server", take: takeManagement, def: defManagement,
			help: text("Its own address with prefix length, such as 10.7.0.11/24, or dhcp. Dashboard and ssh live there."),
		},
		{
			key: "management.gateway", label: "Gateway (or none)", skip: dhcp, take: takeGateway(func(d *draft) *string { return &d.a.Management.Gateway }),
			def: func(d *draft) string { return defGateway(d, "management.gateway", d.a.Management.Gateway) },
		},
		{
			key: "management.dns", label: "DNS servers (or none)", skip: dhcp, take: takeDNS(func(d *draft) *[]string { return &d.a.Management.DNS }),
			def: func(d *draft) string { return defDNS(d, "management.dns", d.a.Management.DNS) },
		},
		{
			key: "new_site.service.address", label: "Service address", skip: notNew, take: takeService,
			def:  func(d *draft) string { return d.a.New.Service.Address },
			help: text("The address that clients use, with prefix length. It moves with the primary set. Nothing else may have it."),
		},
		{
			key: "new_site.service.gateway", label: "Gateway of the service address (or none)", skip: notNew,
			take: takeGateway(func(d *draft) *string { return &d.a.New.Service.Gateway }),
			def:  func(d *draft) string { return defGateway(d, "new_site.service.gateway", d.a.New.Service.Gateway) },
		},
		{
			key: "new_site.service.dns", label: "DNS servers of the services (or none)", skip: notNew,
			take: takeDNS(func(d *draft) *[]string { return &d.a.New.Service.DNS }),
			def:  func(d *draft) string { return defDNS(d, "new_site.service.dns", d.a.New.Service.DNS) },
		},
		{
			key: "new_site.hostname", label: "Host name that clients use", skip: notNew, take: takeHostname,
			def: func(d *draft) string { return d.a.New.Hostname },
		},
		{
			key: "new_site.domain", label: "DNS domain of the office", skip: notNew, take: takeDomain,
			help: text("Mail is for people at this domain, and the directory and its logins are named after it. It is hard to change later."),
			def:  func(d *draft) string { return cmp.Or(d.a.New.Domain, siteconf.DefaultDomain) },
		},
		{
			key: "password", label: "Administrator's password", secret: true, skip: notNew, take: takePassword,
			help: text(fmt.Sprintf("For console, dashboard, ssh and shares; at least %d characters. It is not shown.", install.MinPassword)),
			def:  func(d *draft) string { return d.a.Password },
		},
		{
			key: "password again", label: "The same again", secret: true, skip: notNew, take: takeAgain,
			def: func(d *draft) string {
				if d.given["password again"] {
					return d.a.Password
				}
				return ""
			},
		},
	}
}

func defSite(d *draft) string {
	if d.a.Join != nil || (d.a.New == nil && d.onStick != nil) {
		return "join"
	}
	return "new"
}

func takeSite(d *draft, s string) error {
	switch strings.ToLower(s) {
	case "new":
		d.a.Join = nil
		if d.a.New == nil {
			d.a.New = &install.NewSite{Name: "Office", Hostname: "atlas"}
		}
	case "join":
		d.a.New = nil
		if d.a.Join == nil {
			d.a.Join = &install.JoinSite{File: d.onStick != nil}
		}
		d.a.Password = ""
	default:
		return errors.New("answer new or join")
	}
	return nil
}

func defServer(d *draft) string {
	switch {
	case d.a.Server != "":
		return d.a.Server
	case d.a.New != nil:
		return "left"
	}
	return "right"
}

func takeServer(d *draft, s string) error {
	if !siteconf.ValidName(s) {
		return errors.New("use lower-case letters, digits and hyphens, at most 32")
	}
	d.a.Server = s
	return nil
}

func defLevel(d *draft) string {
	all := install.Levels(len(d.a.Set.Disks))
	if slices.Contains(all, d.a.Set.Level) || len(all) == 0 {
		return string(d.a.Set.Level)
	}
	return string(all[0])
}

func takeLevel(d *draft, s string) error {
	s = strings.ToLower(s)
	if _, err := strconv.Atoi(s); err == nil {
		s = "raid" + s
	}
	if err := install.CheckLevel(roles.Level(s), len(d.a.Set.Disks)); err != nil {
		return err
	}
	d.a.Set.Level = roles.Level(s)
	return nil
}

func joinLevels(n int) string {
	var out []string
	for _, l := range install.Levels(n) {
		out = append(out, string(l))
	}
	return strings.Join(out, ", ")
}

func defRole(d *draft) string {
	switch {
	case d.given["set.role"] && d.a.Set.Role != "":
		return string(d.a.Set.Role)
	case d.a.New != nil:
		return string(roles.Primary)
	}
	return string(roles.Secondary)
}

func takeRole(d *draft, s string) error {
	r := roles.Role(strings.ToLower(s))
	if r != roles.Primary && r != roles.Secondary {
		return errors.New("answer primary or secondary")
	}
	d.a.Set.Role = r
	return nil
}

func takeSiteName(d *draft, s string) error {
	if s == "" || len(s) > 64 {
		return errors.New("use 1 to 64 letters")
	}
	d.a.New.Name = s
	return nil
}

func takeHostname(d *draft, s string) error {
	if !siteconf.ValidName(s) {
		return errors.New("use lower-case letters, digits and hyphens, at most 32, without the domain")
	}
	d.a.New.Hostname = s
	return nil
}

func takeDomain(d *draft, s string) error {
	if !siteconf.ValidDomain(s) {
		return errors.New("write a domain in lower case such as office.example, or take the one that is offered, which stays inside the office")
	}
	d.a.New.Domain = s
	return nil
}

func defJoinAddress(d *draft) string {
	if d.a.Join.File {
		return d.onStick.Address
	}
	return d.a.Join.Address
}

func takeJoinAddress(d *draft, s string) error {
	if _, err := netip.ParseAddr(s); err != nil {
		return errors.New("give an address such as 10.7.0.11")
	}
	d.a.Join.File = d.onStick != nil && s == d.onStick.Address
	d.a.Join.Address = s
	if d.a.Join.File {
		d.a.Join.Address, d.a.Join.Code = "", ""
	}
	return nil
}

func takeJoinCode(d *draft, s string) error {
	if s == "" {
		return errors.New("type the code that the running server shows")
	}
	if d.checkCode != nil {
		if err := d.checkCode(s); err != nil {
			return err
		}
	}
	d.a.Join.Code = s
	return nil
}

func takePassword(d *draft, s string) error {
	if err := install.CheckPassword(s); err != nil {
		return fmt.Errorf("it %w", err)
	}
	if s != d.a.Password {
		delete(d.given, "password again")
	}
	d.a.Password = s
	return nil
}

func takeAgain(d *draft, s string) error {
	if s != d.a.Password {
		d.a.Password = ""
		return errBefore{errors.New("the two are not the same; type both again")}
	}
	return nil
}
