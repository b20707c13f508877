package steps

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// apacheScope is one place where access is ruled: a section, or an .htaccess.
type apacheScope struct {
	file        *apacheFile
	start, end  int    // lines between which the rules stand
	dir         string // of a <Directory> or an .htaccess: "/srv/www"; "" if it is of another kind and may apply anywhere
	rules       []int  // lines with Order, Allow, Deny or Satisfy
	requires    []int  // lines with Require
	hard        string // why its rules cannot be said in Require's words; "" if they can
	htaccess    bool
	host        string   // the virtual host that it belongs to; "" = all
	override    []string // AllowOverride
	grantedOnly bool     // every Require says "all granted"
	closedOnly  bool     // every Require says "all denied"
}

type apacheFile struct {
	path  state.Path
	conf  conf.Apache
	stock bool
}

// apacheAccess says in Require's words what Order, Allow, Deny and Satisfy say. The two systems work beside each other, each with rules of
// its own about which section wins, so either everything is converted or nothing: what would let in somebody else is left as it is.
func apacheAccess(w *convert.Work) error {
	var scopes []*apacheScope
	for _, p := range append(w.Paths(apacheFiles...), apacheHtaccess(w.Tree)...) {
		f, _ := w.Get(p)
		if f.Entry.Kind != state.File {
			continue
		}
		file := &apacheFile{path: p, conf: conf.ParseApache(f.Data), stock: f.Stock}
		scopes = append(scopes, apacheScopes(file)...)
	}
	ruled := slices.DeleteFunc(slices.Clone(scopes), func(s *apacheScope) bool { return len(s.rules) == 0 || s.file.stock })
	if len(ruled) == 0 {
		return nil
	}
	merge := map[*apacheScope]bool{}
	for _, s := range ruled {
		why := s.hard
		if why == "" {
			merge[s], why = s.mixes(scopes)
		}
		if why == "" {
			continue
		}
		for _, s := range ruled {
			w.Tell(convert.Finding{
				Class: convert.Approximated, Path: s.file.path, Line: s.file.conf.Lines[s.rules[0]].At,
				What: "Order, Allow and Deny stay as they are: they work as long as the module access_compat is enabled. They are not said by Require, because " + why + ".",
				Next: "Write them as Require by hand when you next change them.",
			})
		}
		return nil
	}
	slices.Reverse(ruled) // from the end, so that line numbers stay right
	for _, s := range ruled {
		old := s.lines(s.rules)
		w.Tell(convert.Finding{
			Path: s.file.path, Line: s.file.conf.Lines[s.rules[0]].At,
			What: fmt.Sprintf("%s: said by Require, which lets in and keeps out the same.", strings.Join(old, "; ")),
		})
		s.rewrite(merge[s])
		w.Write(s.file.path, s.file.conf.Bytes())
	}
	return nil
}

// deadCondition is that of a section that no Apache of 2.4 reads.
var deadCondition = regexp.MustCompile(`(?i)^<(ifmodule\s+!\s*(mod_authz_core\.c|authz_core_module)|ifversion\s+<=?\s*2\.[0-3])`)

func apacheScopes(file *apacheFile) []*apacheScope {
	root := &apacheScope{file: file, end: len(file.conf.Lines)}
	if file.path.Base() == ".htaccess" {
		root.dir, root.htaccess = "/"+string(file.path.Dir()), true
	}
	stack := []*apacheScope{root}
	all := []*apacheScope{root}
	for i := 0; i < len(file.conf.Lines); i++ {
		l := file.conf.Lines[i]
		s := stack[len(stack)-1]
		switch {
		case l.Open && deadCondition.MatchString(strings.TrimSpace(l.Raw)):
			i = file.conf.End(i)
		case l.Open:
			in := &apacheScope{file: file, start: i, end: file.conf.End(i), host: s.host}
			if strings.EqualFold(l.Name, "VirtualHost") {
				in.host = fmt.Sprintf("%s:%d", file.path, l.At)
			}
			switch name := strings.ToLower(l.Name); {
			case name == "directory" && len(l.Args) == 1 && !strings.ContainsAny(l.Args[0], "*?[$"):
				in.dir = "/" + strings.Trim(l.Args[0], "/")
			case slices.Contains([]string{"virtualhost", "ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection", "macro"}, name):
				if in.dir = s.dir; s.start > 0 || s.htaccess { // within a section that is ruled, it is the same place
					in.hard = "some of them stand in <" + l.Name + ">"
				}
			case slices.Contains([]string{"limit", "limitexcept", "requireall", "requireany", "requirenone", "if", "else", "elseif", "authnprovideralias", "authzprovideralias"}, name):
				in.hard = "some of them stand beside or in <" + l.Name + ">"
				s.hard = in.hard // counts if it has rules
			}
			stack, all = append(stack, in), append(all, in)
		case l.Close:
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
		case l.Is("Order"), l.Is("Allow"), l.Is("Deny"), l.Is("Satisfy"):
			s.rules = append(s.rules, i)
		case l.Is("Require"):
			s.requires = append(s.requires, i)
		case l.Is("AllowOverride"):
			s.override = l.Args
		case l.Is("AuthMerging"):
			s.hard = "AuthMerging is used beside them"
		}
	}
	for _, s := range all {
		s.grantedOnly, s.closedOnly = true, true
		for _, i := range s.requires {
			args := strings.ToLower(strings.Join(file.conf.Lines[i].Args, " "))
			s.grantedOnly = s.grantedOnly && args == "all granted"
			s.closedOnly = s.closedOnly && (args == "all denied" || file.stock && args == "local")
		}
	}
	return slices.DeleteFunc(all, func(s *apacheScope) bool { return len(s.rules)+len(s.requires)+len(s.override) == 0 })
}

