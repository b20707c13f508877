package carry

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"sayasystems.com/atlas/roles"
)

// judge says who may send, by attestations that it keeps for a while.
type judge struct {
	ask   func(context.Context) (roles.Attestation, []roles.Attestation, error)
	clock Clock
	fresh time.Duration

	asking sync.Mutex // one question at a time
	mu     sync.Mutex
	used   time.Time // when somebody last wanted to send
	at     time.Time // when it was asked; zero = never
	own    roles.Attestation
	others []roles.Attestation
	err    error
}

func newJudge(ask func(context.Context) (roles.Attestation, []roles.Attestation, error), c Clock, fresh time.Duration) *judge {
	return &judge{ask: ask, clock: c, fresh: fresh}
}

// keep asks again and again while somebody sends, so that nobody has to wait for an answer: a server that is off takes seconds to be asked.
func (j *judge) keep(ctx context.Context) {
	for ctx.Err() == nil {
		j.mu.Lock()
		used := !j.used.IsZero() && j.clock.Now().Sub(j.used) < 12*j.fresh
		j.mu.Unlock()
		if used {
			j.asking.Lock()
			j.renew(ctx)
			j.asking.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-j.clock.After(j.fresh / 4):
		}
	}
}

// caller tells whether server may send as the primary with set in lineage.
func (j *judge) caller(ctx context.Context, server, set, lineage string) error {
	now := j.clock.Now()
	j.mu.Lock()
	j.used = now
	age, err := now.Sub(j.at), j.verdict(server, set, lineage)
	j.mu.Unlock()
	if age >= 0 && age < j.fresh && err == nil {
		return nil
	}
	// Not known, or no: that may have changed a moment ago.
	j.asking.Lock()
	defer j.asking.Unlock()
	j.mu.Lock()
	age = now.Sub(j.at) // somebody may have asked while we waited; and a caller that insists must not have us ask all the time
	again := j.at.IsZero() || age >= 200*time.Millisecond || age >= j.fresh
	j.mu.Unlock()
	if again {
		j.renew(ctx)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.verdict(server, set, lineage)
}

func (j *judge) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	at := j.clock.Now() // what changes while we ask may be missed
	own, others, err := j.ask(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at, j.own, j.others, j.err = at, own, others, err
}

// verdict needs j.mu.
func (j *judge) verdict(server, set, lineage string) error {
	if j.err != nil {
		return refuse(CodeNotReady, "it is not known which server is the primary: %v", j.err)
	}
	primaries := []string{}
	holds := false
	for _, a := range append([]roles.Attestation{j.own}, j.others...) {
		if !a.Reachable && a.Server != j.own.Server || a.Role != roles.Primary {
			continue
		}
		primaries = append(primaries, a.Server)
		if a.Server == server && a.Set == set {
			holds = slices.ContainsFunc(a.Holds, func(h roles.Holding) bool {
				return h.Set == set && h.Role == roles.Primary && h.Lineage == lineage && !h.Pending
			})
		}
	}
	switch {
	case len(primaries) > 1:
		return refuse(CodePrimaries, "more than one server says that it is the primary (%s); changes are taken from none of them", strings.Join(primaries, ", "))
	case !holds:
		return refuse(CodeRole, "server %s does not attest that it is the primary with the disk set that its changes are from", server)
	}
	return nil
}
