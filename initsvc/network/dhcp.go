package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
)

// Lease is a management address that DHCP (RFC 2131) gave.
type Lease struct {
	Address  netip.Prefix
	Gateway  netip.Addr
	DNS      []netip.Addr
	Server   netip.Addr
	Renew    time.Time // when Keep asks again
	Expires  time.Time
	received *nclient4.Lease
}

// askLease gets a lease for ifname: three tries with growing patience, a quarter of a minute in all.
func askLease(ctx context.Context, ifname string) (*Lease, error) {
	c, err := nclient4.New(ifname, nclient4.WithTimeout(2*time.Second), nclient4.WithRetry(3))
	if err != nil {
		return nil, fmt.Errorf("ask for an address by DHCP on %s: %w", ifname, err)
	}
	defer func() { _ = c.Close() }()
	got, err := c.Request(ctx)
	if err != nil {
		return nil, fmt.Errorf("no address by DHCP on %s: %w; is a DHCP server in this network? Else give a static address in management.address of server.yaml", ifname, err)
	}
	return readLease(got)
}

// readLease takes from the server's answer what we use. The answer is outside bytes: everything is checked.
func readLease(got *nclient4.Lease) (*Lease, error) {
	ack := got.ACK
	l := &Lease{received: got}
	a, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		return nil, fmt.Errorf("DHCP gave the unusable address %s", ack.YourIPAddr)
	}
	bits := 24
	if mask := ack.SubnetMask(); mask != nil {
		ones, size := mask.Size()
		if size != 32 || ones == 0 {
			return nil, fmt.Errorf("DHCP gave the unusable network mask %s", net.IP(mask))
		}
		bits = ones
	}
	l.Address = netip.PrefixFrom(a, bits)
	for _, r := range ack.Router() {
		if g, ok := netip.AddrFromSlice(r.To4()); ok && l.Address.Contains(g) {
			l.Gateway = g
			break
		}
	}
	for _, d := range ack.DNS() {
		if s, ok := netip.AddrFromSlice(d.To4()); ok {
			l.DNS = append(l.DNS, s)
		}
	}
	if s, ok := netip.AddrFromSlice(ack.ServerIdentifier().To4()); ok {
		l.Server = s
	}
	life := max(ack.IPAddressLeaseTime(time.Hour), time.Minute)
	renew := ack.IPAddressRenewalTime(life / 2)
	if renew <= 0 || renew >= life {
		renew = life / 2
	}
	l.Expires, l.Renew = got.CreationTime.Add(life), got.CreationTime.Add(renew)
	return l, nil
}

// management puts the lease under what the configuration already says.
func (l *Lease) management(m Management) Management {
	m.Address, m.Lease = l.Address, l
	if !m.Gateway.IsValid() {
		m.Gateway = l.Gateway
	}
	if len(m.DNS) == 0 {
		m.DNS = l.DNS
	}
	return m
}

// Keep renews m's lease until ctx ends; without one it only waits. When the server refuses or the lease ends, it asks for a new one; when that has another
// address, Keep configures nothing and returns an error, since ssh, the dashboard, the fence and the peers all know the old one.
func Keep(ctx context.Context, m Management, log *slog.Logger) error {
	if m.Lease == nil {
		<-ctx.Done()
		return nil
	}
	lease := m.Lease
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(time.Until(lease.Renew), time.Second)):
		}
		next, err := renew(ctx, m.Interface, lease)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err != nil && time.Now().After(lease.Expires):
			return fmt.Errorf("the DHCP lease of %s has ended and was not renewed: %w", lease.Address.Addr(), err)
		case err != nil:
			// Half of what is left, as RFC 2131 4.4.5 says, and not more often than once a minute.
			lease.Renew = time.Now().Add(max(time.Until(lease.Expires)/2, time.Minute))
			log.Warn("renew DHCP lease", "interface", m.Interface, "address", lease.Address, "err", err, "again", lease.Renew)
		case next.Address != lease.Address:
			return fmt.Errorf("DHCP wants to change the management address from %s to %s; reserve the address in the DHCP server or set it in server.yaml, then restart this server", lease.Address, next.Address)
		default:
			lease = next
			log.Debug("DHCP lease renewed", "interface", m.Interface, "address", lease.Address, "until", lease.Expires)
		}
	}
}

func renew(ctx context.Context, ifname string, l *Lease) (*Lease, error) {
	if _, err := netlink.LinkByName(ifname); err != nil {
		return nil, fmt.Errorf("find network interface %s: %w", ifname, err)
	}
	c, err := nclient4.New(ifname, nclient4.WithTimeout(2*time.Second), nclient4.WithRetry(3))
	if err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	defer func() { _ = c.Close() }()
	got, err := c.Renew(ctx, l.received)
	var nak *nclient4.ErrNak
	if errors.As(err, &nak) || time.Now().After(l.Expires) {
		// Ask for the same address again before taking another.
		got, err = c.Request(ctx, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(l.Address.Addr().AsSlice())))
	}
	if err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	return readLease(got)
}
