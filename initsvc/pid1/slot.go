package pid1

import (
	"context"
	"time"

	"sayasystems.com/atlas/initsvc/supervise"
	"sayasystems.com/atlas/sentry/initapi"
)

// giveUp is how long a version that is not confirmed may fail to bring up what it should. Then the other slot is started, if
// that one is known to be good.
const giveUp = 20 * time.Minute

// look at the slot this often.
const slotPause = 2 * time.Second

// blessWhenGood confirms the running slot once this boot has shown that the image works: a set serves with all its services, or
// the server holds for a reason that is not the image's, and is reachable. A slot that does not get there is given up.
func (s *Server) blessWhenGood(ctx context.Context) {
	if s.namespace() {
		return
	}
	tick := time.NewTicker(slotPause)
	defer tick.Stop()
	var failing time.Duration
	for {
		s.mu.Lock()
		good := s.st.slotGood
		s.mu.Unlock()
		if good {
			return
		}
		switch {
		case s.imageWorks():
			if s.bless(ctx) {
				return
			}
			tick.Reset(time.Minute)
		case s.imageFails():
			if failing += slotPause; failing >= giveUp {
				failing = 0
				s.giveUp(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Server) bless(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.p.Bless(ctx); err != nil {
		s.log.Error("slot not confirmed", "slot", s.o.Handover.Slot, "err", err)
		s.findings.set(initapi.Finding{
			ID: "slot-bless", Severity: "warning", Where: s.name(), What: "That this version works could not be recorded: " + err.Error(),
			Next: "The system disk may be failing. After a few restarts the other version is started.",
		})
		return false
	}
	s.log.Info("slot confirmed", "slot", s.o.Handover.Slot)
	s.mu.Lock()
	s.st.slotGood = true
	s.mu.Unlock()
	s.findings.clear("slot-bless")
	return true
}

func (s *Server) giveUp(ctx context.Context) {
	if s.p.Condemn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.p.Condemn(ctx); err != nil {
		s.log.Warn("this version does not get its services up, and there is no other to go back to", "err", err)
		return
	}
	s.Ask(initapi.PowerRequest{Action: "reboot", Reason: "version " + s.o.Handover.Version + " did not get its services up within " + giveUp.String() + "; the other slot is started"})
}

// imageFails tells whether the server is up and something that may be the image's fault keeps it from working. Waiting (for a
// long file system check, an operator, a network) is no failure.
func (s *Server) imageFails() bool {
	st := s.State(context.Background())
	if st.Addresses.Management == "" {
		return false
	}
	switch st.State {
	case initapi.Serving:
		return !st.Ready
	case initapi.Holding:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.st.raised || s.st.setStarted && !s.decidedLast()
	}
	return false
}

// imageWorks tells whether this boot proves the image good.
func (s *Server) imageWorks() bool {
	st := s.State(context.Background())
	if st.Addresses.Management == "" {
		return false
	}
	ready := map[string]bool{}
	for _, v := range st.Services {
		ready[v.Name] = v.State == supervise.Ready
	}
	switch st.State {
	case initapi.Serving:
		return st.Ready
	case initapi.Holding:
		// Reasons of a decision come from the disks; those of a failed phase may be the image's.
		s.mu.Lock()
		byDecision := s.st.decision.Action != "" && !s.st.setStarted && s.decidedLast()
		s.mu.Unlock()
		return byDecision && ready["sentry"]
	}
	return false
}

// decidedLast tells whether the reasons shown are the decision's own. The caller holds mu.
func (s *Server) decidedLast() bool {
	return len(s.st.reasons) > 0 && len(s.st.decision.Reasons) > 0 && s.st.reasons[0].Code == s.st.decision.Reasons[0].Code
}
