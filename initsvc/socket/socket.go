// Package socket serves what sentry and the admin's command ask of init: sentry/initapi over HTTP on a Unix socket that only
// root may open. It holds no state; a Server behind it does.
package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// Server answers. Errors of type *Refusal are the caller's fault, all others init's.
type Server interface {
	State(ctx context.Context) initapi.State
	Boot(ctx context.Context) initapi.BootReport
	Boots(ctx context.Context) ([]initapi.BootReport, error) // kept ones, newest first
	Inventory(ctx context.Context) (json.RawMessage, error)
	Service(ctx context.Context, name, verb string) (note string, err error)
	ReloadSite(ctx context.Context) (note string, err error)
	Power(ctx context.Context, r initapi.PowerRequest) error
	Add(ctx context.Context, r initapi.AddRequest) error
	Order(ctx context.Context, o roles.Order) error
	Rehearse(ctx context.Context, r initapi.RehearseRequest) error
	Commit(ctx context.Context, r initapi.CommitRequest) (initapi.Committed, error)
}

// Refusal is an error with an HTTP status below 500: the request cannot be done as it is.
type Refusal struct {
	Status int
	Msg    string // "what is wrong; what to do"
}

func (r *Refusal) Error() string { return r.Msg }

// Refuse returns a Refusal with status 409, conflict with the server's state.
func Refuse(format string, args ...any) error {
	return &Refusal{Status: http.StatusConflict, Msg: fmt.Sprintf(format, args...)}
}

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// Serve listens at path until ctx ends.
func Serve(ctx context.Context, path string, s Server, lg *slog.Logger) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("init socket: %w", err)
	}
	_ = os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("init socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return fmt.Errorf("init socket: %w", err)
	}
	srv := &http.Server{
		Handler:           Handler(s),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		if lg != nil {
			lg.Error("init socket", "err", err)
		}
		return fmt.Errorf("init socket: %w", err)
	}
	return nil
}

// Handler is the HTTP side alone.
func Handler(s Server) http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func(ctx context.Context) (any, error)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			v, err := f(r.Context())
			answer(w, v, err)
		})
	}
	get("/v1/state", func(ctx context.Context) (any, error) { return s.State(ctx), nil })
	get("/v1/boot", func(ctx context.Context) (any, error) { return s.Boot(ctx), nil })
	get("/v1/boots", func(ctx context.Context) (any, error) { return s.Boots(ctx) })
	get("/v1/inventory", func(ctx context.Context) (any, error) { return s.Inventory(ctx) })
	mux.HandleFunc("POST /v1/services/{name}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		// Whoever asked may go away: a restart that was begun is ended.
		note, err := s.Service(context.WithoutCancel(r.Context()), r.PathValue("name"), r.PathValue("verb"))
		answer(w, initapi.Done{OK: true, Note: note}, err)
	})
	mux.HandleFunc("POST /v1/site/reload", func(w http.ResponseWriter, r *http.Request) {
		note, err := s.ReloadSite(r.Context())
		answer(w, initapi.Done{OK: true, Note: note}, err)
	})
	post(mux, "/v1/power", s.Power)
	post(mux, "/v1/set/add", s.Add)
	post(mux, "/v1/set/order", s.Order)
	post(mux, "/v1/rehearse", s.Rehearse)
	mux.HandleFunc("POST /v1/data/commit", func(w http.ResponseWriter, r *http.Request) {
		var in initapi.CommitRequest
		if err := decode(r.Body, &in); err != nil {
			answer(w, nil, &Refusal{Status: http.StatusBadRequest, Msg: "the request is not understood: " + err.Error()})
			return
		}
		// Whoever asked may go away: what was begun is ended.
		out, err := s.Commit(context.WithoutCancel(r.Context()), in)
		answer(w, out, err)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, &Refusal{Status: http.StatusNotFound, Msg: "init does not know " + r.Method + " " + r.URL.Path})
	})
	return mux
}

// post registers a request whose body is one strict JSON object.
func post[T any](mux *http.ServeMux, path string, f func(context.Context, T) error) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var in T
		if err := decode(r.Body, &in); err != nil {
			answer(w, nil, &Refusal{Status: http.StatusBadRequest, Msg: "the request is not understood: " + err.Error()})
			return
		}
		answer(w, initapi.Done{OK: true}, f(r.Context(), in))
	})
}

func decode(r io.Reader, out any) error {
	data, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return err
	}
	if len(data) > maxBody {
		return fmt.Errorf("more than %d bytes", maxBody)
	}
	return json.Unmarshal(data, out)
}

func answer(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		status = http.StatusInternalServerError
		if r, ok := errors.AsType[*Refusal](err); ok {
			status = r.Status
		}
		v = map[string]string{"error": err.Error()}
	}
	data, err := json.Marshal(v)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error":"init cannot encode its answer"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n'))
}
