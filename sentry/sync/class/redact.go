package class

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"sayasystems.com/atlas/sentry/sync/state"
)

// kept is what conversion has kept of files of all kinds, in JSON (sentry/sync/engine): passwords' hashes among them.
const kept state.Path = state.Exports + "/image/kept"

// Blot stands in place of what is not shown.
const Blot = "[not shown]"

// Redact returns content as it may be shown: passwords, their hashes and private keys are blotted out, wherever they stand. All of a
// secret file is, and of what is not text. It blots out rather too much: of a line whose key sounds like a password the whole value.
// Lines stay lines where it can be, so that two redacted texts can be compared; the same secret and another one look alike.
func (r *Rules) Redact(p state.Path, content []byte) []byte {
	if len(content) == 0 {
		return content
	}
	if r.Secret(p) || p == kept || !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		return []byte(Blot + "\n")
	}
	text := privateKey.ReplaceAllString(string(content), "${1}\n"+Blot+"\n${2}")
	lines := strings.SplitAfter(text, "\n")
	hidden := "" // the white space before a line whose value goes on in the next ones
	goesOn := false
	for i, l := range lines {
		body := strings.TrimRight(l, "\r\n")
		end := l[len(body):]
		indent := body[:len(body)-len(strings.TrimLeft(body, " \t"))]
		if goesOn && (strings.TrimSpace(body) == "" || len(indent) > len(hidden) && strings.HasPrefix(indent, hidden)) {
			if strings.TrimSpace(body) != "" {
				lines[i] = indent + Blot + end
			}
			continue
		}
		var out string
		out, goesOn = redactLine(body)
		hidden = indent
		if r.export[p] {
			out = inBase64.ReplaceAllString(longHex.ReplaceAllString(out, Blot), "${1}"+Blot)
		}
		lines[i] = out + end
	}
	return []byte(strings.Join(lines, ""))
}

// The marks of secrets that are known by their form, wherever they stand.
var (
	privateKey = regexp.MustCompile(`(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\z)`)

	// crypt(5) and its kin, LDAP's and Dovecot's {SCHEME}, PostgreSQL's and MariaDB's.
	hashes = []*regexp.Regexp{
		regexp.MustCompile(`\$(?:1|2|2[abxy]|3|5|6|7|y|gy|md5|sha1|apr1|P|H|S|argon2[a-z]*|scrypt|pbkdf2[a-z0-9-]*|bcrypt-sha256)\$[^\s:'"<>\\]{4,}`),
		regexp.MustCompile(`\{(?i:[A-Z0-9.]*(?:SHA|MD5|CRYPT|PLAIN|CLEAR|ARGON2|PBKDF2|CRAM|SCRAM|LANMAN|NTLM|DIGEST)[A-Z0-9.-]*)\}[^\s:'"<>]+`),
		regexp.MustCompile(`SCRAM-SHA-(?:1|256|512)\$[^\s'"]+`),
		regexp.MustCompile(`\bmd5[0-9a-f]{32}\b`),
		regexp.MustCompile(`\*[0-9A-Fa-f]{40}\b`),
		// smbpasswd(5): LANMAN and NT hashes between colons.
		regexp.MustCompile(`:[0-9A-Fa-fX]{32}:[0-9A-Fa-fX]{32}:`),
	}
	// The old hash of htpasswd and passwd, after a name at a line's beginning.
	desHash = regexp.MustCompile(`^(\s*[A-Za-z0-9._-]+:)[./0-9A-Za-z]{13}(:|$)`)
	urlUser = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@'"]*:)[^\s/@'"]+@`)
	bearer  = regexp.MustCompile(`(?i)\b((?:basic|bearer|digest)\s+)[A-Za-z0-9+/._~=-]{8,}`)

	// What the packs of Kerberos, Samba and the domain controller print: keys and hashes in hex, the master key in base64, and in base64 too
	// the files of group policies that are no text.
	longHex  = regexp.MustCompile(`\b[0-9A-Fa-f]{32,}\b`)
	inBase64 = regexp.MustCompile(`^(master key\t|\tbase64 ).*`)
)

