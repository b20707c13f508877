package engine

import (
	"fmt"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/apply"
)

// asideKept is how long files are kept that were in the way and are in no history.
const asideKept = 30 * 24 * time.Hour

// aside tells where files are that were in the way of a change. Somebody may miss them.
func (e *Engine) aside(files []apply.Aside) {
	if len(files) == 0 {
		return
	}
	e.log.Warn("some files were in the way and are kept aside", "aside", files)
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path.Word())
	}
	e.note(initapi.Finding{
		ID: "sync-aside", Severity: "warning", Where: e.cfg.Server,
		What: fmt.Sprintf("A folder went away on %s, and files in it were no configuration that is recorded: %s.", e.cfg.Server, list(paths)),
		Next: fmt.Sprintf("They are kept below %s until %s: with the next change of the primary, in the folder %s there. Move what is still needed to where it belongs.",
			filepath.Dir(e.applier.AsideDir()), time.Now().Add(asideKept).Format("2 Jan 2006"), filepath.Base(e.applier.AsideDir())),
	}, asideKept)
}

// emptyAside deletes what was kept aside for long enough.
func (e *Engine) emptyAside() {
	n, err := e.applier.EmptyAside(time.Now().Add(-asideKept))
	if n > 0 || err != nil {
		e.log.Info("files that were kept aside are deleted", "number", n, "err", err)
	}
}
