package steps

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Chrony carries chrony.conf: 4.0 ↔ 4.3 ↔ 4.6; and ntp.conf, whose program is not in the image.
func Chrony() []convert.Step {
	const source = "measured: chronyd -p of both"
	return []convert.Step{
		{
			ID: "chrony-ntp", Service: "chrony", Old: 11, Class: convert.Moved,
			Title:   "ntp.conf → /etc/chrony/conf.d/ntp.conf: servers, pools, peers, keys, the local clock",
			Source:  "chrony.conf(5), ntp.conf(5)",
			Forward: chronyNTP,
		},
		{
			ID: "chrony-leap", Service: "chrony", Old: 12, Class: convert.Rewritten,
			Title:   "chrony: leapsectz right/UTC ↔ leapseclist",
			Source:  source + "; right/UTC is in the package tzdata-legacy of Debian 13, and chronyd says nothing where it is missing",
			Forward: chronyLeap("leapsectz", "leapseclist", "/usr/share/zoneinfo/leap-seconds.list"), Back: chronyLeap("leapseclist", "leapsectz", "right/UTC"),
		},
		{
			ID: "chrony-new", Service: "chrony", Old: 12, Class: convert.Approximated,
			Title:  "chrony: ipv4, ipv6 and extfield F324 of a source, local activate, ptpdomain, ntsaeads, refresh",
			Source: source,
			Back:   chronyNew,
		},
	}
}

func chronyFiles(w *convert.Work) []state.Path {
	return w.Changed("etc/chrony/*.conf", "etc/chrony/conf.d/*.conf", "etc/chrony/sources.d/*.sources")
}

func chronyLeap(from, to, value string) func(*convert.Work) error {
	return func(w *convert.Work) error {
		for _, p := range chronyFiles(w) {
			edit(w, conf.Chrony(), p, func(d *conf.Doc) {
				for _, l := range d.Find(from) {
					if from == "leapsectz" && !strings.HasPrefix(l.Value, "right/") { // each of right/ tells the same leap seconds
						w.Tell(convert.Finding{
							Class: convert.Approximated, Path: p, Line: l.No,
							What: fmt.Sprintf("chronyd takes “%s %s” and says nothing, but that is no zone with leap seconds: it knows of none.", l.Name, l.Value),
							Next: "Write leapsectz right/UTC, or take the line out.",
						})
						continue
					}
					w.Tell(convert.Finding{Path: p, Line: l.No, What: fmt.Sprintf("Leap seconds are taken from %s there: %s.", value, to)})
					d.Rename(l, to)
					d.Set(l, value)
				}
			})
		}
		return nil
	}
}

func chronyNew(w *convert.Work) error {
	lost := map[string]note{
		"ptpdomain": {class: convert.Approximated, what: "; it uses domain 123"},
		"ntsaeads":  {class: convert.Ignored, what: ", and chooses by itself"},
		"refresh":   {class: convert.Approximated, what: "; names of servers are looked up at the start and when one is lost"},
	}
	for _, p := range chronyFiles(w) {
		edit(w, conf.Chrony(), p, func(d *conf.Doc) {
			for _, l := range d.Settings() {
				name := strings.ToLower(l.Name)
				if n, ok := lost[name]; ok {
					takeOut(w, d, p, l, "chronyd", n)
					continue
				}
				value := l.Value
				switch name {
				case "server", "pool", "peer":
					value = without(value, "ipv4", 0, "ipv6", 0, "extfield F324", 1)
				case "local":
					value = without(value, "activate", 1)
				}
				if value != l.Value {
					w.Tell(convert.Finding{
						Path: p, Line: l.No,
						What: fmt.Sprintf("chronyd of %s would not start with “%s %s”; it is “%s %s” there.", there(w), l.Name, l.Value, l.Name, value),
					})
					d.Set(l, value)
				}
			}
		})
	}
	return nil
}

