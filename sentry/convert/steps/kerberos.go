package steps

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Kerberos carries krb5.conf and kdc.conf: 1.18 ↔ 1.20 ↔ 1.21. Single DES is in none of them. Of 12 and 13 the programs take the same words and mean the
// same with them (measured with kdb5_util, krb5kdc and kinit).
func Kerberos() []convert.Step {
	return []convert.Step{{
		ID: "kerberos-weak", Service: "kerberos", Old: 11, Class: convert.Pinned,
		Title:   "Kerberos: allow_rc4 and allow_des3, where krb5.conf or kdc.conf name these ways of encrypting",
		Source:  "release notes of krb5 1.21, whose switches Debian 12 has too; measured: krb5kdc and kinit of 12 and 13 with and without them",
		Forward: krbWeak,
	}}
}

// krbWeak lets encryption that is named go on. A release that does not know the switch passes over it.
func krbWeak(w *convert.Work) error {
	for _, p := range w.Changed("etc/krb5.conf", "etc/krb5.conf.d/*", "etc/krb5kdc/kdc.conf") {
		edit(w, conf.Kerberos(), p, func(d *conf.Doc) {
			for _, weak := range []struct {
				name  string
				words []string
			}{
				{"allow_rc4", []string{"arcfour-hmac", "rc4-hmac", "arcfour-hmac-md5", "rc4"}},
				{"allow_des3", []string{"des3-cbc-sha1", "des3-hmac-sha1", "des3-cbc-sha1-kd", "des3"}},
			} {
				at := slices.IndexFunc(d.Settings(), func(l *conf.Line) bool {
					return slices.Contains([]string{"permitted_enctypes", "default_tkt_enctypes", "default_tgs_enctypes"}, l.Name) && namesOne(l.Value, weak.words)
				})
				if at < 0 || len(d.Find(weak.name)) > 0 || krbSays(w, weak.name) {
					continue
				}
				l := d.Settings()[at]
				w.Tell(convert.Finding{
					Path: p, Line: l.No, Next: "Give whoever uses it keys of a newer kind (aes256-cts), and take the line out.",
					What: fmt.Sprintf("%s names a way of encrypting that is refused there unless %s says yes; that is written out.", l.Name, weak.name),
				})
				d.After(l, "\t# This is what "+fmt.Sprintf("Debian %d", w.From.Number)+" did by itself.", "\t"+weak.name+" = true")
			}
		})
	}
	return nil
}

func krbSays(w *convert.Work, name string) bool {
	return slices.ContainsFunc(w.Changed("etc/krb5.conf", "etc/krb5.conf.d/*"), func(p state.Path) bool {
		return len(conf.Parse(conf.Kerberos(), w.Text(p)).Find(name)) > 0
	})
}

// namesOne tells whether a list of ways to encrypt, with - before what is taken away, names one of the words.
func namesOne(value string, words []string) bool {
	return slices.ContainsFunc(list(value), func(word string) bool { return slices.Contains(words, strings.ToLower(strings.TrimPrefix(word, "+"))) })
}
