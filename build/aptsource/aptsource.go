// Package aptsource finds out where this machine gets Debian packages from, by reading apt's own configuration (one-line
// sources.list and deb822 .sources files), so that no mirror is ever written into the project. The host's release may differ
// from the one wanted: only the addresses are taken over. It does not fetch anything.
package aptsource

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNone tells that the host knows no Debian mirror.
var ErrNone = errors.New("apt on this machine knows no Debian mirror: write one as `mirror: http://…/debian` into the profile")

// Mirrors is where to get Debian from. Security is empty when unknown.
type Mirrors struct {
	Main     string `json:"main"`
	Security string `json:"security,omitempty"`
}

// Source is one package source of apt.
type Source struct {
	URI, Suite string
	Components []string
}

// codenames lists the releases whose suites are recognised as Debian's own.
func codenames() []string {
	return []string{"buster", "bullseye", "bookworm", "trixie", "forky", "sid", "oldoldstable", "oldstable", "stable", "testing", "unstable"}
}

// Codename returns the name of a release's suite: "13" is trixie.
func Codename(release string) (string, bool) {
	m := map[string]string{"11": "bullseye", "12": "bookworm", "13": "trixie"}
	n, ok := m[release]
	return n, ok
}

// Host reads the sources below root ("/" for this machine's) and picks Debian's mirrors out of them.
func Host(root string) (Mirrors, error) {
	var all []Source
	names := []string{filepath.Join(root, "etc/apt/sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		m, err := filepath.Glob(filepath.Join(root, "etc/apt/sources.list.d", pattern))
		if err != nil {
			return Mirrors{}, fmt.Errorf("list apt's sources: %w", err)
		}
		names = append(names, m...)
	}
	for _, n := range names {
		data, err := os.ReadFile(n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Mirrors{}, fmt.Errorf("read apt's sources: %w", err)
		}
		if strings.HasSuffix(n, ".sources") {
			all = append(all, ParseDeb822(string(data))...)
		} else {
			all = append(all, ParseList(string(data))...)
		}
	}
	return Pick(all)
}

// Pick chooses the first main archive and the first security archive of Debian.
func Pick(all []Source) (Mirrors, error) {
	var m Mirrors
	for _, s := range all {
		if !slices.Contains(s.Components, "main") {
			continue
		}
		suite, kind, _ := strings.Cut(strings.ReplaceAll(s.Suite, "/", "-"), "-")
		if !slices.Contains(codenames(), suite) {
			continue
		}
		switch kind {
		case "", "updates":
			if m.Main == "" {
				m.Main = s.URI
			}
		case "security":
			if m.Security == "" {
				m.Security = s.URI
			}
		}
	}
	if m.Main == "" {
		return Mirrors{}, ErrNone
	}
	return m, nil
}

// Lines returns the one-line sources for a release: the release itself, its updates, and its security archive if one is known.
func (m Mirrors) Lines(release string, components []string) ([]string, error) {
	suite, ok := Codename(release)
	if !ok {
		return nil, fmt.Errorf("debian %s is not known here: 11, 12 and 13 are", release)
	}
	if len(components) == 0 {
		components = []string{"main"}
	}
	c := strings.Join(components, " ")
	lines := []string{
		fmt.Sprintf("deb %s %s %s", m.Main, suite, c),
		fmt.Sprintf("deb %s %s-updates %s", m.Main, suite, c),
	}
	if m.Security != "" {
		lines = append(lines, fmt.Sprintf("deb %s %s-security %s", m.Security, suite, c))
	}
	return lines, nil
}

// ParseList reads the one-line format of sources.list(5). Lines that it does not understand are passed over, as they are not
// ours to judge.
func ParseList(text string) []Source {
	var out []Source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "deb" {
			continue
		}
		f = f[1:]
		if strings.HasPrefix(f[0], "[") { // options may hold blanks: skip to the bracket's end
			for len(f) > 0 && !strings.HasSuffix(f[0], "]") {
				f = f[1:]
			}
			if len(f) > 0 {
				f = f[1:]
			}
		}
		if len(f) < 3 || !usable(f[0]) {
			continue
		}
		out = append(out, Source{URI: trim(f[0]), Suite: f[1], Components: f[2:]})
	}
	return out
}

// ParseDeb822 reads the stanzas of a .sources file.
func ParseDeb822(text string) []Source {
	var out []Source
	stanza := map[string]string{}
	last := ""
	flush := func() {
		defer func() { stanza, last = map[string]string{}, "" }()
		if strings.EqualFold(stanza["enabled"], "no") || !slices.Contains(strings.Fields(stanza["types"]), "deb") {
			return
		}
		for uri := range strings.FieldsSeq(stanza["uris"]) {
			if !usable(uri) {
				continue
			}
			for suite := range strings.FieldsSeq(stanza["suites"]) {
				out = append(out, Source{URI: trim(uri), Suite: suite, Components: strings.Fields(stanza["components"])})
			}
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				stanza[last] += " " + strings.TrimSpace(line)
			}
		default:
			k, v, ok := strings.Cut(line, ":")
			if !ok {
				continue
			}
			last = strings.ToLower(strings.TrimSpace(k))
			stanza[last] = strings.TrimSpace(v)
		}
	}
	flush()
	return out
}

// usable leaves out CD-ROM and other sources that another release cannot be had from.
func usable(uri string) bool {
	return strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://") || strings.HasPrefix(uri, "file:") || strings.HasPrefix(uri, "mirror+")
}

func trim(uri string) string { return strings.TrimRight(uri, "/") }
