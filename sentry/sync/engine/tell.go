package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/apply"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/state"
)

// loads tells the named services that their files have changed, and makes databases equal to what the primary dumped, apart from the loop:
// it may take a while.
func (e *Engine) loads(ctx context.Context, head state.Commit, dumps []state.Change, names []string) error {
	t := &e.twin
	good := t.trial.keys()
	if len(names)+len(dumps)+len(good) == 0 {
		e.confirm()
		e.arrived(head)
		return nil
	}
	t.telling = head.ID
	e.report(head, carry.Probing)
	e.background.Go(func() {
		out := outcome{head: head, names: names, told: e.tell(ctx, names)}
		if ctx.Err() != nil {
			return // the services are still to be told
		}
		for _, d := range dumps {
			x, _ := e.exportAt(d.Path)
			err := e.load(ctx, x, d.After.Data)
			out.told = append(out.told, apply.Told{Service: x.Service, Verb: verbLoad, Err: err})
			if err == nil {
				out.loaded = append(out.loaded, d)
			}
		}
		out.bad = e.prove(ctx, good, e.cfg.proof)
		if ctx.Err() != nil {
			return // the trial goes on with the next engine
		}
		t.told <- out
		e.nudge()
		e.refresh(ctx, names, good)
	})
	return nil
}

// tell has services take over their files.
func (e *Engine) tell(ctx context.Context, names []string) (told []apply.Told) {
	for _, n := range names {
		if c, ok := e.facts.Derive(n); ok {
			if _, err := e.run(ctx, c, nil); err != nil {
				told = append(told, apply.Told{Service: n, Verb: "derive", Err: err})
			}
		}
	}
	return append(told, apply.Tell(ctx, e.cfg.Services, e.facts.Packs, names)...)
}

// verbLoad stands beside reload and restart for what a database was given.
const verbLoad = "load"

// Beginnings of the names of findings about services that did not take their files, and about those whose databases did not take what they were given. The
// latter end also when the primary goes back to what the database has: nobody is told anything then.
const (
	servicePrefix = "sync-service-"
	loadPrefix    = "sync-load-"
)

// outcome is what became of telling services and loading databases.
type outcome struct {
	head   state.Commit
	names  []string // who was told
	told   []apply.Told
	loaded []state.Change
	bad    []Probed // good before, and not with this state
	back   bool     // the state from before is live again; bad is then what fails all the same
	stuck  error    // why the files from before are not
}

// services takes what became of telling the services about new files.
func (e *Engine) services(ctx context.Context, out outcome) {
	t := &e.twin
	t.telling = ""
	e.haveTold(out.names)
	switch {
	case out.back:
		e.wentBack(out)
		e.tellTrouble(out.told)
		return
	case len(out.bad) > 0:
		e.goBack(ctx, out.head, out.bad[0])
		return
	}
	e.confirm()
	e.endTrial() // what fails later has another reason
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
	e.tellTrouble(out.told)
}

// tellTrouble makes findings of services that do not take their files, and takes back those of services that do.
func (e *Engine) tellTrouble(told []apply.Told) {
	bad := map[string]bool{}
	for _, s := range told {
		id := servicePrefix + s.Service
		if s.Verb == verbLoad {
			id = loadPrefix + s.Service
		}
		if s.Err == nil {
			if !bad[id] {
				e.cfg.Findings.Clear(id)
			}
			continue
		}
		bad[id] = true
		e.log.Error("service does not take its new configuration", "service", s.Service, "err", s.Err)
		next := "Look into /var/log/atlas/" + s.Service + ".log on " + e.cfg.Server + "; then: atlas service restart " + s.Service + "."
		if s.Service == apply.Site {
			next = "Correct /" + string(apply.SiteFile) + " on the primary; then there: atlas service apply."
		}
		e.cfg.Findings.Set(initapi.Finding{
			ID: id, Severity: "warning", Where: e.cfg.Server, Next: next,
			What: fmt.Sprintf("%s of %s does not take the primary's new configuration: %v.", e.title(s.Service), e.cfg.Server, s.Err),
		})
	}
}

// allLoaded takes back what was told of databases: they have what the primary has.
func (e *Engine) allLoaded() {
	e.cfg.Findings.clearAll(loadPrefix, func(string) bool { return false })
}

// untoldFile names the services whose files are live and that have not been told of it: an engine that ends in between, because the site
// runs other services now or the Sentry was started anew, leaves it to the next. After a boot all services have read their files.
const untoldFile = "untold"

type untold struct {
	Boot  string   `json:"boot"`
	Names []string `json:"names"`
}

func (e *Engine) untold() []string {
	data, err := os.ReadFile(filepath.Join(e.cfg.Dir, untoldFile))
	var u untold
	if err != nil || json.Unmarshal(data, &u) != nil || u.Boot != boot() {
		return nil
	}
	return u.Names
}

// toTell notes that names are to be told, and returns them with those that are so from before.
func (e *Engine) toTell(names []string) []string {
	all := e.untold()
	for _, n := range names {
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	e.setUntold(all)
	return all
}

func (e *Engine) haveTold(names []string) {
	if len(names) > 0 {
		e.setUntold(slices.DeleteFunc(e.untold(), func(n string) bool { return slices.Contains(names, n) }))
	}
}

func (e *Engine) setUntold(names []string) {
	file := filepath.Join(e.cfg.Dir, untoldFile)
	if len(names) == 0 {
		_ = os.Remove(file) // else they are told once more
		return
	}
	data, err := json.Marshal(untold{boot(), names})
	if err == nil {
		err = os.WriteFile(file, data, 0o600) // of this boot alone: it need not be durable
	}
	if err != nil {
		e.log.Warn("not remembered", "what", untoldFile, "err", err)
	}
}

// boot names this boot of the kernel.
func boot() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// stale tells whether the site runs other services than this engine was made for.
func (e *Engine) stale() bool { return e.cfg.Stale != nil && e.cfg.Stale() }
