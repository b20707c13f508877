package pack

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/image/siteconf"
)

// All is the entry of site.yaml's services that names every pack of the image.
const All = "all"

// Choice is what a site runs, and which of its wishes cannot be.
type Choice struct {
	Packs    []Pack // those to run, of any scope but server, in the order of the image
	Problems []Problem
}

// Problem is an entry of site.yaml's services that is left out.
type Problem struct {
	Pack string
	Key  string // where it stands: "services[2]", or "services" if it was not named
	Msg  string // what is wrong and what to do
}

func (p Problem) String() string { return p.Key + ": " + p.Msg }

// Names returns the names of the packs to run.
func (c Choice) Names() []string {
	out := make([]string, 0, len(c.Packs))
	for _, p := range c.Packs {
		out = append(out, p.Name)
	}
	return out
}

// Has tells whether the pack is to run.
func (c Choice) Has(name string) bool { return slices.Contains(c.Names(), name) }

// Choose returns those of packs that a site with these settings runs: the ones that it names, or those that are on by default,
// and what these need. An entry that is unknown, lacks its address or what it needs, or conflicts with an earlier one, is left
// out and told.
func Choose(packs []Pack, s siteconf.Site) Choice {
	c := chooser{byName: map[string]Pack{}, keys: map[string]string{}}
	for _, p := range packs {
		c.byName[p.Name] = p
	}
	c.wish(packs, s.Services)
	c.helpers()
	c.addresses(s)
	c.conflicts()
	c.needs()
	out := Choice{Problems: c.problems}
	for _, p := range packs {
		if slices.Contains(c.wanted, p.Name) {
			out.Packs = append(out.Packs, p)
		}
	}
	return out
}

type chooser struct {
	byName   map[string]Pack
	wanted   []string          // in the order of the settings
	keys     map[string]string // of wanted and left out ones
	problems []Problem
}

func (c *chooser) want(name, key string) {
	if !slices.Contains(c.wanted, name) {
		c.wanted = append(c.wanted, name)
		c.keys[name] = key
	}
}

func (c *chooser) leaveOut(name, format string, args ...any) {
	c.problems = append(c.problems, Problem{Pack: name, Key: c.keys[name], Msg: name + " " + fmt.Sprintf(format, args...)})
	c.wanted = slices.DeleteFunc(c.wanted, func(n string) bool { return n == name })
}

// wish collects what the settings name.
func (c *chooser) wish(packs []Pack, services []string) {
	if len(services) == 0 {
		for _, p := range packs {
			if p.Scope != ScopeServer && p.Default != Off {
				c.want(p.Name, "services")
			}
		}
		return
	}
	for i, name := range services {
		key := fmt.Sprintf("services[%d]", i)
		p, known := c.byName[name]
		switch {
		case name == All:
			for _, p := range packs {
				if p.Scope != ScopeServer {
					c.want(p.Name, key)
				}
			}
		case !known:
			c.keys[name] = key
			c.leaveOut(name, "is no service of this image; take the entry out, or write one of: %s", strings.Join(siteNames(packs), ", "))
		case p.Scope == ScopeServer: // runs anyway
		default:
			c.want(name, key)
		}
	}
}

// helpers adds what the wanted packs need: nobody has to name a certificate to get a web server.
func (c *chooser) helpers() {
	for i := 0; i < len(c.wanted); i++ {
		for _, n := range c.byName[c.wanted[i]].Along() {
			if p, known := c.byName[n]; known && p.Scope != ScopeServer {
				c.want(n, c.keys[c.wanted[i]])
			}
		}
	}
}

func (c *chooser) addresses(s siteconf.Site) {
	for _, name := range slices.Clone(c.wanted) {
		if c.byName[name].Address == AddressOwn && s.AddressOf(name, true) == "" {
			c.leaveOut(name, "has no address of its own; write under addresses `- {pack: %s, address: 10.7.0.20/24}` with a free address of the office, or take the entry out", name)
		}
	}
}

func (c *chooser) conflicts() {
	for i := 0; i < len(c.wanted); i++ {
		name := c.wanted[i]
		for _, earlier := range c.wanted[:i] {
			if slices.Contains(c.byName[name].Conflicts, earlier) || slices.Contains(c.byName[earlier].Conflicts, name) {
				c.leaveOut(name, "cannot run beside %s; keep one of the two", earlier)
				i--
				break
			}
		}
	}
}

