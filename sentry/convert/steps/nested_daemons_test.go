package steps

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNestedDaemons is TestDaemons for the cases of testdata/nested.
func TestNestedDaemons(t *testing.T) {
	trees := daemonTrees(t)
	files, err := filepath.Glob("testdata/nested/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		service, _, _ := strings.Cut(name, "-")
		head, rest, _ := strings.Cut(string(data), "=== before\n")
		before, rest, _ := strings.Cut(rest, "=== after\n")
		after, _, _ := strings.Cut(rest, "=== findings\n")
		var from, to int
		if _, err := fmt.Sscanf(head, "%d %d", &from, &to); err != nil {
			t.Fatalf("%s: first line: %v", file, err)
		}
		root := filepath.Join(trees, fmt.Sprintf("tree%d", to))
		script, ok := nestedCheckers[service]
		if _, err := os.Stat(root); err != nil || !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			said, err := inTree(t, root, nestedRead(after), script)
			if (err != nil) != nestedLacking[name] {
				t.Errorf("the daemon of Debian %d does with what was converted what it should not: %v\n%s", to, err, said)
			}
			said, err = inTree(t, root, nestedRead(before), script)
			if nestedRefused[name] && err == nil {
				t.Errorf("the daemon of Debian %d takes what comes from Debian %d as it is: the case proves nothing", to, from)
			}
			if err != nil {
				t.Logf("without conversion: %s", said)
			}
		})
	}
}

// nestedRefused are the cases whose text the other daemon does not take as it is.
var nestedRefused = map[string]bool{
	"accounts-login": true, "accounts-zone": true, "openldap-hdb": true, "openldap-export": true, "openldap-new": true,
	"openldap-slapd-conf": true, "kerberos-weak": true, "apache-php": true, "dovecot-back": true, "dovecot-back-blocking": true,
	"dovecot-blocking": true, "dovecot-office": true, "dovecot-virtual": true, "php-7": true, "postfix-back": true,
	"firewall-ipchains": true, "firewall-iptables": true,
}

// nestedLacking are the cases where something is missing there, which no conversion can mend.
var nestedLacking = map[string]bool{
	"accounts-names": true, "accounts-names-back": true, "openldap-shell": true, "openldap-nestgroup": true,
	"firewall-iptables-blocking": true, "firewall-ipchains-redirect": true,
}

