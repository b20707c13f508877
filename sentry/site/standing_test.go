package site

import (
	"encoding/json"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/state"
)

func TestStanding(t *testing.T) {
	at := now.Add(-3 * time.Minute)
	clock := Clock(at)
	inStep := state.Peer{Name: "right", Up: true, Live: "c1", State: "in step"}
	for _, c := range []struct {
		name        string
		change      func(left, right *Server)
		left, right Standing
	}{
		{"in step", func(_, _ *Server) {}, Standing{"pass", "in step", "Every change is live on the other servers."}, Standing{"pass", "in step", ""}},
		{"alone", func(l, _ *Server) { l.Report.Sync.Peers = nil }, Standing{"pass", "changes are recorded", "There is no other server to carry them to."}, Standing{"unknown", "in step with what it received last", "The primary does not tell whether there is more."}},
		{
			"behind", func(l, _ *Server) {
				p := &l.Report.Sync.Peers[0]
				p.Behind, p.Since, p.Err = 2, at, "no route\x1b\nmore"
			},
			Standing{"warn", "RIGHT lacks changes since " + clock, `2 changes on the way. It says: no route\x1b`},
			Standing{"warn", "lacks changes since " + clock, `2 changes on the way. It says: no route\x1b`},
		},
		{
			"refused", func(l, _ *Server) { l.Report.Sync.Peers[0].State = "refused" },
			Standing{"fail", "RIGHT could not take over a change of the primary", ""},
			Standing{"fail", "could not take over a change of the primary", ""},
		},
		{
			"held", func(l, _ *Server) {
				l.Report.Sync.Held = &state.Held{Since: at, Service: "web", Words: "\nline 3: bad\nmore\n"}
			},
			Standing{"warn", "a change is held back since " + clock, "line 3: bad"},
			Standing{"pass", "in step", ""},
		},
		{
			"missing", func(l, _ *Server) { l.Report.Sync.Peers[0].Missing = true },
			Standing{"unknown", "RIGHT has not reported for more than a minute", ""},
			Standing{"unknown", "has not reported for more than a minute", ""},
		},
		{"silent", func(l, _ *Server) { l.Report.Sync.At = at }, Standing{"fail", "stands still since " + clock, "Changes are not recorded."}, Standing{"pass", "in step", ""}},
		{"not yet", func(_, r *Server) { r.Report.Sync = nil }, Standing{"pass", "in step", "Every change is live on the other servers."}, Standing{"unknown", "changes are not followed yet", ""}},
		{"holds", func(_, r *Server) { r.Report.State.State = initapi.Holding }, Standing{"pass", "in step", "Every change is live on the other servers."}, Standing{}},
		{"gone", func(_, r *Server) { r.Seen = at }, Standing{"pass", "in step", "Every change is live on the other servers."}, Standing{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pair()
			s.Servers[0].Report.Sync = &state.Status{At: now, Peers: []state.Peer{inStep}}
			s.Servers[1].Report.Sync = &state.Status{At: now, InStep: true}
			c.change(&s.Servers[0], &s.Servers[1])
			// As the command gets it.
			data, err := json.Marshal(Judge(s))
			if err != nil {
				t.Fatal(err)
			}
			s = Site{}
			if err := json.Unmarshal(data, &s); err != nil {
				t.Fatal(err)
			}
			for i, want := range []Standing{c.left, c.right} {
				if got, ok := s.Standing(s.Servers[i]); got != want || ok != (want != Standing{}) {
					t.Errorf("standing of %s = %+v, %v; want %+v", s.Servers[i].Name, got, ok, want)
				}
			}
		})
	}
}
