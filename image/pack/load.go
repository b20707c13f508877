package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"sayasystems.com/atlas/image/settings"
)

// FileName is the name of the description in a pack's folder.
const FileName = "pack.yaml"

// Scopes of a pack.
const (
	ScopeSite   = "site"   // runs where a set serves, on the service address
	ScopeServer = "server" // runs always, on the management address, without a disk set
)

// Values of Pack.Default and Pack.Address.
const (
	On     = "on"
	Off    = "off"
	Absent = "absent"

	AddressSite = "site"
	AddressOwn  = "own"
)

// PeerPort is the port of the management address at which peers reach port of a pack that has an address of its own: several
// such packs, and those of the site, may use the same port.
func PeerPort(port int) int { return 20000 + port }

// loaded is a pack with the places of its keys.
type loaded struct {
	Pack
	f *settings.File
}

// Load reads and checks the pack in dir. Values left out are filled in with their defaults, so that users of a Pack need no
// rules of their own. A mistake is a *settings.Error that names file, line and key. What only all packs together can
// show (IDs, needs, ports) is checked by LoadAll.
func Load(dir string) (Pack, error) {
	l, err := load(dir)
	return l.Pack, err
}

func load(dir string) (loaded, error) {
	l := loaded{}
	f, err := settings.Load(filepath.Join(dir, FileName), &l.Pack)
	if err != nil {
		return loaded{}, err // names the file already
	}
	l.f, l.file = f, f
	l.Dir = dir
	if err := l.check(); err != nil {
		return loaded{}, err
	}
	l.fill()
	return l, nil
}

// LoadAll reads every pack below dirs (folders that hold a pack.yaml) and checks them against each other. A pack
// stands after all that it needs; otherwise the order is that of the names.
func LoadAll(dirs ...string) ([]Pack, error) {
	var all []loaded
	for _, dir := range dirs {
		some, err := loadDir(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if err := crossCheck(all); err != nil {
		return nil, err
	}
	return order(all)
}

func loadDir(dir string) ([]loaded, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("load packs: %w", err)
	}
	var all []loaded
	for _, e := range entries {
		sub := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(sub, FileName)); err != nil {
			if errors.Is(err, os.ErrNotExist) || !e.IsDir() {
				continue
			}
			return nil, fmt.Errorf("load packs: %w", err)
		}
		l, err := load(sub)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("load packs: no folder with a %s below %s", FileName, dir)
	}
	return all, nil
}

// crossCheck finds what two packs cannot both have. Packs that conflict never run together, and may have the same.
func crossCheck(all []loaded) error {
	packs := map[string]loaded{}
	for _, l := range all {
		if other, ok := packs[l.Name]; ok {
			return l.f.Errorf("name", "there is a pack %s already, in %s", l.Name, other.Dir)
		}
		packs[l.Name] = l
	}
	for _, l := range all {
		for i, n := range l.Along() {
			if _, ok := packs[n]; !ok {
				return l.f.Errorf(l.alongKey(i), "there is no pack %q; known: %s", n, strings.Join(sorted(packs), ", "))
			}
		}
	}
	for i, l := range all {
		for _, other := range all[:i] {
			if l.conflicts(other) {
				continue
			}
			if err := l.clash(other); err != nil {
				return err
			}
		}
	}
	return nil
}

// alongKey is the key of the i-th of Along.
func (l loaded) alongKey(i int) string {
	if i < len(l.Needs) {
		return fmt.Sprintf("needs[%d]", i)
	}
	return fmt.Sprintf("uses[%d]", i-len(l.Needs))
}

func (l loaded) conflicts(other loaded) bool {
	return slices.Contains(l.Conflicts, other.Name) || slices.Contains(other.Conflicts, l.Name)
}

