package engine

import (
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/state"
)

// FactsOf gathers what packs, those that a site runs, say about files.
func FactsOf(packs []pack.Pack, vars pack.Vars, conf siteconf.Site) (Facts, error) {
	rules, err := class.New(packs)
	if err != nil {
		return Facts{}, err
	}
	f := Facts{Packs: packs, Class: rules.Classify, Hide: rules.Redact}
	checks, trials, derive := map[string]check.Check{}, map[string]check.Check{}, map[string]Command{}
	for _, p := range packs {
		v := vars.WithSite(conf, p)
		for _, c := range []struct {
			key string
			*pack.Check
			to map[string]check.Check
		}{{"check", p.Check, checks}, {"trial", p.Trial, trials}} {
			if c.Check == nil {
				continue
			}
			args, err := pack.ExpandAll(c.Command, v)
			if err != nil {
				return f, p.Errorf(c.key+".command", "%v", err)
			}
			show, err := pack.ExpandAll(c.Show, v)
			if err != nil {
				return f, p.Errorf(c.key+".show", "%v", err)
			}
			c.to[p.Name] = check.Check{Service: p.Name, Title: p.Title, Command: args, User: c.User, Timeout: duration(c.Timeout), Show: show, Fresh: c.Fresh}
		}
		if d := p.Derive; d != nil {
			args, err := pack.ExpandAll(d.Command, v)
			if err != nil {
				return f, p.Errorf("derive.command", "%v", err)
			}
			derive[p.Name] = Command{Args: args, Timeout: duration(d.Timeout)}
		}
		if x, err := effectiveOf(p, v); err != nil {
			return f, err
		} else if x != nil {
			f.Effective = append(f.Effective, *x)
		}
		for _, x := range p.Exports {
			if f.Exports, err = addExport(f.Exports, p, x, v); err != nil {
				return f, err
			}
		}
	}
	of := func(all map[string]check.Check) func([]string) []check.Check {
		return func(services []string) []check.Check {
			var out []check.Check
			for _, p := range packs {
				if c, ok := all[p.Name]; ok && slices.Contains(services, p.Name) {
					out = append(out, c)
				}
			}
			return out
		}
	}
	f.Checks, f.Trials = of(checks), of(trials)
	f.BaseChecks = func(changes []state.Change) []check.Check {
		var out []check.Check
		for _, c := range rules.Checks() {
			if changes == nil || slices.ContainsFunc(changes, func(ch state.Change) bool {
				return slices.ContainsFunc(c.Paths, func(p string) bool { return ch.Path.Under(state.Path(strings.Trim(p, "/"))) })
			}) {
				out = append(out, check.Check{Service: c.Name, Title: c.Title, Command: c.Command, Timeout: 30 * time.Second})
			}
		}
		return out
	}
	f.Derive = func(service string) (Command, bool) {
		c, ok := derive[service]
		return c, ok
	}
	return f, nil
}

func addExport(list []Export, p pack.Pack, x pack.Export, v pack.Vars) ([]Export, error) {
	out := Export{Service: p.Name, Path: class.ExportPath(p.Name, x.Name), Title: x.Title, Every: duration(x.Every), Clients: x.Clients}
	for _, c := range []struct {
		key  string
		args []string
		to   *Command
	}{{"changed", x.Changed, &out.Changed}, {"dump", x.Dump, &out.Dump}, {"load", x.Load, &out.Load}} {
		args, err := pack.ExpandAll(c.args, v)
		if err != nil {
			return list, p.Errorf("exports."+c.key, "%v", err)
		}
		*c.to = Command{Args: args, User: x.User, Timeout: duration(x.Timeout)}
	}
	var err error
	if out.Watch, err = pack.ExpandAll(x.Watch, v); err != nil {
		return list, p.Errorf("exports.watch", "%v", err)
	}
	return append(list, out), nil
}

// duration reads what the pack's loader has checked and filled in.
func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 30 * time.Second
	}
	return d
}
