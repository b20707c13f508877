package steps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// phpVersions says which PHP each release has: /etc/php/8.2.
var phpVersions = map[int]string{11: "7.4", 12: "8.2", 13: "8.4"}

// PHP gives the steps of PHP. Debian keeps the settings below a directory that is called by the version; each step looks at the files where they are after
// the ones before it.
func PHP() []convert.Step {
	var out []convert.Step
	for _, old := range []int{11, 12} {
		out = append(out, convert.Step{
			ID: fmt.Sprintf("php-directory-%d", old), Service: "apache", Old: old, Class: convert.Moved,
			Title:  fmt.Sprintf("/etc/php/%s ↔ /etc/php/%s", phpVersions[old], phpVersions[old+1]),
			Source: "measured: the packages of both", Forward: phpDirectory, Back: phpDirectory,
		})
	}
	return append(
		out,
		convert.Step{
			ID: "php-gone-11", Service: "apache", Old: 11, Class: convert.Ignored,
			Title: "track_errors, assert.quiet_eval, mbstring.func_overload, extension=json, extension=xmlrpc", Source: "PHP's UPGRADING of 8.0; measured: track_errors ends PHP 8",
			Forward: phpGone(map[string]string{
				"track_errors":           "The last error is told by error_get_last(); scripts that read $php_errormsg find nothing there.",
				"assert.quiet_eval":      "",
				"mbstring.func_overload": "Scripts that count on it must call the mb_ functions.",
				"extension=json":         "",
				"extension=xmlrpc":       "Scripts that use XML-RPC need a library of their own.",
			}),
		},
		convert.Step{
			ID: "php-gone-12", Service: "apache", Old: 12, Class: convert.Ignored,
			Title: "opcache.consistency_checks, mysqli.reconnect, session.sid_length, session.sid_bits_per_character", Source: "PHP's UPGRADING of 8.3 and 8.4; measured: ini_get_all of both",
			Forward: phpGone(map[string]string{
				"opcache.consistency_checks":     "",
				"mysqli.reconnect":               "Scripts that wait long must connect again themselves.",
				"session.sid_length":             "Sessions are called by 32 hexadecimal digits there; those that exist stay valid.",
				"session.sid_bits_per_character": "Sessions are called by 32 hexadecimal digits there; those that exist stay valid.",
			}),
		},
		convert.Step{
			ID: "php-e-strict", Service: "apache", Old: 12, Class: convert.Rewritten,
			Title: "E_STRICT goes out of error_reporting", Source: "PHP's UPGRADING of 8.4; measured: E_ALL is 30719 there, without E_STRICT", Forward: phpStrict,
		},
		convert.Step{
			ID: "php-jit", Service: "apache", Old: 12, Class: convert.Pinned,
			// Debian sets opcache.jit=off in both, so the other new default, of opcache.jit itself, makes no difference.
			Title: "opcache.jit_buffer_size 0 ↔ 64M", Source: "PHP's UPGRADING of 8.4; measured: opcache_get_status of both",
			Back: phpPin("opcache.jit", "opcache.jit_buffer_size", "64M", "disable", "off", "0"),
		},
	)
}

// phpDirectory takes what people made or changed to the directory of the other version.
func phpDirectory(w *convert.Work) error {
	from, to := state.Path("etc/php/"+phpVersions[w.From.Number]), state.Path("etc/php/"+phpVersions[w.To.Number])
	for _, p := range slices.Backward(w.Under(from)) { // what is in a directory goes before it: Move takes everything below along
		f, _ := w.Get(p)
		if f.Stock {
			continue
		}
		f.Entry.Target = strings.Replace(f.Entry.Target, "/"+string(from)+"/", "/"+string(to)+"/", 1)
		if base := p.Base(); from[len("etc/php/")] == '7' && f.Entry.Kind == state.Link && (strings.HasSuffix(base, "-json.ini") || strings.HasSuffix(base, "-xmlrpc.ini")) {
			w.Remove(p)
			w.Tell(convert.Finding{Class: convert.Ignored, Path: p, What: "PHP 8 has no such module: JSON is built in, XML-RPC is gone."})
			continue
		}
		q := to + p[len(from):]
		there, exists := w.Get(q)
		w.Put(p, f)
		switch {
		case f.Entry.Kind == state.Dir:
			if rest := w.Under(p); len(rest) > 1 { // the image's own files
				continue
			}
			if exists {
				w.Remove(p)
				continue
			}
		case f.Entry.Kind == state.File && exists && !there.Stock && string(there.Data) != string(f.Data):
			w.Tell(convert.Finding{
				Class: convert.Approximated, Path: p, What: fmt.Sprintf("Settings of PHP %s and of PHP %s are both there; these count, and the others are left out.", phpVersions[w.From.Number], phpVersions[w.To.Number]),
				Next: "Remove " + string(q) + " here if it is not needed.",
			})
		case f.Entry.Kind == state.File:
			w.Tell(convert.Finding{Path: p, What: fmt.Sprintf("Stands in /%s there.", q)})
		}
		w.Move(p, q)
	}
	return nil
}

