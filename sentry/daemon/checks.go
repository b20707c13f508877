package daemon

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

// target is a server to be probed.
type target struct {
	name    string
	address string // management address
	self    bool
}

// checks are all probes that should run now: each pack's against each server that runs it, and pings.
func (d *Daemon) checks() []verify.Check {
	p, _ := d.book.Peers()
	targets := []target{{d.server.Name, d.address(), true}}
	for _, q := range p.Peers {
		targets = append(targets, target{q.Name, q.Address, false})
	}
	var out []verify.Check
	for _, t := range targets {
		for _, k := range d.packs {
			if !d.runs(t, k) {
				continue
			}
			watched := map[string]bool{} // ports: one look is enough for all probes of it
			for _, pr := range k.Probes {
				if !d.runsAll(t, pr.Needs) {
					continue
				}
				c := d.packCheck(t, k, pr)
				if port := d.cfg.Kinds[pr.Kind].WatchPort(pr.Params); port != "" && !watched[port] {
					watched[port] = true
					c.Watch = d.watch(t, k, port)
				}
				out = append(out, c)
			}
		}
		if !t.self {
			out = append(out, d.ping(t.name, "ping", "Ping of the management address", t.address))
		}
	}
	if gw := d.server.Management.Gateway; gw != "" {
		c := d.ping(d.server.Name, "gateway", "Ping of the router "+gw, gw)
		run := c.Run
		c.Run = func(ctx context.Context) verify.Outcome {
			if st := d.stateOf(targets[0]); st != nil && st.Role == roles.Secondary {
				return verify.Outcome{Status: verify.NotApplicable, Evidence: "a twin's fence lets nothing out but to the other servers"}
			}
			return run(ctx)
		}
		out = append(out, c)
	}
	return out
}

// runs tells whether t runs pack k, as far as t's init has told. What is not known is probed.
func (d *Daemon) runs(t target, k pack.Pack) bool {
	st := d.stateOf(t)
	if st == nil || len(st.Services) == 0 {
		return true
	}
	for _, s := range st.Services {
		if s.Name == k.Name {
			return true
		}
	}
	return false
}

// runsAll tells whether t runs all the packs with these names.
func (d *Daemon) runsAll(t target, names []string) bool {
	for _, n := range names {
		i := slices.IndexFunc(d.packs, func(k pack.Pack) bool { return k.Name == n })
		if i < 0 || !d.runs(t, d.packs[i]) {
			return false
		}
	}
	return true
}

// stateOf is t's newest state that is still evidence, or nil.
func (d *Daemon) stateOf(t target) *initapi.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.self {
		return d.own.state
	}
	o := d.others[t.name]
	if o == nil || o.report == nil || time.Since(o.seen) > site.FreshFor {
		return nil
	}
	return o.report.State
}

// probed are those of the named packs that have probes: of others nothing can be seen to fail.
func (d *Daemon) probed(names []string) []string {
	return slices.DeleteFunc(names, func(n string) bool {
		return !slices.ContainsFunc(d.packs, func(k pack.Pack) bool { return k.Name == n && len(k.Probes) > 0 })
	})
}

func (d *Daemon) packCheck(t target, k pack.Pack, pr pack.Probe) verify.Check {
	c := verify.Check{Target: t.name, Service: k.Name, Probe: pr.Name, Title: pr.Title, Rests: d.probed(slices.Concat(k.Needs, pr.Needs))}
	if s := pr.Params["timeout"]; s != "" {
		c.Timeout, _ = time.ParseDuration(s)
	}
	if s := pr.Params["every"]; s != "" {
		c.Every, _ = time.ParseDuration(s)
	}
	kind, ok := d.cfg.Kinds[pr.Kind]
	if !ok {
		c.Run = func(context.Context) verify.Outcome {
			return verify.Outcome{Status: verify.Unknown, Evidence: "this image's sentry does not know probes of kind " + pr.Kind, Next: "Correct the service pack, or use a newer image."}
		}
		return c
	}
	c.Run = func(ctx context.Context) verify.Outcome {
		conf := d.settings()
		at, out, ok := d.where(t, k, conf)
		if !ok {
			return out
		}
		for _, n := range pr.Needs {
			if st := d.stateOf(t); st != nil && starting(st, n) {
				return verify.Outcome{Status: verify.Skipped, Evidence: n + ", which it needs, is just being started"}
			}
		}
		return d.transact(ctx, t, k, pr, kind.Run, conf, at)
	}
	return c
}

// watch looks whether t's service k accepts connections at port, if it is meant to.
func (d *Daemon) watch(t target, k pack.Pack, port string) func(context.Context) error {
	return func(ctx context.Context) error {
		at, _, ok := d.where(t, k, d.settings())
		if !ok {
			return verify.ErrNoWatch
		}
		return verify.Connects(ctx, at.address, verify.Target{PortBase: at.portBase}.Port(port))
	}
}

