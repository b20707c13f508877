package report

import (
	"context"
	"errors"
	"net/http"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Changes is what the page asks of the Synchronizer. Texts come with secrets left out; names and texts may hold any byte.
type Changes interface {
	Events(q state.Query) ([]state.Event, error)
	Show(commit string, path state.Path) (state.Shown, error)
	Blame(path state.Path) (state.Blame, error)
	Rollback(ctx context.Context, r state.Rollback, who state.Who) (state.RolledBack, error)
	Release(ctx context.Context, commit string, who state.Who) (state.Commit, error)
	Resync(ctx context.Context, r state.Resync, who state.Who) (state.Resynced, error)
	Acknowledge(finding string) (initapi.Finding, error)
}

const perPage = 50

// changesRoutes are the pages about changes. What they are about stands in the query, percent-encoded: a path may hold any byte, and a form's
// fields only text.
func (p *Page) changesRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /changes", p.seen(p.asked(http.StatusNotFound, p.changeList)))
	mux.HandleFunc("GET /changes/{commit}", p.seen(p.asked(http.StatusNotFound, p.change)))
	mux.HandleFunc("GET /blame", p.seen(p.asked(http.StatusNotFound, p.blame)))
	mux.HandleFunc("POST /changes/rollback", p.session(p.ordered(p.asked(http.StatusConflict, p.rollback))))
	mux.HandleFunc("POST /changes/release", p.session(p.ordered(p.asked(http.StatusConflict, p.release))))
	mux.HandleFunc("POST /changes/resync", p.session(p.ordered(p.asked(http.StatusConflict, p.resync))))
	mux.HandleFunc("POST /findings/ack", p.session(p.ordered(p.asked(http.StatusConflict, p.acknowledge))))
}

// seen shows a page to a session, or else asks for the password.
func (p *Page) seen(h func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := p.gate.session(r)
		if !ok {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		h(w, r, s)
	}
}

// ordered lets only forms of the session's own pages through.
func (p *Page) ordered(h func(http.ResponseWriter, *http.Request, *session)) func(http.ResponseWriter, *http.Request, *session) {
	return func(w http.ResponseWriter, r *http.Request, s *session) {
		if !s.token(r) {
			http.Error(w, "This form is too old. Go back and reload the page.", http.StatusForbidden)
			return
		}
		h(w, r, s)
	}
}

// frame is what every page about changes has.
type frame struct {
	Site, Server, Token, Title string
	Primary                    bool   // changes can be rolled back here
	Elsewhere, URL             string // the primary and its page, on a secondary
	Held                       *heldView
	Apart                      *apartView
}

func (p *Page) frame(s *session, title string) frame {
	st := p.src.Site()
	f := frame{Site: st.Name, Server: st.Server, Token: s.csrf, Title: title}
	if f.Site == "" {
		f.Site = "This site"
	}
	f.Held, f.Apart = heldOf(st), apartOf(st)
	f.Primary, f.Elsewhere, f.URL = placeOf(st)
	return f
}

// placeOf tells whether this server is the primary, and else which one is.
func placeOf(st site.Site) (here bool, name, url string) {
	for _, v := range st.ByRole(roles.Primary) {
		if v.Self {
			return true, "", ""
		}
		name = v.Name
		if v.Address != "" {
			url = "https://" + v.Address + ":8443/changes"
		}
	}
	return false, name, url
}

// problem shows what went wrong, in words.
func (p *Page) problem(w http.ResponseWriter, s *session, status int, err error) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	p.render(w, "problem.html", struct {
		frame
		Words string
	}{p.frame(s, "That did not work"), state.PrintableText(err.Error())})
}

// asked has h answer with the Synchronizer and the path that is asked for, or shows why that cannot be. code is for what h could not find or do.
func (p *Page) asked(code int, h func(http.ResponseWriter, *http.Request, *session, Changes, state.Path) error) func(http.ResponseWriter, *http.Request, *session) {
	return func(w http.ResponseWriter, r *http.Request, s *session) {
		c, err := p.src.Changes()
		if err != nil {
			p.problem(w, s, http.StatusServiceUnavailable, err)
			return
		}
		path, err := state.ParsePath(r.URL.Query().Get("path"))
		if err == nil {
			err = h(w, r, s, c, path)
		} else {
			err = badOrder{err}
		}
		if err != nil {
			status := code
			if _, bad := errors.AsType[badOrder](err); bad {
				status = http.StatusBadRequest
			}
			p.problem(w, s, status, err)
		}
	}
}

// badOrder is an error about the request itself.
type badOrder struct{ error }

func (b badOrder) Unwrap() error { return b.error }