const secretWords = `pass(?:w(?:or)?d|phrase|code)?|pwd|secret|bind_?pw|root_?pw|psk|auth_?key|api_?key|private_?key|access_?key|secret_?key|encryption_?key|` +
	`signing_?key|salt|nonce_?key|token|credentials?|community|authentication_string|identified\s+by|nt_?hash|nthash|lmhash`

var (
	// define('DB_PASSWORD', '…')
	phpDefine = regexp.MustCompile(`(?i)^(.*\bdefine\s*\(\s*['"][A-Z0-9_]*(?:PASS|PASSWORD|PASSWD|PWD|KEY|SALT|SECRET|TOKEN)[A-Z0-9_]*['"]\s*,\s*).*$`)
	// A word of SQL, before a quoted string.
	sqlWord = regexp.MustCompile(`(?i)\b((?:password|identified\s+(?:by|with|via|as)(?:\s+[a-z_0-9]+)?(?:\s+(?:using|by|as))?(?:\s+password)?)(?:\s+|\s*\(\s*))(?:E?'(?:[^'\\]|''|\\.)*'?|"(?:[^"\\]|""|\\.)*"?)`)
	// KEY = VALUE, KEY: VALUE, KEY VALUE, 'KEY' => VALUE, <KEY>VALUE; the key may have a part before and after the word.
	keyValue = regexp.MustCompile(`(?i)(^|[\s"'\[{(,;#*$<>|&?\\.:-])([A-Za-z0-9_.\[\]>$-]*(?:` + secretWords + `|_pw)[A-Za-z0-9_]*)(["'\]]*\s*(?:=>|:=|::|:|=|>)\s*|["'\]]*[ \t]+)(\S.*)$`)

	// Keys that name a kind, a place or a rule and no secret.
	harmless = regexp.MustCompile(`(?i)(?:bypass|compass|passive|passthrough|pass_?through|passenger|passno|pass(?:word)?_?(?:max|min|warn|always)[a-z_]*|(?:max|min)pwdage|pwdproperties|proxypass[a-z]*|` +
		`(?:maps?|files?|paths?|dir|directory|schemes?|encryption|authentication|authenticator|policy|format|crypt_?salt_?format|level|timeout|query|attr(?:ibute)?|auth|expiration|` +
		`lifetime|reuse|server|program|chat|sync|changed|change|fail(?:ure)?|hash|rounds|type|command|env|length|history|quality|enabled?|required|options?|command_?timeout))$`)
	plainWord = regexp.MustCompile(`(?i)^["']?(?:yes|no|on|off|true|false|none|null|required|sufficient|requisite|optional)["']?[;,]?$`)
)

// redactLine blots out one line, and tells whether its value may go on in lines that are indented more.
func redactLine(l string) (out string, goesOn bool) {
	if m := phpDefine.FindStringSubmatch(l); m != nil {
		return m[1] + Blot, false
	}
	for _, h := range hashes {
		l = h.ReplaceAllString(l, Blot)
	}
	l = desHash.ReplaceAllString(l, "${1}"+Blot+"${2}")
	l = urlUser.ReplaceAllString(l, "${1}"+Blot+"@")
	l = bearer.ReplaceAllString(l, "${1}"+Blot)
	l = sqlWord.ReplaceAllString(l, "${1}"+Blot)
	return redactKey(l)
}

func redactKey(l string) (out string, goesOn bool) {
	var b strings.Builder
	for {
		m := keyValue.FindStringSubmatchIndex(l)
		if m == nil {
			return b.String() + l, false
		}
		key, sep, value := l[m[4]:m[5]], l[m[6]:m[7]], l[m[8]:m[9]]
		assigned := strings.TrimSpace(sep) != ""
		if harmless.MatchString(key) || plainWord.MatchString(value) || !assigned && !startsLine(l[:m[4]]) {
			// Words of a sentence, or a key that says nothing: look further on in the same line.
			b.WriteString(l[:m[7]])
			l = value
			continue
		}
		return b.String() + l[:m[8]] + Blot, true
	}
}

// startsLine tells whether before has nothing but marks of a comment: "bindpw secret" is a setting there, and a sentence further on is none.
func startsLine(before string) bool {
	return strings.Trim(before, " \t#;/*") == ""
}
