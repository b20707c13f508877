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

// Probe asks on the link of ifname whether anybody has address a, which must not be configured yet, and returns the MAC of who
// answers, uses it or is about to take it as well; nil if nobody.
func Probe(ctx context.Context, ifname string, a netip.Addr, t Timing) (net.HardwareAddr, error) {
	t = t.filled()
	c, err := listen(ifname)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", a, err)
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	for i := range t.Probes {
		if err := c.send(Packet{To: broadcast, From: c.mac, Operation: Request, SenderMAC: c.mac, SenderIP: nobody, TargetMAC: make(net.HardwareAddr, 6), TargetIP: a}); err != nil {
			return nil, fmt.Errorf("probe %s on %s: %w", a, ifname, err)
		}
		wait := t.Min + rand.N(t.Max-t.Min)
		if i == t.Probes-1 {
			wait = t.AfterLast
		}
		for deadline := time.Now().Add(wait); ; {
			p, err := c.read(deadline)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("probe %s on %s: %w", a, ifname, ctx.Err())
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("probe %s on %s: %w", a, ifname, err)
			}
			if conflicts(p, a, c.mac, true) {
				return p.SenderMAC, nil
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

// Announce tells every host on the link, once, that a is at ifname's MAC: as a request, which RFC 5227 prefers, and as a reply,
// which some switches and older hosts wait for.
func Announce(ifname string, a netip.Addr) error {
	c, err := listen(ifname)
	if err != nil {
		return fmt.Errorf("announce %s: %w", a, err)
	}
	defer c.close()
	return c.announce(a)
}

func (c *conn) announce(a netip.Addr) error {
	p := Packet{To: broadcast, From: c.mac, Operation: Request, SenderMAC: c.mac, SenderIP: a, TargetMAC: make(net.HardwareAddr, 6), TargetIP: a}
	if err := c.send(p); err != nil {
		return fmt.Errorf("announce %s: %w", a, err)
	}
	p.Operation, p.TargetMAC = Reply, broadcast
	if err := c.send(p); err != nil {
		return fmt.Errorf("announce %s: %w", a, err)
	}
	return nil
}

// Watch listens on ifname until ctx ends. Whenever another host claims a, which ifname holds, found is told its MAC and the address is announced
// again (RFC 5227, 2.4 b), at most once in ten seconds.
func Watch(ctx context.Context, ifname string, a netip.Addr, found func(net.HardwareAddr)) error {
	c, err := listen(ifname)
	if err != nil {
		return fmt.Errorf("watch %s: %w", a, err)
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	var last time.Time
	for {
		p, err := c.read(time.Time{})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch %s on %s: %w", a, ifname, err)
		}
		if !conflicts(p, a, c.mac, false) || time.Since(last) < 10*time.Second {
			continue
		}
		last = time.Now()
		found(p.SenderMAC)
		if err := c.announce(a); err != nil {
			return err
		}
	}
}
