package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/history"
)

// How often the history is looked after: what is never read may be lost without anybody knowing. What lies on the disk is compared with its
// checksums at the start and then each time: 0.1 to 0.3 s for 2,000 commits. That all of it can be understood is read once a day, and when what is
// to be carried cannot be read: 2 to 8 s. A pack is read back when it is written (package history), and what is carried is compared with its name
// when it is read, and once more by who receives it.
const (
	upkeepEvery = 10 * time.Minute
	verifyEvery = 24 * time.Hour
)

// upkeep looks after the repository until ctx ends. Recording goes on meanwhile.
func (e *Engine) upkeep(ctx context.Context) {
	t := time.NewTicker(upkeepEvery)
	defer t.Stop()
	e.told(ctx, e.lookedAfter(ctx, false))
	e.emptyAside()
	due := time.Now().Add(upkeepEvery / 2) // the first time when all that starts with a server has come to rest
	for {
		whole := false
		select {
		case <-ctx.Done():
			return
		case <-e.suspect:
			whole = true
		case <-t.C:
			whole = time.Now().After(due)
		}
		if whole {
			due = time.Now().Add(verifyEvery)
		}
		e.told(ctx, e.lookedAfter(ctx, whole))
		e.emptyAside()
	}
}

// lookedAfter packs the history when that is due, and reads it: whole, or compares its files with their checksums only.
func (e *Engine) lookedAfter(ctx context.Context, whole bool) error {
	st, err := e.repo.Stats()
	if err == nil && st.PackDue() {
		began := time.Now()
		if err = e.repo.Pack(ctx); err == nil {
			e.log.Info("history packed", "commits", st.Commits, "packs", st.Packs, "took", time.Since(began).Round(time.Millisecond))
		}
	}
	if err == nil {
		err = e.repo.CheckFiles(ctx)
	}
	if err == nil && whole {
		began := time.Now()
		err = e.repo.Verify(ctx)
		e.log.Info("history read as a whole", "commits", st.Commits, "took", time.Since(began).Round(time.Millisecond), "err", err)
	}
	if err == nil {
		err = st.Trouble
	}
	return err
}

// suspected has the whole history read soon: what is to be carried cannot be.
func (e *Engine) suspected() {
	if time.Since(e.suspectAt) < upkeepEvery {
		return
	}
	e.suspectAt = time.Now()
	select {
	case e.suspect <- struct{}{}:
	default:
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
		if damaged, ok := errors.AsType[*history.DamagedError](err); ok {
			e.doubt(damaged)
			f.Next = "Have the disks checked. With the next restart of sentry a new history is begun, and the damaged one is kept beside it: atlas service restart sentry."
			if e.cfg.Sender != nil {
				f.Next += " Then let the other server take it: atlas resync."
			}
		}
		e.cfg.Findings.Set(f)
		e.cfg.Changed()
	}
}

// doubtFile says that the history was found damaged: what is deep in it is not looked at when it is opened.
const doubtFile = "history-doubt"

// doubt has the history read as a whole when it is opened next.
func (e *Engine) doubt(damaged error) {
	if err := siteconf.WriteFile(filepath.Join(e.cfg.Dir, doubtFile), []byte(damaged.Error()+"\n"), 0o600); err != nil {
		e.log.Warn("not remembered", "what", doubtFile, "err", err)
	}
}

// doubted reads a history as a whole that was found damaged. One that can be read again is taken as it is.
func (e *Engine) doubted(repo *history.Repo) error {
	file := filepath.Join(e.cfg.Dir, doubtFile)
	if _, err := os.Stat(file); err != nil {
		return nil //nolint:nilerr // there is no doubt
	}
	ctx := context.Background()
	err := repo.CheckFiles(ctx)
	if err == nil {
		err = repo.Verify(ctx)
	}
	if _, damaged := errors.AsType[*history.DamagedError](err); err != nil && !damaged {
		return fmt.Errorf("read the history, which was damaged: %w", err)
	}
	return errors.Join(err, os.Remove(file))
}