func (p *Page) changeList(w http.ResponseWriter, r *http.Request, s *session, c Changes, path state.Path) error {
	q := state.Query{Path: path, Limit: perPage + 1, Before: r.FormValue("before"), Local: r.FormValue("local") != ""}
	list, err := c.Events(q)
	if err == nil {
		p.render(w, "changes.html", listOf(p.frame(s, "Changes"), q, list))
	}
	return err
}

func (p *Page) change(w http.ResponseWriter, r *http.Request, s *session, c Changes, path state.Path) error {
	e, err := c.Show(r.PathValue("commit"), path)
	if err == nil {
		p.render(w, "change.html", changeOf(p.frame(s, "One change"), e, path, p.services()))
	}
	return err
}

func (p *Page) blame(w http.ResponseWriter, _ *http.Request, s *session, c Changes, path state.Path) error {
	if path == "" {
		return badOrder{errors.New("which file?")}
	}
	b, err := c.Blame(path)
	if err == nil {
		p.render(w, "blame.html", blameOf(p.frame(s, "Who brought each line"), path, b))
	}
	return err
}

// services are those that this server's image has, for a choice.
func (p *Page) services() []site.Service {
	st := p.src.Site()
	if me, ok := st.Find(st.Server); ok && me.Report != nil {
		return me.Report.Packs
	}
	return nil
}

// rollbackOf reads what a form orders: the path and commit from the query, what is chosen on the page from its fields.
func rollbackOf(r *http.Request, path state.Path) (state.Rollback, error) {
	q := r.URL.Query()
	o := state.Rollback{Path: path, To: q.Get("to"), Held: q.Get("held") != "", Plan: r.PostFormValue("plan")}
	for _, service := range []string{r.PostFormValue("service"), q.Get("service")} {
		switch service {
		case "":
		case everything:
			o.All = true
		default:
			o.Service = service
		}
	}
	if err := o.Check(); err != nil {
		return o, badOrder{err}
	}
	return o, nil
}

// everything is the choice of all files among services. No service is called so.
const everything = "*"

// rollback shows what would be done; with the plan of that page it does it.
func (p *Page) rollback(w http.ResponseWriter, r *http.Request, s *session, c Changes, path state.Path) error {
	order, err := rollbackOf(r, path)
	if err != nil {
		return err
	}
	order.Try = order.Plan == ""
	done, err := c.Rollback(r.Context(), order, who(r))
	if err != nil {
		return err
	}
	if !order.Try {
		p.log.Info("rolled back", "what", order.What(), "remote", remote(r))
	}
	p.render(w, "rollback.html", rollbackViewOf(p.frame(s, "Roll back"), order, done, p.services()))
	return nil
}

// release asks, and then sends on what was held back when it asked.
func (p *Page) release(w http.ResponseWriter, r *http.Request, s *session, c Changes, _ state.Path) error {
	f := p.frame(s, "Send a change on")
	commit := r.PostFormValue("commit")
	if commit == "" {
		if f.Held == nil || !f.Primary {
			return errors.New("no change is held back on this server")
		}
		p.render(w, "release.html", releaseView{frame: f})
		return nil
	}
	head, err := c.Release(r.Context(), commit, who(r))
	if err != nil {
		return err
	}
	p.log.Info("change released", "remote", remote(r))
	f.Held = nil
	p.render(w, "release.html", releaseView{f, head.Short()})
	return nil
}

// resync shows what it means that a secondary takes the primary's files; with the plan of that page it orders it.
func (p *Page) resync(w http.ResponseWriter, r *http.Request, s *session, c Changes, _ state.Path) error {
	order := state.Resync{Server: r.URL.Query().Get("server"), Plan: r.PostFormValue("plan")}
	order.Try = order.Plan == ""
	done, err := c.Resync(r.Context(), order, who(r))
	if err != nil {
		return err
	}
	f := p.frame(s, "Let "+state.Printable(done.Server)+" take this site's files")
	if done.Done {
		p.log.Info("a server is to take the primary's history", "peer", done.Server, "remote", remote(r))
		f.Apart = nil
	}
	p.render(w, "resync.html", resyncView{f, done, resyncURL(done.Server), done.Words()})
	return nil
}

// acknowledge ends a finding about what has happened.
func (p *Page) acknowledge(w http.ResponseWriter, r *http.Request, _ *session, c Changes, _ state.Path) error {
	if _, err := c.Acknowledge(r.URL.Query().Get("id")); err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// who is whoever uses the page.
func who(r *http.Request) state.Who {
	return state.Who{Program: "the page", User: adminUser, From: remote(r)}
}