// above tells whether s may apply to a request before t does.
func (s *apacheScope) above(t *apacheScope) bool {
	switch {
	case s == t, s.host != "" && t.host != "" && s.host != t.host:
		return false
	case s.dir != "" && s.dir == t.dir && s.htaccess != t.htaccess: // it comes after the section
		return t.htaccess
	case s.dir != "" && s.dir == t.dir && s.host != t.host: // a virtual host's come after the others
		return s.host == ""
	case t.dir == "": // files and locations come after directories
		return true
	case s.dir == "":
		return false
	}
	return s.dir == "/" || t.dir == s.dir || strings.HasPrefix(t.dir, s.dir+"/")
}

// mixes looks at the other places that may apply to the same requests. merge: what they require stays required beside what s says. why tells
// that the two systems cannot be parted.
func (s *apacheScope) mixes(all []*apacheScope) (merge bool, why string) {
	var nearest, override *apacheScope
	unsure, ruledAbove := false, false
	for _, o := range all {
		if o == s {
			continue
		}
		if s.above(o) && len(o.requires) > 0 && len(o.rules) == 0 && !o.closedOnly && !s.granted() {
			return false, fmt.Sprintf("%s line %d has a Require that would then count alone", o.file.path, o.file.conf.Lines[o.requires[0]].At)
		}
		if !o.above(s) {
			continue
		}
		if len(o.override) > 0 && (override == nil || len(o.dir) > len(override.dir)) {
			override = o
		}
		if len(o.rules) > 0 {
			ruledAbove = true
		}
		if len(o.requires) > 0 {
			if o.dir == "" || s.dir == "" {
				unsure = true
			} else if nearest == nil || len(o.dir) > len(nearest.dir) || len(o.dir) == len(nearest.dir) && nearest.grantedOnly {
				nearest = o
			}
		}
	}
	if s.htaccess && (override == nil || !slices.ContainsFunc(override.override, func(a string) bool {
		return strings.EqualFold(a, "All") || strings.EqualFold(a, "AuthConfig")
	})) {
		return false, fmt.Sprintf("AllowOverride does not let %s use Require", s.file.path)
	}
	if len(s.requires) > 0 {
		return false, ""
	}
	merge = unsure || nearest != nil && !nearest.grantedOnly
	if merge && ruledAbove {
		return false, fmt.Sprintf("%s line %d stands below other rules and below a Require", s.file.path, s.file.conf.Lines[s.rules[0]].At)
	}
	return merge, ""
}

func (s *apacheScope) lines(at []int) []string {
	var out []string
	for _, i := range at {
		l := s.file.conf.Lines[i]
		out = append(out, l.Name+" "+strings.Join(l.Args, " "))
	}
	return out
}

