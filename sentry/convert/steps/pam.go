package steps

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
)

// pamGone takes modules out that the other release does not have: a service that names one lets nobody in, or complains at each login. lost says by
// module what is lost, and behind " | " what to do.
func pamGone(lost map[string]string) func(*convert.Work) error {
	return func(w *convert.Work) error {
		for _, p := range w.Changed("etc/pam.d/*", "etc/pam.conf") {
			edit(w, conf.PAM(), p, func(d *conf.Doc) {
				for _, l := range d.Settings() {
					if strings.HasPrefix(l.Name, "-") { // left out by itself where the module is missing
						continue
					}
					for word := range strings.FieldsSeq(l.Value) {
						why, ok := lost[path.Base(word)]
						if !ok {
							continue
						}
						what, next, _ := strings.Cut(why, " | ")
						w.Tell(convert.Finding{Path: p, Line: l.No, Next: next, What: fmt.Sprintf("%s is not there any more%s", path.Base(word), what)})
						if path.Base(word) == "pam_cracklib.so" {
							askAnew(d)
						}
						if jumps(d, l) {
							d.Set(l, "optional pam_permit.so") // what jumps over lines counts them
						} else {
							d.CommentOut(l, "not in "+there(w))
						}
						break
					}
				}
			})
		}
		return nil
	}
}

// askAnew has pam_unix ask for the new password itself, since the module that did so before it goes.
func askAnew(d *conf.Doc) {
	for _, l := range d.Find("password") {
		if strings.Contains(l.Value, "pam_unix.so") && !strings.Contains(l.Value, "\n") {
			d.Set(l, strings.Join(slices.DeleteFunc(strings.SplitAfter(l.Value, " "), func(word string) bool { return strings.TrimSpace(word) == "use_authtok" }), ""))
		}
	}
}

// jumps tells whether a line before this one, of the same kind, jumps over lines: [success=2 default=ignore].
func jumps(d *conf.Doc, l *conf.Line) bool {
	for _, o := range d.Settings() {
		if o == l {
			return false
		}
		control, _, in := strings.Cut(o.Value, "]")
		if !in || strings.TrimPrefix(o.Name, "-") != l.Name {
			continue
		}
		for word := range strings.FieldsSeq(strings.TrimPrefix(control, "[")) {
			if _, to, ok := strings.Cut(word, "="); ok && to != "" && strings.Trim(to, "0123456789") == "" && to != "0" {
				return true
			}
		}
	}
	return false
}
