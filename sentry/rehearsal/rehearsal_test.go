package rehearsal

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func at(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

// open is a service that was changed first and last so many minutes after noon.
func open(name string, since, last int) Unproven {
	return Unproven{Service: name, Since: at(since), Last: at(last)}
}

func TestNext(t *testing.T) {
	never, night := siteconf.Window{Never: true}, siteconf.Window{From: 180, To: 240}
	tonight := time.Date(2026, 3, 5, 3, 0, 0, 0, time.UTC)
	web := []Unproven{open("web", 0, 0)}
	for _, c := range []struct {
		name string
		in   Input
		now  time.Time
		at   time.Time // zero: nothing
		why  string
		of   string
	}{
		{"nothing", Input{Window: never}, noon, time.Time{}, "", ""},
		{"a change", Input{Window: never, Unproven: web}, noon, noon.Add(Quiet), AfterChange, "web"},
		{"more changes", Input{Window: never, Unproven: []Unproven{open("web", 0, 5), open("db", 3, 8)}}, at(9), at(18), AfterChange, "web db"},
		{"no end of changes", Input{Window: never, Unproven: []Unproven{open("web", 0, 28)}}, at(29), noon.Add(MaxWait), AfterChange, "web"},
		{"changed right after a rehearsal", Input{Window: never, Unproven: web, Ended: at(-1)}, noon, at(-1).Add(Between), AfterChange, "web"},
		{"changed long after a rehearsal", Input{Window: never, Unproven: web, Ended: at(-30)}, noon, noon.Add(Quiet), AfterChange, "web"},
		{"failed", Input{Window: never, Unproven: web, Tried: at(10), Tries: 1}, at(11), at(10).Add(RetryFirst), Again, "web"},
		{"failed often", Input{Window: never, Unproven: web, Tried: at(10), Tries: 9}, at(11), at(10).Add(RetryMost), Again, "web"},
		{"failed, then corrected", Input{Window: never, Unproven: []Unproven{open("web", 0, 12)}, Tried: at(10), Tries: 3}, at(12), at(12).Add(QuietAfterFailure), Again, "web"},
		{"failed, corrected before a retry that comes first", Input{Window: never, Unproven: []Unproven{open("web", 0, 14)}, Tried: at(10), Tries: 1}, at(14), at(15), Again, "web"},
		{"at night", Input{Window: night}, noon, tonight, Nightly, ""},
		{"at night, second of two", Input{Window: night, Share: 0.5}, noon, tonight.Add(22*time.Minute + 30*time.Second), Nightly, ""},
		{"at night, missed", Input{Window: night}, tonight.Add(30 * time.Minute), tonight, Nightly, ""},
		{"at night, over", Input{Window: night}, tonight.Add(time.Hour), tonight.AddDate(0, 0, 1), Nightly, ""},
		{"at night, done", Input{Window: night, LastFull: tonight.Add(time.Minute)}, tonight.Add(30 * time.Minute), tonight.AddDate(0, 0, 1), Nightly, ""},
		{"booted the evening before", Input{Window: night, LastFull: tonight.Add(-5 * time.Hour)}, tonight.Add(-time.Hour), tonight.AddDate(0, 0, 1), Nightly, ""},
		{"booted in the afternoon", Input{Window: night, LastFull: tonight.Add(-7 * time.Hour)}, tonight.Add(-time.Hour), tonight, Nightly, ""},
		{"a change before the night", Input{Window: night, Unproven: web}, noon, noon.Add(Quiet), AfterChange, "web"},
		{"a change in the night: all at once", Input{Window: night, Unproven: []Unproven{{Service: "web", Since: tonight, Last: tonight}}}, tonight.Add(time.Minute), tonight, Nightly, ""},
		{"just booted", Input{Window: never, Unproven: web, Booted: at(-1), Proving: true}, noon, at(-1).Add(BootLimit), AfterChange, "web"},
		{"just booted, proven", Input{Window: never, Unproven: web, Booted: at(-1)}, noon, noon.Add(Quiet), AfterChange, "web"},
	} {
		p, ok := Next(c.in, c.now)
		if !ok {
			p = Plan{}
		}
		if !p.At.Equal(c.at) || p.Why != c.why || strings.Join(p.Services, " ") != c.of {
			t.Errorf("%s: Next = %v %q %v, %v; want %v %q %q", c.name, p.At, p.Why, p.Services, ok, c.at, c.why, c.of)
		}
	}
}

func TestNextOverMidnight(t *testing.T) {
	late := siteconf.Window{From: 23 * 60, To: 25 * 60} // 23:00 to 01:00
	begin := time.Date(2026, 3, 4, 23, 0, 0, 0, time.UTC)
	for _, c := range []struct{ now, last, want time.Time }{
		{noon, noon.AddDate(0, 0, -1), begin},
		{begin.Add(90 * time.Minute), noon.AddDate(0, 0, -1), begin}, // still in it, on the next day
		{begin.Add(90 * time.Minute), begin, begin.AddDate(0, 0, 1)},
		{begin.Add(3 * time.Hour), noon.AddDate(0, 0, -1), begin.AddDate(0, 0, 1)},
	} {
		if got, ok := night(late, c.last, 0, c.now); !ok || !got.Equal(c.want) {
			t.Errorf("night at %v after %v = %v, %v; want %v", c.now, c.last, got, ok, c.want)
		}
	}
}

// TestGrace: the numbers fit each other. A rehearsal that comes by itself as late as it may is over before the grace is.
func TestGrace(t *testing.T) {
	if MaxWait+Announce+ReadyIn+ProvenIn > Grace {
		t.Errorf("MaxWait %v and a whole rehearsal %v are more than Grace %v", MaxWait, Announce+ReadyIn+ProvenIn, Grace)
	}
	if Announce+2*time.Minute+ReadyIn+ProvenIn > RunLimit {
		t.Error("a rehearsal may take longer than RunLimit")
	}
	if Between+Announce+ReadyIn+ProvenIn > Grace || Quiet >= MaxWait || RetryFirst > RetryMost || NightMissed <= 48*time.Hour {
		t.Error("limits are in the wrong order")
	}
}

func TestConcerned(t *testing.T) {
	packs := []pack.Pack{{Name: "certificate"}, {Name: "db"}, {Name: "web", Needs: []string{"db", "certificate"}}, {Name: "wiki", Needs: []string{"web"}}, {Name: "mail", Needs: []string{"certificate"}}}
	for names, want := range map[string]string{
		"web": "web wiki", "db": "db web wiki", "wiki": "wiki", "mail wiki": "wiki mail", "certificate": "certificate web wiki mail", "": "", "gone": "",
	} {
		if got := strings.Join(Concerned(packs, strings.Fields(names)), " "); got != want {
			t.Errorf("Concerned(%s) = %q; want %q", names, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	var got []float64
	for _, s := range []string{"left", "right", "middle", "gone"} {
		got = append(got, Share(s, []string{"right", "left", "middle"}))
	}
	if d := cmp.Diff([]float64{0, 2.0 / 3, 1.0 / 3, 0}, got); d != "" {
		t.Errorf("Share (-want +got):\n%s", d)
	}
	if Share("x", nil) != 0 {
		t.Error("Share of nobody")
	}
}
