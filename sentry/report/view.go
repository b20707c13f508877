package report

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

func funcs() template.FuncMap {
	return template.FuncMap{"upper": strings.ToUpper, "words": words, "icon": icon, "inc": func(n int) int { return n + 1 }}
}

// view is all that page.html shows, already in words.
type view struct {
	Site, Server string
	At           time.Time
	Token        string
	Verdict      verdictView
	Servers      []serverView
	Findings     []findingView
	Boots        []bootView
	Ledger       []entryView
	Swap         swapView
	Join         joinView

	Held       *heldView
	Apart      *apartView
	Primary    bool   // this server can roll back
	URL        string // the primary's page of changes, if that is another server
	Changes    []eventView
	ChangesWhy string // why none are shown
}

type verdictView struct {
	Class    string // "yes", "no", "unknown"
	Answer   string
	Lead     string
	Reasons  []reasonView
	More     []reasonView
	Accepted []reasonView
	Open     []string // changes that are still to be rehearsed, in time
	Proven   []string // newest proven start, and swap
	Advice   site.Advice
	Announce string // for screen readers
}

type findingView struct {
	Class, Word, What, Where, Next, Since string
	Ack                                   string // address that ends it; "" = not offered
	Accepted                              string // by whom, until when and why; "" = not
}

type joinView struct {
	Show, Alone          bool
	Address, Until, Used string
	Groups               []string
	Code                 string
}

type swapView struct {
	From, To string // names, "" when not known
	Boot     string // how long the last boot of To took
	Urgent   bool
}

func (p *Page) view(s *session) view {
	st := p.src.Site()
	v := view{Site: st.Name, Server: st.Server, At: st.At, Token: s.csrf, Verdict: verdictOf(st)}
	if v.Site == "" {
		v.Site = "This site"
	}
	for _, one := range st.Servers {
		v.Servers = append(v.Servers, serverOf(st, one))
		if b, ok := bootOf(one); ok {
			v.Boots = append(v.Boots, b)
		}
	}
	for _, f := range st.Findings {
		v.Findings = append(v.Findings, findingOf(f, st.At))
		if f.News && f.Where == st.Server {
			v.Findings[len(v.Findings)-1].Ack = "/findings/ack?" + url.Values{"id": {f.ID}}.Encode()
		}
	}
	v.Swap = swapOf(st)
	v.Ledger = entriesOf(st)
	v.Join = p.joinOf(st, s)
	v.Held, v.Apart = heldOf(st), apartOf(st)
	v.Primary, _, v.URL = placeOf(st)
	v.Changes, v.ChangesWhy = p.newest()
	return v
}

func verdictOf(st site.Site) verdictView {
	v := verdictView{Class: st.Readiness.Verdict, Advice: st.Advice, Reasons: reasonsOf(st.Readiness.Reasons, st.At), Accepted: reasonsOf(st.Readiness.Accepted, st.At), Open: st.Readiness.Open, Proven: provenOf(st)}
	if len(v.Reasons) > 4 {
		v.Reasons, v.More = v.Reasons[:4], v.Reasons[4:]
	}
	switch st.Readiness.Verdict {
	case initapi.VerdictYes:
		v.Answer = "yes"
		v.Lead = fmt.Sprintf("If the primary fails, swap the disk sets. Every service was proven on both servers within the last %s.", oldestProof(st))
		if len(st.Servers) > 2 {
			v.Lead = strings.Replace(v.Lead, "both", "all", 1)
		}
	case initapi.VerdictNo:
		v.Answer, v.Lead = "no", "This stands in the way:"
	default:
		v.Class, v.Answer, v.Lead = "unknown", "not known", "Nothing is known to be wrong, but proof is missing:"
	}
	v.Announce = "Ready to swap: " + v.Answer
	return v
}

func oldestProof(st site.Site) string {
	oldest := time.Duration(0)
	for _, s := range st.Servers {
		for _, r := range s.Probes {
			if !r.Minor && !r.At.IsZero() {
				oldest = max(oldest, st.At.Sub(r.At.Add(-s.Ahead)))
			}
		}
	}
	return span(oldest.Truncate(time.Second) + time.Second)
}

