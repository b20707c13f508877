package supervise

import (
	"fmt"
	"os/user"
	"strconv"
	"syscall"
)

// account is what a process runs as.
type account struct {
	name string
	home string
	cred *syscall.Credential // nil: as init itself, root
}

// lookup finds a user in /etc/passwd and its groups in /etc/group; "" and "root" are init's own user. Accounts are looked up at
// each start: /etc changes when a set is mounted.
func lookup(name string) (account, error) {
	if name == "" || name == "root" {
		return account{name: "root", home: "/root"}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fmt.Errorf("account %s: %w", name, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("account %s: user ID: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return account{}, fmt.Errorf("account %s: group ID: %w", name, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return account{}, fmt.Errorf("account %s: groups: %w", name, err)
	}
	cred := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for _, s := range ids {
		if g, err := strconv.ParseUint(s, 10, 32); err == nil {
			cred.Groups = append(cred.Groups, uint32(g))
		}
	}
	return account{name: name, home: u.HomeDir, cred: cred}, nil
}

// environ is the whole environment of a process.
func (a account) environ(extra ...string) []string {
	return append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG=C.UTF-8",
		"HOME=" + a.home,
		"USER=" + a.name,
		"LOGNAME=" + a.name,
		"SHELL=/bin/sh",
	}, extra...)
}
