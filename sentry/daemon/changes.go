package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/sentry/report"
	"sayasystems.com/atlas/sentry/sync/engine"
	"sayasystems.com/atlas/sentry/sync/history"
	"sayasystems.com/atlas/sentry/sync/snapshot"
	"sayasystems.com/atlas/sentry/sync/state"
	"sayasystems.com/atlas/sentry/sync/watch"
)

// changes is what the administrator's socket asks of the Synchronizer.
type changes interface {
	report.Changes
	Diff(from, to string, path state.Path) (string, error)
	Status() state.Status
}

// Changes gives who knows the history of changes, or why nobody does.
func (d *Daemon) Changes() (report.Changes, error) {
	e, err := d.sync.now()
	if err != nil {
		return nil, err
	}
	return e, nil
}

// changesAPI answers what serveAdmin's comment lists of changes.
type changesAPI struct {
	now func() (changes, error)
	who func(*http.Request) state.Who
}

func (a changesAPI) mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/history", a.with(a.history))
	mux.HandleFunc("GET /v1/history/{id}", a.with(func(c changes, r *http.Request) (any, error) {
		path, err := queryPath(r)
		if err != nil {
			return nil, err
		}
		return c.Show(r.PathValue("id"), path)
	}))
	mux.HandleFunc("GET /v1/diff", a.with(func(c changes, r *http.Request) (any, error) {
		path, err := queryPath(r)
		if err != nil {
			return nil, err
		}
		text, err := c.Diff(r.URL.Query().Get("from"), r.URL.Query().Get("to"), path)
		return map[string]state.Text{"patch": state.Text(text)}, err
	}))
	mux.HandleFunc("GET /v1/blame", a.with(func(c changes, r *http.Request) (any, error) {
		path, err := queryPath(r)
		if err == nil && path == "" {
			err = badRequest("which file?")
		}
		if err != nil {
			return nil, err
		}
		return c.Blame(path)
	}))
	mux.HandleFunc("GET /v1/sync", a.with(func(c changes, _ *http.Request) (any, error) { return c.Status(), nil }))
	mux.HandleFunc("POST /v1/rollback", a.with(func(c changes, r *http.Request) (any, error) {
		var order state.Rollback
		if err := body(r, &order); err != nil {
			return nil, err
		}
		if err := order.Check(); err != nil {
			return nil, badRequest(err.Error())
		}
		return c.Rollback(r.Context(), order, a.who(r))
	}))
	mux.HandleFunc("POST /v1/release", a.with(func(c changes, r *http.Request) (any, error) {
		var order struct {
			Commit string `json:"commit"`
		}
		if err := body(r, &order); err != nil {
			return nil, err
		}
		return c.Release(r.Context(), order.Commit, a.who(r))
	}))
	mux.HandleFunc("POST /v1/resync", a.with(func(c changes, r *http.Request) (any, error) {
		var order state.Resync
		if err := body(r, &order); err != nil {
			return nil, err
		}
		return c.Resync(r.Context(), order, a.who(r))
	}))
	mux.HandleFunc("POST /v1/findings/ack", a.with(func(c changes, r *http.Request) (any, error) {
		var order struct {
			ID string `json:"id"`
		}
		if err := body(r, &order); err != nil {
			return nil, err
		}
		return c.Acknowledge(order.ID)
	}))
}

func (a changesAPI) history(c changes, r *http.Request) (any, error) {
	v := r.URL.Query()
	q := state.Query{Before: v.Get("before"), Local: v.Get("local") != "", Line: state.Branch(v.Get("line"))}
	var err error
	if q.Path, err = queryPath(r); err != nil {
		return nil, err
	}
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 {
			return nil, badRequest("limit is a number from 1 to 1000")
		}
	}
	return c.Events(q)
}

// with answers by f, or says why that cannot be.
func (a changesAPI) with(f func(changes, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := a.now()
		if err != nil {
			replyStatus(w, http.StatusServiceUnavailable, err)
			return
		}
		v, err := f(c, r)
		var bad badRequest
		var hidden *history.NotShownError
		switch {
		case err == nil:
			reply(w, v, nil)
		case errors.As(err, &bad):
			replyStatus(w, http.StatusBadRequest, err)
		case errors.Is(err, history.ErrNotFound):
			replyStatus(w, http.StatusNotFound, err)
		case errors.As(err, &hidden):
			replyStatus(w, http.StatusForbidden, err)
		case engine.Stands(err):
			replyStatus(w, http.StatusConflict, err)
		default:
			replyStatus(w, http.StatusInternalServerError, err)
		}
	}
}

// badRequest is what is wrong with a request, in words.
type badRequest string

func (b badRequest) Error() string { return string(b) }

// queryPath is the path that a request is about; "" is everything.
func queryPath(r *http.Request) (state.Path, error) {
	p := state.Path(r.URL.Query().Get("path"))
	if p == "" {
		return "", nil
	}
	if err := p.Check(); err != nil {
		return "", badRequest(err.Error())
	}
	return p, nil
}

func body(r *http.Request, out any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return badRequest("the request is no order that is known here: " + err.Error())
	}
	return nil
}

// asker is who holds the other end of the administrator's socket, as unix(7) tells it.
type asker struct{}

func withAsker(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, asker{}, cred)
}

// whoAsks words it as changes are attributed: the program, and the person who started it.
func whoAsks(root string) func(*http.Request) state.Who {
	names := snapshot.NewNames(root)
	return func(r *http.Request) state.Who {
		cred, ok := r.Context().Value(asker{}).(*unix.Ucred)
		if !ok {
			return state.Who{Program: "atlas"}
		}
		who := watch.Author(int(cred.Pid), names.User)
		if who == (state.Who{}) {
			who = state.Who{Program: "atlas", PID: int(cred.Pid), User: names.User(cred.Uid)}
		}
		return who
	}
}

func replyStatus(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": fmt.Sprint(err)}) // whoever asked is gone
}
