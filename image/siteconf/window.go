package siteconf

import (
	"fmt"
	"strings"
	"time"
)

// Rehearsal says when the services of a secondary are started from cold by themselves.
type Rehearsal struct {
	Window string `yaml:"window,omitempty" json:"window,omitempty"` // local time, "03:00-04:00"; "never"; DefaultWindow if empty
}

// DefaultWindow is when nobody works and before most backups end.
const DefaultWindow = "03:00-04:00"

// Window is a part of each day, in minutes from midnight; To may lie after midnight. Never: none.
type Window struct {
	From, To int
	Never    bool
}

// Parse reads the window.
func (r Rehearsal) Parse() (Window, error) {
	s := r.Window
	switch s {
	case "":
		s = DefaultWindow
	case "never":
		return Window{Never: true}, nil
	}
	from, to, ok := strings.Cut(s, "-")
	a, err1 := time.Parse("15:04", strings.TrimSpace(from))
	b, err2 := time.Parse("15:04", strings.TrimSpace(to))
	if !ok || err1 != nil || err2 != nil || a.Equal(b) {
		return Window{}, fmt.Errorf("must be two times such as %s, or never", DefaultWindow)
	}
	w := Window{From: a.Hour()*60 + a.Minute(), To: b.Hour()*60 + b.Minute()}
	if w.To < w.From {
		w.To += 24 * 60
	}
	return w, nil
}

// On is the window that begins on the day of t, in t's zone.
func (w Window) On(t time.Time) (from, to time.Time) {
	day := func(minutes int) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day(), 0, minutes, 0, 0, t.Location())
	}
	return day(w.From), day(w.To)
}
