package class

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/sync/state"
)

func shipped(t testing.TB) *Rules {
	t.Helper()
	packs, err := pack.LoadAll(filepath.Join("..", "..", "..", "image", "packs"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(packs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestClassify(t *testing.T) {
	r := shipped(t)
	for class, paths := range map[Class][]state.Path{
		Shared: {
			"etc/passwd", "etc/shadow", "etc/hosts", "etc/hostname", "etc/postfix/main.cf", "etc/ssl/atlas/site.key", "etc/atlas/site.yaml", "etc/atlas/verify.secret",
			"etc/krb5.keytab", "etc/samba/smb.conf", "etc/mdadm/mdadm.conf", "var/spool/cron/crontabs/anna", "etc/passwdx",
			"@db/openldap/config.ldif", "etc/exports", "etc/ssh/ssh_config", "srv/www/atlas-verify/static.txt", "etc/aliases", "etc/nut/ups.conf", "etc/\xff",
		},
		Own: {
			"etc/machine-id", "etc/fstab", "etc/resolv.conf", "etc/smartd.conf", "etc/ssh/ssh_host_ed25519_key", "etc/network/interfaces", "etc/iscsi/initiatorname.iscsi",
		},
		Derived: {
			"etc/mtab", "etc/aliases.db", "etc/postfix/virtual.db", "etc/ldap/slapd.d", "etc/ldap/slapd.d/cn=config/olcDatabase={1}mdb.ldif", "etc/apache2/ports.conf",
			"etc/exports.d/atlas-verify.exports", "etc/ssl/atlas/trusted.crt", "etc/samba/atlas.conf", "etc/krb5.conf.d/atlas.conf", "etc/dovecot/conf.d/98-atlas-address.conf",
		},
		Ignored: {
			"etc/passwd-", "etc/.pwd.lock", "etc/.hosts.swp", "etc/apache2/4913", "etc/hosts~", "etc/postfix/main.cf.dpkg-dist", "etc/alternatives/vi", "etc/ld.so.cache",
			"etc/ldap/slapd.d/x~", "etc/.git/index", "var/spool/cron/crontabs/tmp.XXXX", "etc/passwd.1234", "etc/#hosts#",
		},
	} {
		for _, p := range paths {
			if got, why := r.Why(p); got != class || class != Shared && why == "" {
				t.Errorf("Why(%s) = %s, %q; want %s with a reason", p, got, why, class)
			}
		}
	}
	for _, p := range layout.ImageInEtc() {
		if got := r.Classify(state.Path("etc/" + p)); got != Ignored {
			t.Errorf("Classify(etc/%s) = %s; want ignored, since it is the image's", p, got)
		}
	}
	for _, c := range r.Checks() {
		for _, p := range c.Paths {
			if got := r.Classify(state.Path(p[1:])); got != Shared {
				t.Errorf("check %s is about %s, which is %s", c.Name, p, got)
			}
		}
	}
}

func TestSecret(t *testing.T) {
	r := shipped(t)
	for _, p := range []state.Path{
		"etc/shadow", "etc/gshadow", "etc/ssl/atlas/site.key", "etc/ssl/private/x.pem", "etc/krb5.keytab", "etc/atlas/verify.secret", "etc/atlas/site.secret",
		"etc/atlas/verify-web.htpasswd", "etc/atlas/admin.nt", "etc/postfix/sasl_passwd", "etc/postfix/sasl_passwd.db", "root/.my.cnf", "var/lib/samba/private/passdb.tdb",
		"etc/sogo/database.secret", "etc/nut/upsd.users", "etc/dovecot/atlas-verify", "home/anna/.ssh/id_ed25519",
	} {
		if !r.Secret(p) {
			t.Errorf("Secret(%s) = false", p)
		}
	}
	for _, p := range []state.Path{"etc/passwd", "etc/hosts", "etc/ssl/atlas/site.crt", "@db/postgresql/roles.sql", "srv/www/atlas-verify/static.txt"} {
		if r.Secret(p) {
			t.Errorf("Secret(%s) = true", p)
		}
	}
}

func TestTableRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"unknown key": {"owned: []\n", "t.yaml:1: owned"},
		"no reason":   {"own:\n  - {path: /etc/x}\n", "t.yaml:2: own[0].path: /etc/x has no reason"},
		"relative":    {"ignored:\n  - {path: etc/x, why: y}\n", "t.yaml:2: ignored[0].path: \"etc/x\" must be an absolute path"},
		"pattern":     {"ignored:\n  - {path: \"[x\", why: y}\n", "t.yaml:2: ignored[0].path: syntax error in pattern"},
		"unclean":     {"own:\n  - {path: /etc//x, why: y}\n", "t.yaml:2: own[0].path: path \"etc//x\" has an empty"},
		"check":       {"checks:\n  - {name: a, title: b, paths: [/etc/x], command: [true]}\n", "t.yaml:2: checks[0]"},
	} {
		if _, err := parse("t.yaml", []byte(tc.in), nil); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: error %v; want prefix %s", name, err, tc.want)
		}
	}
}

func TestReasonsAreGiven(t *testing.T) {
	var all []string
	r := shipped(t)
	for p := range r.exact {
		all = append(all, string(p))
	}
	if !slices.Contains(all, "etc/machine-id") {
		t.Errorf("the table has no etc/machine-id: %d entries", len(all))
	}
}
