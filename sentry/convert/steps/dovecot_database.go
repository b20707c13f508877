package steps

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

// database says a passdb or userdb anew: it has a name, and what stood in args is settings of its own. The names are ours, as one that the
// image uses too would be taken for the image's.
func (d *dovecotWork) database(l conf.DovecotLine, i, stop int) {
	get := func(key string) (conf.DovecotLine, bool) {
		for _, m := range d.in.Lines[i+1 : stop] {
			if m.Set(key) {
				return m, true
			}
		}
		return conf.DovecotLine{}, false
	}
	driver, _ := get("driver")
	args, _ := get("args")
	known := map[string][]string{
		"passdb": {"pam", "passwd-file", "passwd", "static", "ldap", "sql", "bsdauth", "imap"}, "userdb": {"passwd", "passwd-file", "static", "ldap", "sql", "prefetch"},
	}
	fail := func(what, next string) {
		for _, m := range d.in.Lines[i : stop+1] {
			d.out.WriteString("#" + m.Raw)
		}
		d.tell(l, convert.Blocking, what, next)
	}
	if !slices.Contains(known[l.Key], driver.Value) {
		fail(fmt.Sprintf("Dovecot 2.4 has no %s of the kind %q.", l.Key, driver.Value), "Use another one: passwd-file, pam, ldap or sql.")
		return
	}
	d.names[l.Key+driver.Value]++
	name := fmt.Sprintf("%s-%d", driver.Value, d.names[l.Key+driver.Value])
	global, own, err := d.args(l.Key, driver.Value, args.Value)
	if err != nil {
		fail(fmt.Sprintf("%s %s: %v.", l.Key, driver.Value, err), "Write it in the words of Dovecot 2.4 by hand; /etc/dovecot/conf.d/auth-*.conf.ext show how.")
		return
	}
	if l.Key == "passdb" && slices.Contains([]string{"passwd-file", "ldap", "sql"}, driver.Value) && !d.weak {
		d.weak = true
		global = append(global, "auth_allow_weak_schemes = yes")
		d.tell(l, convert.Pinned, "Dovecot 2.4 refuses passwords that are kept in weak ways (MD5, SHA1); auth_allow_weak_schemes = yes is written there, so that nobody is locked out.",
			"When all passwords are kept as SHA512-CRYPT or the like, take it away.")
	}
	for _, g := range global {
		if !d.said[g] { // the passdb and the userdb ask the same directory
			d.said[g] = true
			d.say(l, g)
		}
	}
	d.say(l, l.Key+" "+name+" {")
	in := d.in.Lines[i+1 : stop]
	fields := []string{}
	for _, m := range in {
		value, verr := dovecotVars(m.Value)
		if verr != nil {
			d.gone(m, convert.Blocking, fmt.Sprintf("%s: %v.", m.Key, verr), "Say it without this variable.")
			continue
		}
		switch {
		case m.Set("args"):
			d.say(m, own...)
		case m.Set("default_fields"), m.Set("override_fields"):
			suffix := ""
			if m.Key == "default_fields" {
				suffix = ":default"
			}
			for _, f := range dovecotWords(value) {
				k, v, ok := strings.Cut(f, "=")
				if !ok {
					v = "yes"
				}
				fields = append(fields, "    "+k+suffix+" = "+v)
			}
		case m.Set("pass"):
			if m.Value == "yes" {
				d.say(m, "result_success = continue")
			}
		case m.Set("mechanisms"):
			d.say(m, "mechanisms_filter = "+value)
		case m.Setting() && value != m.Value:
			d.say(m, m.Key+" = "+value)
		default:
			d.out.WriteString(m.Raw)
		}
	}
	if len(fields) > 0 {
		d.out.WriteString(l.Indent() + "  fields {\n")
		d.say(l, fields...)
		d.out.WriteString(l.Indent() + "  }\n")
	}
	d.out.WriteString(d.in.Lines[stop].Raw)
	d.tell(l, "", fmt.Sprintf("%s has a name there, and its args are settings: %s %s.", l.Key, l.Key, name), "")
}

// args says args of a driver as settings; global are those that stand before the section.
func (d *dovecotWork) args(kind, driver, args string) (global, own []string, err error) {
	args, err = dovecotVars(args)
	if err != nil || args == "" {
		return nil, nil, err
	}
	words := dovecotWords(args)
	switch driver {
	case "passwd-file":
		for _, a := range words {
			k, v, ok := strings.Cut(a, "=")
			switch {
			case ok && k == "scheme":
				own = append(own, "default_password_scheme = "+v)
			case ok && k == "username_format":
				own = append(own, "auth_username_format = "+v)
			case strings.HasPrefix(a, "/"):
				own = append(own, "passwd_file_path = "+a)
			default:
				return nil, nil, fmt.Errorf("%s is not understood", a)
			}
		}
	case "pam":
		for _, a := range words {
			k, v, ok := strings.Cut(a, "=")
			switch {
			case ok && slices.Contains([]string{"session", "setcred", "failure_show_msg", "max_requests"}, k):
				own = append(own, "pam_"+k+" = "+v)
			case ok && k == "cache_key", a == "blocking=yes", a == "blocking=no":
				own = append(own, "# "+a)
			case a == "*":
				own = append(own, "pam_service_name = %{protocol}")
			default:
				own = append(own, "pam_service_name = "+a)
			}
		}
	case "passwd":
		for _, a := range words {
			if !strings.HasPrefix(a, "blocking=") {
				return nil, nil, fmt.Errorf("%s is not understood", a)
			}
		}
	case "static":
		var fields []string
		for _, a := range words {
			k, v, ok := strings.Cut(a, "=")
			switch {
			case k == "allow_all_users":
				own = append(own, "static_allow_all_users = "+v)
			case k == "password":
				own = append(own, "static_password = "+v)
			case !ok:
				fields = append(fields, "  "+k+" = yes")
			default:
				fields = append(fields, "  "+k+" = "+v)
			}
		}
		if fields != nil {
			own = append(append(append(own, "fields {"), fields...), "}")
		}
	case "ldap":
		return d.ldap(kind, args)
	default:
		return nil, nil, fmt.Errorf("what stands in %s is not carried over", args)
	}
	return nil, own, nil
}

