package siteconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRehearsalWindow(t *testing.T) {
	for _, c := range []struct {
		text string
		want Window
		bad  bool
	}{
		{"", Window{From: 180, To: 240}, false},
		{"03:00-04:00", Window{From: 180, To: 240}, false},
		{"23:30 - 00:30", Window{From: 23*60 + 30, To: 24*60 + 30}, false},
		{"never", Window{Never: true}, false},
		{"3-4", Window{}, true},
		{"03:00", Window{}, true},
		{"03:00-03:00", Window{}, true},
		{"24:00-25:00", Window{}, true},
		{"always", Window{}, true},
	} {
		got, err := Rehearsal{Window: c.text}.Parse()
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("Parse(%q) = %+v, %v; want %+v, error %v", c.text, got, err, c.want, c.bad)
		}
	}
	w := Window{From: 23 * 60, To: 25 * 60}
	from, to := w.On(time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC))
	if from.Hour() != 23 || to.Sub(from) != 2*time.Hour || to.Day() != 1 {
		t.Errorf("On = %v, %v", from, to)
	}
}

func TestSiteWithRehearsal(t *testing.T) {
	const site = "site: 6a1b7b1e-0000-4000-8000-000000000001\nname: M\nhostname: office\nservice:\n  address: 10.7.0.10/24\n  mac: 02:a7:1a:50:00:01\n"
	for _, c := range []struct{ more, err string }{
		{"", ""},
		{"rehearsal:\n  window: 02:00-02:30\n", ""},
		{"rehearsal:\n  window: never\n", ""},
		{"rehearsal:\n  window: at night\n", "site.yaml:8: rehearsal.window: must be two times"},
		{"rehearsal:\n  windows: 02:00-02:30\n", "windows"},
		{"rehearsal: never\n", "rehearsal"},
	} {
		etc := t.TempDir()
		if err := os.MkdirAll(filepath.Join(etc, "atlas"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(etc, SiteFile), []byte(site+c.more), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadSite(etc)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: %v; want %q", c.more, err, c.err)
		}
	}
}
