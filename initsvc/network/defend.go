package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/network/arp"
	"sayasystems.com/atlas/initsvc/network/ndp"
	"sayasystems.com/atlas/roles"
)

// Defend repeats the announcement two seconds after Raise (RFC 5227, 2.3) and whenever the cable or a bond's NIC changes, and from then on, until ctx ends, answers every
// machine that claims a primary's service address and tells found about it. On a secondary it only waits.
func Defend(ctx context.Context, p Plan, log *slog.Logger, found func(ErrConflict)) error {
	svc, err := p.parse()
	if err != nil {
		return err
	}
	if p.Role != roles.Primary {
		<-ctx.Done()
		return nil
	}
	four, err := arp.Open(Service)
	if err != nil {
		return fmt.Errorf("watch the service address: %w", err)
	}
	defer four.Close()
	claimed := func(a netip.Addr, mac net.HardwareAddr) {
		log.Error("service address claimed by another machine", "address", a, "mac", mac)
		found(ErrConflict{Address: a, MAC: mac})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	again4, again6, ended6 := make(chan struct{}, 1), make(chan struct{}, 1), make(chan error, 1)
	announce := func() {
		for _, c := range []chan struct{}{again4, again6} {
			select {
			case c <- struct{}{}:
			default: // is to be done anyway
			}
		}
	}
	second := time.AfterFunc(2*time.Second, announce)
	defer second.Stop()
	if err := onNewPath(ctx, p.Management.Interface, announce); err != nil {
		log.Warn("a new path to the switch will not be announced", "err", err)
	}
	if svc.prefix6.IsValid() {
		six, err := ndp.Open(Service, svc.prefix6.Addr())
		if err != nil {
			return fmt.Errorf("watch the service address: %w", err)
		}
		defer six.Close()
		go func() {
			ended6 <- six.Watch(ctx, []netip.Addr{svc.prefix6.Addr()}, again6, func(c ndp.Claim) { claimed(c.Address, c.MAC) })
			cancel()
		}()
	} else {
		ended6 <- nil
	}
	err = four.Watch(ctx, addrs(svc.all), again4, func(c arp.Claim) { claimed(c.Address, c.MAC) })
	cancel()
	return errors.Join(err, <-ended6)
}

// onNewPath calls announce whenever the way to the switch may be another one: the cable comes back, or a bond uses its other NIC. The switch and the
// clients learn at once where the service MAC is then.
func onNewPath(ctx context.Context, ifname string, announce func()) error {
	nic, err := netlink.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("find network interface %s: %w", ifname, err)
	}
	updates := make(chan netlink.LinkUpdate, 16)
	if err := netlink.LinkSubscribe(updates, ctx.Done()); err != nil {
		return fmt.Errorf("watch network interfaces: %w", err)
	}
	last := path(nic)
	go func() {
		for u := range updates { // ends with ctx
			if int(u.Index) != nic.Attrs().Index || u.Link == nil {
				continue
			}
			now := path(u.Link)
			if now != last && now.link {
				announce()
			}
			last = now
		}
	}()
	return nil
}

// way is what tells one path to the switch from another.
type way struct {
	link   bool
	active int // of a bond: the NIC in use
}

func path(l netlink.Link) way {
	w := way{link: l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0}
	if b, ok := l.(*netlink.Bond); ok {
		w.active = b.ActiveSlave
	}
	return w
}

// Conflicts looks, until ctx ends, for other machines with the management address and tells found about each. The address is used all the
// same: a server that cannot be reached because of another machine's mistake would help nobody.
func Conflicts(ctx context.Context, m Management, found func(ErrConflict)) error {
	link, err := arp.Open(m.Interface)
	if err != nil {
		return fmt.Errorf("watch the management address: %w", err)
	}
	defer link.Close()
	as := []netip.Addr{m.Address.Addr()}
	// The question of RFC 5227 changes nobody's ARP table, ours neither.
	claim, err := link.Probe(ctx, as, arp.Timing{})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch the management address: %w", err)
	}
	if claim != nil {
		found(ErrConflict{Address: claim.Address, MAC: claim.MAC})
	}
	return link.Watch(ctx, as, nil, func(c arp.Claim) { found(ErrConflict{Address: c.Address, MAC: c.MAC}) })
}
