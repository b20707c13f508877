// Package effective compares what a service of two servers really works with: not the text of its files, but what its daemon makes of them,
// with all defaults (testparm -sv, postconf, pg_settings …). A checker says that a daemon takes a text; only this says that it means the same
// there.
//
//	what a pack's program prints on each server → Settings → Compare, with the facts of both releases and what conversion told → differences
//
// A difference is explained where the releases differ by themselves: another default that nobody has overridden, a setting that only one of
// them knows, a path with a version in it, what the packs ship. What conversion told is explained too, since a person has read it. All else
// is a setting that would be another after a failover without anybody knowing. It does no I/O.
package effective

import (
	"cmp"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sayasystems.com/atlas/sentry/convert/facts"
)

// Why says what explains a difference.
type Why string

// What explains differences; None is what has to be told.
const (
	None    Why = ""
	Default Why = "another default"       // of the release; neither side sets it
	Known   Why = "known to one release"  // and set by nobody
	Shipped Why = "as the image ships it" // on both sides, says the pack
	Idle    Why = "without effect"        // in the release whose file has it
	Told    Why = "told by conversion"
	Version Why = "version in a name" // /etc/postgresql/15, /17
	Server  Why = "name of a server"
)

// Rules are what a pack says of its settings. Names are patterns of path.Match, for which / is nothing special.
type Rules struct {
	Service string   // as the facts call it
	Own     []string // each server has its own, and nothing is compared
	Guards  []string // say who may do what: an unexplained difference is critical, and nothing told before explains it
	Ships   []Ship
}

// Ship is a setting that images of different releases ship with different values.
type Ship struct {
	Name   string
	Values map[int]string // by release; a release without one does not have the setting
}

// Side is one server's part.
type Side struct {
	Settings
	Facts *facts.Release
	Names []string // this server's own names and addresses, which the other cannot have
}

// Difference is one setting that differs. A side that does not have it is nil.
type Difference struct {
	Name         string
	Theirs, Ours *Value
	Guard        bool
	Why          Why
}

// Compare lists what differs, in order of the names. told are the words of conversion about this service.
func Compare(r Rules, theirs, ours Side, told []string) []Difference {
	c := comparison{Rules: r, theirs: theirs, ours: ours, told: spelled(strings.Join(told, "\n"))}
	names := slices.Collect(maps.Keys(theirs.Settings))
	for n := range ours.Settings {
		if _, ok := theirs.Settings[n]; !ok {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	var out []Difference
	for _, n := range names {
		if matches(r.Own, n) {
			continue
		}
		d := Difference{Name: n, Guard: matches(r.Guards, n)}
		if v, ok := theirs.Settings[n]; ok {
			d.Theirs = &v
		}
		if v, ok := ours.Settings[n]; ok {
			d.Ours = &v
		}
		if c.equal(d) {
			continue
		}
		d.Why = c.why(d)
		out = append(out, d)
	}
	return out
}

type comparison struct {
	Rules
	theirs, ours Side
	told         string
}

func (c comparison) equal(d Difference) bool {
	switch {
	case d.Theirs != nil && d.Ours != nil:
		return plain(d.Theirs.Text) == plain(d.Ours.Text)
	case d.Theirs != nil: // a listing may leave out what is at its default
		return c.isDefault(c.ours.Facts, d.Name, d.Theirs.Text)
	}
	return c.isDefault(c.theirs.Facts, d.Name, d.Ours.Text)
}

// isDefault tells whether a release assumes just that. An empty default of the facts is none that is known.
func (c comparison) isDefault(r *facts.Release, name, value string) bool {
	service, param := c.param(name)
	def, ok := r.Default(service, param)
	return ok && def != "" && plain(def) == plain(value)
}

// param finds a setting in the facts: "php/memory_limit" is of php, "[office] read only" is "read only", "master/smtp/inet/mynetworks" is
// mynetworks.
func (c comparison) param(name string) (service, param string) {
	if s, p, ok := strings.Cut(name, "/"); ok {
		if _, known := c.theirs.Facts.Services[s]; known {
			return s, p
		}
	}
	if _, p, ok := strings.Cut(name, "] "); ok {
		return c.Service, p
	}
	if i := strings.LastIndexByte(name, '/'); i >= 0 && (c.theirs.Facts.Knows(c.Service, name[i+1:]) || c.ours.Facts.Knows(c.Service, name[i+1:])) {
		return c.Service, name[i+1:]
	}
	return c.Service, name
}

func (c comparison) why(d Difference) Why {
	switch {
	case d.Theirs != nil && d.Ours != nil && c.sameBut(d, Side.versions):
		return Version
	case d.Theirs != nil && d.Ours != nil && c.sameBut(d, Side.names):
		return Server
	case d.Theirs != nil && d.Ours != nil && d.Theirs.Default && d.Ours.Default:
		return Default
	case c.ships(d):
		return Shipped
	case d.Theirs == nil && d.Ours.Default, d.Ours == nil && d.Theirs.Default:
		return c.oneSided(d)
	case c.idle(d):
		return Idle
	case !d.Guard && c.mentioned(d.Name):
		return Told
	}
	return None
}

// oneSided explains what only one side has, and has set nowhere.
func (c comparison) oneSided(d Difference) Why {
	other := c.ours.Facts
	if d.Theirs == nil {
		other = c.theirs.Facts
	}
	if other.Knows(c.param(d.Name)) {
		return Default
	}
	return Known
}

// idle tells whether a setting does nothing on each side that has it.
func (c comparison) idle(d Difference) bool {
	service, param := c.param(d.Name)
	does := func(s Side, v *Value) bool {
		return v != nil && s.Facts.Services[service].Params[param].Status != facts.Ignored
	}
	return !does(c.theirs, d.Theirs) && !does(c.ours, d.Ours)
}

func (c comparison) ships(d Difference) bool {
	is := func(s Ship, side Side, v *Value) bool {
		want, has := s.Values[side.Facts.Number]
		if v == nil || !has {
			return v == nil && !has
		}
		return plain(want) == plain(v.Text)
	}
	return slices.ContainsFunc(c.Ships, func(s Ship) bool {
		return matches([]string{s.Name}, d.Name) && is(s, c.theirs, d.Theirs) && is(s, c.ours, d.Ours)
	})
}

// mentioned tells whether conversion has spoken of a setting, as a file spells it or as the daemon does. A short plain word could stand in any
// sentence: of that it must say that it is not known.
func (c comparison) mentioned(name string) bool {
	_, name = c.param(name)
	name, rest, before := spelled(name), c.told, ""
	if len(name) < 8 && !strings.ContainsAny(name, "_. ") {
		before = "know "
	}
	for {
		i := strings.Index(rest, before+name)
		if i < 0 {
			return false
		}
		if !wordAt(rest, i-1) && !wordAt(rest, i+len(before+name)) {
			return true
		}
		rest = rest[i+len(before+name):]
	}
}

func spelled(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "_")) }

