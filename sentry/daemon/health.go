package daemon

import (
	"context"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/watch/health"
)

// healthFacts is what init last told that the watch over this server's health needs.
func (d *Daemon) healthFacts() health.Facts {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := health.Facts{Inventory: d.own.inventory}
	if st := d.own.state; st != nil {
		f.Kind, f.Serving = st.Kind, st.State == initapi.Serving && st.Set != nil
	}
	return f
}

func (d *Daemon) watchHealth(ctx context.Context) error {
	if d.health == nil {
		return nil
	}
	return d.health.Run(ctx)
}
