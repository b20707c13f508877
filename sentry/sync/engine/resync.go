package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/carry"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Errors of Resync.
var (
	errTogether = errors.New("no other server has another history than the primary: nothing needs to be replaced")
	errWhich    = errors.New("several servers have another history than this one: say which is to take this one's files")
)

// Resync orders that a secondary, which has another history than the primary, takes the primary's files and history, on either of the two. What
// follows is done by carry and follow: the primary sends all that it has, and the secondary brings its files to it.
func (e *Engine) Resync(_ context.Context, r state.Resync, who state.Who) (state.Resynced, error) {
	out, err := e.apart(r.Server)
	if err != nil {
		return out, err
	}
	out.Kept = carry.KeptName(time.Now())
	if r.Plan != "" {
		kept, id, _ := strings.Cut(r.Plan, ".")
		if out.Kept = state.Branch(kept); !carry.Kept(out.Kept) || id != out.HasID {
			return out, errElse
		}
	}
	out.Plan = string(out.Kept) + "." + out.HasID
	if r.Try {
		return out, nil
	}
	e.log.Warn("a secondary is to take the primary's history", "server", out.Server, "from", out.From, "kept", out.Kept, "who", who.String())
	if e.cfg.Receiver != nil {
		e.cfg.Receiver.Replace(out.Kept)
	} else if !e.cfg.Sender.Replace(out.Server, out.Kept) {
		return out, errTogether
	}
	out.Done = true
	return out, nil
}

// apart finds the secondary that has another history.
func (e *Engine) apart(server string) (state.Resynced, error) {
	if r := e.cfg.Receiver; r != nil {
		a := r.Apart()
		if a == nil || server != "" && server != e.cfg.Server {
			return state.Resynced{}, errTogether
		}
		return state.Resynced{Server: e.cfg.Server, From: a.With, Has: a.Ours.Seq, HasID: a.Ours.ID, Takes: a.Theirs.Seq}, nil
	}
	if e.cfg.Sender == nil {
		return state.Resynced{}, errTogether
	}
	found := map[string]state.Resynced{}
	_, newest := e.cfg.Sender.Head()
	for name, p := range e.cfg.Sender.Status() {
		if p.Apart && (server == "" || server == name) {
			found[name] = state.Resynced{Server: name, From: e.cfg.Server, Has: p.Received.Seq, HasID: p.Received.ID, Takes: newest.Seq}
		}
	}
	switch names := slices.Sorted(maps.Keys(found)); len(names) {
	case 0:
		return state.Resynced{}, errTogether
	case 1:
		return found[names[0]], nil
	default:
		return state.Resynced{}, fmt.Errorf("%w: %s", errWhich, strings.Join(names, ", "))
	}
}

// replaced tells that the primary's history took the place of the one here.
func (e *Engine) replaced(c state.Commit, o carry.Offer) {
	e.note(initapi.Finding{
		ID: "sync-replaced", Severity: "info", Where: e.cfg.Server,
		What: fmt.Sprintf("%s has taken the files and the history of %s, as was ordered.", e.cfg.Server, c.Server),
		Next: fmt.Sprintf("What it had before is kept: on %s, atlas history --line %s.", e.cfg.Server, o.Kept),
	}, 7*24*time.Hour)
}
