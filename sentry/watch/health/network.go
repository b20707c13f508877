package health

import (
	"context"
	"fmt"
	"time"

	"sayasystems.com/atlas/sentry/watch/health/reading"
)

// port is what is remembered of a network port.
type port struct {
	linked  bool // has had a link while it was watched
	speed   int  // the best
	changes counter
	errors  counter
	packets counter
}

const linkRemedy = "Look at the cable at both ends and at the switch's lamp; try another cable, then another socket of the switch."

func (r *rules) network(_ context.Context, now time.Time) ([]claim, error) {
	list := r.w.cfg.Root.NICs()
	if len(list) == 0 {
		return nil, fmt.Errorf("no network card: %w", reading.ErrAbsent)
	}
	r.w.note(func(n *Numbers) { n.NICs = list })
	facts := r.w.cfg.Facts()
	var out []claim
	for _, n := range list {
		p := r.ports[n.Name]
		if p == nil {
			p = &port{}
			r.ports[n.Name] = p
			if facts.Inventory != nil {
				for _, was := range facts.Inventory.NICs { // as it was at boot
					if was.Name == n.Name && was.Link {
						p.linked, p.speed = true, was.Speed
					}
				}
			}
		}
		out = append(out, r.port(n, p, now)...)
	}
	return out, nil
}

func (r *rules) port(n reading.NIC, p *port, now time.Time) []claim {
	var out []claim
	id := slug(n.Name)
	p.linked = p.linked || n.Link
	if n.Up && !n.Link && p.linked {
		out = append(out, claim{
			Finding: finding("link-"+id, "warning", "port "+n.Name, fmt.Sprintf("Network port %s has lost its link: nothing answers at the other end of its cable.", n.Name), linkRemedy),
			after:   linkAfter, hold: linkAfter, is: []string{"port " + n.Name},
		})
	}
	if n.Duplex == "half" {
		out = append(out, claim{
			Finding: finding("duplex-"+id, "warning", "port "+n.Name, fmt.Sprintf("Network port %s can only send or receive at a time (half duplex): it is slow, and loses data when much is to be done.", n.Name),
				"Let the switch's port find its speed by itself (auto), on both ends; try another cable."),
			after: linkAfter, hold: linkAfter, is: []string{"duplex " + n.Name},
		})
	}
	if n.Speed > 0 && n.Speed < p.speed {
		out = append(out, claim{
			Finding: finding("speed-"+id, "warning", "port "+n.Name, fmt.Sprintf("Network port %s runs at %d instead of %d Mbit/s.", n.Name, n.Speed, p.speed),
				"Most often one of the cable's wires is broken: replace the cable. Else look at the switch's port."),
			after: linkAfter, hold: linkAfter, because: []string{"duplex " + n.Name}, is: []string{"speed " + n.Name}, short: fmt.Sprintf("it runs at %d instead of %d Mbit/s", n.Speed, p.speed),
		})
	}
	p.speed = max(p.speed, n.Speed)
	lost := p.changes.growth(now, n.Changes, flapWindow) / 2 // away and there again
	r.judge(&out, float64(lost), limit{flapsWarn, 0, 1}, claim{
		Finding: finding("port-flaps-"+id, "", "port "+n.Name, fmt.Sprintf("The network link of port %s was lost %s in the last hour.", n.Name, many(int(lost))), linkRemedy),
		because: []string{"port " + n.Name}, is: []string{"port " + n.Name}, short: fmt.Sprintf("the link was lost %s in the last hour", many(int(lost))),
	})
	bad, all := p.errors.growth(now, n.Errors, nicWindow), p.packets.growth(now, n.Packets, nicWindow)
	if bad >= nicErrors && float64(bad) >= nicShare*float64(all) {
		out = append(out, claim{
			Finding: finding("port-errors-"+id, "warning", "port "+n.Name, fmt.Sprintf("Network port %s has received or sent %d damaged packets in ten minutes: the network is slow for all who use it.", n.Name, bad),
				"Replace the cable; then try another socket of the switch, and see that both ends find their speed by themselves."),
			hold: nicHold, because: []string{"duplex " + n.Name, "speed " + n.Name, "port " + n.Name}, short: fmt.Sprintf("%d damaged packets in ten minutes", bad),
		})
	}
	return out
}