// needs leaves out what lacks something, and then what lacked that.
func (c *chooser) needs() {
	for again := true; again; {
		again = false
		for _, name := range slices.Clone(c.wanted) {
			for _, n := range c.byName[name].Along() {
				if c.byName[n].Scope == ScopeServer || slices.Contains(c.wanted, n) {
					continue
				}
				if _, left := c.keys[n]; left {
					c.leaveOut(name, "needs %s, which is left out; see there", n)
				} else {
					c.leaveOut(name, "needs %s, which this image does not have; take the entry out", n)
				}
				again = true
				break
			}
		}
	}
}

// Enable returns the services of a site that runs name besides what it runs now, and which packs that adds: name and those that
// it needs. The error says what stands in the way and what to do.
func Enable(packs []Pack, s siteconf.Site, name string) (services, added []string, err error) {
	p, err := sitePack(packs, name)
	if err != nil {
		return nil, nil, err
	}
	now := Choose(packs, s)
	if now.Has(name) {
		return s.Services, nil, nil
	}
	added = missing(packs, now, p)
	next := s
	next.Services = with(packs, s, now, added)
	got := Choose(packs, next)
	for _, n := range slices.Backward(added) { // the deepest need first: it says why
		for _, bad := range got.Problems {
			if bad.Pack == n {
				return nil, nil, fmt.Errorf("%s cannot be switched on: %s", name, bad.Msg)
			}
		}
	}
	for _, n := range now.Names() { // one that stood before must not have to go
		if !got.Has(n) {
			return nil, nil, fmt.Errorf("%s cannot be switched on while %s runs; first: atlas service disable %s", name, n, n)
		}
	}
	return next.Services, added, nil
}

// with returns the services of s and those in added, written as s writes them where that says the same.
func with(packs []Pack, s siteconf.Site, now Choice, added []string) []string {
	if len(s.Services) == 0 || slices.Contains(s.Services, All) {
		return append(now.Names(), added...)
	}
	out := slices.Clone(s.Services)
	for _, n := range added {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// missing returns p and all that it needs, as far as the site does not run them; p comes first.
func missing(packs []Pack, now Choice, p Pack) []string {
	out := []string{p.Name}
	for i := 0; i < len(out); i++ {
		for _, q := range packs {
			if q.Name != out[i] {
				continue
			}
			for _, n := range q.Along() {
				j := slices.IndexFunc(packs, func(r Pack) bool { return r.Name == n })
				if j >= 0 && packs[j].Scope != ScopeServer && !now.Has(n) && !slices.Contains(out, n) {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

// Disable returns the services of a site that does not run name any more.
func Disable(packs []Pack, s siteconf.Site, name string) ([]string, error) {
	if _, err := sitePack(packs, name); err != nil {
		return nil, err
	}
	now := Choose(packs, s)
	var users []string
	for _, p := range now.Packs {
		if slices.Contains(p.Along(), name) {
			users = append(users, p.Name)
		}
	}
	if len(users) > 0 {
		return nil, fmt.Errorf("%s cannot be switched off, since it is needed by %s; first: atlas service disable %s", name, strings.Join(users, " and "), users[0])
	}
	list := s.Services
	if len(list) == 0 || slices.Contains(list, All) {
		list = now.Names()
	}
	out := slices.DeleteFunc(slices.Clone(list), func(n string) bool { return n == name })
	if len(out) == 0 {
		return nil, fmt.Errorf("%s is the last service that is on; an empty list would mean those that are on by default", name)
	}
	return out, nil
}

// sitePack finds a pack that a site can choose.
func sitePack(packs []Pack, name string) (Pack, error) {
	for _, p := range packs {
		switch {
		case p.Name != name:
		case p.Scope == ScopeServer:
			return p, fmt.Errorf("%s runs on every server and cannot be switched on or off", name)
		default:
			return p, nil
		}
	}
	return Pack{}, fmt.Errorf("there is no service %s in this image; known: %s", name, strings.Join(siteNames(packs), ", "))
}

func siteNames(packs []Pack) []string {
	var out []string
	for _, p := range packs {
		if p.Scope != ScopeServer {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return out
}
