package daemon

import (
	"context"
	"net"
	"strings"

	"sayasystems.com/atlas/sentry/report"
)

// servePage serves the dashboard on l until ctx ends. Its certificate names the address that l listens on.
func (d *Daemon) servePage(ctx context.Context, l net.Listener) error {
	host, _, _ := strings.Cut(l.Addr().String(), "%")
	if h, _, err := net.SplitHostPort(l.Addr().String()); err == nil {
		host = h
	}
	cert, err := report.Certificate(d.cfg.StateDir, d.server.Name, host)
	if err != nil {
		return err
	}
	h, err := report.New(d, report.Options{Log: d.log})
	if err != nil {
		return err
	}
	return report.Serve(ctx, l, cert, h, d.log)
}
