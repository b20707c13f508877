package pack

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/settings"
	"sayasystems.com/atlas/image/siteconf"
)

// Fixed account IDs lie between these, both included: the lower range is for the packs of ATLAS, the upper for vendors' own.
// What lies between is for accounts of base packages.
const (
	MinID       = 600
	MaxID       = 639
	MinVendorID = 660
	MaxVendorID = 699
)

var (
	packagePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	userPattern    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	releasePattern = regexp.MustCompile(`^[1-9][0-9]$`)
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
	envPattern     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
)

// ParseSignal reads a signal name as pack.yaml has it: "TERM", "HUP".
func ParseSignal(name string) (syscall.Signal, error) {
	s, ok := map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1,
		"USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH, "KILL": syscall.SIGKILL,
	}[name]
	if !ok {
		return 0, fmt.Errorf("%q is not a known signal; known: TERM, INT, QUIT, HUP, USR1, USR2, WINCH, KILL", name)
	}
	return s, nil
}

func (l *loaded) check() error {
	parts := []func() error{
		l.checkHead, l.checkPackages, l.checkAccounts, l.checkFiles, l.checkPaths, l.checkFormats, l.checkPorts, l.checkProbes, l.checkProcesses, l.checkSync,
		l.checkConversions, l.checkEffective,
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return err
		}
	}
	if err := l.checkSteps("init", l.Init); err != nil {
		return err
	}
	return l.checkSteps("test_data", l.TestData)
}

func (l *loaded) checkHead() error {
	abs, err := filepath.Abs(l.Dir)
	if err != nil {
		return fmt.Errorf("find %s: %w", l.Dir, err)
	}
	switch {
	case !siteconf.ValidName(l.Name):
		return l.f.Errorf("name", "must be lower-case letters, digits and hyphens, at most 32")
	case l.Name != filepath.Base(abs):
		return l.f.Errorf("name", "is %q, but the folder is called %q; they must be the same", l.Name, filepath.Base(abs))
	case strings.TrimSpace(l.Title) == "":
		return l.f.Errorf("title", "is missing; give the service's name for people")
	case l.Scope != "" && l.Scope != ScopeSite && l.Scope != ScopeServer:
		return l.f.Errorf("scope", "must be site or server")
	}
	if err := l.checkChoice(); err != nil {
		return err
	}
	for i, n := range l.Needs {
		if n == l.Name {
			return l.f.Errorf(fmt.Sprintf("needs[%d]", i), "a pack cannot need itself")
		}
	}
	for i, n := range l.Uses {
		switch {
		case n == l.Name:
			return l.f.Errorf(fmt.Sprintf("uses[%d]", i), "a pack cannot use itself")
		case slices.Contains(l.Needs, n):
			return l.f.Errorf(fmt.Sprintf("uses[%d]", i), "%s stands under needs already; take one of the two out", n)
		}
	}
	return nil
}

// checkChoice checks what says where and beside what the pack runs.
func (l *loaded) checkChoice() error {
	switch {
	case !slices.Contains([]string{"", On, Off, Absent}, l.Default):
		return l.f.Errorf("default", "must be on, off or absent")
	case !slices.Contains([]string{"", AddressSite, AddressOwn}, l.Address):
		return l.f.Errorf("address", "must be site or own")
	case l.Address == AddressOwn && l.Scope == ScopeServer:
		return l.f.Errorf("address", "a pack of scope server listens on the management address and cannot have its own")
	case l.Address == AddressOwn && l.Default != Off && l.Default != Absent:
		return l.f.Errorf("default", "must be off, since a pack with its own address cannot run before site.yaml gives it one")
	}
	for i, n := range l.Conflicts {
		switch {
		case n == l.Name:
			return l.f.Errorf(fmt.Sprintf("conflicts[%d]", i), "a pack cannot conflict with itself")
		case slices.Contains(l.Along(), n):
			return l.f.Errorf(fmt.Sprintf("conflicts[%d]", i), "%s is also needed by this pack", n)
		}
	}
	return nil
}

func (l *loaded) checkPackages() error {
	list := func(key string, names []string) error {
		for i, n := range names {
			if !packagePattern.MatchString(n) {
				return l.f.Errorf(fmt.Sprintf("%s[%d]", key, i), "%q is not the name of a Debian package", n)
			}
		}
		return nil
	}
	if err := list("packages", l.Packages); err != nil {
		return err
	}
	for i, r := range l.PackagesFor {
		key := fmt.Sprintf("packages_for[%d]", i)
		if !releasePattern.MatchString(r.Release) {
			return l.f.Errorf(key+".release", "must be the number of a Debian release such as \"13\"")
		}
		if err := list(key+".packages", r.Packages); err != nil {
			return err
		}
	}
	return nil
}

