package steps

import (
	"fmt"
	"regexp"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
)

// plugin says what stood in plugin {} as settings of Dovecot itself.
func (d *dovecotWork) plugin(l conf.DovecotLine, i, stop int) {
	var quota []string
	name, driver := "", ""
	for _, m := range d.in.Lines[i+1 : stop] {
		value, err := dovecotVars(m.Value)
		switch {
		case !m.Setting():
			d.out.WriteString(strings.TrimPrefix(m.Raw, "  "))
			continue
		case err != nil:
			d.gone(m, convert.Blocking, fmt.Sprintf("%s: %v.", m.Key, err), "Say it without this variable.")
			continue
		}
		m.Raw = strings.TrimLeft(m.Raw, " \t")
		switch k := m.Key; k {
		case "quota":
			driver, name, _ = strings.Cut(value, ":")
			name = strings.TrimSpace(strings.SplitN(name, ":", 2)[0])
			if driver != "count" {
				d.tell(m, convert.Approximated, "Quotas are counted by Dovecot itself there, and no more from the files of the kind "+driver+".", "Run doveadm quota recalc -A there.")
			}
		case "quota_rule", "quota_rule2", "quota_rule3", "quota_rule4":
			quota = append(quota, d.quotaRule(m, value)...)
		case "quota_grace":
			if strings.HasSuffix(value, "%%") || strings.HasSuffix(value, "%") {
				d.gone(m, convert.Approximated, "quota_grace is an amount in Dovecot 2.4, not a share; its default of 10M is used there.", "")
			} else {
				quota = append(quota, "storage_grace = "+value)
			}
		case "quota_exceeded_message", "mail_log_events", "mail_log_fields", "mail_log_cached_only", "sieve_max_script_size", "sieve_max_actions", "sieve_max_redirects":
			d.say(m, k+" = "+value)
		case "quota_max_mail_size":
			d.say(m, "quota_mail_size = "+value)
		case "zlib_save":
			d.say(m, "mail_compress_write_method = "+value)
		case "zlib_save_level":
			d.say(m, "compress_gz_level = "+value)
		case "lazy_expunge":
			d.say(m, "lazy_expunge_mailbox = "+value)
		case "acl":
			driver, file, _ := strings.Cut(value, ":")
			d.say(m, "acl_driver = "+driver)
			if file, _, _ = strings.Cut(file, ":"); file != "" {
				d.say(m, "acl_global_path = "+file)
			}
		case "sieve":
			file, active, _ := strings.Cut(strings.TrimPrefix(value, "file:"), ";active=")
			d.say(m, "sieve_script personal {", "  driver = file", "  path = "+file)
			if active != "" {
				d.say(m, "  active_path = "+active)
			}
			d.say(m, "}")
		case "sieve_before", "sieve_after", "sieve_default":
			kind := strings.TrimPrefix(k, "sieve_")
			d.say(m, "sieve_script "+kind+" {", "  type = "+kind, "  driver = file", "  path = "+strings.TrimPrefix(value, "file:"), "}")
		default:
			d.gone(m, convert.Blocking, fmt.Sprintf("The plugin setting %s is not carried over to Dovecot 2.4.", k), "Write it in the words of Dovecot 2.4 by hand, or do without it.")
		}
	}
	if name == "" {
		name = "User quota"
	}
	if driver != "" || len(quota) > 0 {
		fmt.Fprintf(&d.out, "quota %q {\n  driver = count\n", name)
		for _, q := range quota {
			d.out.WriteString("  " + q + "\n")
		}
		d.out.WriteString("}\n")
	}
	d.tell(l, "", "There is no plugin {} there; what stood in it are settings of Dovecot itself.", "")
}

var dovecotRule = regexp.MustCompile(`^\*:(storage|bytes|messages)=(\d+)([bkMGT]?)$`)

func (d *dovecotWork) quotaRule(l conf.DovecotLine, value string) []string {
	switch m := dovecotRule.FindStringSubmatch(value); {
	case m == nil:
		d.gone(l, convert.Approximated, fmt.Sprintf("The rule %s of the quota is not carried over; the mailbox counts like the others there.", value), "Set quota_storage_extra or quota_ignore in its mailbox section.")
	case m[1] == "storage" && m[3] == "": // in kilobytes
		return []string{"storage_size = " + m[2] + "k"}
	case m[1] == "messages":
		return []string{"message_count = " + m[2]}
	default:
		return []string{"storage_size = " + m[2] + m[3]}
	}
	return nil
}