// clash tells what l has that is already another pack's.
func (l loaded) clash(other loaded) error {
	for i, a := range l.Accounts {
		for _, b := range other.Accounts {
			switch {
			case a.Name == b.Name:
				return l.f.Errorf(fmt.Sprintf("accounts[%d].name", i), "account %s is already made by pack %s", a.Name, other.Name)
			case a.ID == b.ID:
				return l.f.Errorf(fmt.Sprintf("accounts[%d].id", i), "%d is already taken by pack %s; IDs are unique over all packs", a.ID, other.Name)
			}
		}
	}
	for i, a := range l.Files {
		for _, b := range other.Files {
			if a.To == b.To {
				return l.f.Errorf(fmt.Sprintf("files[%d].to", i), "%s is already put there by pack %s", a.To, other.Name)
			}
		}
	}
	for i, a := range l.Ports {
		for _, b := range other.Ports {
			if l.peerPort(a) == other.peerPort(b) && a.Proto == b.Proto {
				return l.f.Errorf(fmt.Sprintf("ports[%d].port", i), "%d/%s is already used by pack %s", a.Port, a.Proto, other.Name)
			}
		}
	}
	for i, a := range l.Processes {
		for _, b := range other.Processes {
			for _, u := range a.Units {
				if slices.Contains(b.Units, u) {
					return l.f.Errorf(fmt.Sprintf("processes[%d].units", i), "%s is already a process of pack %s", u, other.Name)
				}
			}
		}
	}
	return nil
}

// peerPort tells ports at different addresses apart.
func (l loaded) peerPort(p Port) string {
	if l.Address == AddressOwn {
		return fmt.Sprint(l.Name, " ", p.Port)
	}
	return fmt.Sprint(p.Port)
}

// order sorts packs so that each stands after what it needs or uses.
func order(all []loaded) ([]Pack, error) {
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	byName := map[string]loaded{}
	for _, l := range all {
		byName[l.Name] = l
	}
	var out []Pack
	const doing, done = 1, 2
	state := map[string]int{}
	var visit func(l loaded, path []string) error
	visit = func(l loaded, path []string) error {
		path = append(path, l.Name)
		state[l.Name] = doing
		for i, n := range l.Along() {
			switch state[n] {
			case doing:
				return l.f.Errorf(l.alongKey(i), "packs need each other in a circle: %s, %s", strings.Join(path, ", "), n)
			case done:
			default:
				if err := visit(byName[n], path); err != nil {
					return err
				}
			}
		}
		state[l.Name] = done
		out = append(out, l.Pack)
		return nil
	}
	for _, l := range all {
		if state[l.Name] == done {
			continue
		}
		if err := visit(l, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fill puts the documented defaults where the file says nothing.
func (l *loaded) fill() {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&l.Scope, ScopeSite)
	def(&l.Default, On)
	def(&l.Address, AddressSite)
	for i := range l.Files {
		def(&l.Files[i].Mode, "0644")
	}
	for _, steps := range [][]Step{l.Init, l.TestData} {
		for i := range steps {
			def(&steps[i].Timeout, "5m")
		}
	}
	if l.Check != nil {
		def(&l.Check.Timeout, "30s")
	}
	if l.Trial != nil {
		def(&l.Trial.Timeout, "2m")
	}
	if l.Effective != nil {
		def(&l.Effective.Timeout, "30s")
		def(&l.Effective.Service, l.Name)
	}
	if l.Derive != nil {
		def(&l.Derive.Timeout, "1m")
	}
	for _, c := range l.Conversions {
		if c.Program != nil {
			def(&c.Program.Timeout, "10s")
		}
	}
	for i := range l.Exports {
		def(&l.Exports[i].Every, "1s")
		def(&l.Exports[i].Timeout, "1m")
	}
	for i := range l.Processes {
		p := &l.Processes[i]
		def(&p.Stop, "TERM")
		def(&p.StopTimeout, "20s")
		def(&p.Ready.Timeout, "60s")
		for j := range p.RunDirs {
			def(&p.RunDirs[j].Mode, "0755")
		}
	}
	for i := range l.Ports {
		def(&l.Ports[i].Proto, "tcp")
	}
}

func sorted[T any](m map[string]T) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