// settings are the site's, as they stand in /etc; empty before a set is started: then probes do without a host name. The file is read when it has
// changed, since every probe asks.
func (d *Daemon) settings() siteconf.Site {
	d.site.Lock()
	defer d.site.Unlock()
	st, err := os.Stat(filepath.Join(d.cfg.Etc, siteconf.SiteFile))
	if err != nil {
		return d.site.conf
	}
	if !st.ModTime().Equal(d.site.modified) || st.Size() != d.site.size {
		if conf, err := siteconf.LoadSite(d.cfg.Etc); err == nil { // with a mistake in it, what ran before runs on
			d.site.conf = conf
		}
		d.site.modified, d.site.size = st.ModTime(), st.Size()
	}
	return d.site.conf
}

// place is where a service is reached.
type place struct {
	address  string
	portBase int // verify.Target.PortBase
}

// where tells at which place t's service k is probed from here, or why it is not.
func (d *Daemon) where(t target, k pack.Pack, conf siteconf.Site) (place, verify.Outcome, bool) {
	st := d.stateOf(t)
	if k.Scope == pack.ScopeServer {
		return place{address: t.address}, verify.Outcome{}, t.address != ""
	}
	if st != nil && st.State != initapi.Serving {
		return place{}, verify.Outcome{Status: verify.Skipped, Evidence: t.name + " is " + site.StateWord(st)}, false
	}
	if st != nil && starting(st, k.Name) {
		return place{}, verify.Outcome{Status: verify.Skipped, Evidence: "it is just being started"}, false
	}
	own := k.Address == pack.AddressOwn
	if !t.self {
		p := place{address: t.address}
		if own {
			p.portBase = pack.PeerPort(0)
		}
		return p, verify.Outcome{}, true
	}
	if st == nil {
		return place{}, verify.Outcome{Status: verify.Unknown, Evidence: "this server's state is not known"}, false
	}
	p, err := netip.ParsePrefix(st.Addresses.Service)
	if err != nil {
		return place{}, verify.Outcome{Status: verify.Skipped, Evidence: "the service address is not up"}, false
	}
	if !own {
		return place{address: p.Addr().String()}, verify.Outcome{}, true
	}
	a := conf.AddressOf(k.Name, true)
	if a == "" {
		return place{}, verify.Outcome{
			Status: verify.Skipped, Evidence: "it needs an address of its own and has none",
			Next: "Give " + k.Name + " an address in /etc/" + siteconf.SiteFile + ", under addresses.",
		}, false
	}
	return place{address: a}, verify.Outcome{}, true
}

// starting tells whether init is still starting a service: what does not answer then is no fault.
func starting(st *initapi.State, service string) bool {
	return slices.ContainsFunc(st.Services, func(s initapi.Service) bool {
		return s.Name == service && s.State == "starting" && s.Restarts == 0
	})
}

func (d *Daemon) transact(ctx context.Context, t target, k pack.Pack, pr pack.Probe, kind verify.Run, conf siteconf.Site, at place) verify.Outcome {
	vars := pack.Vars{Management: t.address, Server: t.name, Site: conf.Site, SiteName: conf.Name, StateDir: d.cfg.StateDir}.WithSite(conf, k)
	vars.Address = at.address
	if k.Address != pack.AddressOwn {
		vars.Service = at.address
	}
	params := make(map[string]string, len(pr.Params))
	for key, v := range pr.Params {
		x, err := pack.Expand(v, vars)
		if err != nil {
			return verify.Outcome{Status: verify.Unknown, Evidence: err.Error(), Next: "Correct the probe in the service pack."}
		}
		params[strings.ToLower(key)] = x
	}
	secret := filepath.Join(d.cfg.Etc, peers.VerifySecret)
	if p := params["secret"]; p != "" {
		secret = p
		if rest, ok := strings.CutPrefix(p, "/etc/"); ok {
			secret = filepath.Join(d.cfg.Etc, rest)
		}
	}
	text, _ := os.ReadFile(secret) // absent without a set; the probe says so
	return kind(ctx, verify.Target{
		Address: at.address, PortBase: at.portBase, Server: t.name, Observer: d.server.Name, Hostname: conf.Hostname, Secret: strings.TrimSpace(string(text)), Params: params,
	})
}

// ping tells of the network; it never stands in the way of a swap, since the services' own probes do.
func (d *Daemon) ping(server, name, title, addr string) verify.Check {
	return verify.Check{Target: server, Service: "network", Probe: name, Title: title, Minor: true, Timeout: 5 * time.Second, Run: func(ctx context.Context) verify.Outcome {
		ping, ok := d.cfg.Kinds["ping"]
		if !ok {
			return verify.Outcome{Status: verify.NotApplicable, Evidence: "no ping here"}
		}
		return ping.Run(ctx, verify.Target{Address: addr, Server: server, Observer: d.server.Name})
	}}
}