func findingOf(f initapi.Finding, now time.Time) findingView {
	v := findingView{Class: f.Severity, What: f.What, Where: f.Where, Next: f.Next, Since: since(f.Since, now)}
	if f.Accepted != nil {
		v.Accepted = acceptedWords(*f.Accepted)
	}
	switch f.Severity {
	case "critical":
		v.Word = "Fault"
	case "warning":
		v.Word = "Warning"
	default:
		v.Class, v.Word = "info", "Note"
	}
	return v
}

func swapOf(st site.Site) swapView {
	var v swapView
	for _, s := range st.Servers {
		switch s.Role() {
		case roles.Primary:
			v.From = s.Name
		case roles.Secondary:
			v.To = s.Name
			if s.Boot != nil {
				v.Boot = minutes(s.Boot.Total)
			}
		}
	}
	if st.Advice.Down {
		v.From, v.Urgent = st.Advice.From, true
		if st.Advice.To != "" {
			v.To = st.Advice.To
		}
	}
	if len(st.Servers) > 2 && v.From == "" {
		v.To = ""
	}
	return v
}

func (p *Page) joinOf(st site.Site, s *session) joinView {
	v := joinView{Alone: len(st.Servers) == 1}
	if me, ok := st.Find(st.Server); ok {
		v.Address = me.Address
	}
	if !v.Alone && !s.codeShown(p.now()) {
		return v
	}
	var off peers.Offer
	var ok bool
	if off, ok = p.src.CurrentCode(); !ok {
		return v
	}
	v.Show, v.Code, v.Used = true, off.Code, off.UsedBy
	v.Groups = strings.Split(off.Code, "-")
	v.Until = span(off.Expires.Sub(p.now()).Truncate(time.Minute))
	return v
}

// words escapes s and sets what stands between backticks as something to type.
func words(s string) template.HTML {
	parts := strings.Split(s, "`")
	if len(parts)%2 == 0 { // one without its partner
		return template.HTML(template.HTMLEscapeString(s)) //nolint:gosec // escaped
	}
	var b strings.Builder
	for i, p := range parts {
		p = template.HTMLEscapeString(p)
		if i%2 == 1 {
			p = "<code>" + p + "</code>"
		}
		b.WriteString(p)
	}
	return template.HTML(b.String()) //nolint:gosec // every part is escaped
}

// Words for times.

func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	if d < 2*time.Second {
		return "just now"
	}
	return "for " + span(d)
}

func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return "a moment"
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func minutes(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	if d < 100*time.Second {
		return fmt.Sprintf("%d seconds", int(d.Round(time.Second).Seconds()))
	}
	return fmt.Sprintf("%d minutes", int((d + 59*time.Second).Minutes()))
}

func ms(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "<1 ms"
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}

func bytesWord(n uint64) string {
	switch {
	case n >= 1e12:
		return fmt.Sprintf("%.1f TB", float64(n)/1e12)
	case n >= 1e9:
		return fmt.Sprintf("%d GB", n/1e9)
	case n >= layout.MiB:
		return fmt.Sprintf("%d MB", n/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}

// icon draws a sign that differs in shape, not only in colour.
func icon(kind string) template.HTML {
	paths := map[string]string{
		"yes":      `<path d="M4 12.5l5 5L20 6.5"/>`,
		"pass":     `<path d="M4 12.5l5 5L20 6.5"/>`,
		"no":       `<path d="M6 6l12 12M18 6L6 18"/>`,
		"fail":     `<path d="M6 6l12 12M18 6L6 18"/>`,
		"unknown":  `<path d="M8 9a4 4 0 1 1 5.5 3.7c-1 .5-1.5 1.1-1.5 2.3M12 19.5v.1"/>`,
		"warn":     `<path d="M12 5v9M12 18.5v.1"/>`,
		"skipped":  `<path d="M6 12h12"/>`,
		"critical": `<path d="M6 6l12 12M18 6L6 18"/>`,
		"warning":  `<path d="M12 5v9M12 18.5v.1"/>`,
		"info":     `<path d="M12 11v8M12 6v.1"/>`,
		"arrow":    `<path d="M4 12h15M13 6l6 6-6 6"/>`,
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">` + paths[kind] + `</svg>`) //nolint:gosec // constants only
}

// statusClass names a probe's status for CSS and icons.
func statusClass(s verify.Status) string {
	switch s {
	case verify.Pass:
		return "pass"
	case verify.Warn:
		return "warn"
	case verify.Fail:
		return "fail"
	case verify.NotApplicable, verify.Skipped:
		return "skipped"
	}
	return "unknown"
}
