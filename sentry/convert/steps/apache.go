package steps

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// Apache gives the web server's steps. Debian's three releases have the same 2.4 with the same modules; what differs is PHP's module, and the words of 2.2 that
// mod_access_compat still understands where it is enabled.
func Apache() []convert.Step {
	both := func(old int) []convert.Step {
		return []convert.Step{
			{
				ID: fmt.Sprintf("apache-php-module-%d", old), Service: "apache", Old: old, Class: convert.Renamed,
				Title:  fmt.Sprintf("PHP's module and socket: php%s ↔ php%s", phpVersions[old], phpVersions[old+1]),
				Source: "measured: /usr/lib/apache2/modules and mods-available of both", Forward: apachePHP, Back: apachePHP,
			},
			{
				ID: fmt.Sprintf("apache-access-%d", old), Service: "apache", Old: old, Class: convert.Rewritten,
				Title:  "Order, Allow, Deny, Satisfy → Require",
				Source: "mod_access_compat and mod_authz_core of 2.4; measured: requests to both wordings", Forward: apacheAccess,
			},
		}
	}
	return append(both(11), both(12)...)
}

// apacheFiles are those that Apache reads, of people or not. Sites and modules that are not enabled count too: they may be tomorrow.
var apacheFiles = []string{
	"etc/apache2/*.conf", "etc/apache2/conf-available/*.conf", "etc/apache2/sites-available/*.conf", "etc/apache2/mods-available/*.conf",
	"etc/apache2/mods-available/*.load", "etc/apache2/conf-enabled/*.conf", "etc/apache2/sites-enabled/*.conf", "etc/apache2/mods-enabled/*.conf",
	"etc/apache2/mods-enabled/*.load", "etc/apache2/conf.d/*", "etc/apache2/httpd.conf",
}

// apacheHtaccess lists the .htaccess files of the tree.
func apacheHtaccess(t *convert.Tree) []state.Path {
	var out []state.Path
	for _, p := range t.All() {
		if f, ok := t.Get(p); ok && p.Base() == ".htaccess" && f.Entry.Kind == state.File {
			out = append(out, p)
		}
	}
	return out
}

// phpNames matches what is called by PHP's version: modules, their files, and the sockets of php-fpm.
var phpNames = regexp.MustCompile(`\b(lib|mod_)?php(\d(?:\.\d)?)(\.so|_module|\.c|-fpm|\.load|\.conf)`)

// apachePHP changes the names that carry PHP's version, in text and in the links of mods-enabled.
func apachePHP(w *convert.Work) error {
	from, to := phpVersions[w.From.Number], phpVersions[w.To.Number]
	rename := func(s string) string {
		return phpNames.ReplaceAllStringFunc(s, func(m string) string {
			f := phpNames.FindStringSubmatch(m)
			switch version, suffix := f[2], f[3]; {
			case version == from:
				return f[1] + "php" + to + suffix
			case version != from[:1] || suffix != "_module" && suffix != ".c": // another version's, which nobody has
			case to[0] == '7':
				return m
			case from[0] == '7': // since 8.0 without a number
				return f[1] + "php" + suffix
			}
			return m
		})
	}
	if to[0] == '7' {
		older := rename
		unnumbered := regexp.MustCompile(`\b(mod_php\.c|php_module)\b`)
		rename = func(s string) string {
			return unnumbered.ReplaceAllStringFunc(older(s), func(m string) string { return strings.Replace(m, "php", "php7", 1) })
		}
	}
	for _, p := range append(w.Changed(apacheFiles...), apacheHtaccess(w.Tree)...) {
		if f, _ := w.Get(p); f.Stock {
			continue
		}
		a := conf.ParseApache(w.Text(p))
		changed := false
		for i, l := range a.Lines {
			if l.Name == "" || l.Close {
				continue
			}
			if raw := rename(l.Raw); raw != l.Raw {
				a.Lines[i].Raw, changed = raw, true
				w.Tell(convert.Finding{Path: p, Line: l.At, What: fmt.Sprintf("PHP is %s there, and what is called by its version has that name: %s", to, strings.TrimSpace(raw))})
			}
		}
		if changed {
			w.Write(p, a.Bytes())
		}
	}
	for _, p := range w.Paths("etc/apache2/mods-enabled/php*", "etc/apache2/mods-available/php*") {
		f, _ := w.Get(p)
		if f.Stock {
			continue
		}
		if f.Entry.Target != "" {
			f.Entry.Target = rename(f.Entry.Target)
		}
		q := state.Path(path.Join(string(p.Dir()), rename(p.Base())))
		if q == p {
			continue
		}
		w.Put(p, f)
		if f.Entry.Kind == state.File {
			w.Tell(convert.Finding{Class: convert.Moved, Path: p, What: fmt.Sprintf("PHP's module is called %s there.", strings.TrimSuffix(q.Base(), path.Ext(q.Base())))})
		}
		w.Move(p, q)
	}
	return nil
}
