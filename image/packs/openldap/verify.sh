# Gives the verification account its entry and password: verify.sh BASE. May be run again at any time; writes only when something is missing.
set -eu
dn="uid=atlas-verify,ou=services,$1"
secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "openldap: $secret is missing; the installer makes it" >&2; exit 1; }
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The tools take the whole file as the password, with a line's end.
tr -d '\n' <"$secret" >"$work/password"
# Only a refusal (49) calls for a new hash: a server that is just being restarted must not get one, since hashes travel.
code=0
ldapwhoami -x -H ldapi:/// -D "$dn" -y "$work/password" >/dev/null 2>"$work/err" || code=$?
case $code in
0) exit 0 ;;
49) ;;
*)
	cat "$work/err" >&2
	exit 1
	;;
esac
hash=$(slappasswd -n -h '{CRYPT}' -c '$6$%.16s' -T "$work/password")
ldap() { "$@" -Q -Y EXTERNAL -H ldapi:/// >/dev/null; }
# 68: it is there already.
add() { ldap ldapadd 2>"$work/err" || [ $? = 68 ] || { cat "$work/err" >&2; exit 1; }; }
printf 'dn: ou=services,%s\nobjectClass: organizationalUnit\nou: services\n' "$1" | add
printf 'dn: %s\nobjectClass: account\nobjectClass: simpleSecurityObject\nuid: atlas-verify\nuserPassword: %s\n' "$dn" "$hash" | add
printf 'dn: %s\nchangetype: modify\nreplace: userPassword\nuserPassword: %s\n' "$dn" "$hash" | ldap ldapmodify
