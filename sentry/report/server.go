package report

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/verify"
)

// serverView is a server's card: its front, its facts and its services.
type serverView struct {
	Name, Address     string
	Class             string // "primary", "secondary", "holding", "busy", "unknown": the colour of the front
	Role              string // big word on the front
	State             string
	Light             string // "good", "attention", "bad", "off"
	Self, Lab         bool
	URL               string
	Facts             []fact
	Bays              []bayView
	Hold              []roles.Reason
	Observers         []string
	Services          []serviceView
	Network           []probeView
	Unknown, LastSeen string
	Standing          *site.Standing // with the changes of settings; nil: nothing to tell
	Rehearsing        string         // "being rehearsed since 03:12:02"; "" = it is not
}

type fact struct{ Name, Value string }

type bayView struct {
	Number                    int
	Class                     string // "active", "rebuilding", "bad", "idle", "blank", "empty"
	Role                      string // colour of the tray: "primary", "secondary", ""
	Tray, State, Serial, Size string
	Detail                    string
}

type serviceView struct {
	Title, State, Class, Error string
	Restarts                   int
	Since                      string
	Probes                     []rowView
}

type rowView struct {
	Title string
	Cells []probeView
}

type probeView struct {
	Title, Observer, Class, Word, Text, Evidence, Next, Age string
}

func serverOf(st site.Site, s site.Server) serverView {
	v := serverView{Name: s.Name, Address: s.Address, Self: s.Self, Class: "unknown", Role: "unknown", State: "does not answer", Light: "off"}
	if s.Address != "" && !s.Self {
		v.URL = "https://" + s.Address + ":8443/"
	}
	if !s.Fresh(st.At) {
		v.Unknown = s.Error
		if !s.Seen.IsZero() {
			v.LastSeen = span(st.At.Sub(s.Seen))
		}
	}
	if s.Report == nil {
		return v
	}
	state := s.Report.State
	if state != nil {
		v.Lab = state.Kind == "namespace"
		v.Bays = baysOf(state, s.Fresh(st.At))
		v.Facts = factsOf(s.Report, st.At)
		if s.Fresh(st.At) {
			v.Class, v.Role, v.State, v.Light = look(state)
			if state.State == initapi.Holding {
				v.Hold = state.Reasons
			}
		}
	} else if s.Fresh(st.At) {
		v.State = "does not tell its state"
		v.Unknown = s.Report.StateErr
	}
	for _, o := range st.Servers {
		v.Observers = append(v.Observers, o.Name)
	}
	v.Services = servicesOf(st, s, v.Observers)
	v.Network = networkOf(st, s)
	if y, ok := st.Standing(s); ok {
		v.Standing = &y
	}
	v.Rehearsing = rehearsingOf(st, s)
	return v
}

func look(st *initapi.State) (class, role, state, light string) {
	switch st.State {
	case initapi.Serving:
		class, role, light = string(st.Role), string(st.Role), "good"
		if !st.Ready || (st.Set != nil && st.Set.Degraded) {
			light = "attention"
		}
	case initapi.Holding:
		class, role, light = "holding", "on hold", "bad"
	default:
		class, role, light = "busy", "—", "attention"
	}
	return class, role, site.StateWord(st), light
}

func factsOf(r *site.Report, now time.Time) []fact {
	st := r.State
	var out []fact
	add := func(name, value string) {
		if value != "" {
			out = append(out, fact{name, value})
		}
	}
	add("Management address", r.Address)
	if a, _, _ := strings.Cut(st.Addresses.Service, "/"); a != "" {
		word := " (held silently)"
		if st.Addresses.Announced {
			word = " (announced)"
		}
		add("Service address", a+word)
	}
	if st.Set != nil {
		word := "whole"
		if st.Set.Degraded {
			word = "not whole"
		}
		if st.Set.Rebuild != "" {
			word = "rebuilding " + st.Set.Rebuild
		}
		set := fmt.Sprintf("%s, %d disks, %s", raid(st.Set.Level), len(st.Set.Members), word)
		add("Disk set", set)
		if st.Set.SizeBytes > 0 {
			add("Space", bytesWord(st.Set.FreeBytes)+" free of "+bytesWord(st.Set.SizeBytes))
		}
	}
	img := st.Version
	if st.Release != "" {
		img += " on Debian " + st.Release
	}
	add("Image", img)
	if !st.Started.IsZero() {
		add("Started", span(now.Sub(st.Started))+" ago")
	}
	return out
}