func wordAt(s string, i int) bool {
	return i >= 0 && i < len(s) && (s[i] == '_' || s[i] >= '0' && s[i] <= '9' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z')
}

func (c comparison) sameBut(d Difference, neutral func(Side, string) string) bool {
	return plain(neutral(c.theirs, d.Theirs.Text)) == plain(neutral(c.ours, d.Ours.Text))
}

// Versions stand in paths and names of programs as PostgreSQL's first number, PHP's first two.
var versionPlace = regexp.MustCompile(`(?i)(postgresql[/@-]?|php/?|pg_?)(\d+(?:\.\d+)?)([/"' ,;:-]|$)`)

func (s Side) versions(text string) string {
	major, _, _ := strings.Cut(s.Facts.Services["postgresql"].Version, ".")
	php := s.Facts.Services["php"].Version
	if i := strings.LastIndexByte(php, '.'); i > 0 {
		php = php[:i]
	}
	return versionPlace.ReplaceAllStringFunc(text, func(m string) string {
		p := versionPlace.FindStringSubmatch(m)
		if p[2] != "" && (p[2] == major || p[2] == php) {
			return p[1] + "\x00" + p[3]
		}
		return m
	})
}

func (s Side) names(text string) string {
	longest := slices.SortedFunc(slices.Values(s.Names), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, n := range longest {
		if n == "" {
			continue
		}
		var b strings.Builder
		for {
			i := strings.Index(text, n)
			if i < 0 {
				break
			}
			b.WriteString(text[:i])
			if edge(text, i-1, n) || edge(text, i+len(n), n) {
				b.WriteString(n)
			} else {
				b.WriteByte(0)
			}
			text = text[i+len(n):]
		}
		text = b.String() + text
	}
	return text
}

// edge tells whether a name goes on at i: 10.7.0.1 is no part of 10.7.0.10.
func edge(text string, i int, name string) bool {
	if _, err := netip.ParseAddr(name); err == nil && i >= 0 && i < len(text) && (text[i] == '.' || text[i] == ':') {
		return true
	}
	return wordAt(text, i)
}

// plain makes one word of the many for the same: yes and on, 0.50 and 0.5, one blank and two.
func plain(v string) string {
	v = strings.Join(strings.Fields(v), " ")
	switch strings.ToLower(v) {
	case "on", "true", "yes", "1", "enabled":
		return "yes"
	case "off", "false", "no", "0", "disabled":
		return "no"
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil && strings.Contains(v, ".") {
		if f == 0 || f == 1 {
			return plain(strconv.FormatFloat(f, 'f', -1, 64))
		}
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return v
}

func matches(patterns []string, name string) bool {
	name = strings.ReplaceAll(name, "/", "\x01") // which * passes over
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(strings.ReplaceAll(p, "/", "\x01"), name)
		return ok && err == nil
	})
}
