package pid1

import (
	"context"
	"slices"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
)

// lookAgain is how often it is looked whether a finding about a converted file still stands.
const lookAgain = 30 * time.Second

// tellPrepared tells what was found when the set's directories were made ready. A try of the phase that comes after finds nothing to do: so
// findings stay, those about single files until these are changed.
func (s *Server) tellPrepared(done Prepared) {
	if done.Findings == nil {
		return
	}
	server := s.name()
	for _, f := range done.Findings(server) {
		s.findings.set(f)
	}
	if done.Standing != nil {
		s.guard.Go("converted files", func() { s.mended(s.lifetime, server, done.Standing) })
	}
}

// mended takes findings back that do not stand any more.
func (s *Server) mended(ctx context.Context, server string, standing func(string) []initapi.Finding) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for left := standing(server); len(left) > 0; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := standing(server)
		left = slices.DeleteFunc(left, func(f initapi.Finding) bool {
			gone := !slices.ContainsFunc(now, func(n initapi.Finding) bool { return n.ID == f.ID })
			if gone {
				s.findings.clear(f.ID)
			}
			return gone
		})
	}
}
