package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// serveAdmin answers the command atlas on a Unix socket that only root may open:
//
//	GET  /v1/status              site.Site
//	POST /v1/join-code?renew=1   peers.Offer
func (d *Daemon) serveAdmin(ctx context.Context) error {
	if err := removeSocket(d.cfg.AdminSocket + ".new"); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", d.cfg.AdminSocket+".new")
	if err != nil {
		return fmt.Errorf("serve the command atlas: %w", err)
	}
	// Under its name only once nobody else may open it.
	if err := os.Chmod(d.cfg.AdminSocket+".new", 0o600); err != nil {
		return fmt.Errorf("serve the command atlas: %w", err)
	}
	if err := os.Rename(d.cfg.AdminSocket+".new", d.cfg.AdminSocket); err != nil {
		return fmt.Errorf("serve the command atlas: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, d.Site(), nil) })
	mux.HandleFunc("POST /v1/join-code", func(w http.ResponseWriter, r *http.Request) {
		off, err := d.JoinCode(r.URL.Query().Get("renew") != "")
		reply(w, off, err)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && !closed(err) {
		return fmt.Errorf("serve the command atlas: %w", err)
	}
	return nil
}

func reply(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		v = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(v) // whoever asked is gone
}
