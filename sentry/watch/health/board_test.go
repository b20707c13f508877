package health

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/initapi"
)

func TestLevel(t *testing.T) {
	up, down := limit{90, 98, 3}, falling(50, 5, 2)
	for _, c := range []struct {
		l    limit
		v    float64
		told string
		want string
	}{
		{up, 89, "", ""},
		{up, 90, "", "warning"},
		{up, 88, "warning", "warning"},
		{up, 87, "warning", ""},
		{up, 98, "", "critical"},
		{up, 96, "critical", "critical"},
		{up, 95, "critical", "warning"},
		{up, 80, "critical", ""},
		{limit{90, 0, 1}, 1e9, "", "warning"},
		{down, -51, "", ""},
		{down, -50, "", "warning"},
		{down, -51, "warning", "warning"},
		{down, -52, "warning", ""},
		{down, -5, "", "critical"},
		{down, -6, "critical", "critical"},
		{down, -7, "critical", "warning"},
	} {
		if got := c.l.level(c.v, c.told); got != c.want {
			t.Errorf("%+v.level(%v, %q) = %q; want %q", c.l, c.v, c.told, got, c.want)
		}
	}
}

// TestBoard: told after a while, kept for a while, and the same finding while it gets worse and better.
func TestBoard(t *testing.T) {
	b, start := board{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := func(severity string) claim {
		return claim{Finding: initapi.Finding{ID: "x", Severity: severity}, after: time.Minute, hold: 2 * time.Minute}
	}
	for i, s := range []struct {
		see  []claim
		want string
	}{
		{[]claim{c("warning")}, ""},
		{nil, ""}, // away before it was told: begins anew
		{[]claim{c("warning")}, ""},
		{[]claim{c("warning")}, "warning"},
		{[]claim{c("critical")}, "warning"},
		{[]claim{c("critical")}, "critical"},
		{[]claim{c("warning")}, "critical"}, // held
		{[]claim{c("warning")}, "warning"},
		{nil, "warning"},
		{nil, ""},
	} {
		now := start.Add(time.Duration(i) * time.Minute)
		b.see("s", now, s.see)
		b.see("other", now, nil)
		if got := b.severity("x"); got != s.want {
			t.Errorf("minute %d: %q; want %q", i, got, s.want)
		}
		for _, f := range b.told() {
			if want := start.Add(2 * time.Minute); !f.Since.Equal(want) {
				t.Errorf("minute %d: since %v; want %v", i, f.Since, want)
			}
		}
	}
}

func TestJoin(t *testing.T) {
	c := func(id, severity string, is, because []string) claim {
		return claim{Finding: initapi.Finding{ID: id, Severity: severity, What: id + "."}, is: is, because: because, short: id + " short"}
	}
	names := func(s ...string) []string { return s }
	for _, v := range []struct {
		name string
		in   []claim
		want []string // severity, ID and what
	}{
		{"nothing in common", []claim{c("a", "critical", names("a"), nil), c("b", "warning", nil, names("x"))}, names("critical a a.", "warning b b.")},
		{"a chain", []claim{c("a", "warning", names("a"), nil), c("b", "critical", names("b"), names("a")), c("c", "warning", nil, names("x", "b"))}, names("critical a a. Probably from the same cause: b short; c short.")},
		{"a circle", []claim{c("a", "warning", names("a"), names("b")), c("b", "warning", names("b"), names("c")), c("c", "warning", names("c"), names("a"))}, names("warning c c. Probably from the same cause: a short; b short.")},
		{"itself", []claim{c("a", "warning", names("a"), names("a"))}, names("warning a a.")},
	} {
		var got []string
		for _, f := range join(v.in) {
			got = append(got, f.Severity+" "+f.ID+" "+f.What)
		}
		if d := cmp.Diff(v.want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", v.name, d)
		}
	}
}

func TestTrend(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	run := func(hours int, v func(h float64) float64) (time.Time, bool) {
		var tr trend
		var now time.Time
		for m := 0; m <= hours*60; m++ {
			now = start.Add(time.Duration(m) * time.Minute)
			tr.add(now, v(float64(m)/60))
		}
		return tr.reaches(1000, now)
	}
	if at, ok := run(10, func(h float64) float64 { return 100 + 10*h }); !ok || at.Sub(start.Add(90*time.Hour)).Abs() > time.Hour {
		t.Errorf("full at %v, %v; want 90 hours after %v", at, ok, start)
	}
	for name, v := range map[string]func(float64) float64{
		"still":   func(float64) float64 { return 500 },
		"emptier": func(h float64) float64 { return 500 - h },
		"to and fro": func(h float64) float64 {
			if int(h*60)/30%2 == 0 {
				return 500
			}
			return 510
		},
	} {
		if at, ok := run(10, v); ok {
			t.Errorf("%s: full at %v; want no forecast", name, at)
		}
	}
	if _, ok := run(1, func(h float64) float64 { return 100 + 10*h }); ok {
		t.Error("an hour is too short for a forecast")
	}
}

func TestCounter(t *testing.T) {
	var c counter
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, s := range []struct {
		v    uint64
		want uint64
	}{{100, 0}, {105, 5}, {105, 5}, {105, 0}, {110, 5}, {3, 0}, {4, 1}} {
		if got := c.growth(now.Add(time.Duration(i)*30*time.Minute), s.v, time.Hour); got != s.want {
			t.Errorf("look %d: growth %d; want %d", i, got, s.want)
		}
	}
}
