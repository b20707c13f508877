package dataform

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"sayasystems.com/atlas/sentry/initapi"
)

// Name is a form for people: "PostgreSQL 15", "the form of Debian 12".
func Name(kind string, form int) string {
	if kind == PostgreSQL {
		return fmt.Sprintf("PostgreSQL %d", form)
	}
	return fmt.Sprintf("the form of Debian %d", form)
}

// debian names the release that kept data are for.
func debian(kind string, k Kept) string {
	if kind == Copy {
		return fmt.Sprintf("Debian %d", k.Form)
	}
	if k.Release == "" {
		return fmt.Sprintf("PostgreSQL %d", k.Form)
	}
	return "Debian " + k.Release
}

// Size is a number of bytes for people.
func Size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d kB", (n+1023)>>10)
}

func day(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// Findings tells how things stand with a service's data: what going back would lose, or has lost. title is the service's, for people.
func Findings(service, title, server string, e *Entry) []initapi.Finding {
	if !e.Open() {
		return nil
	}
	var out []initapi.Finding
	var dirs []string
	var bytes int64
	for _, k := range e.Kept {
		dirs, bytes = append(dirs, k.Dir), bytes+k.Bytes
	}
	for _, k := range e.Aside {
		bytes += k.Bytes
	}
	if len(e.Kept) > 0 {
		k := e.Kept[len(e.Kept)-1]
		out = append(out, initapi.Finding{
			ID: "data-forward-" + service, Severity: "warning", Where: server + " " + service, Since: e.Since,
			What: fmt.Sprintf("The data of %s were brought from %s to %s on %s. If these disks go back into a server with %s, what has been written to them since then is not there. The data of before are kept in %s.",
				title, Name(e.Kind, k.Form), Name(e.Kind, e.Form), day(e.Since), debian(e.Kind, k), strings.Join(dirs, ", ")),
			Next: fmt.Sprintf("When you are sure that you stay with this release: atlas commit-upgrade. It removes what is kept, frees %s, and there is no way back after it.", Size(bytes)),
		})
	}
	if !e.Back && len(e.Kept) == 0 && len(e.Aside) > 0 {
		var lie []string
		for _, k := range e.Aside {
			lie = append(lie, k.Dir)
		}
		out = append(out, initapi.Finding{
			ID: "data-aside-" + service, Severity: "info", Where: server + " " + service, Since: e.Since,
			What: fmt.Sprintf("Data of %s that this release does not read were set aside in %s when this set came as a standby; %s has begun with empty ones.", title, strings.Join(lie, ", "), title),
			Next: fmt.Sprintf("If nothing of them is needed: atlas commit-upgrade removes them and frees %s.", Size(bytes)),
		})
	}
	if e.Back && len(e.Aside) > 0 {
		k := e.Aside[len(e.Aside)-1]
		from := k.From
		if from.IsZero() {
			from = e.Since
		}
		out = append(out, initapi.Finding{
			ID: "data-back-" + service, Severity: "critical", Where: server + " " + service, Since: e.Since,
			What: fmt.Sprintf("%s works with its data as they were on %s: what was written from then until %s, in a server with %s, is not in them. It is not lost: it lies in %s, in %s.",
				title, day(from), day(k.Until), debian(e.Kind, k), k.Dir, Name(e.Kind, k.Form)),
			Next: "Put the disks into the newer server again only after having decided which of the two is to count: it would bring today's data forward, not those set aside. When nothing of them is needed: atlas commit-upgrade.",
		})
	}
	return out
}

// Refused is the finding of data that cannot be used here.
func Refused(service, title, server, release string, kind string, p Plan) initapi.Finding {
	f := initapi.Finding{ID: "data-refused-" + service, Severity: "critical", Where: server + " " + service}
	is := fmt.Sprintf("%s does not start: its data are in %s, and this server with Debian %s works with %s. ", title, Name(kind, p.From), release, Name(kind, p.To))
	const same = " The data are untouched."
	newer := fmt.Sprintf("Put these disks into a server whose image has %s, or update this server to it.", Name(kind, p.From))
	switch p.Why {
	case NoPrograms:
		f.What = is + fmt.Sprintf("The programs of %s, which are needed to bring them forward, are not in this image.", Name(kind, p.From)) + same
		f.Next = "Build this server's image with the older release's programs (`older` in the profile), or put these disks back into a server with the older release."
	case Given:
		f.What, f.Next = is+"The way back was given up with atlas commit-upgrade."+same, newer
	case Elsewhere:
		f.What, f.Next = is+"What is kept of before is of yet another release."+same, newer
	default:
		f.What, f.Next = is+"Nothing is kept of the time before."+same, newer
	}
	return f
}

// Failed is the finding of data that could not be brought forward.
func Failed(service, title, server string, err error, next string) initapi.Finding {
	return initapi.Finding{
		ID: "data-refused-" + service, Severity: "critical", Where: server + " " + service,
		What: fmt.Sprintf("%s does not start: its data could not be brought into the form of this release: %s. They are untouched, as the release before has left them.", title, strings.TrimSuffix(err.Error(), ".")),
		Next: cmp.Or(next, fmt.Sprintf("Mend what is named, then: atlas service start %s. Or put these disks back into a server with the older release: it works with them as before.", service)),
	}
}
