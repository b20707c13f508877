package ndp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// Timing of a probe. RFC 4862 asks once and listens for a second; a lost frame is worth two more.
const (
	probes    = 3
	between   = 400 * time.Millisecond
	afterLast = time.Second
)

// Claim tells that the machine with MAC has an address.
type Claim struct {
	Address netip.Addr
	MAC     net.HardwareAddr
}

// Probe asks whether anybody has one of the addresses, which must not be configured yet and must be those of Open, and returns who first
// answers for one, uses it or is about to take it as well; nil if nobody.
func (c *Link) Probe(ctx context.Context, as ...netip.Addr) (*Claim, error) {
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	for i := range probes {
		for _, a := range as {
			if err := c.send(question(c.mac, a)); err != nil {
				return nil, fmt.Errorf("probe %s on %s: %w", a, c.name, err)
			}
		}
		wait := between
		if i == probes-1 {
			wait = afterLast
		}
		for deadline := time.Now().Add(wait); ; {
			p, err := c.read(deadline)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("probe %v on %s: %w", as, c.name, ctx.Err())
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("probe %v on %s: %w", as, c.name, err)
			}
			for _, a := range as {
				if conflicts(p, a, c.mac, true) {
					return &Claim{a, p.From}, nil
				}
			}
		}
	}
	return nil, nil
}

// conflicts tells whether p shows somebody else at a or, while probing, on the way to it (RFC 4862, 5.4.3 and 5.4.4).
func conflicts(p Packet, a netip.Addr, own net.HardwareAddr, probing bool) bool {
	if bytes.Equal(p.From, own) {
		return false
	}
	switch {
	case p.Source == a, p.Kind == Advertisement && p.Target == a:
		return true
	}
	return probing && p.Kind == Solicitation && p.Source == nobody && p.Target == a
}

// Announce tells every host on the link, once, that the addresses are at the interface's MAC: by unsolicited
// advertisements that override what neighbours know (RFC 4861, 7.2.6).
func (c *Link) Announce(as ...netip.Addr) error {
	for _, a := range as {
		if err := c.send(announcement(c.mac, a)); err != nil {
			return fmt.Errorf("announce %s: %w", a, err)
		}
	}
	return nil
}

// Watch listens until ctx ends. Whenever another host claims one of the addresses, which the interface holds, found is told and the address is
// announced again, at most once in ten seconds each. All are announced when something comes from again.
func (c *Link) Watch(ctx context.Context, as []netip.Addr, again <-chan struct{}, found func(Claim)) error {
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	last := map[netip.Addr]time.Time{}
	for {
		select {
		case <-again:
			if err := c.Announce(as...); err != nil && ctx.Err() == nil {
				return err
			}
		default:
		}
		p, err := c.read(time.Now().Add(time.Second))
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return fmt.Errorf("watch %v on %s: %w", as, c.name, err)
		}
		for _, a := range as {
			if !conflicts(p, a, c.mac, false) || time.Since(last[a]) < 10*time.Second {
				continue
			}
			last[a] = time.Now()
			found(Claim{a, p.From})
			if err := c.Announce(a); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}
