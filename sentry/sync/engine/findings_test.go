package engine

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
)

// TestNews: what has happened is told over a restart, until its time is over or a person has seen it; how things stand is looked at anew.
func TestNews(t *testing.T) {
	file := filepath.Join(t.TempDir(), newsFile)
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	start := func(old []initapi.Finding) *Findings {
		f := &Findings{now: func() time.Time { return now }}
		for _, n := range old {
			f.Set(n)
		}
		must(t, f.load(file, func(id string) bool { return id == "stays" }))
		return f
	}
	want := func(f *Findings, ids ...string) {
		t.Helper()
		var got []string
		for _, n := range f.List() {
			got = append(got, n.ID)
		}
		if strings.Join(got, " ") != strings.Join(ids, " ") {
			t.Errorf("told: %q; want %q", got, ids)
		}
	}
	f := start([]initapi.Finding{{ID: "stays"}, {ID: "is looked at anew"}})
	want(f, "stays")
	must(t, f.Note(initapi.Finding{ID: "day", Where: "right", Next: "Do it."}, 24*time.Hour))
	now = now.Add(time.Minute)
	must(t, f.Note(initapi.Finding{ID: "for good", Where: "right"}, 0))
	f.Set(initapi.Finding{ID: "stands"})
	for _, n := range f.List() {
		if n.ID == "day" && (!strings.Contains(n.Next, "Do it. When you have seen this: on right, atlas findings ack day (or it ends by itself on") || !n.News) {
			t.Errorf("day tells: %+v", n)
		}
	}
	f = start(nil)
	want(f, "day", "for good")
	now = now.Add(23 * time.Hour)
	want(f, "day", "for good")
	must(t, f.Note(initapi.Finding{ID: "day", Where: "right"}, 24*time.Hour)) // it happened again
	now = now.Add(23 * time.Hour)
	want(f, "for good", "day")
	now = now.Add(2 * time.Hour)
	want(start(nil), "for good")
	f = start(nil)
	f.Set(initapi.Finding{ID: "stands"})
	if _, err := f.Acknowledge("stands"); !errors.Is(err, errElsewhere) || !Stands(err) {
		t.Errorf("how things stand, acknowledged: %v", err)
	}
	if _, err := f.Acknowledge("nothing"); !errors.Is(err, errNoFinding) {
		t.Errorf("nothing, acknowledged: %v", err)
	}
	_, err := f.Acknowledge("for good")
	must(t, err)
	want(f, "stands")
	want(start(nil))
}
