package engine

import (
	"fmt"

	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/state"
)

// brought words which of the primary's changes brought a line of a file (0: the file as it is), for a finding about it; "" if that is not known.
func (e *Engine) brought(head string, p state.Path, line int) string {
	if p == "" {
		return ""
	}
	if line > 0 {
		// Only who wrote the line is told, not the line.
		if list, err := e.repo.Blame(head, p, history.ShowAll); err == nil && line <= len(list) {
			return cameWith(list[line-1].Commit)
		}
	}
	list, err := e.repo.Log(state.Site, history.LogOptions{Path: p, Limit: 1})
	if err != nil || len(list) == 0 {
		return ""
	}
	return cameWith(list[0])
}

func cameWith(c state.Commit) string {
	return fmt.Sprintf(" It came with change %s, %s, by %s.", c.Short(), c.At.Local().Format("2 January 15:04"), c.By())
}
