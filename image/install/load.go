package install

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"sayasystems.com/atlas/image/settings"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
)

// What happens after an installation.
const (
	Reboot = "reboot"
	Off    = "off"
)

// MinPassword is the shortest password, in characters.
const MinPassword = 8

// LoadAnswers reads install.yaml at path. All mistakes that can be told without looking at the hardware are in the error, each
// a *settings.Error.
func LoadAnswers(path string) (Answers, error) {
	a, _, err := LoadFile(path)
	return a, err
}

// LoadFile is LoadAnswers with the file, which turns the Problems of Check into file, line and key.
func LoadFile(path string) (Answers, *settings.File, error) {
	var a Answers
	f, err := settings.Load(path, &a)
	if err != nil {
		return a, f, err
	}
	return a, f, a.check(f)
}

// ParseAnswers is LoadFile for data in memory.
func ParseAnswers(name string, data []byte) (Answers, *settings.File, error) {
	var a Answers
	f, err := settings.Parse(name, data, &a)
	if err != nil {
		return a, f, err
	}
	return a, f, a.check(f)
}

// LoadJoin reads join.yaml in dir, the stick's ESP.
func LoadJoin(path string) (Join, error) {
	var j Join
	f, err := settings.Load(path, &j)
	if err != nil {
		return j, err
	}
	if _, err := netip.ParseAddr(j.Address); err != nil {
		return j, f.Errorf("address", "must be the management address of a running server, such as 10.7.0.11")
	}
	if j.Code == "" {
		return j, f.Errorf("code", "is missing")
	}
	return j, nil
}

// Locate gives every Problem in err the file, line and key that it stands at in f.
func Locate(f *settings.File, err error) error {
	var ps Problems
	if f == nil || !errors.As(err, &ps) {
		return err
	}
	out := make([]error, len(ps))
	for i, p := range ps {
		out[i] = f.Errorf(p.Key, "%s", p.Text)
	}
	return errors.Join(out...)
}

// check tells all that is wrong with a in itself.
func (a Answers) check(f *settings.File) error {
	var errs []error
	bad := func(key, format string, args ...any) { errs = append(errs, f.Errorf(key, format, args...)) }
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if !siteconf.ValidName(a.Server) {
		bad("server", "must be this server's name: lower-case letters, digits and hyphens, at most 32")
	}
	if n := a.Management.Address; n != "dhcp" && !hostPrefix(n) {
		bad("management.address", "must be this server's own address with prefix length such as 10.7.0.11/24, or dhcp")
	} else {
		add(a.Management.Check(f, "management"))
	}
	switch {
	case (a.New == nil) == (a.Join == nil):
		bad("", "needs exactly one of new_site and join")
	case a.New != nil:
		add(a.New.check(f))
		if err := CheckPassword(a.Password); err != nil {
			bad("password", "%v", err)
		}
		if a.New.Service.Address != "" && addrOf(a.New.Service.Address) == addrOf(a.Management.Address) {
			bad("new_site.service.address", "is the management address; clients need one of their own, which moves with the primary disk set")
		}
	default:
		a.Join.check(bad)
		if a.Password != "" {
			bad("password", "is not used when joining: the site's password applies; remove it")
		}
	}
	for i, k := range a.SSHKeys {
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k)); err != nil || strings.ContainsAny(strings.TrimSpace(k), "\r\n") {
			bad(fmt.Sprintf("ssh_keys[%d]", i), "must be one public key as in ~/.ssh/id_ed25519.pub")
		}
	}
	if a.Then != "" && a.Then != Reboot && a.Then != Off {
		bad("then", "must be reboot or off")
	}
	a.Set.check(bad)
	a.checkChoices(bad)
	return errors.Join(errs...)
}