// phpFiles lists the settings that people changed: of the target where the directory was moved before, which on the way back it was not yet.
func phpFiles(w *convert.Work) []state.Path {
	version := phpVersions[max(w.From.Number, w.To.Number)]
	return slices.DeleteFunc(w.Under(state.Path("etc/php/"+version)), func(p state.Path) bool {
		f, _ := w.Get(p)
		return f.Stock || f.Entry.Kind != state.File || !strings.HasSuffix(string(p), ".ini")
	})
}

// phpEach shows each setting that people changed; edit gives the line's new text.
func phpEach(w *convert.Work, edit func(p state.Path, l conf.PHPLine) string) {
	for _, p := range phpFiles(w) {
		ini := conf.ParsePHPIni(w.Text(p))
		changed := false
		for i, l := range ini.Lines {
			if l.Key == "" {
				continue
			}
			if raw := edit(p, l); raw != l.Raw {
				ini.Lines[i].Raw, changed = raw, true
			}
		}
		if changed {
			w.Write(p, ini.Bytes())
		}
	}
}

// phpGone turns settings that the other PHP does not have into comments.
func phpGone(gone map[string]string) func(*convert.Work) error {
	return func(w *convert.Work) error {
		phpEach(w, func(p state.Path, l conf.PHPLine) string {
			name := l.Key
			if name == "extension" {
				name += "=" + strings.TrimSuffix(strings.Trim(l.Value, `"`), ".so")
			}
			next, ok := gone[name]
			if !ok {
				return l.Raw
			}
			version := phpVersions[w.To.Number]
			w.Tell(convert.Finding{Path: p, Line: l.At, What: fmt.Sprintf("PHP %s has no %s any more, or does not want it set; it is left out there.", version, name), Next: next})
			return "; not for PHP " + version + ": " + strings.ReplaceAll(strings.TrimSuffix(l.Raw, "\n"), "\n", "\n; ") + l.Raw[len(strings.TrimSuffix(l.Raw, "\n")):]
		})
		return nil
	}
}

var phpStrictWord = regexp.MustCompile(`\s*[&|]\s*~?\s*E_STRICT\b|\bE_STRICT\s*[|]\s*`)

func phpStrict(w *convert.Work) error {
	phpEach(w, func(p state.Path, l conf.PHPLine) string {
		if l.Key != "error_reporting" || !strings.Contains(l.Value, "E_STRICT") {
			return l.Raw
		}
		raw := strings.Replace(l.Raw, l.Value, phpStrictWord.ReplaceAllString(l.Value, ""), 1)
		w.Tell(convert.Finding{Path: p, Line: l.At, What: "PHP 8.4 has no errors of the kind E_STRICT; error_reporting does not name it there."})
		return raw
	})
	return nil
}

// phpPin writes a second setting out where people have set a first one to something other than off: without it the first would not work.
func phpPin(set, pin, value string, off ...string) func(*convert.Work) error {
	return func(w *convert.Work) error {
		pinned := map[string]bool{} // by the directory of the program that reads them; "" = all
		reader := func(p state.Path) string {
			f := strings.Split(string(p), "/")
			if f[3] == "mods-available" {
				return ""
			}
			return f[3]
		}
		phpEach(w, func(p state.Path, l conf.PHPLine) string {
			if l.Key == pin {
				pinned[reader(p)] = true
			}
			return l.Raw
		})
		phpEach(w, func(p state.Path, l conf.PHPLine) string {
			v := strings.Trim(l.Value, `"`)
			if l.Key != set || v == "" || slices.ContainsFunc(off, func(o string) bool { return strings.EqualFold(o, v) }) || pinned[reader(p)] || pinned[""] {
				return l.Raw
			}
			w.Tell(convert.Finding{
				Path: p, Line: l.At, What: fmt.Sprintf("%s alone switches the just-in-time compiler on here, and not there; %s = %s is written there as well.", set, pin, value),
			})
			end := ""
			if !strings.HasSuffix(l.Raw, "\n") {
				end = "\n"
			}
			return fmt.Sprintf("%s%s; PHP %s has another default\n%s = %s\n", l.Raw, end, phpVersions[w.To.Number], pin, value)
		})
		return nil
	}
}
