package class

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/sentry/sync/state"
)

// TestRedact has samples of what stands in real files. In each, "s3cr…" is what must not be seen.
func TestRedact(t *testing.T) {
	r := shipped(t)
	for _, tc := range []struct {
		name, path, in, want string
	}{
		{"wp-config", "srv/www/wp-config.php", "define( 'DB_NAME', 'wp' );\ndefine( 'DB_PASSWORD', 's3cr\\'et' );\ndefine('AUTH_KEY', 's3cr');\n", "define( 'DB_NAME', 'wp' );\ndefine( 'DB_PASSWORD', [not shown]\ndefine('AUTH_KEY', [not shown]\n"},
		{"php array", "etc/x/config.php", "'dbuser' => 'a',\n  'dbpassword' => 's3cr',\n$cfg['Servers'][$i]['password'] = 's3cr';\n$pass='s3cr';\n", "'dbuser' => 'a',\n  'dbpassword' => [not shown]\n$cfg['Servers'][$i]['password'] = [not shown]\n$pass=[not shown]\n"},
		{"my.cnf", "etc/mysql/conf.d/x.cnf", "[client]\nuser = root\npassword = s3cr et\n#password=s3cr\n", "[client]\nuser = root\npassword = [not shown]\n#password=[not shown]\n"},
		{"ldap", "etc/ldap.conf", "binddn cn=x\nbindpw s3cr\nrootpw {SSHA}s3crAAAA\npam_password md5\n", "binddn cn=x\nbindpw [not shown]\nrootpw [not shown]\npam_password [not shown]\n"},
		{
			"ldif", "@db/openldap/config.ldif", "dn: olcDatabase={1}mdb,cn=config\nolcRootPW: {CRYPT}$6$s3cr$s3crs3cr\nolcSuffix: dc=x\nuserPassword:: e1NTs3cr\n s3crmore\nolcPasswordHash: {CRYPT}\nolcPasswordCryptSaltFormat: $6$%.16s\n",
			"dn: olcDatabase={1}mdb,cn=config\nolcRootPW: [not shown]\nolcSuffix: dc=x\nuserPassword:: [not shown]\n [not shown]\nolcPasswordHash: {CRYPT}\nolcPasswordCryptSaltFormat: [not shown]\n",
		},
		{"postfix", "etc/postfix/ldap.cf", "bind_pw = s3cr\nsmtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd\nsmtpd_sasl_path = /run/x\n", "bind_pw = [not shown]\nsmtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd\nsmtpd_sasl_path = /run/x\n"},
		{"dovecot", "etc/dovecot/local.conf", "ldap_auth_dn_password = s3cr\nauth_mechanisms = plain\n", "ldap_auth_dn_password = [not shown]\nauth_mechanisms = plain\n"},
		{
			"postgresql", "@db/postgresql/roles.sql", "ALTER ROLE anna WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:s3cr==$s3cr:s3cr=' VALID UNTIL 'infinity';\nALTER ROLE b PASSWORD NULL;\nALTER ROLE c PASSWORD 'md5s3cr';\n",
			"ALTER ROLE anna WITH LOGIN PASSWORD [not shown] VALID UNTIL 'infinity';\nALTER ROLE b PASSWORD NULL;\nALTER ROLE c PASSWORD [not shown];\n",
		},
		{"sql", "etc/x.sql", "CREATE USER 'a'@'%' IDENTIFIED BY 's3cr''t' REQUIRE SSL;\n", "CREATE USER 'a'@'%' IDENTIFIED BY [not shown] REQUIRE SSL;\n"},
		{"samba", "@db/samba/users", "anna|[U]|48B8EFC2F1CAFF1D40153937B3DB9C5A|6B032DA6|S-1-5-21-1-2-3-1001|Anna|\\\\OFFICE\\anna|||x|\n", "anna|[U]|[not shown]|6B032DA6|S-1-5-21-1-2-3-1001|Anna|\\\\OFFICE\\anna|||x|\n"},
		{"kerberos", "@db/kerberos/realm.dump", "master key\tBQIAs3cr==\nprinc\t38\tanna@X\t0\t62\t2000c6065840c12ce56c3b30aabbccddeeff00112233\n", "master key\t[not shown]\nprinc\t38\tanna@X\t0\t62\t[not shown]\n"},
		{
			"group policies", "@db/addc/policies",
			"\tmaxPwdAge: -77760000000000\n\tminPwdLength: 9\n\tpwdProperties: 0\n\tbase64 czNjcg==\n\ttext utf-8 crlf\n\t\t <P userName=\"x\" cpassword=\"s3cr\"/>\r\n\t\t</P>\n",
			"\tmaxPwdAge: -77760000000000\n\tminPwdLength: 9\n\tpwdProperties: 0\n\tbase64 [not shown]\n\ttext utf-8 crlf\n\t\t <P userName=\"x\" cpassword=[not shown]\r\n\t\t</P>\n",
		},
		{"smbpasswd", "etc/x", "anna:1000:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:48B8EFC2F1CAFF1D40153937B3DB9C5A:[U ]:LCT-1:\n", "anna:1000[not shown][U ]:LCT-1:\n"},
		{
			"key in a file", "etc/x/all.pem", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\ns3cr\ns3cr\n-----END EC PRIVATE KEY-----\nafter\n",
			"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n[not shown]\n-----END EC PRIVATE KEY-----\nafter\n",
		},
		{"key cut off", "etc/x", "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cr\ns3cr", "-----BEGIN OPENSSH PRIVATE KEY-----\n[not shown]\n"},
		{"hashes", "etc/x", "anna:$6$rounds=5000$s3cr$s3crs3cr/.:19000:0\nb:$y$j9T$s3cr$s3cr:\nc:$2y$05$s3crs3crs3cr\nd:s3crs3crs3crs\n", "anna:[not shown]:19000:0\nb:[not shown]:\nc:[not shown]\nd:[not shown]\n"},
		{"url", "etc/sogo/sogo.conf", "  SOGoProfileURL = \"postgresql://sogo:s3cr@127.0.0.1:5432/sogo\";\n  bindPassword = \"s3cr\";\n", "  SOGoProfileURL = \"postgresql://sogo:[not shown]@127.0.0.1:5432/sogo\";\n  bindPassword = [not shown]\n"},
		{"yaml", "etc/x.yml", "db:\n  password: |\n    s3cr\n    s3cr\n  host: a\ntoken: s3cr\n", "db:\n  password: [not shown]\n    [not shown]\n    [not shown]\n  host: a\ntoken: [not shown]\n"},
		{"json", "etc/x.json", "{\"user\": \"a\", \"password\": \"s3cr\"}\n", "{\"user\": \"a\", \"password\": [not shown]\n"},
		{"inline", "etc/x", "connect = host=localhost dbname=mail user=a password=s3cr\n", "connect = host=localhost dbname=mail user=a password=[not shown]\n"},
		{"snmp", "etc/snmp/snmpd.conf", "rocommunity s3cr 10.7.0.0/24\n", "rocommunity [not shown]\n"},
		{"xml", "etc/x.xml", "<password>s3cr</password>\n", "<password>[not shown]\n"},
		{"header", "etc/x", "RequestHeader set Authorization \"Basic s3crs3crs3cr=\"\n", "RequestHeader set Authorization \"Basic [not shown]\"\n"},
		{
			"harmless", "etc/x", "PasswordAuthentication yes\nPASS_MAX_DAYS\t99999\n# The password is asked for.\npassword_encryption = scram-sha-256\nProxyPass /SOGo http://127.0.0.1:20000/SOGo\npassword [success=1 default=ignore] pam_unix.so\n",
			"PasswordAuthentication yes\nPASS_MAX_DAYS\t99999\n# The password is asked for.\npassword_encryption = scram-sha-256\nProxyPass /SOGo http://127.0.0.1:20000/SOGo\npassword [not shown]\n",
		},
		{"secret file", "etc/shadow", "root:*:1\n", "[not shown]\n"},
		{"not text", "etc/x", "a\x00b", "[not shown]\n"},
		{"empty", "etc/x", "", ""},
		{
			"mariadb", "@db/mariadb/users.sql", `REPLACE INTO mysql.global_priv SET Host='%', User='anna', Priv=JSON_SET('{"access": 0, "plugin": "mysql_native_password", "authentication_string": "*2B602296A79E0A8784ACC5C88D92E46588CCA3C3", "ssl_type": 1}')` + "\n",
			`REPLACE INTO mysql.global_priv SET Host='%', User='anna', Priv=JSON_SET('{"access": 0, "plugin": "mysql_native_password", "authentication_string": [not shown]` + "\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := string(r.Redact(state.Path(tc.path), []byte(tc.in)))
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("Redact (-want +got):\n%s", d)
			}
			if strings.Contains(got, "s3cr") || strings.Contains(got, "2B602296A79E0A8784") || strings.Contains(got, "48B8EFC2F1CA") {
				t.Errorf("Redact shows the secret: %s", got)
			}
		})
	}
}

// FuzzRedact plants secrets known by their form, or by a setting's name, into whatever text: they are never seen.
func FuzzRedact(f *testing.F) {
	r := shipped(f)
	f.Add("etc/x", "a = b\n", "\n")
	f.Add("@db/samba/users", "password: |\n  x\n", "")
	f.Add("etc/x.php", "define('A', 'b');", "-----BEGIN PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, path, before, after string) {
		if state.Path(path).Check() != nil {
			return
		}
		for _, secret := range []string{"$6$abcdefgh$Zq7Vt3Lm", "SCRAM-SHA-256$4096:Zq7Vt3Lm$x", "bindpw Zq7Vt3Lm", "password=Zq7Vt3Lm", "-----BEGIN PRIVATE KEY-----\nZq7Vt3Lm"} {
			got := r.Redact(state.Path(path), []byte(before+"\n"+secret+"\n"+after))
			if bytes.Contains(got, []byte("Zq7Vt3Lm")) {
				t.Errorf("Redact(%q, %q + %q + %q) = %q", path, before, secret, after, got)
			}
			if !utf8.Valid(got) {
				t.Errorf("Redact(%q) is not UTF-8: %q", path, got)
			}
		}
	})
}
