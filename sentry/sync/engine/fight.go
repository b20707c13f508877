package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	// mostBack is how often within Config.calm a file is put back.
	mostBack = 5
	// fightPrefix begins the names of findings about files that a program on a secondary changes again and again.
	fightPrefix = "sync-fight-"
	// fightsFile remembers those files over a restart: they are not as on the primary, and nothing else would tell.
	fightsFile = "fights"
)

// fight notes that path is changed again and again here, and is left alone for now.
func (e *Engine) fight(path state.Path) {
	_, known := e.twin.fights[path]
	e.twin.fights[path] = time.Now()
	if !known {
		e.keepFights()
	}
	e.cfg.Findings.Set(initapi.Finding{
		ID: fightPrefix + string(path), Severity: "warning", Where: e.cfg.Server,
		What: fmt.Sprintf("A program on %s changes /%s again and again, otherwise than on the primary.", e.cfg.Server, path),
		Next: "Find the program: atlas history /" + string(path) + " on " + e.cfg.Server + " names it. If the file belongs to each server alone, the service pack should say so (own or derived).",
	})
}

// fought puts a file back once more when it was left alone for a while, and takes the finding back when it stayed so for as long.
func (e *Engine) fought() {
	t := &e.twin
	for p, last := range t.fights {
		if time.Since(last) < e.cfg.calm {
			continue
		}
		if e.equal(p) {
			delete(t.fights, p)
			delete(t.back, p)
			e.keepFights()
			e.cfg.Findings.Clear(fightPrefix + string(p))
			e.cfg.Changed()
			continue
		}
		e.armed(p)
		t.applied, t.refused = "", ""
	}
}

// armed has the next change of path left alone at once.
func (e *Engine) armed(path state.Path) {
	now := time.Now()
	e.twin.fights[path] = now
	e.twin.back[path] = slices.Repeat([]time.Time{now}, mostBack)
}

// equal tells whether path is recorded here as on the primary.
func (e *Engine) equal(path state.Path) bool {
	site, _ := e.repo.Head(state.Site)
	live, _ := e.repo.Head(state.Live)
	theirs, there, err := e.repo.Lookup(site.ID, path)
	ours, here, err2 := e.repo.Lookup(live.ID, path)
	return err == nil && err2 == nil && there == here && (!there || ours.Equal(theirs))
}

func (e *Engine) keepFights() {
	data, err := json.Marshal(slices.Sorted(maps.Keys(e.twin.fights)))
	if err == nil {
		err = siteconf.WriteFile(filepath.Join(e.cfg.Dir, fightsFile), data, 0o600)
	}
	if err != nil {
		e.log.Warn("not remembered", "what", fightsFile, "err", err)
	}
}

// oldFights takes up what an earlier engine left alone.
func (e *Engine) oldFights() {
	data, err := os.ReadFile(filepath.Join(e.cfg.Dir, fightsFile))
	var list []state.Path
	if err != nil || json.Unmarshal(data, &list) != nil {
		return
	}
	for _, p := range list {
		if p.Check() == nil {
			e.twin.fights[p] = time.Now()
			e.fight(p)
			e.armed(p)
		}
	}
}
