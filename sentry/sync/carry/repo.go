package carry

import (
	"errors"
	"io"

	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// FromHistory makes the history of this server what a Sender and a Receiver work with.
func FromHistory(r *history.Repo) interface {
	Exporter
	Importer
} {
	return repo{r}
}

type repo struct{ *history.Repo }

// Import implements Importer.
func (r repo) Import(src io.Reader, limit int64, branch state.Branch, head string, keep state.Branch) (state.Commit, error) {
	return r.Repo.Import(src, limit, branch, head, history.ImportOptions{Replace: keep != "", Keep: keep})
}

// codeOf is the code that an error of history stands for.
func codeOf(err error) Code {
	if _, ok := errors.AsType[*history.DivergedError](err); ok {
		return CodeDiverged
	}
	if _, ok := errors.AsType[*history.ReplayedError](err); ok {
		return CodeReplayed
	}
	switch {
	case errors.Is(err, history.ErrMalformed):
		return CodeGarbage
	case errors.Is(err, history.ErrTooLarge):
		return CodeSize
	}
	return CodeFailed
}
