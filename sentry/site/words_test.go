package site

import (
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/sentry/ledger"
)

func TestStartAndSwapWords(t *testing.T) {
	now := time.Now()
	swap := func(ago time.Duration) []ledger.Entry {
		return []ledger.Entry{{Kind: ledger.Start, At: now.Add(-ago), Done: now, Server: "right", From: "left", Role: "primary", Good: true, Took: 41 * time.Second}}
	}
	for want, list := range map[string][]ledger.Entry{
		"No swap is proven yet.": nil,
		"Last proven swap: today (primary set swapped from LEFT into RIGHT, all good after 41 s).":       swap(time.Hour),
		"Last proven swap: 1 day ago (primary set swapped from LEFT into RIGHT, all good after 41 s).":   swap(25 * time.Hour),
		"Last proven swap: 12 days ago (primary set swapped from LEFT into RIGHT, all good after 41 s).": swap(12*24*time.Hour + time.Minute),
	} {
		if got := SwapWords(list, now); got != want {
			t.Errorf("SwapWords = %q; want %q", got, want)
		}
	}
	at := now.Add(-time.Hour)
	night := []ledger.Entry{{Kind: ledger.Rehearsal, All: true, At: at, Done: now, Server: "right", Good: true, Took: 41 * time.Second}}
	if got, want := StartWords(night, "right"), "Last proven start: "+at.Local().Format("15:04")+", 41 s"; got != want {
		t.Errorf("StartWords = %q; want %q", got, want)
	}
	night[0].At, night[0].Took = now.AddDate(0, 0, -2), 0
	if got := StartWords(night, "right"); !strings.HasPrefix(got, "Last proven start: "+night[0].At.Local().Format("2 Jan ")) || strings.HasSuffix(got, "s") {
		t.Errorf("StartWords of two days ago = %q", got)
	}
	if got := StartWords(night, "left"); got != "" {
		t.Errorf("StartWords of another server = %q", got)
	}
}