func raid(l roles.Level) string { return "RAID " + strings.TrimPrefix(string(l), "raid") }

// baysOf draws the front: every bay up to the highest that has been seen in use.
func baysOf(st *initapi.State, fresh bool) []bayView {
	bays := map[int]bayView{}
	top := 0
	for _, d := range st.Disks {
		if d.Bay <= 0 || d.Bay > 24 {
			continue
		}
		top = max(top, d.Bay)
		bays[d.Bay] = diskView(d)
	}
	if st.Set != nil {
		for _, m := range st.Set.Members {
			if m.Bay <= 0 || m.Bay > 24 {
				continue
			}
			top = max(top, m.Bay)
			b := bays[m.Bay]
			b.Number, b.Serial, b.Role = m.Bay, m.Serial, string(st.Role)
			b.Tray = string(st.Role)
			switch m.State {
			case "active":
				b.Class, b.State = "active", "active"
			case "rebuilding":
				b.Class, b.State = "rebuilding", "rebuilding"
			default:
				b.Class, b.State = "bad", m.State
			}
			bays[m.Bay] = b
		}
		// A member without a bay has left: the bay it had is told by the finding.
	}
	out := make([]bayView, 0, top)
	for n := 1; n <= max(top, 2); n++ {
		b, ok := bays[n]
		if !ok {
			b = bayView{Class: "empty", State: "empty"}
		}
		b.Number = n
		if !fresh { // a lit lamp would be a lie
			b.Class, b.State = "old", "was "+b.State
		}
		out = append(out, b)
	}
	return out
}

func diskView(d roles.Disk) bayView {
	b := bayView{Serial: d.Serial, Size: bytesWord(d.Size), Class: "idle"}
	switch {
	case d.Label != nil:
		b.Role, b.Tray, b.State = string(d.Label.Role), string(d.Label.Role), "not started"
		b.Detail = fmt.Sprintf("of the %s set of %s, last used by %s", d.Label.Role, d.Label.SiteName, d.Label.Server)
	case d.LabelErr != "":
		b.Class, b.State, b.Detail = "bad", "label unreadable", d.LabelErr
	case d.Blank:
		b.Class, b.State = "blank", "blank disk"
	default:
		b.State, b.Detail = "not ours", d.Content
	}
	return b
}

// servicesOf lists target's services with what each observer has proven.
func servicesOf(st site.Site, target site.Server, observers []string) []serviceView {
	type key struct{ service, probe string }
	titles, order := map[string]string{}, []string{}
	addService := func(name, title string) {
		if _, ok := titles[name]; !ok {
			order = append(order, name)
		}
		if title != "" {
			titles[name] = title
		} else if titles[name] == "" {
			titles[name] = name
		}
	}
	packs := map[string]string{}
	for _, p := range target.Report.Packs {
		packs[p.Name] = p.Title
	}
	state := map[string]initapi.Service{}
	if target.Report.State != nil {
		for _, s := range target.Report.State.Services {
			state[s.Name] = s
			addService(s.Name, s.Title)
		}
	}
	found := map[key]map[string]verify.Result{}
	ahead := map[string]time.Duration{}
	rows := map[string][]verify.Result{}
	for _, o := range st.Servers {
		ahead[o.Name] = o.Ahead
		for _, r := range o.Probes {
			if r.Target != target.Name || r.Minor {
				continue
			}
			addService(r.Service, packs[r.Service])
			k := key{r.Service, r.Probe}
			if found[k] == nil {
				found[k] = map[string]verify.Result{}
				rows[r.Service] = append(rows[r.Service], r)
			}
			if !o.Fresh(st.At) {
				r.Status, r.Evidence = verify.Unknown, o.Name+" does not answer"
			}
			found[k][o.Name] = r
		}
	}
	out := make([]serviceView, 0, len(order))
	for _, name := range order {
		v := serviceView{Title: titles[name]}
		if s, ok := state[name]; ok && target.Fresh(st.At) {
			v.State, v.Restarts, v.Error, v.Since = s.State, s.Restarts, s.Error, since(s.Since, st.At)
			v.Class = map[string]string{"ready": "pass", "failed": "fail", "stopped": "fail"}[s.State]
			if v.Class == "" {
				v.Class = "warn"
			}
		}
		for _, r := range rows[name] {
			row := rowView{Title: r.Title}
			for _, o := range observers {
				c := cell(o, found[key{r.Service, r.Probe}][o], st.At.Add(ahead[o]))
				if c.Class == "fail" && target.Rehearses(st.At, r.Service) { // as it should be just now
					c.Class, c.Word, c.Text = "skipped", "being rehearsed", "…"
				}
				row.Cells = append(row.Cells, c)
			}
			v.Probes = append(v.Probes, row)
		}
		out = append(out, v)
	}
	return out
}