func (l *loaded) checkAccounts() error {
	names, ids := map[string]bool{}, map[int]bool{}
	for i, a := range l.Accounts {
		key := fmt.Sprintf("accounts[%d]", i)
		switch {
		case !userPattern.MatchString(a.Name):
			return l.f.Errorf(key+".name", "%q is not an account name", a.Name)
		case names[a.Name]:
			return l.f.Errorf(key+".name", "%s stands here twice", a.Name)
		case (a.ID < MinID || a.ID > MaxID) && (a.ID < MinVendorID || a.ID > MaxVendorID):
			return l.f.Errorf(key+".id", "is %d; must be between %d and %d for an own application (%d to %d are ATLAS's)", a.ID, MinVendorID, MaxVendorID, MinID, MaxID)
		case ids[a.ID]:
			return l.f.Errorf(key+".id", "%d stands here twice", a.ID)
		case a.Home != "" && !absolute(a.Home):
			return l.f.Errorf(key+".home", "must be an absolute path")
		}
		for j, g := range a.Groups {
			if !userPattern.MatchString(g) {
				return l.f.Errorf(fmt.Sprintf("%s.groups[%d]", key, j), "%q is not a group name", g)
			}
		}
		names[a.Name], ids[a.ID] = true, true
	}
	return nil
}

func (l *loaded) checkFiles() error {
	to := map[string]bool{}
	for i, file := range l.Files {
		key := fmt.Sprintf("files[%d]", i)
		if !filepath.IsLocal(file.From) {
			return l.f.Errorf(key+".from", "%q must be a path inside the pack's folder", file.From)
		}
		path := filepath.Join(l.Dir, file.From)
		st, err := os.Lstat(path)
		switch {
		case err != nil:
			return l.f.Errorf(key+".from", "there is no file %s in the pack's folder", file.From)
		case !st.Mode().IsRegular():
			return l.f.Errorf(key+".from", "%s is not a regular file", file.From)
		case !absolute(file.To):
			return l.f.Errorf(key+".to", "must be an absolute path")
		case to[file.To]:
			return l.f.Errorf(key+".to", "%s stands here twice", file.To)
		}
		if err := checkMode(l.f, key+".mode", file.Mode); err != nil {
			return err
		}
		to[file.To] = true
		if !file.Template {
			continue
		}
		if !below(file.To, "/etc", "/run") {
			return l.f.Errorf(key+".to", "a template is written at each start, so it must lie below /etc or /run")
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return l.f.Errorf(key+".from", "cannot be read: %v", err)
		}
		if !utf8.Valid(data) {
			return l.f.Errorf(key+".from", "%s is not UTF-8 text, as a template must be", file.From)
		}
		if _, err := Expand(string(data), Vars{}); err != nil {
			return l.f.Errorf(key+".from", "%s: %v", file.From, err)
		}
	}
	return nil
}

// checkPaths checks config, data and logs: what is not on the disk set does not move with a swap.
func (l *loaded) checkPaths() error {
	for _, kind := range []struct {
		key   string
		paths []string
		roots []string
	}{
		{"config", l.Config, []string{"/etc", "/var", "/srv", "/home"}},
		{"data", l.Data, []string{"/var", "/srv", "/home"}},
		{"logs", l.Logs, []string{"/var"}},
	} {
		for i, p := range kind.paths {
			key := fmt.Sprintf("%s[%d]", kind.key, i)
			if l.Scope == ScopeServer && strings.HasPrefix(p, "{{.StateDir}}/") {
				continue
			}
			if !absolute(p) {
				return l.f.Errorf(key, "%q must be an absolute path", p)
			}
			if !below(p, kind.roots...) {
				return l.f.Errorf(key, "%s must lie below %s, which are on the disk set", p, strings.Join(kind.roots, ", "))
			}
		}
	}
	return nil
}

// Kinds of Format.
const (
	FormatPostgreSQL = "postgresql"
	FormatCopy       = "copy"
)

