// Package console shows the state of the server on its screen and serial line, and takes a few keys: log, shell (with the
// administrator's password), restart, off. It works from the first seconds of the boot and whatever else fails: a person in
// front of a server that does not serve finds here what is wrong, why, and what to do.
//
// Page (pure) turns a View into lines; a terminal draws them when they change and reads keys.
package console

import (
	"fmt"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

// View is all that the page is made from.
type View struct {
	State    initapi.State
	Boot     initapi.BootReport
	SiteName string
	Summary  *initapi.Summary // of sentry; nil while there is none
	Now      time.Time
	Choices  []Choice // what an operator may decide while the server holds
}

// Choice is a decision that is an operator's alone.
type Choice struct {
	Text string
	Do   func() error
}

// Page renders v in lines of at most width columns and about height lines; findings are cut first.
func Page(v View, width, height int) []string {
	p := page{width: width}
	p.head(v)
	switch v.State.State {
	case initapi.Booting:
		p.booting(v)
	case initapi.Holding:
		p.reasons(v)
		p.addresses(v)
		p.disks(v)
	case initapi.Serving:
		p.serving(v)
		p.addresses(v)
		p.readiness(v)
		p.set(v)
		p.services(v)
	case initapi.Stopping:
		p.add("The server is ending its services and will be off, or restart, in a moment.")
	}
	if v.State.State != initapi.Stopping && v.State.State != initapi.Booting {
		p.findings(v, height-len(p.lines)-3)
	}
	p.add("")
	keys := "Keys:  l log    s shell    r restart    o switch off"
	if len(v.Choices) > 0 {
		keys += "    d decide"
	}
	p.add(keys)
	return p.lines
}

type page struct {
	width int
	lines []string
}

func (p *page) add(s string) { p.lines = append(p.lines, cut(s, p.width)) }

// wrapped adds text in several lines, all but the first indented.
func (p *page) wrapped(first, rest, text string) {
	line := first
	for w := range strings.FieldsSeq(text) {
		if len([]rune(line))+1+len([]rune(w)) > p.width && strings.TrimSpace(line) != "" {
			p.add(line)
			line = rest
		}
		if line != "" && !strings.HasSuffix(line, " ") {
			line += " "
		}
		line += w
	}
	p.add(line)
}

func (p *page) head(v View) {
	left := "ATLAS " + v.State.Version
	if v.State.Server != "" {
		left += "   server " + v.State.Server
	}
	if v.SiteName != "" {
		left += "   " + v.SiteName
	}
	if v.State.Kind == "namespace" {
		left += "   (lab)"
	}
	p.add(left)
	p.add("")
	for _, l := range Banner(headline(v.State)) {
		p.add(l)
	}
	p.add("")
}

// headline is the one word that tells the most.
func headline(s initapi.State) string {
	switch {
	case s.State == initapi.Serving && s.Role != "":
		return string(s.Role)
	case s.State == "":
		return initapi.Booting
	}
	return s.State
}

func (p *page) booting(v View) {
	phases := v.Boot.Phases
	if n := len(phases); n > 12 {
		phases = phases[n-12:]
	}
	for _, ph := range phases {
		mark := "ok"
		switch ph.Result {
		case "ok":
		case "skipped":
			mark = "--"
		default:
			mark = "!!"
		}
		line := fmt.Sprintf(" %s  %-14s %8s", mark, ph.Name, seconds(ph.Duration))
		if ph.Note != "" {
			line += "  " + ph.Note
		}
		if mark == "!!" {
			line += "  " + ph.Result
		}
		p.add(line)
	}
	if v.State.Phase != "" {
		p.add(" ..  " + v.State.Phase)
	}
}

func (p *page) reasons(v View) {
	p.add("This server does not serve:")
	for _, r := range v.State.Reasons {
		p.wrapped(" * ", "   ", r.Text)
		if r.Next != "" {
			p.wrapped("   -> ", "      ", r.Next)
		}
	}
	p.add("")
}

func (p *page) serving(v View) {
	switch v.State.Role {
	case roles.Primary:
		p.add("This server serves the office.")
	case roles.Secondary:
		p.add("This server is the twin: the same services behind the fence, for Sentry only.")
	}
}

func (p *page) addresses(v View) {
	a := v.State.Addresses
	host, _, _ := strings.Cut(a.Management, "/")
	if host == "" {
		p.add("Management   no address: check the network cable")
	} else {
		page := "https://" + host + ":8443/"
		if v.Summary != nil && v.Summary.Dashboard != "" {
			page = v.Summary.Dashboard
		}
		p.add("Management   " + host + "   dashboard " + page + " (user admin)")
	}
	if a.Service != "" {
		s := "Service      " + a.Service
		if a.Announced {
			s += "   announced with " + a.ServiceMAC
		} else {
			s += "   silent, behind the fence"
		}
		p.add(s)
	}
	if v.Summary != nil && v.Summary.JoinCode != "" {
		p.add("Join code    " + v.Summary.JoinCode)
		p.add("             to be typed when the next server is installed")
	}
}

func (p *page) readiness(v View) {
	const head = "Swap ready   "
	s := v.Summary
	switch {
	case s == nil || v.Now.Sub(s.Written) > initapi.SummaryMaxAge:
		p.add(head + "unknown: Sentry has not reported")
	case s.Verdict == initapi.VerdictYes:
		p.add(head + "yes")
	default:
		t := s.Verdict
		if len(s.Reasons) > 0 {
			t += ", because: " + s.Reasons[0]
		}
		if n := len(s.Reasons); n > 1 {
			t += fmt.Sprintf(" (and %d more)", n-1)
		}
		p.wrapped(head, "             ", t)
	}
	if s != nil && v.Now.Sub(s.Written) <= initapi.SummaryMaxAge {
		for _, n := range s.Notes {
			p.wrapped("             ", "             ", n)
		}
	}
}

func (p *page) set(v View) {
	s := v.State.Set
	if s == nil {
		return
	}
	var members []string
	for _, m := range s.Members {
		t := fmt.Sprintf("disk %s %s", m.Serial, m.State) // one that is not there has no bay
		if m.Bay > 0 {
			t = fmt.Sprintf("bay %d %s", m.Bay, m.State)
		}
		members = append(members, t)
	}
	line := fmt.Sprintf("%s, %s free of %s, %s", s.Level, size(s.FreeBytes), size(s.SizeBytes), strings.Join(members, ", "))
	if s.Rebuild != "" {
		line += ", rebuilding: " + s.Rebuild
	}
	p.wrapped("Disk set     ", "             ", line)
}

func (p *page) services(v View) {
	var parts []string
	for _, s := range v.State.Services {
		t := s.Title
		if t == "" {
			t = s.Name
		}
		parts = append(parts, t+" "+s.State)
	}
	if len(parts) > 0 {
		p.wrapped("Services     ", "             ", strings.Join(parts, " · "))
	}
}

func (p *page) disks(v View) {
	for _, d := range v.State.Disks {
		what := "no label"
		switch {
		case d.Label != nil:
			what = fmt.Sprintf("%s set of %s", d.Label.Role, d.Label.SiteName)
		case d.LabelErr != "":
			what = "label unreadable: " + d.LabelErr
		case d.Blank:
			what = "blank"
		case d.Content != "":
			what = d.Content
		}
		place := d.Dev
		if d.Bay > 0 {
			place = fmt.Sprintf("Bay %d", d.Bay)
		}
		p.add(fmt.Sprintf("%-12s %s %s: %s", place, d.Serial, size(d.Size), what))
	}
}

func (p *page) findings(v View, room int) {
	list := v.State.Findings
	if len(list) == 0 {
		return
	}
	p.add("")
	before := len(p.lines)
	for i, f := range list {
		if i > 0 && len(p.lines)-before > room-3 {
			p.add(fmt.Sprintf("… and %d more findings: see the dashboard", len(list)-i))
			return
		}
		mark := map[string]string{"critical": "!! ", "warning": "!  "}[f.Severity]
		if mark == "" {
			mark = "i  "
		}
		p.wrapped(mark, "   ", f.What)
		if f.Next != "" {
			p.wrapped("   -> ", "      ", f.Next)
		}
	}
}

func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:max(width-1, 0)]) + "…"
	}
	return s
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// size writes bytes as disk vendors do.
func size(n uint64) string {
	f := float64(n)
	for _, u := range []string{"B", "kB", "MB", "GB", "TB"} {
		if f < 1000 || u == "TB" {
			if f < 10 && u != "B" {
				return fmt.Sprintf("%.1f %s", f, u)
			}
			return fmt.Sprintf("%.0f %s", f, u)
		}
		f /= 1000
	}
	return ""
}
