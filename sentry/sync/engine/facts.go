package engine

import (
	"slices"
	"strings"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Facts are what the packs and the image say about files. They are made anew when the site's choice of services changes.
type Facts struct {
	Packs      []pack.Pack // those that the site runs
	Class      func(state.Path) class.Class
	Checks     func(services []string) []check.Check // of these services
	Trials     func(services []string) []check.Check // likewise, of those that have one; nil: none
	BaseChecks func([]state.Change) []check.Check    // of files that belong to no service; nil: all
	Effective  []Effective                           // how these packs are asked what their settings come to
	Exports    []Export                              // of these packs
	Derive     func(service string) (Command, bool)  // makes anew what a pack derives from its files
	Hide       func(state.Path, []byte) []byte       // see history.Hide
}

// roots are what is watched and recorded: /etc, and what packs configure elsewhere on the set. What lies in another root is left out.
func roots(packs []pack.Pack) []state.Path {
	all := []state.Path{"etc", "var/spool/cron/crontabs"}
	for _, p := range packs {
		for _, c := range p.Config {
			q := state.Path(strings.Trim(c, "/"))
			if q.Check() != nil || strings.Contains(c, "{{") {
				continue // a place of this server alone, such as ssh's host keys on its state partition
			}
			all = append(all, q)
		}
	}
	slices.Sort(all)
	var out []state.Path
	for _, p := range all {
		if !slices.ContainsFunc(out, p.Under) {
			out = append(out, p)
		}
	}
	return out
}
