package report

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/verify/past"
)

// pastSample keeps a past, too.
type pastSample struct {
	*sample
	lines []past.Line
	err   error
	asked time.Duration
}

func (p *pastSample) Past(from, to time.Time, _ time.Duration, which func(past.Series) bool) ([]past.Line, error) {
	p.asked = to.Sub(from)
	var out []past.Line
	for _, l := range p.lines {
		if which(l.Series) {
			out = append(out, l)
		}
	}
	return out, p.err
}

func TestPast(t *testing.T) {
	all, most := 1.0, 0.95
	now := time.Now().Truncate(time.Hour)
	src := &pastSample{sample: newSample(t, samples()["ready"]), lines: []past.Line{
		{Series: past.Series{Observer: "left", Target: "right", Service: "apache", Probe: "http-static<"}, Spans: []past.Span{
			{At: now.Add(-3 * time.Hour), Runs: 120, Availability: &all, P50: 2 * time.Millisecond, P95: 4 * time.Millisecond},
			{At: now.Add(-2 * time.Hour), Runs: 120, Failed: 6, Availability: &most, P50: 3 * time.Millisecond, P95: 40 * time.Millisecond},
			{At: now.Add(-time.Hour), Runs: 5, Unknown: 5},
		}},
		{Series: past.Series{Observer: "left", Target: "left", Service: "samba", Probe: "smb-write"}, Spans: []past.Span{{At: now.Add(-time.Hour), Runs: 5, Unknown: 5}}},
	}}
	v := visit(t, src, Options{})
	v.login()
	code, body := v.get("/past")
	for _, want := range []string{"RIGHT</b> apache: http-static&lt;", "97.50 %", "40 ms", "6 of 120 failed", "not known", "<b>A day</b>", `<a href="/past?span=quarter">90 days</a>`, `class="fast" points="`} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET /past = %d without %q", code, want)
		}
	}
	if strings.Contains(body, "NaN") || strings.Contains(body, "Inf") || strings.Contains(body, "style=") || strings.Contains(body, "ZgotmplZ") {
		t.Errorf("the page is not right:\n%s", body)
	}
	if src.asked != 24*time.Hour {
		t.Errorf("asked for %s; want a day", src.asked)
	}
	if _, body = v.get("/past?span=quarter&service=samba"); src.asked != past.KeepHours || strings.Contains(body, "apache") {
		t.Errorf("asked for %s; want 90 days of samba alone", src.asked)
	}
	src.lines = nil
	if _, body = v.get("/past"); !strings.Contains(body, "Nothing is kept of this time") {
		t.Error("an empty past is not told")
	}
	src.err = errors.New("no disk set serves")
	if _, body = v.get("/past"); !strings.Contains(body, "No disk set serves.") {
		t.Error("why there is none is not told")
	}
	v = visit(t, newSample(t, samples()["ready"]), Options{})
	if code, body = v.get("/past"); strings.Contains(body, "How it was, as") {
		t.Errorf("GET /past before login = %d, and shows it", code)
	}
	v.login()
	if _, body = v.get("/past"); !strings.Contains(body, "keeps nothing") {
		t.Error("a source without a past is not told")
	}
}
