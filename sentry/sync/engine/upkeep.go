package engine

import (
	"context"
	"errors"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/history"
)

// How often the history is looked after: packed when due, and read as a whole, since what is never read may be lost without anybody knowing.
const (
	upkeepEvery = 10 * time.Minute
	verifyEvery = 24 * time.Hour
)

// upkeep looks after the repository until ctx ends. Recording goes on meanwhile.
func (e *Engine) upkeep(ctx context.Context) {
	t := time.NewTicker(upkeepEvery)
	defer t.Stop()
	verified := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		st, err := e.repo.Stats()
		if err == nil && st.PackDue() {
			began := time.Now()
			if err = e.repo.Pack(ctx); err == nil {
				e.log.Info("history packed", "commits", st.Commits, "packs", st.Packs, "took", time.Since(began).Round(time.Millisecond))
			}
		}
		if err == nil && time.Since(verified) > verifyEvery {
			err = e.repo.Verify(ctx)
			verified = time.Now()
		}
		if err == nil {
			err = st.Trouble
		}
		e.told(ctx, err)
	}
}

// told makes a finding of trouble with the repository, or takes it back.
func (e *Engine) told(ctx context.Context, err error) {
	const id = "sync-history-trouble"
	switch {
	case ctx.Err() != nil:
	case err == nil:
		e.cfg.Findings.Clear(id)
	default:
		e.log.Error("history", "err", err)
		f := initapi.Finding{
			ID: id, Severity: "warning", Where: e.cfg.Server, What: "The history of changes is in trouble: " + err.Error() + ".",
			Next: "Look at the server's findings about its disks and their space. Changes are still recorded and carried.",
		}
		if _, damaged := errors.AsType[*history.DamagedError](err); damaged {
			f.Next = "Have the disks checked. With the next restart of sentry a new history is begun, and the damaged one is kept beside it: atlas service restart sentry."
		}
		e.cfg.Findings.Set(f)
	}
}
