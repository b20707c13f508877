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

// Dovecot gives the mailboxes' step: 2.4 reads another language than 2.3. Each file that people changed is said anew line by line; what has no counterpart
// becomes a comment and is told. The image's own files (dovecot.conf and conf.d/*-atlas*.conf) follow the release by themselves.
func Dovecot() []convert.Step {
	return []convert.Step{{
		ID: "dovecot-2.4", Service: "dovecot", Old: 12, Class: convert.Rewritten,
		Title:   "Dovecot 2.3 ↔ 2.4: mail_location, ssl_*, passdb, userdb, plugin, listeners, %-variables, dovecot_config_version",
		Source:  "Dovecot's upgrade notes of 2.4; measured: doveconf -n of both, and logins",
		Forward: dovecotForward, Back: dovecotBack,
	}}
}

// dovecotWork says one file anew.
type dovecotWork struct {
	*convert.Work
	path  state.Path
	in    conf.Dovecot
	out   strings.Builder
	names map[string]int  // how many passdbs and userdbs there are of each driver, in all files
	said  map[string]bool // settings that stand outside of the section that they are for
	debug bool            // log_debug has been written
	weak  bool            // auth_allow_weak_schemes has been written
}

func dovecotFiles(w *convert.Work) []state.Path {
	return w.Changed("etc/dovecot/*.conf", "etc/dovecot/conf.d/*.conf", "etc/dovecot/conf.d/*.conf.ext")
}

func dovecotForward(w *convert.Work) error {
	names := map[string]int{}
	for _, p := range dovecotFiles(w) {
		if strings.Contains(p.Base(), "-atlas") {
			continue
		}
		d := &dovecotWork{Work: w, path: p, in: conf.ParseDovecot(w.Text(p)), names: names, said: map[string]bool{}}
		if p == "etc/dovecot/dovecot.conf" && !slices.ContainsFunc(d.in.Lines, func(l conf.DovecotLine) bool { return l.Set("dovecot_config_version") }) {
			d.out.WriteString("dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n")
			d.tell(conf.DovecotLine{At: 1}, "", "The version of the language stands first there.", "")
		}
		d.lines(0, len(d.in.Lines), "")
		if text := d.out.String(); text != string(w.Text(p)) {
			w.Write(p, []byte(text))
		}
	}
	return nil
}

func (d *dovecotWork) tell(l conf.DovecotLine, class convert.Class, what, next string) {
	d.Tell(convert.Finding{Class: class, Path: d.path, Line: l.At, What: what, Next: next})
}

// gone turns a line into a comment.
func (d *dovecotWork) gone(l conf.DovecotLine, class convert.Class, what, next string) {
	d.out.WriteString(l.Indent() + "# not for Dovecot 2.4: " + strings.ReplaceAll(strings.TrimSpace(l.Raw), "\n", "\n# ") + "\n")
	d.tell(l, class, what, next)
}

// say writes lines in the place of l.
func (d *dovecotWork) say(l conf.DovecotLine, lines ...string) {
	for _, s := range lines {
		d.out.WriteString(l.Indent() + s + "\n")
	}
}

// lines says the lines from i on anew, up to end. in is the kind of section that they stand in.
func (d *dovecotWork) lines(i, end int, in string) {
	for ; i < end; i++ {
		switch l := d.in.Lines[i]; {
		case l.Open && d.in.End(i) < len(d.in.Lines): // nothing is known of a section without end, and Dovecot refuses it
			stop := d.in.End(i)
			d.section(l, i, stop, in)
			i = stop
		case l.Setting():
			d.setting(l, in)
		default:
			d.out.WriteString(l.Raw)
		}
	}
}

