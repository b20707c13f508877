package steps

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/sync/state"
)

const (
	postfixMain   = "etc/postfix/main.cf"
	postfixMaster = "etc/postfix/master.cf"
)

// Postfix gives the mail transfer's steps. The compatibility level of main.cf stays what it is, and with it the defaults that depend on it.
func Postfix() []convert.Step {
	return []convert.Step{
		{
			ID: "postfix-renamed", Service: "postfix", Old: 11, Class: convert.Renamed,
			Title:  "…_per_record_deadline ↔ …_per_request_deadline, postscreen's blacklist and whitelist ↔ denylist and allowlist",
			Source: "release notes of Postfix 3.6 and 3.7; measured: postconf -d", Forward: postfixRename(postfixNames), Back: postfixRename(postfixReversed()),
		},
		{
			ID: "postfix-level", Service: "postfix", Old: 11, Class: convert.Rewritten, Title: "compatibility_level 3.6 → 2 with the fingerprints' digest written out",
			Source: "release notes of Postfix 3.6: older ones take whole numbers only", Back: postfixLevel,
		},
		{
			ID: "postfix-protocols", Service: "postfix", Old: 11, Class: convert.Rewritten, Title: "TLS protocols >=TLSv1.2 → those before it excluded by name",
			Source: "release notes of Postfix 3.6", Back: postfixProtocols,
		},
		{
			ID: "postfix-defaults", Service: "postfix", Old: 12, Class: convert.Pinned,
			Title:  "smtpd_forbid_bare_newline, smtpd_forbid_unauth_pipelining, milter_default_action, smtp_tls_dane_insecure_mx_policy",
			Source: "measured: postconf -d of both", Forward: postfixPin(0), Back: postfixPin(1),
		},
		{
			ID: "postfix-newer", Service: "postfix", Old: 12, Class: convert.Approximated, Title: "settings that 3.7 does not know are left out",
			Source: "measured: postconf -d of both", Back: postfixUnknown,
		},
		{
			ID: "postfix-transports", Service: "postfix", Old: 12, Class: convert.Blocking, Title: "maildrop, uucp, ifmail, bsmtp, scalemail-backend, mailman are not in the stock master.cf of 13",
			Source: "measured: master.cf of both", Forward: postfixTransports,
		},
	}
}

var postfixNames = map[string]string{
	"smtpd_per_record_deadline":            "smtpd_per_request_deadline",
	"smtp_per_record_deadline":             "smtp_per_request_deadline",
	"lmtp_per_record_deadline":             "lmtp_per_request_deadline",
	"postscreen_blacklist_action":          "postscreen_denylist_action",
	"postscreen_whitelist_interfaces":      "postscreen_allowlist_interfaces",
	"postscreen_dnsbl_whitelist_threshold": "postscreen_dnsbl_allowlist_threshold",
}

func postfixReversed() map[string]string {
	out := map[string]string{}
	for old, now := range postfixNames {
		out[now] = old
	}
	return out
}

// postfixEdit shows each logical line of main.cf and master.cf that people changed; edit gives its new text.
func postfixEdit(w *convert.Work, edit func(path string, l conf.PostfixLine) string) {
	for _, p := range w.Changed(postfixMain, postfixMaster) {
		file := conf.ParsePostfix(w.Text(p))
		changed := false
		for i, l := range file.Lines {
			if l.Text == "" {
				continue
			}
			if raw := edit(string(p), l); raw != l.Raw {
				file.Lines[i].Raw, changed = raw, true
			}
		}
		if changed {
			w.Write(p, file.Bytes())
		}
	}
}

// postfixName finds the name of a setting: at the start of a line of main.cf, after -o in master.cf, and where $name asks for it.
func postfixName(path, name string) *regexp.Regexp {
	before := `^|\$\{?`
	if path == postfixMaster {
		before = `-o\s+(?:\{\s*)?|\$\{?`
	}
	return regexp.MustCompile(`(?m)(` + before + `)` + regexp.QuoteMeta(name) + `\b`)
}

func postfixRename(names map[string]string) func(*convert.Work) error {
	return func(w *convert.Work) error {
		postfixEdit(w, func(path string, l conf.PostfixLine) string {
			raw := l.Raw
			for _, old := range slices.Sorted(maps.Keys(names)) {
				if !strings.Contains(raw, old) {
					continue
				}
				if now := postfixName(path, old).ReplaceAllString(raw, "${1}"+names[old]); now != raw {
					raw = now
					w.Tell(convert.Finding{Path: state.Path(path), Line: l.At, What: fmt.Sprintf("%s is called %s there.", old, names[old])})
				}
			}
			return raw
		})
		return nil
	}
}

