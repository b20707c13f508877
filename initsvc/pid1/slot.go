package pid1

import (
	"context"
	"time"

	"sayasystems.com/atlas/initsvc/supervise"
	"sayasystems.com/atlas/sentry/initapi"
)

// giveUp is how long a new slot may take until it is confirmed. After that the server restarts, so that boot counting can fall
// back to the other slot.
const giveUp = 20 * time.Minute

// blessWhenGood confirms the running slot once this boot has shown that the image works: a set serves with all its services, or
// the server holds for a reason that is not the image's, and is reachable.
func (s *Server) blessWhenGood(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	start, warned := time.Now(), false
	for {
		s.mu.Lock()
		good := s.st.slotGood
		s.mu.Unlock()
		if good || s.namespace() {
			return
		}
		if s.imageWorks() {
			bctx, cancel := context.WithTimeout(ctx, time.Minute)
			err := s.p.Bless(bctx)
			cancel()
			if err == nil {
				s.log.Info("slot confirmed", "slot", s.o.Handover.Slot)
				s.mu.Lock()
				s.st.slotGood = true
				s.mu.Unlock()
				s.findings.clear("slot-bless")
				return
			}
			s.log.Error("slot not confirmed", "slot", s.o.Handover.Slot, "err", err)
			s.findings.set(initapi.Finding{
				ID: "slot-bless", Severity: "warning", Where: s.name(), What: "That this version works could not be recorded: " + err.Error(),
				Next: "The system disk may be failing. After three restarts the other slot is started.",
			})
			tick.Reset(time.Minute)
		} else if !warned && time.Since(start) > giveUp {
			warned = true
			s.Ask(initapi.PowerRequest{Action: "reboot", Reason: "this version did not get its services up within " + giveUp.String()})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
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
