package report

import (
	"context"
	"errors"
	"net/http"

	"sayasystems.com/atlas/roles"
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
}

const perPage = 50

// changesRoutes are the pages about changes. What they are about stands in the query, percent-encoded: a path may hold any byte, and a form's
// fields only text.
func (p *Page) changesRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /changes", p.seen(p.changeList))
	mux.HandleFunc("GET /changes/{commit}", p.seen(p.change))
	mux.HandleFunc("GET /blame", p.seen(p.blame))
	mux.HandleFunc("POST /changes/rollback", p.session(p.ordered(p.rollback)))
	mux.HandleFunc("POST /changes/release", p.session(p.ordered(p.release)))
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
}

func (p *Page) frame(s *session, title string) frame {
	st := p.src.Site()
	f := frame{Site: st.Name, Server: st.Server, Token: s.csrf, Title: title}
	if f.Site == "" {
		f.Site = "This site"
	}
	f.Held = heldOf(st)
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

func (p *Page) changeList(w http.ResponseWriter, r *http.Request, s *session) {
	c, err := p.src.Changes()
	if err != nil {
		p.problem(w, s, http.StatusServiceUnavailable, err)
		return
	}
	path, err := state.ParsePath(r.FormValue("path"))
	if err != nil {
		p.problem(w, s, http.StatusBadRequest, err)
		return
	}
	q := state.Query{Path: path, Limit: perPage + 1, Before: r.FormValue("before"), Local: r.FormValue("local") != ""}
	list, err := c.Events(q)
	if err != nil {
		p.problem(w, s, http.StatusNotFound, err)
		return
	}
	p.render(w, "changes.html", listOf(p.frame(s, "Changes"), q, list))
}

func (p *Page) change(w http.ResponseWriter, r *http.Request, s *session) {
	c, err := p.src.Changes()
	if err != nil {
		p.problem(w, s, http.StatusServiceUnavailable, err)
		return
	}
	path, err := state.ParsePath(r.FormValue("path"))
	if err != nil {
		p.problem(w, s, http.StatusBadRequest, err)
		return
	}
	e, err := c.Show(r.PathValue("commit"), path)
	if err != nil {
		p.problem(w, s, http.StatusNotFound, err)
		return
	}
	p.render(w, "change.html", changeOf(p.frame(s, "One change"), e, path, p.services()))
}

func (p *Page) blame(w http.ResponseWriter, r *http.Request, s *session) {
	c, err := p.src.Changes()
	if err != nil {
		p.problem(w, s, http.StatusServiceUnavailable, err)
		return
	}
	path, err := state.ParsePath(r.FormValue("path"))
	if err == nil && path == "" {
		err = errors.New("which file?")
	}
	if err != nil {
		p.problem(w, s, http.StatusBadRequest, err)
		return
	}
	b, err := c.Blame(path)
	if err != nil {
		p.problem(w, s, http.StatusNotFound, err)
		return
	}
	p.render(w, "blame.html", blameOf(p.frame(s, "Who brought each line"), path, b))
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
func rollbackOf(r *http.Request) (state.Rollback, error) {
	q := r.URL.Query()
	path, err := state.ParsePath(q.Get("path"))
	if err != nil {
		return state.Rollback{}, err
	}
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
	return o, o.Check()
}

// everything is the choice of all files among services. No service is called so.
const everything = "*"

// rollback shows what would be done; with the plan of that page it does it.
func (p *Page) rollback(w http.ResponseWriter, r *http.Request, s *session) {
	c, err := p.src.Changes()
	if err != nil {
		p.problem(w, s, http.StatusServiceUnavailable, err)
		return
	}
	order, err := rollbackOf(r)
	if err != nil {
		p.problem(w, s, http.StatusBadRequest, err)
		return
	}
	order.Try = order.Plan == ""
	done, err := c.Rollback(r.Context(), order, who(r))
	if err != nil {
		p.problem(w, s, http.StatusConflict, err)
		return
	}
	if !order.Try {
		p.log.Info("rolled back", "what", order.What(), "remote", remote(r))
	}
	p.render(w, "rollback.html", rollbackViewOf(p.frame(s, "Roll back"), order, done, p.services()))
}

// release asks, and then sends on what was held back when it asked.
func (p *Page) release(w http.ResponseWriter, r *http.Request, s *session) {
	c, err := p.src.Changes()
	if err != nil {
		p.problem(w, s, http.StatusServiceUnavailable, err)
		return
	}
	f := p.frame(s, "Send a change on")
	commit := r.PostFormValue("commit")
	if commit == "" {
		if f.Held == nil || !f.Primary {
			p.problem(w, s, http.StatusConflict, errors.New("no change is held back on this server"))
			return
		}
		p.render(w, "release.html", releaseView{frame: f})
		return
	}
	head, err := c.Release(r.Context(), commit, who(r))
	if err != nil {
		p.problem(w, s, http.StatusConflict, err)
		return
	}
	p.log.Info("change released", "remote", remote(r))
	f.Held = nil
	p.render(w, "release.html", releaseView{f, head.Short()})
}

// who is whoever uses the page.
func who(r *http.Request) state.Who {
	return state.Who{Program: "the page", User: adminUser, From: remote(r)}
}
