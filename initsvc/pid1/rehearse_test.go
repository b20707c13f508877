package pid1

import (
	"context"
	"strings"
	"testing"

	"sayasystems.com/atlas/initsvc/handover"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// TestRehearse: services of a secondary get new processes, those that are not named keep theirs, and what needs others waits for them.
func TestRehearse(t *testing.T) {
	m := newMachine(t)
	m.moreServices("services: [web, mail]\n")
	for i := range m.disks {
		m.disks[i].Label.Role = roles.Secondary
	}
	s := m.server(handover.Hardware)
	stop := m.run(s)
	defer stop()
	all := func(st initapi.State) bool { return running(st) == "db web mail" }
	pids := func(st initapi.State) map[string]int {
		out := map[string]int{}
		for _, v := range st.Services {
			for _, p := range v.Processes {
				out[v.Name] = p.PID
			}
		}
		return out
	}
	was := pids(m.wait(s, "all run", all))
	ctx := context.Background()
	if err := s.Rehearse(ctx, initapi.RehearseRequest{Services: []string{"ghost"}}); err == nil || !strings.Contains(err.Error(), "no service ghost") {
		t.Errorf("rehearsal of what is not run: %v", err)
	}
	if err := s.Rehearse(ctx, initapi.RehearseRequest{Services: []string{"db", "web"}}); err != nil {
		t.Fatal(err)
	}
	now := pids(m.wait(s, "all run again", all))
	if now["db"] == was["db"] || now["web"] == was["web"] || now["mail"] != was["mail"] || now["ssh"] != was["ssh"] {
		t.Errorf("processes %v before, %v after; want new ones of db and web alone", was, now)
	}
	if err := s.Rehearse(ctx, initapi.RehearseRequest{}); err != nil {
		t.Fatal(err)
	}
	then := pids(m.wait(s, "all run again", all))
	if then["db"] == now["db"] || then["mail"] == now["mail"] || then["ssh"] != now["ssh"] {
		t.Errorf("processes %v before, %v after; want new ones of the site's services", now, then)
	}
	s.changing.Lock()
	err := s.Rehearse(ctx, initapi.RehearseRequest{})
	s.changing.Unlock()
	if err == nil || !strings.Contains(err.Error(), "just being changed") {
		t.Errorf("rehearsal while services are changed: %v", err)
	}
}

func TestRehearseOnPrimary(t *testing.T) {
	m := newMachine(t)
	s := m.server(handover.Hardware)
	if err := s.Rehearse(context.Background(), initapi.RehearseRequest{}); err == nil || !strings.Contains(err.Error(), "no disk set serves") {
		t.Errorf("rehearsal before anything serves: %v", err)
	}
	stop := m.run(s)
	defer stop()
	m.wait(s, "serving", serving)
	if err := s.Rehearse(context.Background(), initapi.RehearseRequest{}); err == nil || !strings.Contains(err.Error(), "is the primary") {
		t.Errorf("rehearsal of a primary: %v", err)
	}
}
