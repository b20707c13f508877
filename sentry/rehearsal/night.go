package rehearsal

import (
	"time"

	"sayasystems.com/atlas/image/siteconf"
)

// night is when all services are rehearsed next in window w, by a server with a share of it; ok is false if never. One night counts once: a
// start of all services shortly before or in the window is as good.
func night(w siteconf.Window, lastFull time.Time, share float64, now time.Time) (at time.Time, ok bool) {
	if w.Never {
		return at, false
	}
	for day := -1; day <= 2; day++ { // yesterday's may reach over midnight
		from, to := w.On(now.AddDate(0, 0, day))
		if !now.Before(to) || !lastFull.Before(from.Add(-FreshFull)) {
			continue
		}
		// Not in the last part: what begins has room to end.
		return from.Add(time.Duration(share * 0.75 * float64(to.Sub(from)))), true
	}
	return at, false
}
