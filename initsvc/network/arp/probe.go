package arp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
)

// Timing of a probe. RFC 5227's own figures (3 probes 1–2 s apart, then 2 s) cost a boot seven seconds; they were made for
// networks of 1990. Whoever still needs them sets them.
type Timing struct {
	Probes    int           // how many; 3 if 0
	Min, Max  time.Duration // between two; 300 and 600 ms if 0
	AfterLast time.Duration // to listen after the last; 800 ms if 0
}

func (t Timing) filled() Timing {
	if t.Probes == 0 {
		t.Probes = 3
	}
	if t.Min == 0 {
		t.Min = 300 * time.Millisecond
	}
	if t.Max <= t.Min {
		t.Max = t.Min * 2
	}
	if t.AfterLast == 0 {
		t.AfterLast = 800 * time.Millisecond
	}
	return t
}

// Claim tells that the machine with MAC has an address.
type Claim struct {
	Address netip.Addr
	MAC     net.HardwareAddr
}

// Probe asks whether anybody has one of the addresses, which must not be configured yet, and returns who first
// answers for one, uses it or is about to take it as well; nil if nobody.
func (c *Link) Probe(ctx context.Context, as []netip.Addr, t Timing) (*Claim, error) {
	t = t.filled()
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	for i := range t.Probes {
		for _, a := range as {
			if err := c.send(Packet{To: broadcast, From: c.mac, Operation: Request, SenderMAC: c.mac, SenderIP: nobody, TargetMAC: make(net.HardwareAddr, 6), TargetIP: a}); err != nil {
				return nil, fmt.Errorf("probe %s on %s: %w", a, c.name, err)
			}
		}
		wait := t.Min + rand.N(t.Max-t.Min)
		if i == t.Probes-1 {
			wait = t.AfterLast
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
					return &Claim{a, p.SenderMAC}, nil
				}
			}
		}
	}
	return nil, nil
}

// conflicts tells whether p shows somebody else at a (RFC 5227, 2.1.1), or, while probing, on the way to it.
func conflicts(p Packet, a netip.Addr, own net.HardwareAddr, probing bool) bool {
	if bytes.Equal(p.SenderMAC, own) || bytes.Equal(p.From, own) {
		return false
	}
	return p.SenderIP == a || probing && p.Operation == Request && p.SenderIP == nobody && p.TargetIP == a
}

// Announce tells every host on the link, once, that the addresses are at ifname's MAC: as a request, which RFC 5227 prefers, and as a reply,
// which some switches and older hosts wait for.
func Announce(ifname string, as ...netip.Addr) error {
	c, err := Open(ifname)
	if err != nil {
		return fmt.Errorf("announce %v: %w", as, err)
	}
	defer c.Close()
	return c.Announce(as...)
}

// Announce is Announce on an open Link.
func (c *Link) Announce(as ...netip.Addr) error {
	for _, a := range as {
		p := Packet{To: broadcast, From: c.mac, Operation: Request, SenderMAC: c.mac, SenderIP: a, TargetMAC: make(net.HardwareAddr, 6), TargetIP: a}
		if err := c.send(p); err != nil {
			return fmt.Errorf("announce %s: %w", a, err)
		}
		p.Operation, p.TargetMAC = Reply, broadcast
		if err := c.send(p); err != nil {
			return fmt.Errorf("announce %s: %w", a, err)
		}
	}
	return nil
}

// Watch listens until ctx ends. Whenever another host claims one of the addresses, which the interface holds, found is told and the address is announced
// again (RFC 5227, 2.4 b), at most once in ten seconds each. All are announced when something comes from again.
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
			found(Claim{a, p.SenderMAC})
			if err := c.Announce(a); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}
