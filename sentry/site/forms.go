package site

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// formTrouble is a service's data that one secondary's image does not go with.
type formTrouble struct {
	service string
	why     Reason
}

// formTroubles tells of data that a secondary's image could not take after a swap, or would not have as they are now.
func formTroubles(s Site) []formTrouble {
	prim := s.ByRole(roles.Primary)
	if len(prim) != 1 || prim[0].Report.State == nil {
		return nil
	}
	p := prim[0].Report.State
	var out []formTrouble
	for _, v := range s.ByRole(roles.Secondary) {
		if v.Report.State == nil {
			continue
		}
		for _, have := range p.Forms {
			for _, can := range v.Report.State.Forms {
				if have.Service != can.Service || have.Path != can.Path || have.Form == 0 || have.Form == can.Takes {
					continue
				}
				if r, ok := formReason(p, v, have, can); ok {
					out = append(out, formTrouble{have.Service, r})
				}
			}
		}
	}
	return out
}

// formReason compares the data of the primary with what one secondary's image can do with them.
func formReason(p *initapi.State, v Server, have, can initapi.DataForm) (Reason, bool) {
	name := strings.ToUpper(v.Name)
	form := func(n int) string {
		if have.Kind == "postgresql" {
			return fmt.Sprintf("PostgreSQL %d", n)
		}
		return fmt.Sprintf("Debian %d", n)
	}
	r := Reason{Server: v.Name}
	switch {
	case have.Form > can.Takes && slices.Contains(have.Kept, can.Takes):
		r.Text = fmt.Sprintf("%s has %s: after a swap %s would be there as it was on %s, without what has been written to it since.", name, form(can.Takes), have.Title, have.Since.Local().Format("2006-01-02 15:04"))
		r.Next = "Update " + name + " to the release of the primary."
	case have.Form > can.Takes:
		r.Text = fmt.Sprintf("%s has %s and does not read the data of %s, which are of %s: after a swap it would not start.", name, form(can.Takes), have.Title, form(have.Form))
		r.Next = "Update " + name + " to the release of the primary."
	case have.Kind == "postgresql" && !slices.Contains(can.Older, have.Form):
		r.Text = fmt.Sprintf("%s cannot bring the data of %s forward: its image has no programs of %s. After a swap it would not start.", name, have.Title, form(have.Form))
		r.Next = "Build the image of " + name + " with the older release's programs (`older` in the profile)."
	case p.Set != nil && have.Room > int64(p.Set.FreeBytes): //nolint:gosec // a disk's size
		r.Text = fmt.Sprintf("The primary's disk set has no room to bring the data of %s from %s to %s after a swap: it takes %d MB, and %d MB are free.", have.Title, form(have.Form), form(can.Takes), have.Room>>20, p.Set.FreeBytes>>20)
		r.Next = "Make room on the disk set: remove what is not needed, or move it elsewhere."
	default:
		return r, false
	}
	return r, true
}

// formReasons are the troubles as reasons against a swap, formFindings as findings: they are told weeks before one.
func formReasons(s Site) []trouble {
	var out []trouble
	for _, t := range formTroubles(s) {
		t.why.ID = t.id()
		out = append(out, trouble{rank: rankData, Reason: t.why})
	}
	return out
}

func (t formTrouble) id() string { return "data-swap-" + t.service + "-" + t.why.Server }

func formFindings(s Site) []initapi.Finding {
	var out []initapi.Finding
	for _, t := range formTroubles(s) {
		out = append(out, initapi.Finding{
			ID: t.id(), Severity: "warning", Where: t.why.Server + ", " + t.service, What: t.why.Text, Next: t.why.Next,
		})
	}
	return out
}
