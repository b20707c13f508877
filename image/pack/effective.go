package pack

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Effective asks a service what it works with: not the text of its files but what its daemon makes of them, defaults included. Where two
// servers run different releases, both are asked after a change of the pack's files, and what differs without a reason is told.
//
// Command prints a line for each setting, NAME = VALUE, in any order, and with a tilde before the name where nobody has set it and the value
// is the daemon's own default. It prints no secrets, changes nothing, and takes a second at most. It looks at the files rather than asking
// the running daemon, where that can be done.
type Effective struct {
	Command []string `yaml:"command" json:"command"`
	User    string   `yaml:"user,omitempty" json:"user,omitempty"`       // root if empty
	Timeout string   `yaml:"timeout,omitempty" json:"timeout,omitempty"` // Go duration, "30s" if empty
	Running bool     `yaml:"running,omitempty" json:"running,omitempty"` // only the running daemon can tell: it is asked while it is ready
	Exports []string `yaml:"exports,omitempty" json:"exports,omitempty"` // of this pack, that it depends on besides the files
	Service string   `yaml:"service,omitempty" json:"service,omitempty"` // what the facts of a release call it; the pack's name if empty
	// Own, Guards and the names of Ships are settings by name, with * for any part. Own: each server has its own. Guards: they say who may do
	// what. Ships: images of different releases ship them with other values.
	Own    []string  `yaml:"own,omitempty" json:"own,omitempty"`
	Guards []string  `yaml:"guards,omitempty" json:"guards,omitempty"`
	Ships  []Shipped `yaml:"ships,omitempty" json:"ships,omitempty"`
}

// Shipped is a setting whose value differs between images as they are shipped.
type Shipped struct {
	Name   string            `yaml:"name" json:"name"`
	Values map[string]string `yaml:"values" json:"values"` // by Debian release ("12"); one without does not have the setting
}

func (l *loaded) checkEffective() error {
	x := l.Effective
	if x == nil {
		return nil
	}
	if err := l.checkRun("effective", x.Command, x.User, x.Timeout); err != nil {
		return err
	}
	if x.Service != "" && !namePattern.MatchString(x.Service) {
		return l.f.Errorf("effective.service", "%q is not a service's name; use lower-case letters, digits and hyphens", x.Service)
	}
	for i, name := range x.Exports {
		if !slices.ContainsFunc(l.Exports, func(e Export) bool { return e.Name == name }) {
			return l.f.Errorf(fmt.Sprintf("effective.exports[%d]", i), "%q is no export of this pack", name)
		}
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"own", x.Own}, {"guards", x.Guards}} {
		for i, n := range list.names {
			if err := l.checkSetting(fmt.Sprintf("effective.%s[%d]", list.key, i), n); err != nil {
				return err
			}
		}
	}
	for i, s := range x.Ships {
		key := fmt.Sprintf("effective.ships[%d]", i)
		if err := l.checkSetting(key+".name", s.Name); err != nil {
			return err
		}
		if len(s.Values) == 0 {
			return l.f.Errorf(key+".values", "is missing; give the value of each release that has the setting")
		}
		for _, release := range sorted(s.Values) {
			if !releasePattern.MatchString(release) {
				return l.f.Errorf(key+".values", "%q must be the number of a Debian release such as \"13\"", release)
			}
		}
	}
	return nil
}

func (l *loaded) checkSetting(key, name string) error {
	if _, err := path.Match(name, ""); err != nil || strings.TrimSpace(name) != name || name == "" {
		return l.f.Errorf(key, "%q is no name of a setting; * may stand for a part, and [ must be written \\[", name)
	}
	return nil
}