func networkOf(st site.Site, target site.Server) []probeView {
	var out []probeView
	for _, o := range st.Servers {
		if !o.Fresh(st.At) {
			continue
		}
		for _, r := range o.Probes {
			if r.Target == target.Name && r.Minor {
				out = append(out, cell(o.Name, r, st.At.Add(o.Ahead)))
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Title < out[j].Title })
	return out
}

// cell words one result; now is the observer's.
func cell(observer string, r verify.Result, now time.Time) probeView {
	v := probeView{Title: r.Title, Observer: observer, Evidence: r.Evidence, Next: r.Next}
	if steps := r.StepWords(); steps != "" {
		v.Evidence += " (" + steps + ")"
	}
	if r.Observer == "" {
		v.Class, v.Word, v.Text, v.Evidence = "unknown", "not known", "", "no result from "+observer
		return v
	}
	v.Age = span(now.Sub(r.At)) + " ago"
	v.Class, v.Word = statusClass(r.Status), string(r.Status)
	switch {
	case r.At.IsZero():
		v.Class, v.Word, v.Text, v.Age = "unknown", "not run yet", "…", ""
	case r.Stale(now):
		v.Class, v.Word, v.Text = "unknown", "too old to count", "old"
	case r.Soft():
		v.Class, v.Word, v.Text = statusClass(r.Standing()), "seen to fail once, being verified again", "again"
	case r.Flapping:
		v.Class, v.Word, v.Text = statusClass(r.Standing()), "comes and goes", ms(r.Duration)
	case r.Status == verify.Pass, r.Status == verify.Warn:
		v.Text = ms(r.Duration)
	case r.Status == verify.Fail:
		v.Text = "fails"
	}
	return v
}

// bootView is a boot by phase; bars are in a box 1000 wide.
type bootView struct {
	Server, Total, Outcome, When string
	Phases                       []phaseView
}

type phaseView struct {
	Name, Time, Note, Class string
	X, W                    int
}

func bootOf(s site.Server) (bootView, bool) {
	if s.Boot == nil || len(s.Boot.Phases) == 0 {
		return bootView{}, false
	}
	b := s.Boot
	v := bootView{Server: s.Name, Outcome: b.Outcome, Total: seconds(b.Total), When: b.Started.UTC().Format("2 Jan 2006 15:04 UTC")}
	type part struct {
		name, note, result string
		d                  time.Duration
	}
	var parts []part
	if b.Firmware > 0 {
		parts = append(parts, part{"firmware and boot loader", "", "ok", b.Firmware})
	}
	if b.Kernel > 0 {
		parts = append(parts, part{"kernel", "", "ok", b.Kernel})
	}
	for _, p := range b.Phases {
		parts = append(parts, part{p.Name, p.Note, p.Result, p.Duration})
	}
	var sum, at time.Duration
	for _, p := range parts {
		sum += p.d
	}
	for _, p := range parts {
		pv := phaseView{Name: p.name, Time: seconds(p.d), Note: p.note, Class: "ok", X: int(1000 * at / max(sum, 1)), W: max(3, int(1000*p.d/max(sum, 1)))}
		at += p.d
		switch p.result {
		case "ok":
		case "skipped":
			pv.Class, pv.Note = "skipped", "skipped"+dash(p.note)
		default:
			pv.Class, pv.Note = "fail", p.result+dash(p.note)
		}
		v.Phases = append(v.Phases, pv)
	}
	return v, true
}

func dash(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
