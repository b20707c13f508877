package pid1

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// watchPeers notices when sentry has let another server into the site: the fence must let it through, and a hold must ask it.
func (s *Server) watchPeers(ctx context.Context) {
	path := filepath.Join(s.o.Dirs.State, siteconf.PeersFile)
	last := stamp(path)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := stamp(path)
		if now == last {
			continue
		}
		peers, err := siteconf.LoadPeers(s.o.Dirs.State)
		if err != nil {
			s.log.Warn("list of the site's servers", "err", err)
			continue
		}
		last = now
		s.mu.Lock()
		same := reflect.DeepEqual(peers, s.st.peers)
		s.st.peers = peers
		raised := s.st.raised
		s.mu.Unlock()
		if same {
			continue
		}
		s.log.Info("the site's servers have changed", "peers", len(peers.Peers))
		if raised {
			fctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			if err := s.p.Fence(fctx, s.plan()); err != nil {
				s.log.Error("fence", "err", err)
				last = "" // again
			}
			cancel()
		}
		s.nudge()
	}
}

// stamp changes when a file is replaced.
func stamp(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return st.ModTime().String()
}
