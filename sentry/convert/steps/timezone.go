package steps

import (
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	localtimeLink = state.Path("etc/localtime")
	timezoneFile  = state.Path("etc/timezone")
	zoneinfo      = "zoneinfo/"
)

// zoneOf is the name of the zone that /etc/localtime leads to, if people have set it.
func zoneOf(w *convert.Work) (f convert.File, zone string) {
	f, ok := w.Get(localtimeLink)
	if !ok || f.Stock || f.Entry.Kind != state.Link {
		return f, ""
	}
	_, zone, _ = strings.Cut(f.Entry.Target, zoneinfo)
	return f, zone
}

// localtime leads the link to a file that is there: without it all times would be in UTC, and nothing would say so.
func localtime(w *convert.Work) error {
	f, zone := zoneOf(w)
	now, old := legacyZones()[strings.ToLower(zone)]
	if !old {
		return nil
	}
	w.Tell(convert.Finding{Path: localtimeLink, What: "The time zone " + zone + " is called " + now + " there."})
	f.Entry.Target = strings.TrimSuffix(f.Entry.Target, zone) + now
	w.Put(localtimeLink, f)
	return nil
}

func timezoneGone(w *convert.Work) error {
	for _, p := range w.Changed(string(timezoneFile)) {
		zone := strings.TrimSpace(string(w.Text(p)))
		finding := convert.Finding{Path: p, Line: 1, What: "Nothing reads /etc/timezone there; /etc/localtime says " + zone + " too."}
		if _, set := zoneOf(w); set == "" || set != zone && set != legacyZones()[strings.ToLower(zone)] {
			finding.Class = convert.Approximated
			finding.What = "Nothing reads /etc/timezone there, and /etc/localtime does not lead to " + zone + "."
			finding.Next = "ln -sf /usr/share/zoneinfo/" + zone + " /etc/localtime, if that is the zone that you want."
		}
		w.Tell(finding)
		w.Remove(p)
	}
	return nil
}

func timezoneBack(w *convert.Work) error {
	_, zone := zoneOf(w)
	if zone == "" || len(w.Changed(string(timezoneFile))) > 0 {
		return nil
	}
	w.Tell(convert.Finding{Path: localtimeLink, What: "The time zone stands in /etc/timezone too there: " + zone + "."})
	w.Write(timezoneFile, []byte(zone+"\n"))
	return nil
}
