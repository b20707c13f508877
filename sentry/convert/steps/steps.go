// Package steps has what is known of the services: one file for each, with the steps that carry its configuration between adjacent releases.
//
// What a daemon knows and what it assumes is asked of the facts (measured on the packages of the release); the lists here say only what
// facts cannot: what a setting is called there instead, and what is lost without it. A step looks at files that people have changed,
// and changes single lines in them (package conf); what cannot be carried becomes a remark, so that the lines keep their numbers.
package steps

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/convert/facts"
	"sayasystems.com/atlas/sentry/sync/state"
)

// All lists the steps of all services. Those of one service are in the order in which they run on the way to the newer release.
func All() []convert.Step {
	return slices.Concat(Accounts(), SSH(), Samba(), PostgreSQL(), MariaDB(), NFS(), Sysctl(), Chrony(), Apache(), PHP(), Postfix(), Dovecot(), OpenLDAP(), Kerberos(), Firewall(), Sendmail())
}

// edit has f change one file.
func edit(w *convert.Work, format conf.Format, p state.Path, f func(*conf.Doc)) {
	was := w.Text(p)
	d := conf.Parse(format, was)
	f(d)
	if now := d.Bytes(); string(now) != string(was) {
		w.Write(p, now)
	}
}

// note says what becomes of a setting that the other release does not know.
type note struct {
	class convert.Class
	name  string // that it has there; "" if it has to be taken out
	what  string // what is lost: "…; the server there ends a standby's recovery only when it is told to"
	next  string
}

// there names the release that a text goes to.
func there(w *convert.Work) string { return fmt.Sprintf("Debian %d", w.To.Number) }

// unknown tells whether the daemon of this release knows a setting and the other's does not, or takes it and does nothing with it any more.
func unknown(w *convert.Work, service, param string) bool {
	if !w.From.Knows(service, param) {
		return false
	}
	ignored := func(r *facts.Release) bool { return r.Services[service].Params[param].Status == facts.Ignored }
	return !w.To.Knows(service, param) || ignored(w.To) && !ignored(w.From)
}

// takeOut makes a remark of a setting that the other release does not know, or gives it the name that it has there, and tells it.
func takeOut(w *convert.Work, d *conf.Doc, p state.Path, l *conf.Line, daemon string, n note) {
	f := convert.Finding{Class: n.class, Path: p, Line: l.No, Next: n.next}
	if n.name != "" {
		f.What = fmt.Sprintf("%s is called %s there.", l.Name, n.name)
		d.Rename(l, n.name)
	} else {
		f.What = fmt.Sprintf("%s of %s does not know %s%s; the line is made a remark.", daemon, there(w), l.Name, n.what)
		d.CommentOut(l, "not known to "+there(w))
	}
	w.Tell(f)
}

// sameDefault tells whether a value is what this release assumes anyway: then nothing is lost with it.
func sameDefault(w *convert.Work, service, param, value string) bool {
	def, ok := w.From.Default(service, param)
	return ok && plainWord(def) == plainWord(value)
}

// plainWord makes one word of the many for yes and no.
func plainWord(v string) string {
	switch v = strings.ToLower(strings.TrimSpace(v)); v {
	case "on", "true", "yes", "1":
		return "yes"
	case "off", "false", "no", "0":
		return "no"
	}
	return v
}

// pin is a default that another release has changed and that is written out.
type pin struct {
	param string
	why   string // "clients that offer no newer key exchange can still log in"
}

// list parts a value by commas and white space.
func list(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}