// without takes words out of a value, each with so many that follow it. "extfield F324" goes only with that word behind it.
func without(value string, out ...any) string {
	words := strings.Fields(value)
	changed := false
	for i := 0; i < len(out); i += 2 {
		name, more := out[i].(string), out[i+1].(int)
		name, next, has := strings.Cut(name, " ")
		for j := 0; j < len(words); j++ {
			if strings.EqualFold(words[j], name) && j+more < len(words) && (!has || strings.EqualFold(words[j+1], next)) {
				words = slices.Delete(words, j, j+more+1)
				changed = true
				j--
			}
		}
	}
	if !changed {
		return value
	}
	return strings.Join(words, " ")
}

// chronyNTP writes the sources of ntp.conf for chrony. What only keeps others from asking is chrony's way anyhow: it answers nobody
// who was not allowed.
func chronyNTP(w *convert.Work) error {
	const to = state.Path("etc/chrony/conf.d/ntp.conf")
	if _, has := w.Get(to); has {
		return nil
	}
	for _, p := range w.Changed("etc/ntp.conf", "etc/ntpsec/ntp.conf") {
		out := []string{"# From /" + string(p) + ", in chrony's words."}
		for _, l := range conf.Parse(conf.Ntp(), w.Text(p)).Settings() {
			f := convert.Finding{Path: p, Line: l.No}
			fields := strings.Fields(l.Value)
			switch name := strings.ToLower(l.Name); {
			case len(fields) == 0:
				continue
			case (name == "server" || name == "fudge") && strings.HasPrefix(fields[0], "127.127.1."):
				if name == "server" {
					out = append(out, "local stratum 10")
					f.What = "The server's own clock is “local stratum 10” in chrony."
				} else {
					f.Class, f.What = convert.Ignored, "The stratum of the server's own clock is 10 in chrony."
				}
			case (name == "server" || name == "fudge") && strings.HasPrefix(fields[0], "127.127."):
				f.Class, f.What = convert.Blocking, "A clock that is connected to the server is named in another way in chrony."
				f.Next = "Write a line “refclock” into /etc/chrony/conf.d (man chrony.conf)."
			case name == "server" || name == "pool" || name == "peer":
				line, lost := chronySource(name, fields)
				out = append(out, line)
				f.What = "The source is “" + line + "” in chrony."
				if len(lost) > 0 {
					f.Class = convert.Approximated
					f.What += " It has no " + strings.Join(lost, ", ") + "."
				}
			case name == "keys":
				f.Class, f.What = convert.Data, "Keys are kept in another form in /etc/chrony/chrony.keys."
				f.Next = "Write each key there as “NUMBER SHA1 HEX:…” or “NUMBER MD5 ASCII:…”."
			case name == "broadcast":
				out = append(out, "broadcast 60 "+fields[0])
				f.What = "Broadcasts are “broadcast 60 " + fields[0] + "” in chrony."
			case name == "restrict":
				f.Class, f.What = convert.Ignored, "chrony answers only those whom “allow” names; this server's networks are allowed by the image."
			default:
				f.Class, f.What = convert.Ignored, l.Name+" has no counterpart in chrony, and none is missed."
			}
			w.Tell(f)
		}
		w.Write(to, []byte(strings.Join(out, "\n")+"\n"))
		w.Remove(p)
		return nil
	}
	return nil
}

// chronySource puts a source of ntpd's into chrony's words, and tells which are lost.
func chronySource(kind string, fields []string) (line string, lost []string) {
	line = kind
	for i := 0; i < len(fields); i++ {
		switch word := strings.ToLower(fields[i]); {
		case word == "-4" || word == "-6":
		case line == kind, word == "iburst", word == "burst", word == "prefer", word == "xleave", word == "nts", word == "noselect", word == "true":
			if word == "true" {
				word = "trust"
			}
			line += " " + word
		case (word == "minpoll" || word == "maxpoll" || word == "key" || word == "version") && i+1 < len(fields):
			i++
			line += " " + word + " " + fields[i]
		default:
			lost = append(lost, word)
		}
	}
	return line, lost
}
