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
//	GET  /v1/past                []past.Line; ?from=2026-03-04T05:06:07Z (a day ago) &to= (now) &step=hour|minute &observer= &target= &service= &probe=
//	GET  /v1/sync                state.Status
//	GET  /v1/history             []state.Event, the newest first; ?path= (without the first /) &limit=50 &before=COMMIT &local=1 &line=kept-…
//	GET  /v1/history/{commit}    state.Shown; ?path=
//	GET  /v1/diff                {"patch": "…"}; ?from=COMMIT &to=COMMIT (the newest) &path=
//	GET  /v1/blame               state.Blame; ?path=
//	POST /v1/rollback            state.Rollback → state.RolledBack
//	POST /v1/release             {"commit": "…"} (state.Held.Commit as it was seen) → state.Commit, the newest that is sent on
//	POST /v1/resync              state.Resync → state.Resynced
//	GET  /v1/ready               site.Readiness, as it was judged seconds ago; 503 if it was not
//	GET  /v1/ledger              []ledger.Entry of the set that is started here and what other servers tell, the newest first
//	GET  /v1/rehearsal           Rehearsal: how it stands
//	POST /v1/rehearse            {"services": […]} → rehearsal.Order; none = all. It has begun; what becomes of it is in the ledger
//	GET  /v1/accepted            []accept.Acceptance
//	POST /v1/accept              {"finding": "…", "why": "…", "until": TIME} → accept.Acceptance
//	POST /v1/accept/end          {"finding": "…"} → accept.Acceptance
//	POST /v1/findings/ack        {"id": "…"} → initapi.Finding, which tells of what has happened and is ended
//
// COMMIT is the start of a commit's name, HEAD, HEAD~2, or a time. Errors are {"error": "what is wrong; what to do"} with a status of 4xx
// where the request is wrong or things stand otherwise (409), 503 while no disk set serves, and 500.
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
	mux.HandleFunc("GET /v1/past", d.servePast)
	d.readyAPI(mux)
	mux.HandleFunc("POST /v1/join-code", func(w http.ResponseWriter, r *http.Request) {
		off, err := d.JoinCode(r.URL.Query().Get("renew") != "")
		reply(w, off, err)
	})
	changesAPI{who: whoAsks("/"), now: func() (changes, error) {
		e, err := d.sync.now()
		if err != nil {
			return nil, err
		}
		return e, nil
	}}.mount(mux)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ConnContext: withAsker}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && !closed(err) {
		return fmt.Errorf("serve the command atlas: %w", err)
	}
	return nil
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		replyStatus(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // whoever asked is gone
}