func (d *dovecotWork) section(l conf.DovecotLine, i, stop int, in string) {
	inside := func(open string) {
		if open == "" {
			open = l.Raw
		} else {
			open = l.Indent() + open + "\n"
		}
		d.out.WriteString(open)
		d.lines(i+1, stop, l.Key)
		d.out.WriteString(d.in.Lines[stop].Raw)
	}
	all := func(class convert.Class, what, next string) {
		for j := i; j <= stop; j++ {
			d.out.WriteString("#" + d.in.Lines[j].Raw)
		}
		d.tell(l, class, what, next)
	}
	empty := !slices.ContainsFunc(d.in.Lines[i+1:stop], func(l conf.DovecotLine) bool { return l.Setting() })
	switch {
	case l.Key == "passdb", l.Key == "userdb":
		d.database(l, i, stop)
	case l.Key == "plugin":
		d.plugin(l, i, stop)
	case l.Key == "service" && slices.Contains([]string{"director", "replicator", "aggregator", "old-stats"}, l.Value), l.Key == "dict":
		class := convert.Blocking
		if empty {
			class = convert.Ignored
		}
		all(class, fmt.Sprintf("Dovecot 2.4 has no %s.", strings.TrimSpace(l.Key+" "+l.Value)), "Do without it, or set up what takes its place by hand; see Dovecot's upgrade notes.")
	case l.Key == "inet_listener" && l.Value == "":
		d.names["inet_listener"]++
		name := fmt.Sprintf("listener-%d", d.names["inet_listener"])
		d.tell(l, "", "A listener has a name there: "+name+".", "")
		inside("inet_listener " + name + " {")
	case l.Key == "namespace" && l.Value == "":
		name := "inbox"
		if !slices.ContainsFunc(d.in.Lines[i:stop], func(l conf.DovecotLine) bool { return l.Set("inbox") && l.Value == "yes" }) {
			d.names["namespace"]++
			name = fmt.Sprintf("namespace-%d", d.names["namespace"])
		}
		d.tell(l, "", "A namespace has a name there: "+name+".", "")
		inside("namespace " + name + " {")
	default:
		inside("")
	}
}

// dovecotRenames are settings that have another name in 2.4; the ones of sections have the section before a dot.
func dovecotRenames() map[string]string {
	return map[string]string{
		"ssl_verify_client_cert": "ssl_server_request_client_cert", "ssl_require_crl": "ssl_server_require_crl",
		"ssl_cert_username_field": "ssl_server_cert_username_field", "auth_default_realm": "auth_default_domain", "master_user_separator": "auth_master_user_separator",
		"mail_attachment_dir": "mail_ext_attachment_path", "mail_attachment_min_size": "mail_ext_attachment_min_size",
		"default_idle_kill": "default_idle_kill_interval", "service.idle_kill": "idle_kill_interval", "inet_listener.address": "listen",
		"service.service_count": "restart_request_count",
	}
}

// dovecotTLS are the settings whose value was the content of a file, and is its name in 2.4.
func dovecotTLS() map[string]string {
	return map[string]string{
		"ssl_cert": "ssl_server_cert_file", "ssl_key": "ssl_server_key_file", "ssl_ca": "ssl_server_ca_file", "ssl_dh": "ssl_server_dh_file",
		"ssl_alt_cert": "ssl_server_alt_cert_file", "ssl_alt_key": "ssl_server_alt_key_file", "ssl_client_cert": "ssl_client_cert_file",
		"ssl_client_key": "ssl_client_key_file", "ssl_key_password": "ssl_server_key_password",
	}
}

// dovecotLogs are formats with letters of their own.
var dovecotLogs = regexp.MustCompile(`^(mail_log_prefix|deliver_log_format|login_log_format|login_log_format_elements|imap_logout_format|pop3_logout_format|rejection_reason)$`)

// dovecotDead were settings of parts that 2.4 does not have.
var dovecotDead = regexp.MustCompile(`^(director_|replication_|replicator_|old_stats_|auth_stats$|lmtp_verbose_replies$|config_cache_size$|dsync_hashed_headers$|mail_attachment_fs$|mail_attachment_hash$)`)

