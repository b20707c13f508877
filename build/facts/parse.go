package facts

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert/facts"
)

// sections cuts a script's output at its "@@ name" lines.
func sections(text string) map[string]string {
	out := map[string]string{}
	name := ""
	for l := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(l, "@@ "); ok {
			name = strings.TrimSpace(n)
			continue
		}
		out[name] += l
	}
	return out
}

func words(text string) []string { return slices.Collect(lines(text)) }

// lines are the trimmed ones that are not empty.
func lines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for l := range strings.Lines(text) {
			if l = strings.TrimSpace(l); l != "" && !yield(l) {
				return
			}
		}
	}
}

// aliasOf is the Type of a name that stands for another: the daemon takes it, and its listing says the other.
const aliasOf = "alias of "

// parseSSH reads sshd -T ("name value", some names several times) and what it said to other words: "name known", "name ignored", "name alias other".
func parseSSH(parts map[string]string, s *facts.Service) {
	for l := range lines(parts["listing"]) {
		k, v, _ := strings.Cut(l, " ")
		if k == "hostkey" { // ours, since it must have one
			v = ""
		}
		if p, ok := s.Params[k]; ok {
			v = p.Default + "\n" + v
		}
		s.Params[k] = facts.Param{Default: v}
	}
	for l := range lines(parts["probe"]) {
		f := strings.Fields(l)
		switch {
		case len(f) == 3 && f[1] == "alias":
			s.Params[f[0]] = facts.Param{Type: aliasOf + f[2], Status: facts.Deprecated}
		case len(f) == 2 && f[1] == "ignored":
			s.Params[f[0]] = facts.Param{Status: facts.Ignored}
		case len(f) == 2 && f[1] == "known":
			s.Params[f[0]] = facts.Param{}
		}
	}
	for _, k := range []string{"match", "include"} { // words of the file's structure, which take no value of the usual kind
		s.Params[k] = facts.Param{}
	}
}

// parseSamba reads testparm -sv ("name = value"), warnings about names on their way out, and other names: "name -> what it changes".
func parseSamba(parts map[string]string, s *facts.Service) {
	for l := range strings.Lines(parts["listing"]) {
		if k, v, ok := strings.Cut(strings.Trim(l, "\t\n"), " = "); ok {
			s.Params[k] = facts.Param{Default: strings.TrimSpace(v)}
		} else if k, ok := strings.CutSuffix(strings.TrimSpace(l), " ="); ok {
			s.Params[k] = facts.Param{}
		}
	}
	out := regexp.MustCompile(`The "(.+)" option is deprecated`)
	for l := range lines(parts["deprecated"]) {
		if m := out.FindStringSubmatch(l); m != nil {
			p := s.Params[m[1]]
			p.Status = facts.Deprecated
			s.Params[m[1]] = p
		}
	}
	for l := range lines(parts["probe"]) {
		k, to, _ := strings.Cut(l, "->")
		p := facts.Param{}
		if to = strings.TrimSpace(to); to != "" {
			p.Type = aliasOf + to
		}
		s.Params[strings.TrimSpace(k)] = p
	}
}

// parsePostfix reads postconf -d ("name = value") and the stock master.cf by postconf -M, whose services are called as there: "smtp/inet".
func parsePostfix(parts map[string]string, s *facts.Service) {
	for l := range lines(parts["listing"]) {
		k, v, _ := strings.Cut(l, "=")
		s.Params[strings.TrimSpace(k)] = facts.Param{Default: strings.TrimSpace(v)}
	}
	// A default that first asks for another name: the one that the parameter had before, which works as long as the default stands.
	before := regexp.MustCompile(`^\$\{([a-z0-9_]+)\?\{?\$\{?([a-z0-9_]+)\}?[}:]`)
	for _, k := range slices.Sorted(maps.Keys(s.Params)) {
		if m := before.FindStringSubmatch(s.Params[k].Default); m != nil && m[1] == m[2] {
			if _, ok := s.Params[m[1]]; !ok {
				s.Params[m[1]] = facts.Param{Type: aliasOf + k, Status: facts.Deprecated}
			}
		}
	}
	for l := range lines(parts["master"]) {
		if f := strings.Fields(l); len(f) > 7 {
			s.Params[f[0]+"/"+f[1]] = facts.Param{Default: strings.Join(f[2:], " "), Type: "master.cf"}
		}
	}
}

// parsePostgreSQL reads COPY's text format: name, type, context, boot_val (\N: none). Numbers are in the parameter's own unit, as a file may say them.
func parsePostgreSQL(parts map[string]string, s *facts.Service) {
	plain := strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n")
	for l := range strings.Lines(parts["listing"]) {
		f := strings.Split(strings.TrimRight(l, "\n"), "\t")
		if len(f) != 4 {
			continue
		}
		if f[3] == `\N` {
			f[3] = ""
		}
		s.Params[f[0]] = facts.Param{Default: plain.Replace(f[3]), Type: f[1]}
		if f[2] == "internal" { // cannot be set; and some tell of the machine
			s.Params[f[0]] = facts.Param{Type: "internal"}
		}
	}
	for l := range lines(parts["zones"]) {
		s.Modules = append(s.Modules, "timezone/"+l)
	}
}

