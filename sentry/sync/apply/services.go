package apply

import (
	"context"
	"slices"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Services is who tells a service to take over its configuration: init. Verb is Reload or Restart.
type Services interface {
	Do(ctx context.Context, name, verb string) error
}

// Verbs of Services.
const (
	Reload  = "reload"
	Restart = "restart"
	Choose  = "choose" // of Site alone: run what the site's settings name, and nothing else
)

// Site stands among the names of services for the choice of them, in SiteFile.
const (
	Site                = "site"
	SiteFile state.Path = "etc/" + siteconf.SiteFile
)

// Told is what became of one service.
type Told struct {
	Service, Verb string
	Err           error // nil: it took it
}

// common are files that programs read anew by themselves whenever they need them: no service is told, whatever a pack names.
func common() []state.Path {
	return []state.Path{
		"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid", "etc/passwd-", "etc/group-", "etc/shadow-",
		"etc/gshadow-", "etc/subuid-", "etc/subgid-", "etc/hosts", "etc/resolv.conf", "etc/nsswitch.conf", "etc/host.conf", "etc/gai.conf", "etc/motd",
		"etc/issue", "etc/profile", "etc/shells",
	}
}

// Affected names the packs whose configuration holds one of the changes, in the order of packs, after Site if the choice is among them. A
// pack without processes, such as the certificate, works through those that need it: they are affected with it. Else a pack that needs an
// affected one is not affected itself: what it reads of the other it names in its own configuration.
func Affected(packs []pack.Pack, changes []state.Change) []string {
	paths := make([]state.Path, 0, len(changes))
	for _, c := range changes {
		if !slices.Contains(common(), c.Path) {
			paths = append(paths, c.Path)
		}
	}
	holds := func(p pack.Pack) bool {
		return slices.ContainsFunc(p.Config, func(dir string) bool { return anyUnder(paths, dir) })
	}
	var silent []string // affected, and without processes
	for _, p := range packs {
		if len(p.Processes) == 0 && holds(p) {
			silent = append(silent, p.Name)
		}
	}
	var out []string
	if slices.Contains(paths, SiteFile) {
		out = append(out, Site)
	}
	for _, p := range packs {
		if holds(p) || slices.ContainsFunc(p.Needs, func(n string) bool { return slices.Contains(silent, n) }) {
			out = append(out, p.Name)
		}
	}
	return out
}

func anyUnder(paths []state.Path, config string) bool {
	for len(config) > 0 && config[0] == '/' {
		config = config[1:]
	}
	return slices.ContainsFunc(paths, func(p state.Path) bool { return p.Under(state.Path(config)) })
}

// VerbFor tells how a pack takes over its configuration: by a reload if each of its processes that stay can, else by a restart. A pack
// without such processes does its work in its first steps, which a restart repeats.
func VerbFor(p pack.Pack) string {
	can := 0
	for _, q := range p.Processes {
		if q.Oneshot {
			continue
		}
		if q.Reload == "" && len(q.ReloadCommand) == 0 {
			return Restart
		}
		can++
	}
	if can == 0 {
		return Restart
	}
	return Reload
}

// Tell has the named packs take over their configuration, in the order of packs. One that refuses does not keep the others from it.
func Tell(ctx context.Context, s Services, packs []pack.Pack, names []string) []Told {
	var out []Told
	tell := func(t Told) {
		if t.Err = ctx.Err(); t.Err == nil {
			t.Err = s.Do(ctx, t.Service, t.Verb)
		}
		out = append(out, t)
	}
	if slices.Contains(names, Site) {
		tell(Told{Service: Site, Verb: Choose})
	}
	for _, p := range packs {
		if slices.Contains(names, p.Name) {
			tell(Told{Service: p.Name, Verb: VerbFor(p)})
		}
	}
	return out
}