// access is what Order, Allow and Deny say, as conditions: text of Require lines with a tab for each level.
func (s *apacheScope) access() (lines []string, satisfyAny bool) {
	allowFirst := false
	var allow, deny []string
	for _, i := range s.rules {
		l := s.file.conf.Lines[i]
		switch {
		case l.Is("Order"):
			o := strings.ToLower(strings.Join(l.Args, ""))
			allowFirst = o == "allow,deny" || o == "mutual-failure"
		case l.Is("Satisfy"):
			satisfyAny = len(l.Args) > 0 && strings.EqualFold(l.Args[0], "any")
		case len(l.Args) > 1 && l.Is("Allow"):
			allow = append(allow, l.Args[1:]...)
		case len(l.Args) > 1:
			deny = append(deny, l.Args[1:]...)
		}
	}
	anyone := func(list []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, "all") })
	}
	granted, denied := []string{"Require all granted"}, []string{"Require all denied"}
	notDenied := append([]string{"<RequireAll>", "\tRequire all granted"}, append(apacheIndent(apacheRequire(deny, true)), "</RequireAll>")...)
	if allowFirst {
		switch {
		case len(allow) == 0 || anyone(deny):
			return denied, satisfyAny
		case len(deny) == 0 && anyone(allow):
			return granted, satisfyAny
		case len(deny) == 0:
			return apacheRequire(allow, false), satisfyAny
		case anyone(allow):
			return notDenied, satisfyAny
		}
		in := append([]string{"<RequireAny>"}, append(apacheIndent(apacheRequire(allow, false)), "</RequireAny>")...)
		in = append(apacheIndent(in), apacheIndent(apacheRequire(deny, true))...)
		return append([]string{"<RequireAll>"}, append(in, "</RequireAll>")...), satisfyAny
	}
	switch {
	case len(deny) == 0 || anyone(allow):
		return granted, satisfyAny
	case anyone(deny) && len(allow) == 0:
		return denied, satisfyAny
	case anyone(deny):
		return apacheRequire(allow, false), satisfyAny
	case len(allow) == 0:
		return notDenied, satisfyAny
	}
	return append(apacheRequire(allow, false), notDenied...), satisfyAny
}

func (s *apacheScope) granted() bool {
	lines, satisfyAny := s.access()
	return len(lines) == 1 && lines[0] == "Require all granted" && !satisfyAny
}

// apacheRequire says a list of Allow or Deny as lines of Require, of which one must hold; not: of which none may hold.
func apacheRequire(list []string, not bool) []string {
	var out []string
	var kind string
	for _, a := range list {
		k, value, negated := "host", a, not
		if env, ok := strings.CutPrefix(strings.ToLower(a), "env="); ok {
			k, value = "env", a[len(a)-len(env):]
			if name, ok := strings.CutPrefix(value, "!"); ok {
				value, negated = name, !not
			}
		} else if apacheAddress(a) {
			k = "ip"
		}
		switch line := "Require " + k + " " + value; {
		case negated && !not:
			out, kind = append(out, "<RequireAll>", "\tRequire all granted", "\tRequire not env "+value, "</RequireAll>"), ""
		case negated:
			line = "Require not " + k + " " + value
			if kind == line[:len("Require not ")+len(k)] {
				out[len(out)-1] += " " + value
			} else {
				out, kind = append(out, line), line[:len("Require not ")+len(k)]
			}
		case not: // env=! was denied
			out, kind = append(out, line), ""
		case kind == k:
			out[len(out)-1] += " " + value
		default:
			out, kind = append(out, line), k
		}
	}
	return out
}

var dotted = regexp.MustCompile(`^\d+(\.\d+){0,3}\.?(/[\d.]+)?$`)

func apacheAddress(s string) bool {
	host, _, _ := strings.Cut(s, "/")
	_, err := netip.ParseAddr(host)
	return err == nil || dotted.MatchString(s)
}

func apacheIndent(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = "\t" + l
	}
	return out
}

// rewrite puts the lines of Require where the first of the old rules stood, and takes the others away.
func (s *apacheScope) rewrite(merge bool) {
	lines, satisfyAny := s.access()
	if len(s.requires) > 0 {
		var own []string
		for _, i := range s.requires {
			own = append(own, strings.TrimSpace(s.file.conf.Lines[i].Raw))
		}
		both := func(kind string, more ...[]string) []string {
			out := []string{"<" + kind + ">"}
			for _, m := range more {
				out = append(out, apacheIndent(m)...)
			}
			return append(out, "</"+kind+">")
		}
		switch {
		case satisfyAny:
			lines = both("RequireAny", lines, own)
		case slices.Equal(lines, []string{"Require all granted"}):
			lines = own
		default:
			if len(lines) > 1 {
				lines = both("RequireAny", lines)
			}
			if len(own) > 1 {
				own = both("RequireAny", own)
			}
			lines = both("RequireAll", lines, own)
		}
	}
	if merge {
		lines = append([]string{"AuthMerging And"}, lines...)
	}
	first := s.file.conf.Lines[s.rules[0]]
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(first.Indent() + l + "\n")
	}
	for _, i := range append(s.rules[1:], s.requires...) {
		s.file.conf.Lines[i].Raw = ""
	}
	s.file.conf.Lines[s.rules[0]].Raw = b.String()
}