// dovecotWords parts args at white space outside %{…}.
func dovecotWords(s string) []string {
	return regexp.MustCompile(`(?:%\{[^}]*\}|\S)+`).FindAllString(s, -1)
}

// ldap reads the file that args names.
func (d *dovecotWork) ldap(kind, file string) (global, own []string, err error) {
	text := d.Text(state.Path(strings.TrimPrefix(path.Clean(file), "/")))
	if text == nil {
		return nil, nil, fmt.Errorf("%s is missing", file)
	}
	names := map[string]string{
		"uris": "ldap_uris", "base": "ldap_base", "dn": "ldap_auth_dn", "dnpass": "ldap_auth_dn_password", "tls": "ldap_starttls", "ldap_version": "ldap_version",
		"scope": "ldap_scope", "deref": "ldap_deref", "debug_level": "ldap_debug_level",
	}
	for _, l := range conf.ParseDovecot(text).Lines {
		if !l.Setting() {
			continue
		}
		value, err := dovecotLDAPVars(l.Value)
		if err != nil {
			return nil, nil, fmt.Errorf("%s line %d: %w", file, l.At, err)
		}
		now, shared := names[l.Key]
		switch {
		case l.Key == "hosts":
			global = append(global, "ldap_uris = ldap://"+strings.Join(strings.Fields(value), " ldap://"))
		case shared:
			global = append(global, now+" = "+value)
		case l.Key == "auth_bind" && kind == "passdb":
			own = append(own, "ldap_bind = "+value)
		case l.Key == "auth_bind_userdn" && kind == "passdb":
			own = append(own, "ldap_bind_userdn = "+value)
		case l.Key == "default_pass_scheme" && kind == "passdb":
			own = append(own, "default_password_scheme = "+value)
		case l.Key == "pass_filter" && kind == "passdb", l.Key == "user_filter" && kind == "userdb":
			own = append(own, "ldap_filter = "+value)
		case l.Key == "iterate_filter" && kind == "userdb":
			own = append(own, "ldap_iterate_filter = "+value)
		case l.Key == "pass_attrs" && kind == "passdb", l.Key == "user_attrs" && kind == "userdb":
			fields, err := dovecotAttrs(value)
			if err != nil {
				return nil, nil, fmt.Errorf("%s line %d: %w", file, l.At, err)
			}
			own = append(append(append(own, "fields {"), fields...), "}")
		case l.Key == "iterate_attrs" && kind == "userdb":
			attr, _, _ := strings.Cut(value, "=")
			own = append(own, "ldap_iterate_fields {", "  user = %{ldap:"+attr+"}", "}")
		case slices.Contains([]string{"auth_bind", "auth_bind_userdn", "default_pass_scheme", "pass_filter", "user_filter", "iterate_filter", "pass_attrs", "user_attrs", "iterate_attrs"}, l.Key):
		default:
			return nil, nil, fmt.Errorf("%s line %d: %s has no counterpart", file, l.At, l.Key)
		}
	}
	return global, own, nil
}

// dovecotLDAPVars leaves %$ alone, which stands for the attribute's value.
func dovecotLDAPVars(s string) (string, error) {
	s, err := dovecotVars(strings.ReplaceAll(s, "%$", "\x00"))
	return strings.ReplaceAll(s, "\x00", "%$"), err
}

// dovecotAttrs says homeDirectory=home, =uid=5000 and mail=mail=maildir:%$ as fields.
func dovecotAttrs(s string) ([]string, error) {
	var out []string
	for a := range strings.SplitSeq(s, ",") {
		a = strings.TrimSpace(a)
		f := strings.SplitN(a, "=", 3)
		switch {
		case a == "":
		case len(f) == 2 && f[0] != "":
			out = append(out, fmt.Sprintf("  %s = %%{ldap:%s}", f[1], f[0]))
		case len(f) == 3 && f[1] != "mail":
			out = append(out, fmt.Sprintf("  %s = %s", f[1], strings.ReplaceAll(f[2], "%$", "%{ldap:"+f[0]+"}")))
		default:
			return nil, fmt.Errorf("%q is not carried over", a)
		}
	}
	return out, nil
}
