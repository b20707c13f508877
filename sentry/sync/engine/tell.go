package engine

import (
	"context"
	"fmt"
	"slices"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/state"
)

// loads tells the named services that their files have changed, and makes databases equal to what the primary dumped, apart from the loop:
// it may take a while.
func (e *Engine) loads(ctx context.Context, head state.Commit, dumps []state.Change, names []string) error {
	t := &e.twin
	if len(names)+len(dumps) == 0 {
		e.arrived(head)
		return nil
	}
	t.telling = head.ID
	e.report(head, carry.Probing)
	facts := e.facts
	e.background.Go(func() {
		var out outcome
		out.head = head
		for _, n := range names {
			if c, ok := facts.Derive(n); ok {
				if _, err := e.run(ctx, c, nil); err != nil {
					out.told = append(out.told, apply.Told{Service: n, Verb: "derive", Err: err})
				}
			}
		}
		out.told = append(out.told, apply.Tell(ctx, e.cfg.Services, facts.Packs, names)...)
		for _, d := range dumps {
			x, _ := e.exportAt(d.Path)
			err := e.load(ctx, x, d.After.Data)
			out.told = append(out.told, apply.Told{Service: x.Service, Verb: verbLoad, Err: err})
			if err == nil {
				out.loaded = append(out.loaded, d)
			}
		}
		t.told <- out
		e.nudge()
	})
	return nil
}

// verbLoad stands beside reload and restart for what a database was given.
const verbLoad = "load"

// outcome is what became of telling services and loading databases.
type outcome struct {
	head   state.Commit
	told   []apply.Told
	loaded []state.Change
}

// services takes what became of telling the services about new files.
func (e *Engine) services(out outcome) {
	t := &e.twin
	t.telling = ""
	e.live(out.head, out.loaded)
	for _, d := range out.loaded {
		trigger(e.triggers[d.Path]) // what the database really holds now
	}
	if slices.ContainsFunc(out.told, func(s apply.Told) bool { return s.Verb == verbLoad && s.Err != nil }) {
		e.refused(out.head) // a database that is not equal yet: asked again
		e.report(out.head, carry.Refused)
	} else {
		e.arrived(out.head)
	}
	bad := map[string]bool{}
	for _, s := range out.told {
		id := "sync-service-" + s.Service
		if s.Err == nil {
			if !bad[id] {
				e.cfg.Findings.Clear(id)
			}
			continue
		}
		bad[id] = true
		e.log.Error("service does not take its new configuration", "service", s.Service, "err", s.Err)
		e.cfg.Findings.Set(initapi.Finding{
			ID: id, Severity: "warning", Where: e.cfg.Server, What: fmt.Sprintf("%s of %s does not take the primary's new configuration: %v.", e.title(s.Service), e.cfg.Server, s.Err),
			Next: "Look into /var/log/atlas/" + s.Service + ".log on " + e.cfg.Server + "; then: atlas service restart " + s.Service + ".",
		})
	}
}