func (n NewSite) check(f *settings.File) error {
	var errs []error
	if strings.TrimSpace(n.Name) == "" || len(n.Name) > 64 || strings.ContainsFunc(n.Name, func(r rune) bool { return r < ' ' }) {
		errs = append(errs, f.Errorf("new_site.name", "must be the site's name for people, such as Miller Dental, at most 64 letters"))
	}
	if !siteconf.ValidName(n.Hostname) {
		errs = append(errs, f.Errorf("new_site.hostname", "must be the name that clients use: lower-case letters, digits and hyphens, at most 32"))
	}
	if n.Domain != "" && !siteconf.ValidDomain(n.Domain) {
		errs = append(errs, f.Errorf("new_site.domain", "must be a DNS domain in lower case such as office.example"))
	}
	if err := siteconf.CheckAddresses(f, "new_site.addresses", n.Addresses, n.Service.Address); err != nil {
		errs = append(errs, err)
	}
	for i, s := range n.Services {
		if !siteconf.ValidName(s) {
			errs = append(errs, f.Errorf(fmt.Sprintf("new_site.services[%d]", i), "%q is not the name of a service", s))
		}
	}
	if err := n.Service.Check(f, "new_site.service"); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (j JoinSite) check(bad func(key, format string, args ...any)) {
	switch {
	case j.File && (j.Address != "" || j.Code != ""):
		bad("join.file", "true takes address and code from join.yaml on the stick; give either file or address and code")
	case j.File:
	case j.Address == "" && j.Code == "":
		bad("join", "needs address and code as a running server shows them, or file: true")
	default:
		if _, err := netip.ParseAddr(j.Address); err != nil {
			bad("join.address", "must be the management address of a running server, such as 10.7.0.11")
		}
		if j.Code == "" {
			bad("join.code", "must be the code that a running server shows")
		}
	}
}

func (s SetChoice) check(bad func(key, format string, args ...any)) {
	if len(s.Disks) == 0 {
		if s.Level != "" || s.Role != "" {
			bad("set.disks", "is empty; list the disks of the set, or leave set out for a server without one")
		}
		return
	}
	if s.Role != roles.Primary && s.Role != roles.Secondary {
		bad("set.role", "must be primary or secondary")
	}
	if err := CheckLevel(s.Level, len(s.Disks)); err != nil {
		bad("set.level", "%v", err)
	}
}

// CheckLevel tells what is wrong with a set of n disks at level.
func CheckLevel(level roles.Level, n int) error {
	need := map[roles.Level]int{roles.RAID1: 2, roles.RAID5: 3, roles.RAID10: 4}[level]
	switch {
	case need == 0:
		return errors.New("must be raid1, raid5 or raid10")
	case n < need:
		return fmt.Errorf("%s needs at least %d disks, %d are listed", level, need, n)
	case level == roles.RAID10 && n%2 != 0:
		return fmt.Errorf("raid10 needs an even number of disks, %d are listed", n)
	}
	return nil
}

// Levels are those that n disks can have, the best first.
func Levels(n int) []roles.Level {
	return slices.DeleteFunc([]roles.Level{roles.RAID1, roles.RAID5, roles.RAID10}, func(l roles.Level) bool { return CheckLevel(l, n) != nil })
}

// CheckPassword tells what is wrong with the administrator's password.
func CheckPassword(p string) error {
	switch n := len([]rune(p)); {
	case n == 0:
		return errors.New("is missing; it is the administrator's for console, dashboard, ssh and shares")
	case n < MinPassword:
		return fmt.Errorf("has %d characters; at least %d are needed", n, MinPassword)
	case len(p) > 72: // bcrypt, which keeps the dashboard's, takes no more
		return errors.New("is too long; at most 72 bytes are possible")
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("holds a control character")
	}
	return nil
}

func (a Answers) checkChoices(bad func(key, format string, args ...any)) {
	seen := map[DiskChoice]string{}
	one := func(key string, c DiskChoice) {
		switch {
		case c.Serial == "" && c.Bay == 0:
			bad(key, "needs the disk's serial, or its bay")
			return
		case c.Bay < 0:
			bad(key+".bay", "must be the number on the front, from 1")
		case c.Erase && c.Serial == "":
			bad(key+".erase", "needs the serial too: whatever disk is in a bay is not erased")
		}
		id := DiskChoice{Serial: c.Serial}
		if c.Serial == "" {
			id = DiskChoice{Bay: c.Bay}
		}
		if at := seen[id]; at != "" {
			bad(key, "is the same disk as %s", at)
		}
		seen[id] = key
	}
	if a.SystemDisk != (DiskChoice{}) {
		one("system_disk", a.SystemDisk)
	}
	for i, c := range a.Set.Disks {
		one(fmt.Sprintf("set.disks[%d]", i), c)
	}
}

func hostPrefix(s string) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr() != p.Masked().Addr() && !p.Addr().IsUnspecified() && !p.Addr().IsLoopback()
}

// addrOf is the address in "10.7.0.11/24"; invalid when there is none.
func addrOf(s string) netip.Addr {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// exists tells whether dir/name is there.
func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}
