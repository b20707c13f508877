package steps

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/convert/conf"
	"sayasystems.com/atlas/sentry/convert/facts"
)

// dovecotLost are settings of 2.3 that 2.4 refuses and that have no counterpart of one line, with what is lost. Measured: doveconf -n of 2.4 with
// each setting of 2.3 by itself.
func dovecotLost() map[string]note {
	return map[string]note{
		"login_access_sockets": {
			class: convert.Blocking, what: ": whom hosts.allow and hosts.deny keep out could connect there",
			next: "Say who may connect by login_trusted_networks, allow_nets of a passdb, or the packet filter.",
		},
		"mail_attribute_dict": {
			class: convert.Blocking, what: ": notes on mailboxes, and Sieve scripts that are kept by it, would not be found",
			next: "Write mail_attribute { dict { … } } in the words of Dovecot 2.4 by hand.",
		},
		"dict_db_config":          {class: convert.Approximated, what: ", and keeps no Berkeley databases", next: "Keep dictionaries in files or SQL."},
		"imap_id_log":             {class: convert.Approximated, what: "; the log does not tell by what program mail is read", next: "Log the event imap_id_received there if it is wanted."},
		"imap_id_send":            {class: convert.Approximated, what: " as one line; programs are told the server's name only"},
		"imapc_ssl_verify":        {class: convert.Approximated, what: "; ssl_client_require_valid_cert says it for every outgoing connection", next: "Set it there if the other server has no certificate that can be checked."},
		"import_environment":      {class: convert.Approximated, what: " as one line; programs get its own choice of variables", next: "Write import_environment { NAME = VALUE } there if one is missed."},
		"doveadm_http_rawlog_dir": {class: convert.Approximated, what: ", and writes no such copies of what is talked"},
		"stats_http_rawlog_dir":   {class: convert.Approximated, what: ", and writes no such copies of what is talked"},
		"auth_policy_server_timeout_msecs": {
			class: convert.Approximated, what: "; the policy server gets the time that HTTP requests have",
			next: "Set http_client_request_absolute_timeout in auth_policy { } there.",
		},
	}
}

// dovecotPlugin tells whether a release's package has a plugin.
func dovecotPlugin(r *facts.Release, name string) bool {
	modules := r.Services["dovecot"].Modules
	return len(modules) == 0 || slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(m, "lib") && strings.HasSuffix(m, "_"+name+"_plugin") })
}

// lacks tells that a plugin is on this side and not on the other, where nobody's mailbox could be opened with it.
func (d *dovecotWork) lacks(l conf.DovecotLine, name string) bool {
	if !dovecotPlugin(d.From, name) || dovecotPlugin(d.To, name) {
		return false
	}
	d.tell(l, convert.Package, fmt.Sprintf("Dovecot of %s has no plugin %s; mailboxes could not be opened, or mail not be delivered, with it. It is left out.", there(d.Work), name),
		"Build that server's image with the package that has it (for Sieve, dovecot-sieve), or do without it.")
	return true
}