func postfixLevel(w *convert.Work) error {
	if !slices.Contains(w.Changed(postfixMain), postfixMain) {
		return nil
	}
	file := conf.ParsePostfix(w.Text(postfixMain))
	level, at := file.Get("compatibility_level")
	if at < 0 || !strings.Contains(level, ".") && level < "3" {
		return nil
	}
	file.Lines[at].Raw = strings.Replace(file.Lines[at].Raw, level, "2", 1)
	w.Tell(convert.Finding{Path: postfixMain, Line: file.Lines[at].At, What: "Postfix 3.5 knows no compatibility_level " + level + "; it is 2 there."})
	var pins []string
	for _, name := range []string{"smtpd_tls_fingerprint_digest", "smtp_tls_fingerprint_digest", "lmtp_tls_fingerprint_digest"} {
		if _, set := file.Get(name); set < 0 {
			pins = append(pins, name+" = sha256")
		}
	}
	w.Write(postfixMain, postfixAppend(file.Bytes(), "Postfix 3.5 has md5 as default.", pins))
	return nil
}

// postfixAppend writes settings to the end of a text, with the reason.
func postfixAppend(text []byte, why string, lines []string) []byte {
	if len(lines) == 0 {
		return text
	}
	text = slices.Clone(text)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return append(text, "# "+why+"\n"+strings.Join(lines, "\n")+"\n"...)
}

var postfixRange = regexp.MustCompile(`([<>])=\s*(TLSv1(?:\.[123])?|SSLv[23])`)