// nestedCheckers are like checkers.
var nestedCheckers = map[string]string{
	"openldap": `mkdir -p /var/lib/ldap /var/lib/ldap-other /run/slapd /tmp/made; chown openldap /var/lib/ldap*
clean() { ! printf '%s' "$said" | grep -E 'UNKNOWN|checksum|undefined|failed'; }
if [ -e /@db/openldap/config.ldif ]; then said=$(slapadd -n 0 -F /tmp/made </@db/openldap/config.ldif 2>&1) && clean || { echo "$said"; exit 1; }
	diff <(grep -E '^(dn|objectClass|olcModuleLoad):' /@db/openldap/config.ldif) <(slapcat -n 0 -F /tmp/made -o ldif-wrap=no | grep -E '^(dn|objectClass|olcModuleLoad):') || exit 1
fi
if [ -e /etc/ldap/slapd.d/cn=config.ldif ]; then
	said=$(slaptest -u -F /etc/ldap/slapd.d 2>&1) && clean || { echo "$said"; exit 1; }
	cp -r /etc/ldap/slapd.d/. /tmp/made
elif [ -e /etc/ldap/slapd.conf ]; then said=$(slaptest -n 0 -f /etc/ldap/slapd.conf -F /tmp/made 2>&1); printf '%s' "$said" | grep -q 'mdb_db_open\|succeeded' && clean || { echo "$said"; exit 1; }
fi
slapd -d none -F /tmp/made -h ldapi:/// & slapd=$!
for i in 1 2 3 4 5 6 7 8 9 10; do said=$(ldapsearch -Q -Y EXTERNAL -H ldapi:/// -b '' -s base namingContexts 2>&1) && break; sleep 0.1; done
kill $slapd; wait $slapd; printf '%s' "$said" | grep -q 'numEntries: 1' || { echo "$said"; exit 1; }`,
	"firewall": `ls /etc/nftables.d/*.nft >/dev/null || exit 1
for f in /etc/nftables.d/*.nft; do
	nft -c -f $f && nft -f $f || exit 1
	family=ip; case $f in *v6*) family=ip6 ;; esac
	[ "$(nft list ruleset $family | grep -cw counter)" = "$(grep -cw counter $f)" ] || { nft list ruleset; exit 1; }
	! nft -f $f 2>&1 | grep . || exit 1
done`,
	"postfix": `ip link set lo up; mkdir -p /var/spool/postfix
said=$( { postconf -n && postconf -M && postfix check; } 2>&1 >/dev/null | grep -v 'not owned by root\|Group or other\|group or other' | sort -u)
[ -z "$said" ] || { echo "$said"; exit 1; }
said=$(postfix -c /etc/postfix start 2>&1); sleep 0.5; postfix status 2>/dev/null; up=$?; postfix stop 2>/dev/null; [ $up = 0 ] || { echo "$said"; exit 1; }`,
	"php": `for f in $(grep -o 'etc/php/.*\.ini' /run/case); do
	said=$(php -n -c /$f -r 'ini_get("memory_limit");' 2>&1) && [ -z "$said" ] || { echo "$said"; exit 1; }
done`,
	"apache": `ip link set lo up; mkdir -p /run/apache2 /var/log/apache2; echo "127.0.0.1 $(hostname)" >>/etc/hosts; a2enmod -q authz_groupfile >/dev/null; . /etc/apache2/envvars
grep -o 'etc/apache2/sites-available/.*\.conf' /run/case | sed 's|^|Include /|' >/tmp/sites.conf
said=$(apache2 -t -c 'Include /tmp/sites.conf' 2>&1 | grep -v 'AH00558\|Syntax OK')
[ -z "$said" ] || { echo "$said"; exit 1; }
setsid apache2 -DFOREGROUND -c 'Include /tmp/sites.conf' >/tmp/said 2>&1 & daemon=$!
sleep 0.7; kill -0 $daemon || { cat /tmp/said /var/log/apache2/error.log; exit 1; }
kill $daemon; wait $daemon; true`,
	"dovecot": `ip link set lo up; mkdir -p /etc/ssl/atlas /etc/dovecot/private /var/spool/postfix/private
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=trial -keyout /etc/ssl/atlas/site.key -out /etc/ssl/atlas/site.crt 2>/dev/null
for f in pem key; do cat /etc/ssl/atlas/site.crt /etc/ssl/atlas/site.key >/etc/dovecot/private/dovecot.$f; done
said=$(doveconf -n -c /etc/dovecot/dovecot.conf 2>&1 >/dev/null); [ -z "$said" ] || { echo "$said"; exit 1; }
mkdir -p /run/dovecot; dovecot -F >/tmp/said 2>&1 & daemon=$!
sleep 0.7; kill -0 $daemon || { cat /tmp/said; exit 1; }
kill $daemon; wait $daemon; true`,
	"kerberos": `ip link set lo up; mkdir -p /var/lib/krb5kdc; rm -rf /var/lib/krb5kdc/*
kdb5_util -r OFFICE.EXAMPLE create -s -P master >/dev/null 2>&1 && kadmin.local -q 'addprinc -pw secret ada' >/dev/null 2>&1 || exit 1
krb5kdc -n >/tmp/kdc.log 2>&1 & kdc=$!
for i in 1 2 3 4 5 6 7 8 9 10; do said=$(echo secret | kinit ada 2>&1) && break; sleep 0.1; done
kill $kdc; wait $kdc; klist -s || { echo "$said"; exit 1; }`,
	"accounts": `if grep -q etc/passwd /run/case; then
	for f in group shadow gshadow; do grep -q "/$f\$" /run/case || rm -f /etc/$f; done
	chown -f 0:42 /etc/shadow /etc/gshadow; chmod -f 640 /etc/shadow /etc/gshadow
	pwck -r -q || exit 1
	[ ! -e /etc/group ] || grpck -r || exit 1
fi
said=$(useradd -D 2>&1 >/dev/null); [ -z "$said" ] || { echo "$said"; exit 1; }
for m in $(cat /etc/pam.d/* | grep -v '^[#-]' | grep -o 'pam_[a-z_0-9]*\.so'); do [ -e /usr/lib/x86_64-linux-gnu/security/$m ] || { echo "no $m"; exit 1; }; done
grep -s /zoneinfo/ /var/lib/dpkg/info/tzdata-legacy.list | while read -r f; do [ -d "$f" ] || rm -f "$f"; done # which is not in every image
[ -e "$(readlink -f /etc/localtime)" ] || { echo "no zone"; exit 1; }
if grep -q '^ada:$6$ab' /etc/shadow /etc/passwd; then
	mkdir -p /home/ada; printf 'secret\n' | setpriv --reuid 65534 --regid 65534 --clear-groups su ada -c true 2>&1 || exit 1
	! printf 'wrong\n' | setpriv --reuid 65534 --regid 65534 --clear-groups su ada -c true >/dev/null 2>&1 || { echo "any password works"; exit 1; }
fi`,
}

func daemonTrees(t *testing.T) string {
	t.Helper()
	trees := os.Getenv("ATLAS_TREES")
	if trees == "" {
		t.Skip("ATLAS_TREES names no directory with tree12 and tree13")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount and chroot")
	}
	return trees
}
