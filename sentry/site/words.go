package site

import (
	"fmt"
	"time"

	"sayasystems.com/atlas/sentry/ledger"
)

// SwapWords tells when a swap was last proven: "Last proven swap: 12 days ago (primary set from LEFT into RIGHT, all good after 41 s)."
func SwapWords(list []ledger.Entry, now time.Time) string {
	e, ok := ledger.LastSwap(list)
	if !ok {
		return "No swap is proven yet."
	}
	when := "today"
	switch days := int(now.Sub(e.At).Hours() / 24); {
	case days == 1:
		when = "1 day ago"
	case days > 1:
		when = fmt.Sprintf("%d days ago", days)
	}
	return fmt.Sprintf("Last proven swap: %s (%s, %s).", when, e.What(), e.Result())
}

// StartWords tells when a server's services were last all proven to start from cold: "Last proven start: 03:12, 41 s".
func StartWords(list []ledger.Entry, server string) string {
	e, ok := ledger.LastProven(list, server)
	if !ok {
		return ""
	}
	s := "Last proven start: " + e.At.Local().Format("2 Jan 15:04")
	if time.Since(e.At) < 20*time.Hour {
		s = "Last proven start: " + e.At.Local().Format("15:04")
	}
	if e.Took > 0 {
		s += ", " + ledger.Seconds(e.Took)
	}
	return s
}
