package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	l.f = f
	l.Dir = dir
	if err := l.check(); err != nil {
		return loaded{}, err
	}
	l.fill()
	return l, nil
}

// LoadAll reads every pack below dir (folders that hold a pack.yaml) and checks them against each other. A pack
// stands after all that it needs; otherwise the order is that of the names.
func LoadAll(dir string) ([]Pack, error) {
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
	if err := crossCheck(all); err != nil {
		return nil, err
	}
	return order(all)
}

// crossCheck finds what two packs cannot both have.
func crossCheck(all []loaded) error {
	ids, names, files, ports := map[int]string{}, map[string]string{}, map[string]string{}, map[string]string{}
	packs := map[string]bool{}
	for _, l := range all {
		packs[l.Name] = true
	}
	for _, l := range all {
		for i, a := range l.Accounts {
			if other, ok := ids[a.ID]; ok {
				return l.f.Errorf(fmt.Sprintf("accounts[%d].id", i), "%d is already taken by pack %s; IDs are unique over all packs", a.ID, other)
			}
			if other, ok := names[a.Name]; ok {
				return l.f.Errorf(fmt.Sprintf("accounts[%d].name", i), "account %s is already made by pack %s", a.Name, other)
			}
			ids[a.ID], names[a.Name] = l.Name, l.Name
		}
		for i, file := range l.Files {
			if other, ok := files[file.To]; ok {
				return l.f.Errorf(fmt.Sprintf("files[%d].to", i), "%s is already put there by pack %s", file.To, other)
			}
			files[file.To] = l.Name
		}
		for i, p := range l.Ports {
			k := fmt.Sprintf("%d/%s", p.Port, p.Proto)
			if other, ok := ports[k]; ok {
				return l.f.Errorf(fmt.Sprintf("ports[%d].port", i), "%s is already used by pack %s", k, other)
			}
			ports[k] = l.Name
		}
		for i, n := range l.Needs {
			if !packs[n] {
				return l.f.Errorf(fmt.Sprintf("needs[%d]", i), "there is no pack %q; known: %s", n, strings.Join(sorted(packs), ", "))
			}
		}
	}
	return nil
}

// order sorts packs so that each stands after what it needs.
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
		for i, n := range l.Needs {
			switch state[n] {
			case doing:
				return l.f.Errorf(fmt.Sprintf("needs[%d]", i), "packs need each other in a circle: %s, %s", strings.Join(path, ", "), n)
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
	for i := range l.Files {
		def(&l.Files[i].Mode, "0644")
	}
	for _, steps := range [][]Step{l.Init, l.TestData} {
		for i := range steps {
			def(&steps[i].Timeout, "60s")
		}
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

func sorted(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
