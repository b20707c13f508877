package facts

import (
	"embed"
	"strings"

	"sayasystems.com/atlas/sentry/convert/facts"
)

//go:embed ask
var scripts embed.FS

// question is what one service is asked.
type question struct {
	service string // pack that it belongs to, or a word for a part of the system
	source  string // what told it, for people
	script  string
	version func(string) string
	parse   func(parts map[string]string, s *facts.Service)

	least, leastModules int // fewer mean that something went wrong
}

// questions lists them all: to ask another service is to add a script and a line.
func questions() []question {
	all := []question{
		{service: "apache", source: "apache2 -L with all modules; mods-available", version: after("Apache/"), parse: parseApache, least: 200, leastModules: 50},
		{service: "chrony", source: "chronyd -p, asked every word of its program", version: after("version "), parse: parseWords, least: 50},
		{service: "dovecot", source: "doveconf -d", version: firstWord, parse: parseDovecot, least: 300, leastModules: 20},
		{service: "kerberos", source: "kadmin.local addprinc -e with each encryption type", version: after("version "), parse: parseKerberos, least: 3},
		{service: "login", source: "login.defs as it is shipped", version: firstWord, parse: parseLogin, least: 10},
		{service: "mariadb", source: "mariadbd --no-defaults --verbose --help; asked every word of its program", version: after("Ver "), parse: parseMariaDB, least: 500, leastModules: 5},
		{service: "nfs", source: "nfs.conf as it is shipped", version: firstWord, parse: parseNFS},
		{service: "nftables", source: "nft --version", version: after("nftables v")},
		{service: "openldap", source: "slapd -VVV; modules and schemas as they are shipped", version: after("slapd "), parse: parseOpenLDAP, leastModules: 20},
		{service: "php", source: "ini_get_all() with an empty php.ini", version: after("PHP "), parse: parsePHP, least: 100, leastModules: 20},
		{service: "postfix", source: "postconf -d; postconf -M of the stock master.cf", version: firstWord, parse: parsePostfix, least: 800, leastModules: 10},
		{service: "postgresql", source: "pg_settings: boot_val", version: after("(PostgreSQL) "), parse: parsePostgreSQL, least: 300, leastModules: 1},
		{service: "samba", source: "testparm -sv; asked every phrase of its library", version: after("Version "), parse: parseSamba, least: 300, leastModules: 10},
		{service: "ssh", source: "sshd -T; asked every word of its program", version: after("OpenSSH_"), parse: parseSSH, least: 80},
	}
	for i := range all {
		data, err := scripts.ReadFile("ask/" + all[i].service + ".sh")
		if err != nil {
			panic(err) // compiled in; a test calls this
		}
		all[i].script = string(data)
	}
	return all
}

// after finds a version: the word behind the first mark, without what packagers append.
func after(mark string) func(string) string {
	return func(s string) string {
		_, rest, ok := strings.Cut(s, mark)
		if !ok {
			return ""
		}
		return firstWord(rest)
	}
}

func firstWord(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return ""
	}
	v, _, _ := strings.Cut(strings.TrimRight(f[0], ","), "-Debian")
	v, _, _ = strings.Cut(v, "-MariaDB")
	return v
}
