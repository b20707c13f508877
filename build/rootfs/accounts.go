package rootfs

import (
	"fmt"
	"sort"
	"strings"

	"sayasystems.com/atlas/image/pack"
)

// group is a group that a base package would else make with whatever number is free.
type group struct {
	name string
	id   int
}

// baseGroups have IDs from 640: below are the packs'.
func baseGroups() []group {
	return []group{
		{"input", 640},
		{"sgx", 641},
		{"kvm", 642},
		{"render", 643},
		{"clock", 644},
		{"_ssh", 645},
		{"crontab", 646},
		{"netdev", 647},
		{"messagebus", 648},
		{"ssl-cert", 649},
		{"uuidd", 650},
		{"tcpdump", 651},
		{"sambashare", 652},
		{"winbindd_priv", 653},
		{"dhcpcd", 654},
	}
}

// verifier is the account that verifies the services.
const verifier = "atlas-verify"

// baseUsers are accounts that base packages would make, and the one that verifies the services, whichever these are.
func baseUsers() []pack.Account {
	return []pack.Account{
		{Name: verifier, ID: 610, Home: "/nonexistent"},
		{Name: "dhcpcd", ID: 654, Home: "/usr/lib/dhcpcd"},
		{Name: "tcpdump", ID: 651},
	}
}

// accountFiles returns the lines to add to passwd, group, shadow and gshadow, by file name.
func accountFiles(accounts []pack.Account) map[string]string {
	users := append([]pack.Account(nil), accounts...)
	taken := map[string]bool{}
	for _, u := range accounts { // a pack's word on an account goes before ours
		taken[u.Name] = true
	}
	for _, u := range baseUsers() {
		if !taken[u.Name] {
			users = append(users, u)
			taken[u.Name] = true
		}
	}
	sort.SliceStable(users, func(i, j int) bool { return users[i].ID < users[j].ID })
	var groups []group
	for _, g := range baseGroups() {
		if !taken[g.name] {
			groups = append(groups, g)
		}
	}
	members := map[string][]string{}
	for _, u := range users {
		groups = append(groups, group{u.Name, u.ID})
		for _, g := range u.Groups {
			members[g] = append(members[g], u.Name)
		}
	}
	// The administrator: a person, so above the system's range; passwords are set on the set, none is valid here.
	groups = append(groups, group{"admin", AdminID})
	users = append(users, pack.Account{Name: "admin", ID: AdminID, Home: "/home/admin"})
	sort.SliceStable(groups, func(i, j int) bool { return groups[i].id < groups[j].id })

	var passwd, grp, shadow, gshadow strings.Builder
	for _, u := range users {
		home, shell := u.Home, "/usr/sbin/nologin"
		if home == "" {
			home = "/nonexistent"
		}
		if u.ID == AdminID {
			shell = "/bin/bash"
		}
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s:%s:%s\n", u.Name, u.ID, u.ID, u.Name, home, shell)
		lock := "!"
		if u.Name == verifier {
			lock = "*" // no password either, but not locked, which would keep its key out
		}
		fmt.Fprintf(&shadow, "%s:%s:20089::::::\n", u.Name, lock)
	}
	for _, g := range groups {
		m := strings.Join(members[g.name], ",")
		fmt.Fprintf(&grp, "%s:x:%d:%s\n", g.name, g.id, m)
		fmt.Fprintf(&gshadow, "%s:!::%s\n", g.name, m)
	}
	return map[string]string{"passwd": passwd.String(), "group": grp.String(), "shadow": shadow.String(), "gshadow": gshadow.String()}
}

// AdminID is the user and group ID of the administrator's Linux account.
const AdminID = 1000
