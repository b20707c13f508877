package report

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/verify/past"
)

// pastSource is a Source that also keeps what its probes have found.
type pastSource interface {
	Past(from, to time.Time, step time.Duration, which func(past.Series) bool) ([]past.Line, error)
}

// Size of a graph, in its own units.
const (
	graphWidth, graphHeight = 720, 56
	failHeight              = 12 // of the bars that tell of failures, at the foot
)

// pastPage are the graphs of availability and latency.
type pastPage struct {
	frame

	Why    string // there are none
	Spans  []pastLink
	Series []pastView
	From   string
}

type pastLink struct {
	Name, URL string
	Here      bool
}

// pastView is one probe of one server.
type pastView struct {
	Server, Service, Probe    string
	Share, Median, Most       string // availability, and times within which 50 % and 95 % of the runs ended
	Class                     string
	Fast, Slow                string // the points of two lines
	Scale                     string // what the upper edge stands for
	Fails                     []pastBar
	Width, Height, FailHeight int
}

// pastBar is a span in which runs failed.
type pastBar struct {
	X, W, Y, H float64
	Words      string
}

// past shows GET /past?span=day|week|quarter&service=.
func (p *Page) past(w http.ResponseWriter, r *http.Request, s *session) {
	spans := []struct {
		name, word string
		length     time.Duration
	}{{"day", "A day", 24 * time.Hour}, {"week", "A week", 7 * 24 * time.Hour}, {"quarter", "90 days", past.KeepHours}}
	chosen := spans[0]
	q := r.URL.Query()
	v := pastPage{frame: p.frame(s, "How it was")}
	for _, x := range spans {
		if x.name == q.Get("span") {
			chosen = x
		}
	}
	for _, x := range spans {
		v.Spans = append(v.Spans, pastLink{x.word, "/past?span=" + x.name, x == chosen})
	}
	to := p.now()
	from := to.Add(-chosen.length)
	v.From = from.Local().Format("2 Jan 15:04")
	src, ok := p.src.(pastSource)
	if !ok {
		v.Why = "This version keeps nothing of what its probes found."
	} else {
		lines, err := src.Past(from, to, time.Hour, func(x past.Series) bool { return q.Get("service") == "" || q.Get("service") == x.Service })
		if err != nil {
			v.Why = sentence(err.Error())
		}
		for _, l := range lines {
			v.Series = append(v.Series, graph(l, from, to))
		}
		if err == nil && len(lines) == 0 {
			v.Why = "Nothing is kept of this time."
		}
	}
	p.render(w, "past.html", v)
}

// graph draws a line by the hour.
func graph(l past.Line, from, to time.Time) pastView {
	v := pastView{
		Server: strings.ToUpper(l.Target), Service: l.Service, Probe: l.Probe, Share: "not known", Class: "unknown",
		Width: graphWidth, Height: graphHeight, FailHeight: failHeight,
	}
	x := func(at time.Time) float64 { return graphWidth * float64(at.Sub(from)) / float64(to.Sub(from)) }
	top := time.Millisecond
	for _, s := range l.Spans {
		top = max(top, s.P95)
	}
	y := func(d time.Duration) float64 {
		const room = graphHeight - failHeight - 2
		return 1 + room - room*float64(d)/float64(top)
	}
	var fast, slow strings.Builder
	known, worked := 0, 0.0
	var p50, p95 time.Duration
	for _, s := range l.Spans {
		if s.Availability == nil {
			continue
		}
		n := s.Runs - s.Unknown
		known += n
		worked += *s.Availability * float64(n)
		p50, p95 = p50+s.P50*time.Duration(n), max(p95, s.P95)
		if s.P50 > 0 {
			at := x(s.At.Add(30 * time.Minute))
			fmt.Fprintf(&fast, "%.1f,%.1f ", at, y(s.P50))
			fmt.Fprintf(&slow, "%.1f,%.1f ", at, y(s.P95))
		}
		if s.Failed > 0 {
			h := max(2, failHeight*(1-*s.Availability))
			v.Fails = append(v.Fails, pastBar{
				X: x(s.At), W: max(1.5, x(s.At.Add(time.Hour))-x(s.At)), Y: graphHeight - h, H: h,
				Words: fmt.Sprintf("%s: %d of %d failed", s.At.Local().Format("2 Jan 15:04"), s.Failed, n),
			})
		}
	}
	v.Fast, v.Slow, v.Scale = fast.String(), slow.String(), ms(top)
	if known > 0 {
		share := worked / float64(known)
		v.Share, v.Class = fmt.Sprintf("%.2f %%", 100*share), "pass"
		if share < 1 {
			v.Class = "warn"
		}
		v.Median, v.Most = ms(p50/time.Duration(known)), ms(p95)
	}
	return v
}

// sentence makes one of an error's words.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