func (d *dovecotWork) setting(l conf.DovecotLine, in string) {
	key := l.Key
	if in == "service" || in == "inet_listener" {
		key = in + "." + key
	}
	value, err := dovecotVars(l.Value)
	now, renamed := dovecotRenames()[key]
	file, tls := dovecotTLS()[key]
	yes := strings.EqualFold(l.Value, "yes")
	lost, isLost := dovecotLost()[key]
	switch {
	case isLost:
		d.gone(l, lost.class, "Dovecot 2.4 has no "+l.Key+lost.what+".", lost.next)
	case tls && !l.File && l.Value != "" && l.Key != "ssl_key_password":
		d.gone(l, convert.Blocking, l.Key+" holds a certificate or key itself; Dovecot 2.4 takes the name of a file.", "Put it into a file and write "+l.Key+" = </etc/dovecot/private/FILE.")
	case tls:
		d.say(l, strings.TrimSpace(file+" = "+l.Value))
		d.tell(l, convert.Renamed, fmt.Sprintf("%s is called %s there.", l.Key, file), "")
	case key == "ssl_prefer_server_ciphers":
		d.say(l, "ssl_server_prefer_ciphers = "+map[bool]string{true: "server", false: "client"}[yes])
		d.tell(l, convert.Renamed, "ssl_prefer_server_ciphers is called ssl_server_prefer_ciphers there.", "")
	case key == "disable_plaintext_auth" && !yes && d.required():
		d.gone(l, convert.Ignored, "With ssl = required every password is encrypted anyway, and Dovecot 2.4 does not start with both.", "")
	case key == "disable_plaintext_auth":
		d.say(l, "auth_allow_cleartext = "+map[bool]string{true: "no", false: "yes"}[yes])
		d.tell(l, convert.Renamed, "disable_plaintext_auth is auth_allow_cleartext there, with yes and no exchanged.", "")
	case key == "auth_worker_max_count":
		d.say(l, "service auth-worker {", "  process_limit = "+l.Value, "}")
		d.tell(l, "", "auth_worker_max_count is the process_limit of the service auth-worker there.", "")
	case slices.Contains([]string{"auth_debug", "mail_debug", "verbose_ssl"}, key):
		d.logDebug(l)
	case dovecotLogs.MatchString(key):
		d.gone(l, convert.Approximated, l.Key+" has other variables in Dovecot 2.4; its default is used there.", "Write it anew if something reads these lines.")
	case dovecotDead.MatchString(key):
		d.gone(l, convert.Blocking, "Dovecot 2.4 has no "+l.Key+".", "Do without it; see Dovecot's upgrade notes.")
	case key == "mail_plugins":
		d.plugins(l)
	case err != nil:
		d.gone(l, convert.Blocking, fmt.Sprintf("%s: %v.", l.Key, err), "Say it without this variable.")
	case key == "mail_location", key == "location" && in == "namespace":
		d.location(l)
	case renamed:
		if key == "service.service_count" && value == "0" {
			value = "unlimited"
		}
		d.say(l, now+" = "+value)
		d.tell(l, convert.Renamed, fmt.Sprintf("%s is called %s there.", l.Key, now), "")
	case value != l.Value:
		d.say(l, l.Key+" = "+value)
		d.tell(l, "", fmt.Sprintf("Variables have long names there: %s = %s.", l.Key, value), "")
	default:
		d.out.WriteString(l.Raw)
	}
}

// required tells whether ssl = required stands in any of the files.
func (d *dovecotWork) required() bool {
	return slices.ContainsFunc(dovecotFiles(d.Work), func(p state.Path) bool {
		return slices.ContainsFunc(conf.ParseDovecot(d.Text(p)).Lines, func(l conf.DovecotLine) bool { return l.Set("ssl") && l.Value == "required" })
	})
}

func (d *dovecotWork) logDebug(l conf.DovecotLine) {
	if d.debug || !strings.EqualFold(l.Value, "yes") {
		if strings.EqualFold(l.Value, "yes") {
			d.out.WriteString("# " + strings.TrimSpace(l.Raw) + "\n")
		} else {
			d.gone(l, convert.Ignored, l.Key+" = no is what Dovecot 2.4 does anyway.", "")
		}
		return
	}
	var all []string
	for _, m := range d.in.Lines {
		if c, ok := map[string]string{"auth_debug": "auth", "mail_debug": "mail", "verbose_ssl": "ssl"}[m.Key]; ok && strings.EqualFold(m.Value, "yes") {
			all = append(all, "category="+c)
		}
	}
	d.debug = true
	d.say(l, "log_debug = "+strings.Join(all, " OR "))
	d.tell(l, "", "What is logged to find mistakes is chosen by log_debug there.", "")
}

