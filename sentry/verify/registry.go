package verify

import (
	"fmt"
	"slices"
)

// Kind is all that there is to know of one kind of probe.
type Kind struct {
	Run    Run
	Params []string // that a pack may give, besides those of everyKind
	Proves string   // in one sentence, for people
	// Watch is the TCP port (by default; parameter port says otherwise) that may be connected to every few seconds to see early that nothing
	// listens. "" where a connection without a word would stand in the service's log each time, be counted against us, or have a process made
	// for it: that a daemon has died is told by init as well, and has its checks run at once.
	Watch string
}

// WatchPort is the TCP port to watch for a probe with these parameters; "" = none.
func (k Kind) WatchPort(params map[string]string) string {
	if k.Watch == "" {
		return ""
	}
	if p := params["port"]; p != "" {
		return p
	}
	if params["scheme"] == "https" {
		return "443"
	}
	if params["tls"] == "start" && k.Watch == "389" {
		return "636"
	}
	return k.Watch
}

// everyKind has these parameters; the daemon sees to them: timeout of a run (Go duration, "10s"), every (the time between two runs, for
// transactions that cost much: "1m") and secret (the file that holds Target.Secret, "/etc/atlas/verify.secret").
func everyKind() []string { return []string{"timeout", "every", "secret"} }

// Kinds are all probe kinds by the name that packs use. To add one is to add a file, and its entry here.
func Kinds() map[string]Kind {
	return map[string]Kind{
		"browser": {
			Browser,
			[]string{"scheme", "port", "path", "host", "contains"},
			"A page that needs code in the client comes up in a real browser (Chromium, where the image carries it).", "",
		},
		"command": {
			Command,
			[]string{"command", "host", "port"},
			"A program of the pack, run as nobody, says pass, warning, failure or unknown by its exit status 0 to 3, as monitoring plugins do.", "",
		},
		"dns": {
			DNS,
			[]string{"port", "name", "type", "contains"},
			"A record is told from the server's own data, over UDP and over TCP.", "53",
		},
		"http": {
			HTTP,
			[]string{"scheme", "port", "path", "host", "status", "contains", "sha256", "user", "unauthorized"},
			"A page comes with the right status and content, under the right name; what asks for a password refuses none and a wrong one.", "80",
		},
		"imap": {
			IMAP,
			[]string{"port", "user", "tls"},
			"The inbox opens, encrypted; a wrong password is refused.", "",
		},
		"kerberos": {
			Kerberos,
			[]string{"port", "realm", "user", "service"},
			"A login (AS) and a ticket for a service (TGS) are given, with no ticket kept from before; a wrong password is refused.", "88",
		},
		"ldap": {
			LDAP,
			[]string{"port", "base", "user", "attribute", "tls"},
			"Login with STARTTLS or TLS, search, change and read back; a wrong password, a password in clear and a search without login are refused.", "389",
		},
		"mail": {
			Mail,
			[]string{"port", "imap", "user", "to", "tls"},
			"A message that is handed in is delivered, and fetched from the inbox as it was sent.", "",
		},
		"mysql": {
			MySQL,
			[]string{"port", "user", "database", "table", "scratch", "forbidden"},
			"A row that must be there is read, another written, read back and deleted, with TLS; a wrong password and others' tables are refused.", "",
		},
		"nfs": {
			NFS,
			[]string{"export", "uid", "portmap", "version", "port"},
			"A file is written, read back and deleted over NFS 3 or 4; a client's root is nobody on the server.", "111",
		},
		"ntp": {
			NTP,
			[]string{"port", "offset"},
			"The time is told, and is that of the server that asks.", "",
		},
		"nut": {
			NUT,
			[]string{"port", "ups"},
			"The UPSes are listed and each tells its state.", "3493",
		},
		"pgsql": {
			PgSQL,
			[]string{"port", "user", "database", "table", "scratch", "forbidden"},
			"A row that must be there is read, another written, read back and deleted, with TLS; a wrong password and others' tables are refused.", "",
		},
		"ping": {
			Ping, nil,
			"The address answers echo requests.", "",
		},
		"smb": {
			SMB,
			[]string{"port", "share", "user", "file", "contains", "write", "closed", "auth", "realm", "kdc_port", "service"},
			"A file of the share is read, another written, read back and deleted (or writing is refused); a wrong password and guests are refused.", "",
		},
		"smtp": {
			SMTP,
			[]string{"port", "accept", "refuse", "open", "user", "tls"},
			"Mail for the site is taken, encrypted; mail for others and wrong passwords are refused.", "",
		},
		"ssh": {
			SSH,
			[]string{"port", "user", "key", "key_user", "passwords"},
			"The host key is used; a wrong password and an unknown key are refused, and the verification key, where there is one, lets in.", "",
		},
		"tcp": {
			TCP,
			[]string{"port", "expect"},
			"The port accepts a connection, and greets as it should.", "",
		},
		"tls": {
			TLS,
			[]string{"port", "starttls", "host", "trust", "days"},
			"The certificate is for the site's name, in time, and its chain leads to one that is trusted.", "",
		},
	}
}

// CheckParams tells a pack's author about a parameter that kind does not have.
func CheckParams(kind string, params map[string]string) error {
	k, ok := Kinds()[kind]
	if !ok {
		return fmt.Errorf("probe kind %q is not known", kind)
	}
	known := append(slices.Clone(k.Params), everyKind()...)
	for p := range params {
		if !slices.Contains(known, p) {
			return fmt.Errorf("probe kind %s has no parameter %q; it has %v", kind, p, known)
		}
	}
	return nil
}
