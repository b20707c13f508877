package steps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
)

// dovecotBack says what people wrote for 2.4 in the words of 2.3, as far as hand-made configurations commonly go. What is not known here and
// not to 2.3 either blocks.
func dovecotBack(w *convert.Work) error {
	for _, p := range dovecotFiles(w) {
		if strings.Contains(p.Base(), "-atlas") {
			continue
		}
		d := &dovecotWork{Work: w, path: p, in: conf.ParseDovecot(w.Text(p))}
		d.back(0, len(d.in.Lines), "")
		if text := d.out.String(); text != string(w.Text(p)) {
			w.Write(p, []byte(text))
		}
	}
	return nil
}

func (d *dovecotWork) left(l conf.DovecotLine, class convert.Class, what string) {
	d.out.WriteString(l.Indent() + "# not for Dovecot 2.3: " + strings.TrimSpace(l.Raw) + "\n")
	d.tell(l, class, what, "Do without it, or write it in the words of Dovecot 2.3 by hand.")
}

// dovecotNewer are sections that 2.3 does not have.
var dovecotNewer = regexp.MustCompile(`^(quota|sieve_script|fts|language|mail_attribute|acl_sharing_map|event_exporter|metric|oauth2|mysql|pgsql|ldap|dict_server|imapsieve_from)$`)

func (d *dovecotWork) back(i, end int, in string) {
	for ; i < end; i++ {
		l := d.in.Lines[i]
		stop := d.in.End(i)
		if !l.Open || stop == len(d.in.Lines) {
			if l.Setting() {
				d.backSetting(l, in, i)
			} else {
				d.out.WriteString(l.Raw)
			}
			continue
		}
		switch {
		case l.Key == "passdb", l.Key == "userdb":
			d.backDatabase(l, i, stop)
		case l.Key == "mail_plugins", l.Key == "protocols":
			var names []string
			for _, m := range d.in.Lines[i+1 : stop] {
				if m.Setting() && m.Value == "yes" && (l.Key == "protocols" || m.Key == "mail_compress" || !d.lacks(m, m.Key)) {
					names = append(names, map[bool]string{true: "zlib", false: m.Key}[m.Key == "mail_compress"])
				}
			}
			if l.Key == "mail_plugins" {
				names = append([]string{"$mail_plugins"}, names...)
			}
			d.say(l, l.Key+" = "+strings.Join(names, " "))
			d.tell(l, "", l.Key+" is one line there.", "")
		case dovecotNewer.MatchString(l.Key):
			for _, m := range d.in.Lines[i : stop+1] {
				d.out.WriteString("#" + m.Raw)
			}
			d.tell(l, convert.Blocking, fmt.Sprintf("%s is not carried over to Dovecot 2.3.", strings.TrimSpace(l.Key+" "+l.Value)), "Do without it, or write it in the words of Dovecot 2.3 by hand.")
		default:
			d.out.WriteString(l.Raw)
			d.back(i+1, stop, l.Key)
			d.out.WriteString(d.in.Lines[stop].Raw)
		}
		i = stop
	}
}

// dovecotLocation are the parts of mail_location that 2.4 says one by one; empty: not an option, but said otherwise.
var dovecotLocation = map[string]string{
	"mail_path": "", "mail_inbox_path": "INBOX", "mailbox_list_layout": "LAYOUT", "mail_index_path": "INDEX", "mail_control_path": "CONTROL", "mail_alt_path": "ALT",
	"mail_volatile_path": "VOLATILEDIR", "mail_index_private_path": "INDEXPVT",
}

func (d *dovecotWork) backSetting(l conf.DovecotLine, in string, at int) {
	key := l.Key
	if in == "service" || in == "inet_listener" {
		key = in + "." + key
	}
	value, err := dovecotShorten(l.Value)
	for old, now := range dovecotTLS() {
		if now == key {
			mark := "<"
			if value == "" || old == "ssl_key_password" {
				mark = ""
			}
			d.say(l, strings.TrimSpace(old+" = "+mark+value))
			d.tell(l, convert.Renamed, fmt.Sprintf("%s is called %s there.", key, old), "")
			return
		}
	}
	for old, now := range dovecotRenames() {
		if name := old[strings.IndexByte(old, '.')+1:]; now == l.Key && (name == old || strings.HasPrefix(old, in+".")) {
			d.say(l, name+" = "+strings.Replace(value, "unlimited", "0", 1))
			d.tell(l, convert.Renamed, fmt.Sprintf("%s is called %s there.", l.Key, name), "")
			return
		}
	}
	_, part := dovecotLocation[key]
	yes := strings.EqualFold(l.Value, "yes")
	switch {
	case key == "dovecot_config_version", key == "dovecot_storage_version":
		d.tell(l, convert.Ignored, "Dovecot 2.3 has one language only, and no "+key+".", "")
	case key == "auth_allow_weak_schemes":
		d.tell(l, convert.Ignored, "Dovecot 2.3 takes all kinds of passwords.", "")
	case key == "auth_allow_cleartext":
		d.say(l, "disable_plaintext_auth = "+map[bool]string{true: "no", false: "yes"}[yes])
		d.tell(l, convert.Renamed, "auth_allow_cleartext is disable_plaintext_auth there, with yes and no exchanged.", "")
	case key == "ssl_server_prefer_ciphers":
		d.say(l, "ssl_prefer_server_ciphers = "+map[bool]string{true: "yes", false: "no"}[l.Value == "server"])
		d.tell(l, convert.Renamed, "ssl_server_prefer_ciphers is called ssl_prefer_server_ciphers there.", "")
	case err != nil:
		d.left(l, convert.Blocking, fmt.Sprintf("%s: %v.", key, err))
	case key == "mail_plugins":
		names := slices.DeleteFunc(list(value), func(name string) bool {
			return name != "mail_compress" && !strings.HasPrefix(name, "$") && d.lacks(l, name)
		})
		d.say(l, strings.ReplaceAll("mail_plugins = "+strings.Join(names, " "), "mail_compress", "zlib"))
	case key == "mail_driver":
		d.backLocation(l, in, at)
	case part && d.near("mail_driver", at) >= 0: // said with mail_driver
	case part, dovecotLogs.MatchString(key) && strings.Contains(l.Value, "%{"), key == "log_debug", strings.HasPrefix(key, "quota_"), strings.HasPrefix(key, "mail_compress_"):
		d.left(l, convert.Approximated, key+" is not carried over to Dovecot 2.3.")
	case value != l.Value:
		d.say(l, l.Key+" = "+value)
		d.tell(l, "", fmt.Sprintf("Variables have short names there: %s = %s.", l.Key, value), "")
	default:
		d.out.WriteString(l.Raw)
	}
}

