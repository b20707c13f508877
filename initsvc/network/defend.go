package network

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sayasystems.com/atlas/initsvc/network/arp"
	"sayasystems.com/atlas/roles"
)

// Defend repeats the announcement two seconds after Raise (RFC 5227, 2.3) and from then on, until ctx ends, answers every
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
	link, err := arp.Open(Service)
	if err != nil {
		return fmt.Errorf("watch the service address: %w", err)
	}
	defer link.Close()
	again := make(chan struct{}, 1)
	second := time.AfterFunc(2*time.Second, func() { again <- struct{}{} })
	defer second.Stop()
	return link.Watch(ctx, addrs(svc.all), again, func(c arp.Claim) {
		log.Error("service address claimed by another machine", "address", c.Address, "mac", c.MAC)
		found(ErrConflict{Address: c.Address, MAC: c.MAC})
	})
}
