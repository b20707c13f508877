package report

import (
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/ledger"
	"sayasystems.com/atlas/sentry/site"
)

// reasonView is a reason against a swap, or one that somebody has accepted.
type reasonView struct {
	Text, Also, Next, Since, Accepted string
}

func reasonsOf(list []site.Reason, now time.Time) []reasonView {
	out := make([]reasonView, 0, len(list))
	for _, r := range list {
		v := reasonView{Text: r.Text, Also: strings.Join(r.Also, ", "), Next: r.Next, Since: since(r.Since, now)}
		if r.Accepted != nil {
			v.Accepted = acceptedWords(*r.Accepted)
		}
		out = append(out, v)
	}
	return out
}

func acceptedWords(a initapi.Accepted) string {
	return "Accepted by " + a.Who + " until " + a.Until.Local().Format("2 Jan 15:04") + ": " + a.Why
}

// provenOf is what was proven last: a start of the secondary, and a swap.
func provenOf(st site.Site) []string {
	var out []string
	for _, v := range st.ByRole(roles.Secondary) {
		if s := site.StartWords(st.Ledger, v.Name); s != "" {
			out = append(out, strings.ToUpper(v.Name)+": l"+s[1:]+".")
		}
	}
	if len(st.Ledger) > 0 {
		out = append(out, site.SwapWords(st.Ledger, st.At))
	}
	return out
}

// rehearsingOf says that a server is being rehearsed; "" if it is not.
func rehearsingOf(st site.Site, s site.Server) string {
	if !s.Fresh(st.At) || s.Report.Starts == nil || s.Report.Starts.Running == nil {
		return ""
	}
	return "being rehearsed since " + site.Clock(s.Report.Starts.Running.Since.Add(-s.Ahead))
}

// entryView is a start from cold in the ledger.
type entryView struct {
	When, What, Result, Class string
	Services                  []entryService
}

type entryService struct{ Title, Text, Class string }

// mostEntries are shown; `atlas ledger` has all.
const mostEntries = 8

func entriesOf(st site.Site) []entryView {
	var out []entryView
	for i, e := range st.Ledger {
		if i == mostEntries {
			break
		}
		v := entryView{When: e.At.Local().Format("2 Jan 15:04"), What: e.What(), Result: e.Result(), Class: "pass"}
		switch {
		case e.Done.IsZero():
			v.Class = "unknown"
		case !e.Good && !e.Fails():
			v.Class = "unknown"
		case !e.Good:
			v.Class, v.Result = "fail", "not good: "+site.Clipped(site.FirstLine(e.Words))
		}
		for _, s := range e.Services {
			x := entryService{Title: s.Label(), Class: "pass"}
			switch {
			case s.Untold:
				x.Class, x.Text = "unknown", "not proven"
			case !s.Good:
				x.Class, x.Text = "fail", "not good"
			case s.Took > 0:
				x.Text = ledger.Seconds(s.Took)
			}
			v.Services = append(v.Services, x)
		}
		out = append(out, v)
	}
	return out
}