// near finds a setting in the section that line at stands in; -1 if it is not there.
func (d *dovecotWork) near(key string, at int) int {
	for _, step := range []int{-1, 1} {
		depth := 0
		for i := at; i >= 0 && i < len(d.in.Lines) && depth >= 0; i += step {
			switch l := d.in.Lines[i]; {
			case l.Open:
				depth += step
			case l.Close:
				depth -= step
			case depth == 0 && l.Set(key):
				return i
			}
		}
	}
	return -1
}

func (d *dovecotWork) backLocation(l conf.DovecotLine, in string, at int) {
	get := func(key string) string {
		if i := d.near(key, at); i >= 0 {
			v, _ := dovecotShorten(d.in.Lines[i].Value)
			return v
		}
		return ""
	}
	dir := get("mail_path")
	var out strings.Builder
	out.WriteString(l.Value + ":" + dir)
	for _, key := range []string{"mail_inbox_path", "mailbox_list_layout", "mail_index_path", "mail_control_path", "mail_alt_path", "mail_volatile_path", "mail_index_private_path"} {
		if v := get(key); v != "" && (l.Value != "maildir" || v != dir && v != "maildir++") {
			out.WriteString(":" + dovecotLocation[key] + "=" + v)
		}
	}
	key := "mail_location"
	if in == "namespace" {
		key = "location"
	}
	d.say(l, key+" = "+out.String())
	d.tell(l, "", fmt.Sprintf("Where mail is kept is one setting there: %s = %s.", key, out.String()), "")
}

func (d *dovecotWork) backDatabase(l conf.DovecotLine, i, stop int) {
	driver := l.Value
	var args, fields, rest []string
	bad := ""
	inFields := false
	for _, m := range d.in.Lines[i+1 : stop] {
		value, err := dovecotShorten(m.Value)
		switch {
		case err != nil:
			bad = err.Error()
		case m.Open && m.Key == "fields":
			inFields = true
		case m.Open:
			bad = m.Key + " has no counterpart"
		case m.Close:
			inFields = false
		case inFields && m.Setting():
			fields = append(fields, m.Key+"="+value)
		case m.Set("driver"):
			driver = value
		case m.Set("passwd_file_path"):
			args = append(args, value)
		case m.Set("default_password_scheme"):
			args = slices.Insert(args, 0, "scheme="+value)
		case m.Set("auth_username_format"):
			args = slices.Insert(args, 0, "username_format="+value)
		case m.Set("pam_service_name"):
			args = append(args, strings.Replace(value, "%s", "*", 1))
		case m.Setting() && strings.HasPrefix(m.Key, "pam_"):
			args = slices.Insert(args, 0, strings.TrimPrefix(m.Key, "pam_")+"="+value)
		case m.Set("static_password"), m.Set("static_allow_all_users"):
			args = append(args, strings.TrimPrefix(m.Key, "static_")+"="+value)
		case m.Set("mechanisms_filter"):
			rest = append(rest, m.Indent()+"mechanisms = "+value+"\n")
		case m.Setting() && !slices.Contains([]string{"username_filter", "deny", "master", "skip", "result_success", "result_failure", "result_internalfail"}, m.Key):
			bad = m.Key + " has no counterpart"
		default:
			rest = append(rest, m.Raw)
		}
	}
	if !slices.Contains([]string{"pam", "passwd-file", "passwd", "static", "prefetch"}, driver) {
		bad = "what it asks is not carried over"
	}
	if bad != "" {
		for _, m := range d.in.Lines[i : stop+1] {
			d.out.WriteString("#" + m.Raw)
		}
		d.tell(l, convert.Blocking, fmt.Sprintf("%s %s: %s.", l.Key, l.Value, bad), "Write it in the words of Dovecot 2.3 by hand; /etc/dovecot/conf.d/auth-*.conf.ext show how.")
		return
	}
	d.say(l, l.Key+" {", "  driver = "+driver)
	if driver == "static" {
		args = append(args, fields...)
	} else if len(fields) > 0 {
		d.say(l, "  override_fields = "+strings.Join(fields, " "))
	}
	if len(args) > 0 {
		d.say(l, "  args = "+strings.Join(args, " "))
	}
	d.out.WriteString(strings.Join(rest, ""))
	d.out.WriteString(d.in.Lines[stop].Raw)
	d.tell(l, "", fmt.Sprintf("%s has no name there, and its settings are args.", l.Key), "")
}
