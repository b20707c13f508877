package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/verify"
	"sayasystems.com/atlas/sentry/verify/past"
)

// recorder keeps what this server's probes find on the set that it has started, for as long as that serves.
type recorder struct {
	mu    sync.Mutex
	store *past.Store // nil while no set serves
}

var errNoRecord = errors.New("what probes found is kept on the disk set, and none serves on this server")

// run follows the set until ctx ends.
func (r *recorder) run(ctx context.Context, d *Daemon) error {
	said := ""
	for ctx.Err() == nil {
		if id := servingSet(d); id != "" {
			if err := r.keep(ctx, d, id); err != nil && err.Error() != said { // once, not every two seconds
				said = err.Error()
				d.log.Error("what probes find is not kept", "err", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
	return nil
}

// keep writes while set id serves.
func (r *recorder) keep(ctx context.Context, d *Daemon, id string) error {
	store, err := past.Open(filepath.Join(d.cfg.SetDir, layout.SetSentry, "past"), nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.use(store)
	defer r.use(nil)
	go func() {
		t := time.NewTicker(pollEvery)
		defer t.Stop()
		for ctx.Err() == nil {
			if servingSet(d) != id {
				cancel() // which has the rest written
			}
			select {
			case <-ctx.Done():
			case <-t.C:
			}
		}
	}()
	store.Run(ctx, d.log)
	return nil
}

// servingSet is the ID of the set that serves here; "" if none does, or it is not known.
func servingSet(d *Daemon) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if st := d.own.state; st != nil && st.State == initapi.Serving && st.Set != nil {
		return st.Set.ID
	}
	return ""
}

func (r *recorder) use(s *past.Store) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store = s
}

func (r *recorder) now() *past.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.store
}

// ran takes each run of a probe.
func (r *recorder) ran(res verify.Result) {
	if s := r.now(); s != nil {
		s.Add(past.Of(res), res.At, res.Status, res.Duration)
	}
}

// Past gives what this server's probes found in [from, to), by the minute or by the hour, for graphs: of all series that which picks.
func (d *Daemon) Past(from, to time.Time, step time.Duration, which func(past.Series) bool) ([]past.Line, error) {
	s := d.record.now()
	if s == nil {
		return nil, errNoRecord
	}
	return s.Read(from, to, step, which)
}

// servePast answers GET /v1/past.
func (d *Daemon) servePast(w http.ResponseWriter, r *http.Request) {
	from, to, step, which, err := pastQuery(r.URL.Query(), time.Now())
	if err != nil {
		replyStatus(w, http.StatusBadRequest, err)
		return
	}
	lines, err := d.Past(from, to, step, which)
	if errors.Is(err, errNoRecord) {
		replyStatus(w, http.StatusServiceUnavailable, err)
		return
	}
	reply(w, lines, err)
}

func pastQuery(q url.Values, now time.Time) (from, to time.Time, step time.Duration, which func(past.Series) bool, err error) {
	from, to, step = now.Add(-24*time.Hour), now, time.Hour
	for key, at := range map[string]*time.Time{"from": &from, "to": &to} {
		if v := q.Get(key); v != "" {
			if *at, err = time.Parse(time.RFC3339, v); err != nil {
				return from, to, 0, nil, fmt.Errorf("%s must be a time such as 2026-03-04T05:06:07Z", key)
			}
		}
	}
	switch q.Get("step") {
	case "", "hour":
	case "minute":
		step = time.Minute
		if to.Sub(from) > 24*time.Hour {
			return from, to, 0, nil, errors.New("by the minute a day at most can be asked for")
		}
	default:
		return from, to, 0, nil, errors.New("step must be hour or minute")
	}
	which = func(s past.Series) bool {
		for key, v := range map[string]string{"observer": s.Observer, "target": s.Target, "service": s.Service, "probe": s.Probe} {
			if want := q.Get(key); want != "" && want != v {
				return false
			}
		}
		return true
	}
	return from, to, step, which, nil
}