// checkFormats checks what is said of the form of data.
func (l *loaded) checkFormats() error {
	for i, f := range l.Formats {
		key := fmt.Sprintf("formats[%d]", i)
		switch {
		case l.Scope == ScopeServer:
			return l.f.Errorf(key, "is for data on a disk set; a pack of scope server has none there")
		case f.Kind != FormatPostgreSQL && f.Kind != FormatCopy:
			return l.f.Errorf(key+".kind", "must be postgresql or copy; data that work in every release need no line here")
		case !absolute(f.Path):
			return l.f.Errorf(key+".path", "%q must be an absolute path", f.Path)
		case !slices.Contains(l.Data, f.Path) && !below(f.Path, l.Data...):
			return l.f.Errorf(key+".path", "%s is not among the paths of data", f.Path)
		}
		for j, g := range l.Formats[:i] {
			if f.Path == g.Path || below(f.Path, g.Path) || below(g.Path, f.Path) {
				return l.f.Errorf(key+".path", "%s and %s of formats[%d] lie in each other", f.Path, g.Path, j)
			}
		}
	}
	return nil
}

func (l *loaded) checkPorts() error {
	seen := map[Port]bool{}
	for i, p := range l.Ports {
		key := fmt.Sprintf("ports[%d]", i)
		if p.Proto == "" {
			p.Proto = "tcp"
		}
		switch {
		case p.Port < 1 || p.Port > 65535:
			return l.f.Errorf(key+".port", "is %d; must be between 1 and 65535", p.Port)
		case p.Proto != "tcp" && p.Proto != "udp":
			return l.f.Errorf(key+".proto", "must be tcp or udp")
		case l.Scope != ScopeServer && l.Address != AddressOwn && p.Proto == "tcp" && (p.Port == layout.DashboardPort || p.Port == layout.PeerPort || p.Port == layout.SSHPort):
			return l.f.Errorf(key+".port", "%d belongs to ATLAS itself on the management address, where the other servers could not reach this service", p.Port)
		case l.Address == AddressOwn && PeerPort(p.Port) > 65535:
			return l.f.Errorf(key+".port", "is %d; a pack with its own address can use ports up to %d", p.Port, 65535-PeerPort(0))
		case seen[Port{Port: p.Port, Proto: p.Proto}]:
			return l.f.Errorf(key+".port", "%d/%s stands here twice", p.Port, p.Proto)
		}
		seen[Port{Port: p.Port, Proto: p.Proto}] = true
	}
	return nil
}

func (l *loaded) checkProbes() error {
	names := map[string]bool{}
	for i, p := range l.Probes {
		key := fmt.Sprintf("probes[%d]", i)
		switch {
		case !namePattern.MatchString(p.Name):
			return l.f.Errorf(key+".name", "must be lower-case letters, digits and hyphens, at most 40")
		case names[p.Name]:
			return l.f.Errorf(key+".name", "%s stands here twice", p.Name)
		case strings.TrimSpace(p.Title) == "":
			return l.f.Errorf(key+".title", "is missing; say for people what is tried")
		case p.Kind == "":
			return l.f.Errorf(key+".kind", "is missing")
		}
		names[p.Name] = true
		for j, n := range p.Needs {
			if !siteconf.ValidName(n) || n == l.Name {
				return l.f.Errorf(fmt.Sprintf("%s.needs[%d]", key, j), "%q is not the name of another pack", n)
			}
		}
		for k, v := range p.Params {
			if err := checkTemplate(l.f, key+".params."+k, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkTemplate(f *settings.File, key, s string) error {
	if _, err := Expand(s, Vars{}); err != nil {
		return f.Errorf(key, "%v", err)
	}
	return nil
}

func checkMode(f *settings.File, key, mode string) error {
	if mode == "" {
		return nil
	}
	if m, err := strconv.ParseUint(mode, 8, 32); err != nil || m > 0o7777 {
		return f.Errorf(key, "%q must be an octal file mode such as \"0644\"", mode)
	}
	return nil
}

func checkDuration(f *settings.File, key, s string) error {
	if s == "" {
		return nil
	}
	if d, err := time.ParseDuration(s); err != nil || d <= 0 || d > time.Hour {
		return f.Errorf(key, "%q must be a duration such as 30s or 2m, at most 1h", s)
	}
	return nil
}

func absolute(p string) bool { return filepath.IsAbs(p) && filepath.Clean(p) == p }

func below(p string, roots ...string) bool {
	for _, r := range roots {
		if strings.HasPrefix(p, r+"/") {
			return true
		}
	}
	return false
}
