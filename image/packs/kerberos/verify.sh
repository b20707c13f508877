# Gives the verification account its password: verify.sh REALM. May be run again at any time; writes only when it has another.
set -eu
p=atlas-verify@$1
secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "kerberos: $secret is missing; the installer makes it" >&2; exit 1; }
login() { kinit -c MEMORY:atlas-verify "$p" <"$secret" >/dev/null 2>&1; }
! login || exit 0
# kadmin's own quoting: a double quote stands twice. Through standard input, which others cannot read.
password=$(sed 's/"/""/g' "$secret")
have=$(kadmin.local -r "$1" listprincs "$p")
if [ -n "$have" ]; then
	printf 'cpw -pw "%s" %s\n' "$password" "$p" | kadmin.local -r "$1" >/dev/null
else
	printf 'addprinc -pw "%s" %s\n' "$password" "$p" | kadmin.local -r "$1" >/dev/null
fi
login || { echo "kerberos: $p cannot log in with the password in $secret, although it was just set; see the log of krb5kdc" >&2; exit 1; }
