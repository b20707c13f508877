package steps

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// pgAccess tells what the lists of who may log in say to PostgreSQL 16 and newer alone. The older one takes a pattern for a name and says nothing:
// a line that lets somebody in lets nobody in there, and one that keeps somebody out is passed over. Other files it cannot read in.
func pgAccess(w *convert.Work) error {
	for _, v := range []string{pgVersion(w, false), pgVersion(w, true)} {
		for _, p := range w.Changed("etc/postgresql/"+v+"/*/pg_hba.conf", "etc/postgresql/"+v+"/*/pg_ident.conf") {
			edit(w, conf.HBA(), p, func(d *conf.Doc) {
				for _, l := range d.Settings() {
					pgAccessLine(w, d, p, l)
				}
			})
		}
	}
	return nil
}

func pgAccessLine(w *convert.Work, d *conf.Doc, p state.Path, l *conf.Line) {
	if slices.Contains([]string{"include", "include_if_exists", "include_dir"}, l.Name) {
		takeOut(w, d, p, l, "PostgreSQL", note{
			class: convert.Blocking, what: " and would not start: what stands in " + l.Value + " does not count there",
			next: "Write its lines into the file itself.",
		})
		return
	}
	fields := strings.Fields(l.Value)
	var names []string
	switch {
	case p.Base() == "pg_ident.conf" && len(fields) > 1: // the name in the system has been a pattern for long
		names = fields[1:2]
	case p.Base() == "pg_hba.conf" && len(fields) > 1:
		names = append(strings.Split(fields[0], ","), strings.Split(fields[1], ",")...)
	}
	for _, name := range names {
		name = strings.Trim(name, `"`) // which takes nothing away from a pattern
		group := p.Base() == "pg_ident.conf" && (name == "all" || strings.HasPrefix(name, "+"))
		if !group && !strings.HasPrefix(name, "/") {
			continue
		}
		f := convert.Finding{
			Path: p, Line: l.No, What: fmt.Sprintf("PostgreSQL of %s takes “%s” for the name of one user or database, and not for a pattern: other people could log in there than here.", there(w), name),
			Next: "Write the names one by one, or the name of a group (+GROUP), in its place.",
		}
		if group {
			f.What = fmt.Sprintf("PostgreSQL of %s takes “%s” for the name of one user: whom it lets in here cannot log in there.", there(w), name)
			f.Next = "Write a line for each user."
		}
		w.Tell(f)
	}
}
