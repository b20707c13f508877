package benchverify

import (
	"strings"

	"sayasystems.com/atlas/build/lab/office"
)

// target is what all contenders look at.
type target struct {
	name   string
	goal   float64 // what a look may cost Sentry, of what it costs the plugin; 0 = there is none
	kind   string  // of Sentry's probe
	at     string
	params map[string]string
	plugin []string // %s is the password
	module string   // of blackbox_exporter; "" = it cannot
	asks   string   // what that is asked for
	ours   string   // what Sentry's transaction does
	theirs string   // what the plugin does
}

// modules is blackbox_exporter's configuration.
const modules = `modules:
  http: {prober: http, http: {preferred_ip_protocol: ip4, headers: {Host: office.office.example}, fail_if_body_not_matches_regexp: ["atlas-verify static page 1"]}}
  tcp: {prober: tcp, tcp: {preferred_ip_protocol: ip4}}
  icmp: {prober: icmp, icmp: {preferred_ip_protocol: ip4}}
  dns: {prober: dns, dns: {preferred_ip_protocol: ip4, query_name: _ldap._tcp.ad.office.example, query_type: SRV, transport_protocol: udp}}
`

func targets() []target {
	host := "office." + office.Domain
	base := "dc=" + strings.ReplaceAll(office.Domain, ".", ",dc=")
	account := "uid=atlas-verify,ou=services," + base
	page := "/atlas-verify/static.txt"
	p := func(name string, args ...string) []string { return append([]string{plugins + "/" + name}, args...) }
	return []target{
		{
			"HTTP", 0.1, "http", office.Service,
			map[string]string{"path": page, "contains": "atlas-verify static page 1"},
			p("check_http", "-I", office.Service, "-H", host, "-u", page, "-s", "atlas-verify static page 1"), "http", "http://" + office.Service + page,
			"page, its content", "page, its content",
		},
		{"TCP", 0.1, "tcp", office.Service, map[string]string{"port": "80"}, p("check_tcp", "-H", office.Service, "-p", "80"), "tcp", office.Service + ":80", "connect", "connect"},
		{"ICMP", 0, "ping", office.Service, nil, nil, "icmp", office.Service, "three echo requests", "–"},
		{
			"DNS", 0, "dns", office.AD,
			map[string]string{"name": "_ldap._tcp.ad." + office.Domain, "type": "SRV", "contains": "dc.ad." + office.Domain},
			nil, "dns", office.AD, "over UDP and TCP, the answer compared", "–",
		},
		{
			"SMTP", 0.2, "smtp", office.Service,
			map[string]string{"port": "25", "accept": "atlas-verify@" + host, "refuse": "nobody@example.com", "open": "warn"},
			p("check_smtp", "-H", office.Service, "-F", "client."+office.Domain, "-S", "-f", "a@example.org"), "", "",
			"TLS; mail for the site taken, for others refused", "TLS; MAIL FROM taken",
		},
		{
			"LDAP", 0.2, "ldap", office.Service,
			map[string]string{"base": base, "user": account},
			p("check_ldap", "-H", office.Service, "-b", base, "-D", account, "-P", "%s", "-3", "-S", "-p", "636"), "", "",
			"TLS; login, search, change, read back; three refusals", "TLS; login, search",
		},
		{
			"PostgreSQL", 0.2, "pgsql", office.Service,
			map[string]string{"user": "atlas_verify", "database": "atlas_verify", "table": "canary"},
			p("check_pgsql", "-H", office.Service, "-d", "atlas_verify", "-l", "atlas_verify", "-p", "%s"), "", "",
			"TLS; row read, another written, read back, deleted; two refusals", "TLS; login",
		},
		{
			"MariaDB", 0.2, "mysql", office.Service,
			map[string]string{"user": "atlas_verify", "database": "atlas_verify", "table": "canary"},
			p("check_mysql", "-H", office.Service, "-u", "atlas_verify", "-p", "%s", "-d", "atlas_verify"), "", "",
			"TLS; row read, another written, read back, deleted; two refusals", "login, status",
		},
		{
			"SMB", 0.2, "smb", office.Service,
			map[string]string{"share": "atlas-verify", "user": "atlas-verify", "file": "canary.txt", "contains": "atlas-verify share file 1"},
			p("check_disk_smb", "-H", office.Service, "-s", "atlas-verify", "-u", "atlas-verify", "-p", "%s", "-w", "99", "-c", "100"), "", "",
			"file read, another written, read back, deleted; wrong password and guest refused", "login, free space",
		},
	}
}
