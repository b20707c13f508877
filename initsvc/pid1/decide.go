package pid1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sayasystems.com/atlas/initsvc/boot"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// deciding are the phases that find out whether a set may start. They write nothing and may be run any number of times.
func (s *Server) deciding() []boot.Phase {
	return []boot.Phase{
		{
			Name: "labels", Title: "Reading the labels of the disks", Timeout: 2 * time.Minute, Policy: boot.Hold,
			Next: "Check that all disks sit firmly in their bays, then restart.", Run: s.readLabels,
		},
		{
			Name: "peers", Title: "Asking the other servers", Timeout: 20 * time.Second,
			Next: "Servers that cannot be asked count as unreachable. Check the network if they should be up.",
			Run:  s.askPeers,
		},
		{
			Name: "decide", Title: "Deciding what this server may do", Timeout: 10 * time.Second, Policy: boot.Hold,
			Next: "Restart the server. If this stays, send the log to the vendor.", Run: s.decide,
		},
	}
}

func (s *Server) readLabels(ctx context.Context) (string, error) {
	if s.store == nil {
		store, err := s.p.OpenStore(s.o.Handover, s.log)
		if err != nil {
			return "", err
		}
		if r, ok := store.(rememberer); ok {
			r.Remember(s.remember)
		}
		s.mu.Lock()
		s.store = store
		s.mu.Unlock()
	}
	disks, err := s.store.Disks(ctx)
	if err != nil {
		return "", err
	}
	// From here on sentry may attest: it must be before the peers are asked, so that of two servers that boot at the same moment
	// at least one sees the other.
	s.mu.Lock()
	s.st.disks, s.st.disksKnown = disks, true
	s.mu.Unlock()
	labelled := 0
	for _, d := range disks {
		if d.Label != nil {
			labelled++
		}
	}
	return fmt.Sprintf("%d disks, %d with a label", len(disks), labelled), nil
}

func (s *Server) askPeers(ctx context.Context) (string, error) {
	s.mu.Lock()
	peers := s.st.peers.Peers
	s.mu.Unlock()
	if len(peers) == 0 {
		return "this server knows no other", nil
	}
	// Whatever goes wrong, every peer has an attestation: one that says that it could not be asked.
	atts := make([]roles.Attestation, 0, len(peers))
	answers, err := s.p.Attest(ctx)
	reachable := 0
	for _, p := range peers {
		a := roles.Attestation{Server: p.Name}
		for _, got := range answers {
			if got.Server == p.Name {
				a = got
			}
		}
		if a.Reachable {
			reachable++
		}
		atts = append(atts, a)
	}
	s.mu.Lock()
	s.st.attest = atts
	s.mu.Unlock()
	return fmt.Sprintf("%d of %d reachable", reachable, len(peers)), err
}

func (s *Server) decide(context.Context) (string, error) {
	s.mu.Lock()
	v := s.view()
	s.st.decidedOn = s.evidenceLocked()
	s.mu.Unlock()
	d := roles.Decide(v)
	if d.Action == roles.Start && d.Label == nil {
		return "", errors.New("the decision to start names no label")
	}
	s.mu.Lock()
	s.st.decision = d
	s.mu.Unlock()
	if d.Action == roles.Start {
		return "start " + string(d.Role), nil
	}
	s.hold(d.Reasons...)
	if len(d.Reasons) > 0 {
		return "hold: " + d.Reasons[0].Code, nil
	}
	return "hold", nil
}

func (s *Server) decided() roles.Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.decision.Action
}

// hold shows the reasons.
func (s *Server) hold(reasons ...roles.Reason) {
	s.setState(initapi.Holding)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.reasons = reasons
}

// holdFor holds because a phase failed.
func (s *Server) holdFor(err error) {
	r := roles.Reason{Code: "boot", Text: err.Error()}
	if e, ok := errors.AsType[*boot.Error](err); ok {
		r = roles.Reason{Code: "boot-" + e.Phase, Text: e.Title + " failed: " + e.Err.Error(), Next: e.Next}
	}
	s.hold(r)
}

// waitForChange returns when a new decision may come out differently: an order, a change of the disks, another answer of a peer,
// and, after a failure, a while.
func (s *Server) waitForChange(ctx context.Context, failed bool) {
	pause, retry := 10*time.Second, s.retry
	if s.o.Quick {
		pause = 2 * time.Second
	}
	start := time.Now()
	s.mu.Lock()
	before := s.st.decidedOn // not what is there now: an order may have come since
	if failed {
		before = s.evidenceLocked()
	}
	s.mu.Unlock()
	tick := time.NewTicker(min(pause, retry))
	defer tick.Stop()
	defer func() {
		s.runner.Add(initapi.PhaseReport{Name: "hold", Duration: time.Since(start), Result: "ok"})
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.again:
		case <-tick.C:
		}
		if failed && time.Since(start) >= retry {
			return
		}
		// Quietly, outside the phases: the report would only be full of it.
		if s.store != nil {
			lctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			if _, err := s.readLabels(lctx); err != nil {
				s.log.Warn("reading labels while holding", "err", err)
			}
			cancel()
		}
		actx, cancel := context.WithTimeout(ctx, 20*time.Second)
		if _, err := s.askPeers(actx); err != nil {
			s.log.Debug("asking peers while holding", "err", err)
		}
		cancel()
		if s.evidence() != before {
			return
		}
	}
}

// evidence is all that a decision rests on, to be compared.
func (s *Server) evidence() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.evidenceLocked()
}

// evidenceLocked is evidence for a caller that holds mu.
func (s *Server) evidenceLocked() string {
	data, err := json.Marshal([]any{s.st.disks, s.st.attest, s.st.order})
	if err != nil {
		return time.Now().String() // decide again rather than never
	}
	return string(data)
}

// disksChanged is called for device events.
func (s *Server) disksChanged() {
	s.nudge()
	s.store.Nudge()
	select {
	case s.refreshing <- struct{}{}:
	default:
	}
}
