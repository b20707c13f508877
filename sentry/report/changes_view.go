package report

import (
	"net/url"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Bounds of what one page shows.
const (
	mostLines = 4000 // of a text
	mostFiles = 200  // of a list
)

type heldView struct {
	Server, Since, Service, Words, Commit string
	Files                                 []fileView
	More                                  int
}

type fileView struct {
	Verb, Name                 string
	History, Blame, Show, Back string // addresses; "" = not offered
}

type eventView struct {
	Commit, Short, When, Stamp, What, By string
	URL, Back                            string
	Newest                               bool
}

type lineView struct{ Class, Text string }

// heldOf is what the primary holds back, as far as that is heard.
func heldOf(st site.Site) *heldView {
	for _, v := range st.Servers {
		if v.Sync == nil || v.Sync.Held == nil || !v.Fresh(st.At) {
			continue
		}
		h := v.Sync.Held
		out := &heldView{Server: v.Name, Since: clock(h.Since), Service: "the system", Words: printableLines(h.Words), Commit: h.Commit}
		if h.Service != "" {
			out.Service = h.Service
			for _, p := range v.Report.Packs {
				if p.Name == h.Service {
					out.Service = p.Title
				}
			}
		}
		for i, p := range h.Paths {
			if i == mostFiles {
				out.More = len(h.Paths) - i
				break
			}
			out.Files = append(out.Files, fileView{Name: p.Word(), History: listURL(p, "", false), Show: changeURL(h.Commit, p)})
		}
		return out
	}
	return nil
}

// apartView is a secondary that has another history than the primary.
type apartView struct {
	Server, From string
	Action       string // of the form that asks; "" where it cannot be ordered
}

// apartOf finds one in what the primary tells. Either of the two servers takes the order.
func apartOf(st site.Site) *apartView {
	for _, v := range st.Servers {
		if v.Sync == nil || !v.Fresh(st.At) {
			continue
		}
		for _, q := range v.Sync.Peers {
			if !q.Apart {
				continue
			}
			out := &apartView{Server: q.Name, From: v.Name}
			if v.Self || q.Name == st.Server {
				out.Action = resyncURL(q.Name)
			}
			return out
		}
	}
	return nil
}

func resyncURL(server string) string {
	return "/changes/resync?" + url.Values{"server": {server}}.Encode()
}

type resyncView struct {
	frame
	Order  state.Resynced
	Action string
	Words  []string
}

// newest are the changes that the overview shows, or why it shows none.
func (p *Page) newest() (list []eventView, why string) {
	c, err := p.src.Changes()
	if err != nil {
		return nil, printableLines(err.Error())
	}
	events, err := c.Events(state.Query{Limit: 5})
	if err != nil {
		return nil, "The history cannot be read: " + printableLines(err.Error())
	}
	for _, e := range events {
		list = append(list, eventOf(e, ""))
	}
	return list, ""
}

type listView struct {
	frame
	Events      []eventView
	Path        string // "" = everything
	Typed       string
	Blame       string
	Older       string
	Local       bool
	Other       string // address of the other line's list
	BackToFirst string
}

func listOf(f frame, q state.Query, list []state.Event) listView {
	v := listView{frame: f, Local: q.Local, Other: listURL(q.Path, "", !q.Local)}
	if q.Path != "" {
		v.Path, v.Typed, v.Blame = q.Path.Word(), typed(q.Path), pathURL("/blame", q.Path)
		if state.Printable(v.Typed) != v.Typed { // a field holds only text
			v.Typed = ""
		}
		v.Title = "Changes of " + v.Path
	}
	if q.Before != "" {
		v.BackToFirst = listURL(q.Path, "", q.Local)
	}
	for i, e := range list {
		if i == perPage {
			v.Older = listURL(q.Path, list[i-1].ID, q.Local)
			break
		}
		w := eventOf(e, q.Path)
		w.Newest = i == 0 && q.Before == ""
		if f.Primary && q.Path != "" && !q.Local {
			w.Back = rollbackURL(q.Path, e.ID)
			if w.Newest {
				w.Back = rollbackURL(q.Path, e.Parent)
			}
			if w.Newest && e.Parent == "" {
				w.Back = ""
			}
		}
		v.Events = append(v.Events, w)
	}
	return v
}

func eventOf(e state.Event, path state.Path) eventView {
	return eventView{
		Commit: e.ID, Short: e.Short(), When: clock(e.At), Stamp: e.At.UTC().Format(time.RFC3339), What: e.What(), By: e.By(), URL: changeURL(e.ID, path),
	}
}

type changeView struct {
	frame
	Event    eventView
	On, Note string
	Files    []fileView
	More     int
	Path     string
	Whole    string // address of the whole change, where Path narrows it
	Lines    []lineView
	Cut      bool
	Services []site.Service
	Before   string // address that rolls back to before it; "" = not offered
	After    string
}

func changeOf(f frame, e state.Shown, path state.Path, services []site.Service) changeView {
	v := changeView{frame: f, Event: eventOf(e.Event, path), On: state.Printable(e.Server), Note: printableLines(e.Note), More: e.More}
	v.Title = v.Event.What
	if path != "" {
		v.Path, v.Whole = path.Word(), changeURL(e.ID, "")
	}
	for _, t := range e.Files {
		w := fileView{Verb: t.Verb, Name: t.Path.Word(), History: listURL(t.Path, "", false), Show: changeURL(e.ID, t.Path), Blame: pathURL("/blame", t.Path)}
		if t.Verb == "removed" {
			w.Blame = ""
		}
		if f.Primary && e.Parent != "" && (t.Verb != "added" || !t.Path.Under(state.Exports)) { // what a database holds cannot be taken away whole
			w.Back = rollbackURL(t.Path, e.Parent)
		}
		v.Files = append(v.Files, w)
	}
	v.Lines, v.Cut = patchLines(e.Patch)
	if f.Primary {
		v.Services, v.After = services, rollbackURL("", e.ID)
		if e.Parent != "" {
			v.Before = rollbackURL("", e.Parent)
		}
	}
	return v
}

type blameView struct {
	frame
	Path, History string
	Lines         []blameLine
	Cut           bool
}

type blameLine struct {
	No             int
	Text           string
	First          bool // of a run of lines of the same change
	Odd            bool // every other run
	Short, URL     string
	When, Who, Tip string
}

func blameOf(f frame, path state.Path, b state.Blame) blameView {
	v := blameView{frame: f, Path: path.Word(), History: listURL(path, "", false)}
	v.Title = "Who brought each line of " + v.Path
	last, odd := "", false
	for i, l := range b.Lines {
		if i == mostLines {
			v.Cut = true
			break
		}
		c := b.Commits[l.Commit]
		w := blameLine{No: i + 1, Text: state.PrintableText(string(l.Text))}
		if l.Commit != last || i == 0 {
			last, odd = l.Commit, !odd
			w.First, w.Short, w.URL, w.When, w.Who = true, c.Short(), changeURL(c.ID, path), c.At.Local().Format("2 Jan 2006"), c.By()
		}
		w.Odd = odd
		v.Lines = append(v.Lines, w)
	}
	return v
}

type rollbackView struct {
	frame
	Done          bool
	What          string
	OfPath        bool
	To            eventView
	Action, Plan  string // of the form that does it
	Service       string
	Files         []fileView
	More          int
	Lines         []lineView
	Cut           bool
	Checked       []string
	Told, Trouble []string
	NewURL, NewID string
}

func rollbackViewOf(f frame, order state.Rollback, done state.RolledBack, services []site.Service) rollbackView {
	v := rollbackView{frame: f, Done: !order.Try, What: order.What(), Plan: done.Plan, To: eventOf(state.Event{Commit: done.To}, "")}
	title := func(name string) string {
		for _, s := range services {
			if s.Name == name {
				return s.Title
			}
		}
		return state.Printable(name)
	}
	if order.Service != "" {
		v.What = title(order.Service)
	}
	v.OfPath, v.Title = order.Path != "", "Roll back "+v.What
	q := url.Values{}
	if order.To != "" {
		q.Set("to", order.To)
	}
	if order.Held {
		q.Set("held", "1")
	}
	if order.Service != "" {
		q.Set("service", order.Service)
	}
	if order.All {
		q.Set("service", everything)
	}
	if order.Path != "" {
		q.Set("path", typed(order.Path))
	}
	v.Action = "/changes/rollback?" + q.Encode()
	for i, t := range done.Files {
		if i == mostFiles {
			v.More = len(done.Files) - i
			break
		}
		v.Files = append(v.Files, fileView{Verb: t.Verb, Name: t.Path.Word(), History: listURL(t.Path, "", false)})
	}
	v.Lines, v.Cut = patchLines(done.Patch)
	for _, c := range done.Verdicts {
		v.Checked = append(v.Checked, state.Printable(c.Title))
	}
	for _, s := range done.Services {
		v.Told = append(v.Told, title(s))
	}
	for _, s := range done.Trouble {
		v.Trouble = append(v.Trouble, printableLines(s))
	}
	if c := done.Commit; c != nil {
		v.NewURL, v.NewID = changeURL(c.ID, ""), c.Short()
	}
	return v
}

type releaseView struct {
	frame
	Done string // the commit up to which is sent on
}

// patchLines cuts a difference into lines with their meaning.
func patchLines(text state.Text) (out []lineView, cut bool) {
	head := false // between a file's own line and its first lines of text
	for line := range strings.Lines(string(text)) {
		if len(out) == mostLines {
			return out, true
		}
		v := lineView{Text: state.PrintableText(strings.TrimSuffix(line, "\n"))}
		switch {
		case head && (strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "+++ ")):
			continue // the line above says it
		case strings.HasPrefix(line, "@@ "):
			v.Class, head = "at", false
		case strings.HasPrefix(line, "+"):
			v.Class = "add"
		case strings.HasPrefix(line, "-"):
			v.Class = "del"
		case strings.HasPrefix(line, " "):
		case strings.HasPrefix(line, "\\"), strings.HasPrefix(line, "content: "):
			v.Class = "at"
		default:
			v.Class, head = "file", true
		}
		out = append(out, v)
	}
	return out, false
}

func printableLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = state.PrintableText(lines[i])
	}
	return strings.Join(lines, "\n")
}

func clock(t time.Time) string { return t.Local().Format("2 Jan 2006 15:04:05") }

// typed is a path as state.ParsePath reads it.
func typed(p state.Path) string {
	if p == "" || p.Under(state.Exports) {
		return string(p)
	}
	return "/" + string(p)
}

func pathURL(to string, p state.Path) string {
	if p == "" {
		return to
	}
	return to + "?" + url.Values{"path": {typed(p)}}.Encode()
}

func changeURL(commit string, p state.Path) string {
	return pathURL("/changes/"+url.PathEscape(commit), p)
}

func listURL(p state.Path, before string, local bool) string {
	q := url.Values{}
	if p != "" {
		q.Set("path", typed(p))
	}
	if before != "" {
		q.Set("before", before)
	}
	if local {
		q.Set("local", "1")
	}
	if len(q) == 0 {
		return "/changes"
	}
	return "/changes?" + q.Encode()
}

func rollbackURL(p state.Path, to string) string {
	q := url.Values{"to": {to}}
	if p != "" {
		q.Set("path", typed(p))
	}
	return "/changes/rollback?" + q.Encode()
}
