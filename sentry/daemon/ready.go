package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/accept"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/rehearsal"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

// acceptedFile keeps accepted findings on the state partition.
const acceptedFile = "accepted.json"

// judgedFor is how long a judgement is one. It is made every two seconds.
const judgedFor = 15 * time.Second

// Rehearsal is how it stands with rehearsals on this server.
type Rehearsal struct {
	Running *rehearsal.Running `json:"running,omitempty"`
	Last    *ledger.Entry      `json:"last,omitempty"` // newest that is over
	Refused string             `json:"refused,omitempty"`
}

// readyAPI answers what serveAdmin's comment lists of readiness, starts and accepted findings.
func (d *Daemon) readyAPI(mux *http.ServeMux) {
	whoAsked := whoAsks("/")
	mux.HandleFunc("GET /v1/ready", func(w http.ResponseWriter, _ *http.Request) {
		s := d.judged.Load()
		if s == nil || time.Since(s.At) > judgedFor {
			replyStatus(w, http.StatusServiceUnavailable, errors.New("sentry has not judged the site lately; if it stays so: atlas service restart sentry"))
			return
		}
		reply(w, s.Readiness, nil)
	})
	mux.HandleFunc("GET /v1/ledger", func(w http.ResponseWriter, _ *http.Request) { reply(w, d.Ledger(), nil) })
	mux.HandleFunc("GET /v1/rehearsal", func(w http.ResponseWriter, _ *http.Request) { reply(w, d.rehearsal(), nil) })
	mux.HandleFunc("POST /v1/rehearse", func(w http.ResponseWriter, r *http.Request) {
		var order struct {
			Services []string `json:"services"`
		}
		if err := body(r, &order); err != nil {
			replyStatus(w, http.StatusBadRequest, err)
			return
		}
		o, err := d.starts.Rehearse(r.Context(), order.Services, person(whoAsked(r)))
		if err != nil {
			replyStatus(w, http.StatusConflict, err)
			return
		}
		reply(w, o, nil)
	})
	mux.HandleFunc("GET /v1/accepted", func(w http.ResponseWriter, _ *http.Request) { reply(w, d.accepted.List(), nil) })
	mux.HandleFunc("POST /v1/accept", func(w http.ResponseWriter, r *http.Request) {
		var order struct {
			Finding string    `json:"finding"`
			Why     string    `json:"why"`
			Until   time.Time `json:"until"`
		}
		if err := body(r, &order); err != nil {
			replyStatus(w, http.StatusBadRequest, err)
			return
		}
		a, err := d.accept(accept.Acceptance{Finding: order.Finding, Why: strings.TrimSpace(order.Why), Until: order.Until.UTC(), Who: person(whoAsked(r))})
		answerOrder(w, a, err)
	})
	mux.HandleFunc("POST /v1/accept/end", func(w http.ResponseWriter, r *http.Request) {
		var order struct {
			Finding string `json:"finding"`
		}
		if err := body(r, &order); err != nil {
			replyStatus(w, http.StatusBadRequest, err)
			return
		}
		who := person(whoAsked(r))
		a, err := d.accepted.End(order.Finding, who, time.Now().UTC())
		if err == nil {
			d.log.Info("finding not accepted any more", "finding", a.Finding, "who", who)
			d.hub.publish()
		}
		answerOrder(w, a, err)
	})
}

func answerOrder(w http.ResponseWriter, v any, err error) {
	if err != nil {
		replyStatus(w, http.StatusConflict, err)
		return
	}
	reply(w, v, nil)
}

// person is who somebody is, by the login: "anna, from 10.7.0.50".
func person(w state.Who) string {
	name := w.Login
	if name == "" {
		name = w.User
	}
	if name == "" {
		name = "somebody at the server"
	}
	if w.From != "" {
		name += ", from " + w.From
	}
	return state.Printable(name)
}

// accept takes in that somebody accepts a finding that there is now.
func (d *Daemon) accept(a accept.Acceptance) (accept.Acceptance, error) {
	now := time.Now().UTC()
	if err := a.Check(now); err != nil {
		return a, err
	}
	f, why, ok := d.Site().Known(a.Finding)
	switch {
	case !ok:
		return a, fmt.Errorf("there is no finding %.80q now; `atlas findings` lists them with their names", a.Finding)
	case why != "":
		return a, fmt.Errorf("%.80q cannot be accepted: %s", a.Finding, why)
	}
	a.Severity, a.What, a.Server, a.At = f.Severity, f.What, d.server.Name, now
	if err := d.accepted.Accept(a); err != nil {
		return a, err
	}
	d.log.Warn("finding accepted", "finding", a.Finding, "who", a.Who, "why", a.Why, "until", a.Until)
	d.hub.publish()
	return a, nil
}

// learnAccepted takes in what the other servers know of accepted findings.
func (d *Daemon) learnAccepted() {
	var lists [][]accept.Acceptance
	d.mu.Lock()
	for _, o := range d.others {
		if o.report != nil && time.Since(o.seen) < site.FreshFor {
			lists = append(lists, o.report.Accepted)
		}
	}
	d.mu.Unlock()
	for _, l := range lists {
		if _, err := d.accepted.Merge(l, time.Now()); err != nil {
			d.log.Warn("accepted findings", "err", err)
		}
	}
}

// Ledger is every start that this server's set knows, with what the others tell of theirs, the newest first.
func (d *Daemon) Ledger() []ledger.Entry {
	var own []ledger.Entry
	if b := d.starts.ledger(); b != nil {
		own, _ = b.List()
	}
	return ledger.Merge(own, d.Site().Ledger)
}

func (d *Daemon) rehearsal() Rehearsal {
	out := Rehearsal{Running: d.starts.runner.Running()}
	d.starts.mu.Lock()
	out.Refused = d.starts.refused
	d.starts.mu.Unlock()
	if b := d.starts.ledger(); b != nil {
		list, _ := b.List()
		for _, e := range list {
			if e.Kind == ledger.Rehearsal && !e.Done.IsZero() {
				out.Last = &e
				break
			}
		}
	}
	return out
}