// parseMariaDB reads the table of variables in mariadbd --help --verbose, what the descriptions above it say of them, and the warnings about
// options that are taken for old files' sake.
func parseMariaDB(parts map[string]string, s *facts.Service) {
	help, table, _ := strings.Cut(parts["listing"], "\nVariables (--variable-name=value)")
	_, table, _ = strings.Cut(table, "-------------\n")
	for l := range strings.Lines(table) {
		if strings.TrimSpace(l) == "" {
			break
		}
		k, v, _ := strings.Cut(strings.TrimRight(l, "\n"), " ")
		v = strings.TrimSpace(v)
		if v == "(No default value)" {
			v = ""
		}
		s.Params[underscores(k)] = facts.Param{Default: v}
	}
	option := regexp.MustCompile(`(?m)^  (?:-., |    )?--([a-z][a-zA-Z0-9_-]*)(.*\n(?:   .*\n)*)`)
	for _, m := range option.FindAllStringSubmatch(help, -1) {
		k := underscores(m[1])
		p, ok := s.Params[k]
		if !ok { // an option without a variable
			p = facts.Param{Type: "option"}
		}
		text := strings.ToLower(strings.Join(strings.Fields(m[2]), " "))
		switch {
		case strings.Contains(text, "(ignored)") || strings.Contains(text, "does nothing"):
			p.Status = facts.Ignored
		case strings.Contains(text, "deprecated"):
			p.Status = facts.Deprecated
		}
		s.Params[k] = p
	}
	old := regexp.MustCompile(`\[Warning\] '([a-z0-9_-]+)' (?:was removed|is MySQL 5\.6 / 5\.7 compatible option)`)
	for _, m := range old.FindAllStringSubmatch(parts["probe"], -1) {
		s.Params[underscores(m[1])] = facts.Param{Status: facts.Ignored}
	}
}

func underscores(s string) string { return strings.ReplaceAll(s, "-", "_") }

// parseDovecot reads doveconf -d; a setting in blocks has their names before its own: "service auth/unix_listener login/mode".
func parseDovecot(parts map[string]string, s *facts.Service) {
	var in []string
	for l := range lines(parts["listing"]) {
		switch {
		case strings.HasPrefix(l, "#"):
		case strings.HasSuffix(l, "{"):
			in = append(in, strings.TrimSpace(strings.TrimSuffix(l, "{")))
		case l == "}":
			in = in[:max(0, len(in)-1)]
		default:
			k, v, ok := strings.Cut(l, "=")
			if !ok {
				continue
			}
			s.Params[strings.Join(append(slices.Clone(in), strings.TrimSpace(k)), "/")] = facts.Param{Default: strings.TrimSpace(v)}
		}
	}
}

// parseApache reads apache2 -L: "Name (mod_x.c)", then indented what it does and where it may stand.
func parseApache(parts map[string]string, s *facts.Service) {
	name := regexp.MustCompile(`(?m)^(<?[A-Za-z][A-Za-z0-9]+) \(([a-z0-9_]+)\.c\)$`)
	for _, m := range name.FindAllStringSubmatch(parts["listing"], -1) {
		s.Params[m[1]] = facts.Param{Type: m[2]}
	}
}

// parsePHP reads "name TAB value as JSON". Some values are the command line's own, not what a web server has: there the program's default stands.
func parsePHP(parts map[string]string, s *facts.Service) {
	for l := range lines(parts["listing"]) {
		k, v, _ := strings.Cut(l, "\t")
		var text *string
		if json.Unmarshal([]byte(v), &text) != nil || text == nil {
			text = new(string)
		}
		s.Params[k] = facts.Param{Default: *text}
	}
	for k, v := range map[string]string{"display_errors": "1", "html_errors": "1", "implicit_flush": "0", "max_execution_time": "30", "output_buffering": "0"} {
		s.Params[k] = facts.Param{Default: v}
	}
}

func parseOpenLDAP(parts map[string]string, s *facts.Service) {
	_, static, _ := strings.Cut(parts["static"], "Included static backends:")
	for l := range lines(static) {
		s.Modules = append(s.Modules, "static/"+l)
	}
}

// parseKerberos reads encryption types that keys can be made of: "name", or "name deprecated".
func parseKerberos(parts map[string]string, s *facts.Service) {
	for l := range lines(parts["probe"]) {
		k, old, _ := strings.Cut(l, " ")
		p := facts.Param{Type: "enctype"}
		if old != "" {
			p.Status = facts.Deprecated
		}
		s.Params[k] = p
	}
}

func parseWords(parts map[string]string, s *facts.Service) {
	for l := range lines(parts["probe"]) {
		s.Params[l] = facts.Param{}
	}
}

// parseNFS reads nfs.conf as it is shipped: keys stand in comments, with their defaults. They are called "section/key",
// those of /etc/default "nfs-common/KEY".
func parseNFS(parts map[string]string, s *facts.Service) {
	key := regexp.MustCompile(`^#?\s*([a-zA-Z][a-zA-Z0-9_.-]*)\s*=\s*(.*)$`)
	section := regexp.MustCompile(`^#?\s*\[\s*([a-zA-Z0-9-]+)\s*\]$`)
	in := ""
	for l := range lines(parts["listing"]) {
		if m := section.FindStringSubmatch(l); m != nil {
			in = m[1]
		} else if m := key.FindStringSubmatch(l); m != nil && in != "" {
			s.Params[in+"/"+m[1]] = facts.Param{Default: m[2]}
		}
	}
}

// parseLogin reads login.defs as it is shipped: "NAME value", and names in comments, which have no default.
func parseLogin(parts map[string]string, s *facts.Service) {
	line := regexp.MustCompile(`^(#?)\s*([A-Z][A-Z0-9_]{3,})(?:\s+(\S.*))?$`)
	said := map[string]string{}
	for l := range lines(parts["listing"]) {
		m := line.FindStringSubmatch(l)
		switch {
		case m == nil:
		case m[1] == "":
			said[m[2]] = m[3]
		default:
			if _, ok := s.Params[m[2]]; !ok && len(strings.Fields(m[3])) == 1 { // a sentence has more words
				s.Params[m[2]] = facts.Param{}
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(said)) {
		s.Params[k] = facts.Param{Default: said[k]}
	}
}