func postfixProtocols(w *convert.Work) error {
	all := []string{"SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}
	postfixEdit(w, func(path string, l conf.PostfixLine) string {
		if !strings.Contains(l.Text, "_protocols") || strings.Contains(l.Text, "inet_protocols") {
			return l.Raw
		}
		raw := postfixRange.ReplaceAllStringFunc(l.Raw, func(m string) string {
			f := postfixRange.FindStringSubmatch(m)
			i := slices.Index(all, f[2])
			out := all[:i]
			if f[1] == "<" {
				out = all[i+1:]
			}
			sep := ", !"
			if path == postfixMaster {
				sep = ",!"
			}
			return strings.TrimPrefix(strings.Join(append([]string{""}, out...), sep), strings.TrimSuffix(sep, "!"))
		})
		if raw != l.Raw {
			w.Tell(convert.Finding{Path: state.Path(path), Line: l.At, What: "Postfix 3.5 does not know >= and <= for protocols; those that are not wanted are named there."})
		}
		return raw
	})
	return nil
}

// postfixDefault is a default that differs between 3.7 and 3.10; when is a setting without which it plays no part.
type postfixDefault struct {
	name  string
	value [2]string
	when  []string
	next  [2]string
}

func postfixDefaults() []postfixDefault {
	return []postfixDefault{
		{
			"smtpd_forbid_bare_newline",
			[2]string{"no", "normalize"},
			nil,
			[2]string{"When no old program sends mail through this server any more, set it to normalize: that closes a way to smuggle in forged mail.", ""},
		},
		{
			"smtpd_forbid_unauth_pipelining",
			[2]string{"no", "yes"},
			nil,
			[2]string{"When no old program sends mail through this server any more, set it to yes: that stops careless senders of spam.", ""},
		},
		{"milter_default_action", [2]string{"tempfail", "shutdown"}, []string{"smtpd_milters", "non_smtpd_milters"}, [2]string{}},
		{
			"smtp_tls_dane_insecure_mx_policy",
			[2]string{"${{$smtp_tls_security_level} == {dane} ? {dane} : {may}}", "dane"},
			[]string{"smtp_tls_policy_maps"},
			[2]string{},
		},
	}
}

// postfixPin writes defaults out in a main.cf that people changed. from: 0 those of 3.7, 1 those of 3.10.
func postfixPin(from int) func(*convert.Work) error {
	return func(w *convert.Work) error {
		if !slices.Contains(w.Changed(postfixMain), postfixMain) {
			return nil
		}
		file := conf.ParsePostfix(w.Text(postfixMain))
		set := func(name string) bool {
			v, at := file.Get(name)
			return at >= 0 && v != ""
		}
		var pins []string
		for _, d := range postfixDefaults() {
			if _, at := file.Get(d.name); at >= 0 || d.when != nil && !slices.ContainsFunc(d.when, set) {
				continue
			}
			value := d.value[from]
			if known, ok := w.From.Default("postfix", d.name); ok {
				value = known
			}
			if there, ok := w.To.Default("postfix", d.name); ok && there == value {
				continue
			}
			pins = append(pins, d.name+" = "+value)
			w.Tell(convert.Finding{Path: postfixMain, What: fmt.Sprintf("%s = %s is the default here, and not there; it is written there.", d.name, value), Next: d.next[from]})
		}
		if len(pins) > 0 {
			w.Write(postfixMain, postfixAppend(w.Text(postfixMain), "Defaults of the release that this file was written for.", pins))
		}
		return nil
	}
}

// postfixNewer are the settings that 3.10 has and 3.7 has not, in the order of postconf -d.
var postfixNewer = regexp.MustCompile(`^(allow_srv_lookup_fallback|force_mime_input_conversion|full_name_encoding_charset|ignore_srv_lookup_error|` +
	`(lmtp|smtp)_sasl_password_result_delimiter|(lmtp|smtp|smtpd|tlsproxy)_tls_enable_rpk|(lmtp|smtp)_tls_enforce_sts_mx_patterns|` +
	`(lmtp|smtp)_tlsrpt_(enable|skip_reused_handshakes|socket_name)|maillog_file_permissions|smtpd_client_ipv[46]_prefix_length|` +
	`smtpd_hide_client_session|socketmap_max_reply_size|tls_ffdhe_auto_groups|tls_required_enable|use_srv_lookup)$`)

func postfixUnknown(w *convert.Work) error {
	postfixEdit(w, func(path string, l conf.PostfixLine) string {
		if path == postfixMain {
			name, _ := l.Setting()
			if !postfixNewer.MatchString(name) {
				return l.Raw
			}
			w.Tell(convert.Finding{Path: postfixMain, Line: l.At, What: name + " is not known to Postfix 3.7; it is left out there."})
			return "# not known to Postfix 3.7: " + strings.ReplaceAll(strings.TrimSuffix(l.Raw, "\n"), "\n", "\n# ") + l.Raw[len(strings.TrimSuffix(l.Raw, "\n")):]
		}
		raw := l.Raw
		for _, o := range l.Options() {
			if postfixNewer.MatchString(o.Name) {
				raw = regexp.MustCompile(`(?m)^[ \t]+-o\s*(\{\s*)?`+regexp.QuoteMeta(o.Name)+`\s*=.*\n?|\s-o\s*`+regexp.QuoteMeta(o.Name)+`=\S*`).ReplaceAllString(raw, "")
				w.Tell(convert.Finding{Path: state.Path(path), Line: l.At, What: o.Name + " is not known to Postfix 3.7; it is left out there."})
			}
		}
		return raw
	})
	return nil
}

func postfixTransports(w *convert.Work) error {
	main, master := conf.ParsePostfix(w.Text(postfixMain)), conf.ParsePostfix(w.Text(postfixMaster))
	has := map[string]bool{}
	if f, _ := w.Get(postfixMaster); !f.Stock {
		for _, l := range master.Lines {
			if s := l.Service(); s != nil {
				has[s[0]] = true
			}
		}
	}
	if !slices.Contains(w.Changed(postfixMain), postfixMain) {
		return nil
	}
	for _, l := range main.Lines {
		name, value := l.Setting()
		transport, _, _ := strings.Cut(value, ":")
		if !slices.Contains([]string{"mailbox_transport", "fallback_transport", "default_transport", "local_transport", "virtual_transport", "relay_transport"}, name) ||
			!slices.Contains([]string{"maildrop", "uucp", "ifmail", "bsmtp", "scalemail-backend", "mailman"}, transport) || has[transport] {
			continue
		}
		w.Tell(convert.Finding{
			Path: postfixMain, Line: l.At, What: fmt.Sprintf("%s names %s, which master.cf does not have there: mail for it would wait.", name, transport),
			Next: "Write the service " + transport + " into /etc/postfix/master.cf.",
		})
	}
	return nil
}
