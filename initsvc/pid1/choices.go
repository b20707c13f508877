package pid1

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// Choice is an order that an operator may give now, with what it means in words.
type Choice struct {
	Order roles.Order
	Text  string
}

// Choices lists the orders that would let this holding server start: for each set here, and where its disks have gone separate
// ways for each of those ways, to start with these disks and none else. Only orders that roles.Decide accepts are offered.
func (s *Server) Choices() []Choice {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.state != initapi.Holding || s.st.setStarted {
		return nil
	}
	type way struct{ set, head string }
	var ways []way
	disks := map[way][]roles.Disk{}
	for _, d := range s.st.disks {
		if d.Label == nil {
			continue
		}
		w := way{d.Label.Set, d.Label.Head()}
		if _, ok := disks[w]; !ok {
			ways = append(ways, w)
		}
		disks[w] = append(disks[w], d)
	}
	var out []Choice
	for _, w := range ways {
		o := roles.Order{Set: w.set}
		for _, d := range disks[w] {
			o.Members = append(o.Members, d.Label.ID())
		}
		v := s.view()
		v.Order = &o
		if roles.Decide(v).Action == roles.Start {
			out = append(out, Choice{Order: o, Text: choiceText(disks[w])})
		}
	}
	return out
}

// view is what roles decides on. The caller holds mu.
func (s *Server) view() roles.View {
	return roles.View{
		Site: s.st.peers.Site, Server: s.st.server.Name, Disks: s.st.disks, Peers: s.st.attest, Order: s.st.order, Seen: s.st.seen,
		Policy: roles.Policy{StartAttested: true},
	}
}

func choiceText(disks []roles.Disk) string {
	l := disks[0].Label
	var places, here []string
	for _, d := range disks {
		here = append(here, d.Label.ID())
		if d.Label.Generation > l.Generation {
			l = d.Label
		}
		if d.Bay > 0 {
			places = append(places, fmt.Sprintf("bay %d (%s)", d.Bay, d.Serial))
		} else {
			places = append(places, d.Serial)
		}
	}
	var without []string
	for _, m := range l.Members {
		if m.Ejected == 0 && !slices.Contains(here, m.ID) {
			without = append(without, m.Serial)
		}
	}
	t := fmt.Sprintf("Start the %s set with %s, last used %s by %s", l.Role, strings.Join(places, " and "), l.Written.UTC().Format("2 Jan 2006 15:04 UTC"), l.Server)
	if len(without) > 0 {
		t += ", for good without " + strings.Join(without, " and ")
	}
	return t + "."
}

// Choose gives the order of a choice.
func (s *Server) Choose(c Choice) error { return s.Order(context.Background(), c.Order) }
