# Makes what the groupware needs of the other services: init.sh FQDN BASE-DN DOMAIN. Run at every start; what is there stays. Passwords are
# made here and travel with the disk set.
set -eu
fqdn=$1 base=$2 domain=$3
umask 077

install -d -m 0755 /etc/sogo
install -d -m 0750 -o sogo -g sogo /var/lib/sogo /var/spool/sogo
install -d -m 0750 -o sogo -g adm /var/log/sogo

secret() { # FILE: makes a password if there is none
	[ -s "$1" ] && return
	openssl rand -hex 20 >"$1.new"
	sync "$1.new"
	mv "$1.new" "$1"
}
secret /etc/sogo/database.secret
secret /etc/sogo/directory.secret
db=$(cat /etc/sogo/database.secret)
dir=$(cat /etc/sogo/directory.secret)

# The database. SOGo makes its tables by itself.
sql() { setpriv --reuid postgres --regid postgres --init-groups psql -qAtX -v ON_ERROR_STOP=1 "$@"; }
cd /
if [ "$(echo "SELECT 1 FROM pg_roles WHERE rolname = 'sogo'" | sql)" != 1 ]; then
	echo "CREATE ROLE sogo LOGIN PASSWORD '$db'" | sql
fi
if [ "$(echo "SELECT 1 FROM pg_database WHERE datname = 'sogo'" | sql)" != 1 ]; then
	echo "CREATE DATABASE sogo OWNER sogo ENCODING 'UTF8' TEMPLATE template0" | sql
fi

# The login by which it looks people up.
ldap() { "$@" -Q -Y EXTERNAL -H ldapi:///; }
if ! ldap ldapsearch -LLL -b "ou=services,$base" -s one '(uid=sogo)' dn 2>/dev/null | grep -q '^dn:'; then
	ldap ldapadd >/dev/null <<LDIF
dn: uid=sogo,ou=services,$base
objectClass: account
objectClass: simpleSecurityObject
uid: sogo
description: Looks people up for the groupware
userPassword: $(printf %s "$dir" | slappasswd -n -T /dev/stdin)
LDIF
fi

# A person without a mailbox, for the verifier: it logs in and reads a calendar as all people of the directory do.
secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "sogo: $secret is missing; the installer makes it" >&2; exit 1; }
hash=$(tr -d '\n' <"$secret" | slappasswd -n -T /dev/stdin)
person="uid=sogo-verify,ou=people,$base"
if ldap ldapsearch -LLL -b "ou=people,$base" -s one '(uid=sogo-verify)' dn 2>/dev/null | grep -q '^dn:'; then
	ldap ldapmodify >/dev/null <<LDIF
dn: $person
changetype: modify
replace: userPassword
userPassword: $hash
LDIF
else
	ldap ldapadd >/dev/null <<LDIF
dn: $person
objectClass: inetOrgPerson
uid: sogo-verify
cn: Verification
sn: Verification
mail: sogo-verify@$domain
userPassword: $hash
LDIF
fi

# The configuration is made once and is the administrator's from then on. Debian's default is recognised by its password.
conf=/etc/sogo/sogo.conf
if [ ! -s "$conf" ] || grep -q 'sogo:password@' "$conf"; then
	sed -e "s|@FQDN@|$fqdn|g" -e "s|@BASE@|$base|g" -e "s|@DOMAIN@|$domain|g" -e "s|@DB@|$db|g" -e "s|@DIR@|$dir|g" \
		/usr/lib/atlas/packs/sogo/sogo.conf >"$conf.new"
	chown root:sogo "$conf.new"
	chmod 0640 "$conf.new"
	sync "$conf.new"
	mv "$conf.new" "$conf"
fi