// plugins says which plugins are loaded. A list that starts with $mail_plugins adds to what is loaded already.
func (d *dovecotWork) plugins(l conf.DovecotLine) {
	var names []string
	for name := range strings.FieldsSeq(strings.ReplaceAll(l.Value, ",", " ")) {
		switch name {
		case "$mail_plugins":
		case "zlib":
			names = append(names, "mail_compress")
		case "imap_zlib", "stats", "imap_stats", "old_stats", "imap_old_stats", "autocreate", "expire", "listescape":
			d.tell(l, convert.Ignored, "Dovecot 2.4 has no plugin "+name+"; what it did is built in or gone.", "")
		case "acl", "apparmor", "mail_lua", "imap_acl", "lazy_expunge", "mail_crypt_acl", "pop3_migration", "last_login", "mail_crypt", "quota", "imap_quota",
			"trash", "notify", "charset_alias", "fts", "mail_log", "notify_status", "push_notification", "quota_clone", "virtual", "sieve",
			"imap_filter_sieve", "imap_sieve", "welcome":
			names = append(names, name)
		default:
			d.tell(l, convert.Blocking, "Dovecot 2.4 has no plugin "+name+".", "Do without it.")
		}
	}
	if !strings.Contains(l.Value, "$mail_plugins") {
		d.say(l, "mail_plugins = "+strings.Join(names, " "))
	} else if len(names) > 0 {
		d.say(l, "mail_plugins {")
		for _, n := range names {
			d.say(l, "  "+n+" = yes")
		}
		d.say(l, "}")
	}
	d.tell(l, "", "Plugins are named one by one there.", "")
}

// location says mail_location in its parts. The release's own 10-mail.conf sets the inbox's place, so that it is always said.
func (d *dovecotWork) location(l conf.DovecotLine) {
	value, _ := dovecotVars(l.Value)
	parts := strings.Split(value, ":")
	driver := parts[0]
	if len(parts) < 2 || !slices.Contains([]string{"maildir", "mbox", "mdbox", "sdbox", "imapc", "pop3c"}, driver) {
		d.gone(l, convert.Blocking, fmt.Sprintf("%s = %s says not clearly how mail is kept.", l.Key, l.Value), "Write the kind before it: maildir:~/Maildir.")
		return
	}
	out := []string{"mail_driver = " + driver, "mail_path = " + parts[1]}
	inbox, layout := "", ""
	if driver == "maildir" {
		inbox, layout = parts[1], "maildir++"
	}
	for _, o := range parts[2:] {
		k, v, _ := strings.Cut(o, "=")
		now, ok := map[string]string{
			"INDEX": "mail_index_path", "CONTROL": "mail_control_path", "ALT": "mail_alt_path", "VOLATILEDIR": "mail_volatile_path",
			"INDEXPVT": "mail_index_private_path", "DIRNAME": "mailbox_directory_name", "MAILBOXDIR": "mailbox_root_directory_name", "SUBSCRIPTIONS": "mailbox_subscriptions_filename",
		}[k]
		switch {
		case k == "INBOX":
			inbox = v
		case k == "LAYOUT":
			layout = strings.ToLower(v)
		case k == "UTF-8":
			out = append(out, "mailbox_list_utf8 = yes")
		case ok:
			out = append(out, now+" = "+v)
		default:
			d.tell(l, convert.Blocking, fmt.Sprintf("%s of %s has no counterpart in Dovecot 2.4.", k, l.Key), "Do without it.")
		}
	}
	out = append(out, strings.TrimSpace("mail_inbox_path = "+inbox))
	if layout != "" {
		out = append(out, "mailbox_list_layout = "+layout)
	}
	d.say(l, out...)
	d.tell(l, "", fmt.Sprintf("%s is said in its parts there: %s.", l.Key, strings.Join(out, ", ")), "")
}
